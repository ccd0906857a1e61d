"""How mmengine finds the configs of installed packages: ``_base_ = 'mmseg::...'``,
``get_config('mmstremn::...')``.

mmengine looks such names up in a table of its own (``mmengine.config.utils.MODULE2PACKAGE``). It does not
know this library; for 'mmseg' it names upstream's distribution, so where the fork ``onedl-mmsegmentation`` is
installed ``_base_`` fails and ``get_config`` runs ``pip install mmsegmentation`` over the fork. It also
refuses configs that lie in no sub-folder.

:func:`register_mm_packages` changes that; ``import mmstremn`` calls it. mmengine resolves a ``_base_`` before
it imports what ``custom_imports`` names, so for a config's own ``_base_`` those come too late. Either the
program that reads the config imports mmstremn first: ``tools/train.py`` and ``tools/test.py`` of this library
do, hence ``mim train mmstremn CONFIG``; in another project one line ``import mmstremn`` in its script does
it. Or the config does so itself, under any program::

    _base_ = __import__('mmstremn') and 'mmstremn::stremn_davis.py'
"""

import functools
import inspect
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

DISTRIBUTIONS = {
    'mmseg': ('onedl-mmsegmentation', 'mmsegmentation'),
    'mmdet': ('onedl-mmdetection', 'mmdet'),
    'mmstremn': ('mmstremn',),
}
"""By import package: the distributions that may provide it, the one this library is tested with first."""
INSTALL = {
    'mmengine': 'pip install onedl-mmengine==0.10.12 onedl-mmcv==2.3.6',
    'mmseg': 'pip install onedl-mmsegmentation==1.4.2 ftfy regex',
    'mmdet': 'pip install onedl-mmdetection==3.5.1 trackeval lap',
    'transformers': "pip install 'mmstremn[sam2]'",
}
"""By import package: the extras ``mm``, ``mmseg`` and ``tracking`` in the tested versions, and ``sam2``."""


def distribution_of(package: str) -> str | None:
    """The installed distribution that provides an import package of ``DISTRIBUTIONS``, or None."""
    for name in DISTRIBUTIONS[package]:
        try:
            version(name)
        except PackageNotFoundError:
            continue
        return name
    return None


def register_mm_packages() -> None:
    """Let mmengine find the configs of mmstremn, mmseg and mmdet as they are installed. May be called again.

    Their entries in ``MODULE2PACKAGE`` become the installed distributions, forks first. mmengine's function
    that splits ``'package::config'`` is replaced: for these three packages it also takes configs in no
    sub-folder, and where one is not
    installed it raises a ModuleNotFoundError that names what to install, before mmengine would run pip. Names
    of other packages are left to mmengine.
    """
    from mmengine.config import config, utils

    for package, names in DISTRIBUTIONS.items():
        absent = (
            package if find_spec(package) else names[0]
        )  # on sys.path without being installed: by its own name
        utils.MODULE2PACKAGE[package] = distribution_of(package) or absent
    mmengines = inspect.unwrap(utils._get_package_and_cfg_path)

    @functools.wraps(mmengines)
    def split(path: str) -> tuple[str, str]:
        return _split(path) if path.partition('::')[0] in DISTRIBUTIONS else mmengines(path)

    # mmengine.hub takes the function from utils when it is imported, which may be later.
    for module in filter(None, (utils, config, sys.modules.get('mmengine.hub.hub'))):
        module._get_package_and_cfg_path = split


def _split(path: str) -> tuple[str, str]:
    """Distribution and config of ``'package::config'``."""
    from mmengine.config.utils import MODULE2PACKAGE

    package, _, name = path.partition('::')
    if not name or '::' in name:
        raise ValueError(f"'{path}': expected '{package}::' and the path of a config in its configs folder")
    if find_spec(package) is None:
        raise ModuleNotFoundError(f"'{path}': {package} is not installed. Fix: {INSTALL[package]}")
    return MODULE2PACKAGE[package], name
