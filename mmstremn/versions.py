"""A warning where the installed packages are not those this library was tested with."""

import warnings
from importlib.metadata import PackageNotFoundError, version

TESTED = {'torch': '2.14', 'timm': '1.0', 'onedl-mmengine': '0.10', 'onedl-mmcv': '2.3'}
TESTED |= {'onedl-mmsegmentation': '1.4', 'onedl-mmdetection': '3.5'}
FIX = "pip uninstall -y mmengine && pip install --force-reinstall --no-deps 'onedl-mmengine==0.10.12'"


LIBGL = (
    'opencv-python needs the system libraries libGL and GLib: apt-get install libgl1 libglib2.0-0; or, '
    'without them: pip uninstall -y opencv-python && '
    'pip install --force-reinstall --no-deps opencv-python-headless==4.11.0.86'
)


def what_to_install(error: ImportError) -> str:
    """What to do where an import of ours failed."""
    if any(name in str(error) for name in ('libGL', 'libgthread', 'libglib')):
        return LIBGL
    return 'pip install -e ".[mm]" installs what is missing'


def check_versions() -> None:
    """Warn where a package is missing or was never tested in this version, naming what to install."""
    if installed_version('mmengine') is not None:
        warnings.warn(
            f'mmengine {installed_version("mmengine")} cannot resume a run with torch >= 2.6, and its '
            'maintained fork '
            f'onedl-mmengine has the same import name. Fix: {FIX}',
            stacklevel=3,
        )
    elif installed_version('onedl-mmengine') is None:
        warnings.warn(
            'only mmstremn.memory works without mmengine. Fix: pip install onedl-mmengine', stacklevel=3
        )
    for name, tested in TESTED.items():
        found = installed_version(name)
        if found is not None and found.split('.')[:2] != tested.split('.'):
            warnings.warn(f'mmstremn was tested with {name} {tested}, not with {found}', stacklevel=3)


def installed_version(name: str) -> str | None:
    """The version of a distribution, or None where it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None
