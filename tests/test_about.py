"""``python -m mmstremn``."""

import os
import runpy
import subprocess
import sys
from importlib.util import find_spec

import pytest
from helpers.runs import ROOT

import mmstremn
from mmstremn.mm_packages import INSTALL
from mmstremn.versions import installed_version

LIBGL = 'libGL.so.1: cannot open shared object file: No such file or directory'


@pytest.fixture(scope='module')
def about():
    return runpy.run_module('mmstremn.__main__')


@pytest.fixture
def text(about, capsys, monkeypatch):
    """What is printed, on a line of any length."""
    monkeypatch.setenv('COLUMNS', '2000')
    about['main']()
    return capsys.readouterr().out


def row(text: str, first: str) -> list[str]:
    """The cells of the row that begins with ``first``."""
    line = next(line for line in text.splitlines() if line.startswith(f'│ {first}'))
    return [cell.strip() for cell in line.strip('│').split('│')]


def test_versions(text):
    assert f'mmstremn {mmstremn.__version__}' in text
    assert row(text, 'python')[1] == sys.version.split()[0]
    for name in ('timm', 'onedl-mmengine', 'onedl-mmcv', 'onedl-mmsegmentation', 'onedl-mmdetection'):
        assert row(text, name)[1] == (installed_version(name) or '-')
    assert row(text, 'timm')[2] == '1.0'


@pytest.mark.parametrize('package', ['mmseg', 'mmdet', 'transformers'])
def test_what_is_missing_and_what_to_install(package, text):
    there = find_spec(package) is not None
    assert row(text, f'{package}:')[1:] == (['yes', ''] if there else ['no', INSTALL[package]])


def test_parts_that_are_there_and_not(about, monkeypatch):
    """Every fix is named where all is missing, none where all is there."""
    globals_of_parts = about['_parts'].__globals__
    for there in (True, False):
        monkeypatch.setitem(
            globals_of_parts, 'find_spec', lambda name, there=there: object() if there else None
        )
        monkeypatch.setitem(
            globals_of_parts, 'installed_version', lambda name, there=there: None if there else '0.10.7'
        )
        monkeypatch.setitem(globals_of_parts, '_broken_opencv', lambda there=there: None if there else LIBGL)
        monkeypatch.setattr('torch.cuda.is_available', lambda there=there: there)
        assert {found for _, found, _ in about['_parts']()} == {there}
    fixes = {fix for _, _, fix in about['_parts']()}
    assert set(INSTALL.values()) < fixes


@pytest.mark.parametrize(
    'kind, name',
    [
        ('memory', 'SlotMemory'),
        ('selector', 'GumbelSelector'),
        ('gate', 'KeepFirst'),
        ('model', 'VOSegmentor'),
        ('dataset', 'DAVISDataset'),
        ('metric', 'DAVISMetric'),
        ('hook', 'SlotTimelineHook'),
        ('loop', 'SeekingIterTrainLoop'),
    ],
)
def test_components_by_kind(kind, name, text):
    assert name in row(text, kind + ' ')[1].split(', ')


def test_it_runs_without_mmengine():
    """In a process that finds none: ``mmstremn.memory`` works there, and the fix is named."""
    program = (
        "import runpy, sys; sys.modules['mmengine'] = None; runpy.run_module('mmstremn', run_name='__main__')"
    )
    environment = dict(os.environ, PYTHONPATH=str(ROOT), COLUMNS='2000')
    result = subprocess.run([sys.executable, '-c', program], env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert INSTALL['mmengine'] in result.stdout
    assert 'SlotMemory' in result.stdout and 'VOSegmentor' not in result.stdout


@pytest.mark.parametrize('command', [['-m', 'mmstremn'], ['demo/vos_demo.py'], ['demo/predict_demo.py']])
def test_without_libgl_it_is_said_what_to_install(command, tmp_path):
    (tmp_path / 'cv2.py').write_text(f'raise ImportError({LIBGL!r})\n')
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    env = os.environ | dict(PYTHONPATH=path, COLUMNS='400')
    done = subprocess.run([sys.executable, *command], cwd=ROOT, env=env, capture_output=True, text=True)
    said = ' '.join((done.stdout + done.stderr).split())
    assert 'libgl1' in said and 'opencv-python-headless' in said and 'Traceback' not in said


def test_arguments_are_those_of_the_command():
    def run(*argv):
        argv = [sys.executable, '-W', 'ignore', '-m', 'mmstremn', *argv]
        environment = os.environ | dict(PYTHONPATH=str(ROOT), COLUMNS='200')
        return subprocess.run(argv, env=environment, capture_output=True, text=True)

    shown = run('app', '--help')
    assert shown.returncode == 0 and 'python -m mmstremn app' in shown.stdout and '--port' in shown.stdout
    wrong = run('weights', 'tiny')
    assert wrong.returncode == 2 and 'unexpected extra argument' in wrong.stderr
