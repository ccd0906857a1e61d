"""A warning where the installed packages are not those this library was tested with."""

import warnings
from importlib.metadata import PackageNotFoundError, version

TESTED = {'torch': '2.14', 'onedl-mmengine': '0.10', 'timm': '1.0'}
FIX = "pip uninstall -y mmengine && pip install --force-reinstall --no-deps 'onedl-mmengine==0.10.12'"


def check_versions() -> None:
    """Warn where a package is missing or was never tested in this version, naming what to install."""
    if _version('mmengine') is not None:
        warnings.warn(
            f'mmengine {_version("mmengine")} cannot resume a run with torch >= 2.6, and its maintained fork '
            f'onedl-mmengine has the same import name. Fix: {FIX}',
            stacklevel=3,
        )
    elif _version('onedl-mmengine') is None:
        warnings.warn('only mmstremn.memory works without mmengine. Fix: pip install onedl-mmengine', stacklevel=3)
    for name, tested in TESTED.items():
        found = _version(name)
        if found is not None and found.split('.')[:2] != tested.split('.'):
            warnings.warn(f'mmstremn was tested with {name} {tested}, not with {found}', stacklevel=3)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
