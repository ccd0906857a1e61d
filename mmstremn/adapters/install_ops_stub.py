"""Importing this module installs the stub of :mod:`mmstremn.adapters.mmcv_ops_stub`: for ``custom_imports``
of a config."""

from mmstremn.adapters.mmcv_ops_stub import install

install()
