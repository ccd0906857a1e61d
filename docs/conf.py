"""The documentation site: ``make docs`` builds it, with warnings as errors, to build/site.

Its source is the repository, so that pages link to studies and results as they do on disk.
"""

from pathlib import Path

import mmstremn
from mmstremn.adapters import install_ops_stub  # noqa: F401  (mmdet imports mmcv.ops)

project = 'mmstremn'
author = 'the mmstremn authors'
release = mmstremn.__version__
extensions = ['myst_parser', 'sphinx.ext.autodoc', 'sphinx.ext.napoleon', 'sphinx.ext.viewcode']
root_doc = 'docs/index'
SOURCES = ('docs', 'results', 'studies')
exclude_patterns = [path.name for path in Path(__file__).parents[1].iterdir() if path.name not in SOURCES]
html_theme = 'furo'
html_title = 'mmstremn'

myst_heading_anchors = 3
napoleon_use_ivar = True
autodoc_member_order = 'bysource'
autodoc_typehints = 'none'
autodoc_default_options = {'members': True, 'imported-members': True, 'show-inheritance': True}
