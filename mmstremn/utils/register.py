"""Registering all classes of the library at once, as every MM library offers it."""

import importlib

from mmengine.registry import DefaultScope

MODULES = ('checkpoints.reading', 'datasets', 'engine', 'evaluation', 'models')


def register_all_modules(init_default_scope: bool = True) -> None:
    """Import every module with registered classes.

    ``mmengine.hub.get_model`` and tools of other MM libraries call it. Programs of this library need not: its
    registries import what they look up.

    Args:
        init_default_scope: Make ``mmstremn`` the default scope where there is none yet.
    """
    for name in MODULES:
        importlib.import_module(f'mmstremn.{name}')
    if init_default_scope and DefaultScope.get_current_instance() is None:
        DefaultScope.get_instance('mmstremn', scope_name='mmstremn')
