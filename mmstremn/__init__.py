"""mmstremn: the memory of a video model as a pluggable part of the OpenMMLab ecosystem."""

from importlib.util import find_spec

from mmstremn import former_names
from mmstremn.versions import check_versions

__version__ = '0.1.0'

former_names.install()
check_versions()
if find_spec('mmengine') is not None:
    from mmstremn.mm_packages import register_mm_packages

    register_mm_packages()
