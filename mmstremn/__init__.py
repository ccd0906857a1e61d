"""mmstremn: the memory of a video model as a pluggable part of the OpenMMLab ecosystem."""

from mmstremn.versions import check_versions

__version__ = '0.1.0'

check_versions()
