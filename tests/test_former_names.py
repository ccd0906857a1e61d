"""Modules that have moved are found under their former names, once and with a warning."""

import importlib
import subprocess
import sys

import pytest

from mmstremn import former_names
from mmstremn.former_names import MOVED, PACKAGE, present_name

NEED = {'adapters.mmseg_': 'mmseg', 'adapters.tracking': 'mmdet'}


@pytest.mark.parametrize('former', MOVED)
def test_a_former_name_gives_the_present_module(former):
    if former in NEED:
        pytest.importorskip(NEED[former])
        import mmstremn.adapters.install_ops_stub  # noqa: F401  (mmdet imports mmcv.ops)
    sys.modules.pop(PACKAGE + former, None)
    with pytest.warns(DeprecationWarning, match=f'{PACKAGE}{former} is now {PACKAGE}{MOVED[former]}'):
        module = importlib.import_module(PACKAGE + former)
    assert module is importlib.import_module(PACKAGE + MOVED[former])
    assert module.__name__ == module.__spec__.name == PACKAGE + MOVED[former]


def test_what_is_below_a_moved_package_moves_with_it():
    assert present_name('mmstremn.analysis.leaderboard') == 'mmstremn.comparison.leaderboard'
    with pytest.warns(DeprecationWarning):
        module = importlib.import_module('mmstremn.analysis.leaderboard')
    assert module is importlib.import_module('mmstremn.comparison.leaderboard')


@pytest.mark.filterwarnings('ignore::DeprecationWarning')
def test_the_classes_of_modules_that_were_split_are_found():
    from mmstremn.models.encoders import FrameFeatures, KeyEncoder, ValueEncoder
    from mmstremn.models.frame_coders import ConvBackbone, FrameDecoder, PatchBackbone, PatchDecoder

    classes = FrameFeatures, KeyEncoder, ValueEncoder, ConvBackbone, FrameDecoder, PatchBackbone, PatchDecoder
    assert all(part.__module__.startswith('mmstremn.models.') for part in classes)


@pytest.mark.parametrize('name', ['mmstremn.memory', 'mmstremn.datasets.nothing', 'other.analysis'])
def test_other_names_are_left_alone(name):
    assert present_name(name) is None


def test_a_name_that_never_was_is_missing_as_usual():
    with pytest.raises(ModuleNotFoundError, match=r'comparison\.nothing'):
        importlib.import_module('mmstremn.analysis.nothing')


def test_registered_classes_are_there_once():
    """Importing by both names does not register anything twice."""
    program = (
        'import mmstremn.datasets, mmstremn.datasets.davis, mmstremn.models, mmstremn.models.vos_segmentor; '
        'from mmstremn.registry import MODELS; assert "VOSegmentor" in MODELS'
    )
    subprocess.run([sys.executable, '-W', 'ignore', '-c', program], check=True)


def test_it_is_installed_once():
    before = list(sys.meta_path)
    former_names.install()
    assert sys.meta_path == before
