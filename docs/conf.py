"""The documentation site: ``make docs`` builds it, with warnings as errors, to build/docs."""

import mmstremn
from mmstremn.adapters import install_ops_stub  # noqa: F401  (mmdet imports mmcv.ops)

project = 'mmstremn'
author = 'the mmstremn authors'
release = mmstremn.__version__
extensions = ['myst_parser', 'sphinx.ext.autodoc', 'sphinx.ext.napoleon', 'sphinx.ext.viewcode']
html_theme = 'furo'
html_title = 'mmstremn'

myst_heading_anchors = 3
napoleon_use_ivar = True
autodoc_member_order = 'bysource'
autodoc_typehints = 'none'
autodoc_default_options = {'members': True, 'imported-members': True, 'show-inheritance': True}
