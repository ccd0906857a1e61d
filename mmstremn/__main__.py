"""``python -m mmstremn``: what is installed, what is registered, and what to install for what is missing;
with arguments it is the command ``mmstremn``."""

import platform
import sys
import warnings
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec

with warnings.catch_warnings():  # the tables say it too
    warnings.simplefilter('ignore')
    import mmstremn

import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mmstremn.mm_packages import DISTRIBUTIONS, INSTALL, distribution_of
from mmstremn.versions import FIX, TESTED, installed_version, what_to_install

PACKAGES = ('torchvision', 'timm', 'numpy', 'safetensors', 'trackeval', 'lap', 'transformers')
OPS = (
    'needed by some models of mmdet alone: build mmcv with --no-build-isolation, or use '
    'mmstremn.adapters.mmcv_ops_stub'
)


def main() -> None:
    """Print three tables."""
    console = Console()
    console.print(versions_table(), parts_table(), components_table())


def versions_table() -> Table:
    """The versions of Python and of what this library stands on."""
    table = Table('package', 'version', 'tested', title=f'mmstremn {mmstremn.__version__}')
    for name, found in _versions():
        table.add_row(name, found or '-', TESTED.get(name, ''))
    return table


def _versions() -> Iterator[tuple[str, str | None]]:
    yield 'python', platform.python_version()
    yield 'torch', torch.__version__
    yield 'CUDA of torch', torch.version.cuda
    for package, names in (
        ('mmengine', ('onedl-mmengine', 'mmengine')),
        ('mmcv', ('onedl-mmcv', 'mmcv', 'mmcv-lite')),
    ):
        name = next((name for name in names if installed_version(name)), package)
        yield name, installed_version(name)
    for package in ('mmseg', 'mmdet'):
        name = distribution_of(package) or DISTRIBUTIONS[package][0]
        yield name, installed_version(name)
    for name in PACKAGES:
        yield name, installed_version(name)


def parts_table() -> Table:
    """What is there, and what to install for what is not."""
    table = Table('part', 'there', 'what to do', title='Parts')
    for part, there, fix in _parts():
        table.add_row(part, 'yes' if there else 'no', '' if there else escape(fix))
    return table


def _parts() -> Iterator[tuple[str, bool, str]]:
    has_mmengine, has_mmcv = (find_spec(name) is not None for name in ('mmengine', 'mmcv'))
    broken = _broken_opencv()
    # Looking for mmcv._ext imports mmcv, and that mmengine and OpenCV.
    compiled = has_mmengine and has_mmcv and broken is None and find_spec('mmcv._ext') is not None
    yield 'OpenCV: pictures', broken is None, broken or ''
    yield 'mmengine: configs, training, testing', has_mmengine, INSTALL['mmengine']
    yield 'mmengine that can resume runs', installed_version('mmengine') is None, FIX
    yield 'mmcv, as a Python library', has_mmcv, INSTALL['mmengine']
    yield 'compiled ops of mmcv', compiled, OPS
    yield (
        'GPU',
        torch.cuda.is_available(),
        'everything runs on CPUs too; see pytorch.org for builds with CUDA',
    )
    yield 'mmseg: memories in segmentors', find_spec('mmseg') is not None, INSTALL['mmseg']
    yield 'mmdet: memories in trackers', find_spec('mmdet') is not None, INSTALL['mmdet']
    tracking = all(find_spec(name) is not None for name in ('trackeval', 'lap'))
    yield 'trackeval, lap: measures and matching of tracks', tracking, INSTALL['mmdet']
    has_transformers = find_spec('transformers') is not None
    yield 'transformers: SAM 2, EdgeTAM, tracker of SAM 3', has_transformers, INSTALL['transformers']


def _broken_opencv() -> str | None:
    """What to install where OpenCV cannot be imported."""
    try:
        import_module('cv2')
    except ImportError as error:
        return what_to_install(error)
    return None


def components_table() -> Table:
    """What a config can name, by kind."""
    table = Table('kind', 'registered types', title='Components of scope mmstremn')
    for kind, names in _components():
        table.add_row(kind, ', '.join(sorted(names)))
    return table


def _components() -> Iterator[tuple[str, set[str]]]:
    import mmstremn.memory as parts

    kinds = dict(memory=parts.MEMORIES, selector=parts.SELECTORS, gate=parts.GATES, reader=parts.READERS)
    kinds |= {'affinity': parts.AFFINITIES, 'slot option': parts.SLOT_OPTIONS}
    listed = set()
    for kind, classes in kinds.items():
        names = {part.__name__ for part in classes}
        listed |= names
        yield kind, names
    if find_spec('mmengine') is None or _broken_opencv():
        return
    from mmstremn.registry import REGISTRIES

    for registry in REGISTRIES:
        registry.import_from_location()
        names = {*registry.module_dict} - listed
        if names:
            yield registry.name, names


if __name__ == '__main__':
    if sys.argv[1:]:
        from mmstremn.cli import main as run_command

        sys.exit(run_command(name='python -m mmstremn'))
    main()
