"""The study of a memory in mmsegmentation."""

import pytest

pytest.importorskip('mmseg', reason='needs the extra mmseg')

import json
import runpy

import helpers.mmseg_cases  # noqa: F401  (skips without mmsegmentation)
from helpers.runs import ROOT
from mmengine.registry import DefaultScope
from mmengine.runner import Runner


@pytest.mark.slow
def test_the_study_runs_and_what_was_trained_is_not_trained_again(tmp_path, monkeypatch):
    study = runpy.run_path(str(ROOT / 'studies/mmseg_memory/run.py'))['main']
    arguments = ['--seeds', '0', '--iterations', '1', '--split', 'dev', '--work-dir', str(tmp_path / 'work')]
    arguments += ['--out', str(tmp_path / 'study.json'), '--plot', str(tmp_path / 'study.png')]
    with DefaultScope.overwrite_default_scope('mmseg'):
        first = study(arguments)
        monkeypatch.delattr(Runner, 'train')
        second = study(arguments)
    assert first['rows'] == second['rows'] == json.loads((tmp_path / 'study.json').read_text())['rows']
    assert (tmp_path / 'study.png').stat().st_size > 1000
    assert first['cost']['parameters']['FCN + memory'] > first['cost']['parameters']['FCN']
