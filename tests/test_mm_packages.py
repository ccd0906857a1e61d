"""Configs of installed packages by name: ``_base_ = 'mmstremn::...'``, ``'mmseg::...'``, ``'mmdet::...'``."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from helpers.runs import ROOT, run_tool
from mmengine.config import Config, utils
from mmengine.hub import get_config
from mmengine.utils import package_utils

import mmstremn
from mmstremn import mm_packages
from mmstremn.mm_packages import DISTRIBUTIONS, INSTALL, register_mm_packages

OURS = "_base_ = 'mmstremn::stremn_davis.py'\nmodel = dict(short_side=100)\n"
BY_ITSELF = OURS.replace("= 'mmstremn::", "= __import__('mmstremn') and 'mmstremn::")


@pytest.fixture(autouse=True)
def no_pip(monkeypatch):
    """mmengine installs what it does not find: that must not happen."""

    def refuse(command):
        raise AssertionError(f'mmengine ran {command}')

    monkeypatch.setattr(package_utils, 'call_command', refuse)


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_config_of_another_project_inherits_from_ours(tmp_path):
    cfg = Config.fromfile(write(tmp_path / 'mine.py', OURS))
    assert (cfg.model.short_side, cfg.model.memory.type, cfg.model._scope_) == (100, 'SlotMemory', 'mmstremn')
    assert cfg.train_dataloader.dataset.type == 'DAVISDataset'


def test_a_config_may_import_us_itself_whatever_reads_it(tmp_path):
    """In a process that has not imported mmstremn; without that, mmengine does not find the config."""
    paths = [str(write(tmp_path / 'mine.py', OURS)), str(write(tmp_path / 'by_itself.py', BY_ITSELF))]
    program = """
import sys
from mmengine.config import Config
try:
    Config.fromfile(sys.argv[1])
except Exception as error:
    print('refused', type(error).__name__)
assert 'mmstremn' not in sys.modules
print(Config.fromfile(sys.argv[2]).model.short_side)
print(Config.fromfile(sys.argv[1]).model.short_side)
"""
    environment = dict(os.environ, PYTHONPATH=str(ROOT))
    environment.pop('MMSTREMN_DAVIS', None)  # mmengine prints which variables a config uses
    command = [sys.executable, '-c', program, *paths]
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ['refused', 'ValueError', '100', '100']


def test_a_run_from_an_inherited_config(tmp_path):
    """What mmengine adds to inherited parts (``_scope_``) harms none of them."""
    text = """
_base_ = 'mmstremn::action/gumbel_actions.py'
train_dataloader = dict(batch_size=2)
train_cfg = dict(max_iters=1, val_begin=9, val_interval=9)
"""
    config = write(tmp_path / 'mine.py', text)
    assert run_tool('train', [config, '--work-dir', tmp_path / 'work'], output=tmp_path / 'output') == 0
    assert (tmp_path / 'work/iter_1.pth').is_file()


@pytest.mark.parametrize('name', ['stremn_davis.py', 'vos/long_r18.py', '_base_/davis.py'])
def test_get_config_finds_ours(name):
    own = Config.fromfile(ROOT / 'configs' / name)
    assert get_config(f'mmstremn::{name}').to_dict() == own.to_dict()


@pytest.mark.parametrize(
    'package, name',
    [
        ('mmseg', 'fcn/fcn_r50-d8_4xb2-40k_cityscapes-512x1024.py'),
        ('mmdet', 'qdtrack/qdtrack_faster-rcnn_r50_fpn_4e_base.py'),
    ],
)
def test_configs_of_the_installed_forks_are_found(package, name, tmp_path):
    if find_spec(package) is None:
        pytest.skip(f'{package} is not installed')
    cfg = Config.fromfile(write(tmp_path / 'mine.py', f"_base_ = '{package}::{name}'\n"))
    assert cfg.model._scope_ == package
    assert get_config(f'{package}::{name}').model.type == cfg.model.type


@pytest.mark.parametrize('package', ['mmseg', 'mmdet'])
def test_what_is_missing_is_named_instead_of_installed(package, monkeypatch, tmp_path):
    monkeypatch.setattr(mm_packages, 'find_spec', lambda name: None)
    for load in (
        get_config,
        lambda name: Config.fromfile(write(tmp_path / 'mine.py', f"_base_ = '{name}'\n")),
    ):
        with pytest.raises(
            ModuleNotFoundError, match=f'{package} is not installed. Fix: pip install onedl-'
        ) as error:
            load(f'{package}::fcn/fcn.py')
        assert INSTALL[package] in str(error.value)


@pytest.mark.parametrize(
    'installed, entries',
    [
        (
            {'onedl-mmsegmentation', 'onedl-mmdetection', 'mmstremn'},
            ('onedl-mmsegmentation', 'onedl-mmdetection', 'mmstremn'),
        ),
        ({'mmsegmentation', 'mmdet'}, ('mmsegmentation', 'mmdet', 'mmstremn')),
        ({'onedl-mmsegmentation', 'mmsegmentation'}, ('onedl-mmsegmentation', 'mmdet', 'mmstremn')),
    ],
)
def test_the_table_names_what_is_installed_forks_first(installed, entries, monkeypatch):
    def version(name):
        if name not in installed:
            raise mm_packages.PackageNotFoundError(name)
        return '1'

    monkeypatch.setattr(mm_packages, 'version', version)
    monkeypatch.setattr(mm_packages, 'find_spec', lambda name: object())
    monkeypatch.setattr(utils, 'MODULE2PACKAGE', dict(utils.MODULE2PACKAGE))
    register_mm_packages()
    assert tuple(utils.MODULE2PACKAGE[package] for package in DISTRIBUTIONS) == entries


def test_registering_again_changes_nothing():
    table = dict(utils.MODULE2PACKAGE)
    register_mm_packages()
    register_mm_packages()
    assert table == utils.MODULE2PACKAGE
    assert utils._get_package_and_cfg_path('mmstremn::a.py') == ('mmstremn', 'a.py')


def test_other_packages_are_left_to_mmengine():
    assert utils._get_package_and_cfg_path('mmpose::a/b.py') == ('mmpose', 'a/b.py')
    with pytest.raises(ValueError, match='relative config path'):
        utils._get_package_and_cfg_path('mmpose::b.py')
    with pytest.raises(AssertionError, match='does not support to load nobody'):
        utils._get_package_and_cfg_path('nobody::a/b.py')


@pytest.mark.parametrize(
    'name, error', [('', ValueError), ('a::b.py', ValueError), ('none.py', FileNotFoundError)]
)
def test_a_config_that_is_none_is_named(name, error):
    with pytest.raises(error, match=name or 'expected'):
        get_config(f'mmstremn::{name}')


def test_configs_and_tools_stand_where_mim_looks():
    folder = Path(mmstremn.__file__).parent / '.mim'
    for name in (
        'configs/stremn_davis.py',
        'configs/vos/metafile.yml',
        'tools/train.py',
        'tools/test.py',
        'model-index.yml',
    ):
        assert (folder / name).read_bytes() == (ROOT / name).read_bytes()
