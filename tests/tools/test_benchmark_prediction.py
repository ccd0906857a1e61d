"""The benchmark of predictors' training steps and rollouts."""

import json
import runpy
import shlex

import pytest
from helpers.predictor_cases import tiny_digits
from helpers.runs import ROOT

DIGITS = ROOT / 'configs/prediction/convlstm_moving_digits.py'


@pytest.fixture
def tool():
    return runpy.run_path(str(ROOT / 'tools/analysis_tools/benchmark.py'))


@pytest.fixture
def prediction(tool, monkeypatch):
    """The module of this kind, with short turns."""
    module = tool['KINDS']['prediction']
    monkeypatch.setattr(module, 'ROLLOUT_TURNS', 2)
    monkeypatch.setattr(module, 'WINDOW', 2)
    return module


@pytest.fixture
def config(tmp_path):
    return str(tiny_digits(tmp_path))


def test_training_and_a_rollout_are_measured(tool, prediction, monkeypatch, config, tmp_path, capsys):
    out = tmp_path / 'new/cost.json'
    argv = [
        'prediction',
        config,
        *shlex.split('--batch 2 --turns 2 --rollout 60 --threads 1 --device cpu --check'),
        '--out',
        str(out),
    ]
    monkeypatch.setattr(prediction, 'MAX_RATIOS', dict(bytes=1.02, time=10))
    assert tool['main'](argv) == 0
    saved = json.loads(out.read_text())
    (result,) = saved['results'].values()
    assert len(result['ms_per_turn']) == 2 and min(result['ms_per_turn']) > 0
    assert 1e5 < result['peak_bytes'] < 1e9
    first, last = result['marks']
    assert (first['frame'], last['frame']) == (50, 60)
    assert first['state_bytes'] == last['state_bytes'] > 0 and first['held_bytes'] > 1e7
    assert result['bytes_ratio'] == 1 and result['bounded']
    assert (saved['batch'], saved['rollout']) == (2, 60)
    assert 'tiny_digits' in capsys.readouterr().out


def test_a_growing_memory_is_reported_and_passes_the_check(tool, prediction, config):
    args = tool['parse_args'](['prediction', config, '--turns', '0', '--rollout', '80', '--device', 'cpu'])
    cfg = prediction.read_config(config, {'model.memory': dict(_delete_=True, type='GrowingMemory', every=1)})
    result = prediction.measure_rollout(cfg, args)
    assert result['bytes_ratio'] > 1.02 and not result['bounded']
    assert prediction.grown(dict(growing=result)) == []
    (line,) = prediction.grown(dict(growing=result | dict(bounded=True, time_ratio=1.0)))
    assert 'growing: bytes of last / first is' in line and 'expected at most 1.02' in line


def test_what_is_too_slow_fails_the_check(tool, prediction, monkeypatch, config):
    argv = ['prediction', config, *shlex.split('--turns 0 --rollout 51 --device cpu')]
    monkeypatch.setattr(prediction, 'MAX_RATIOS', dict(time=0))
    assert tool['main'](argv) == 0
    assert tool['main']([*argv, '--check']) == 1


def test_steps_are_of_the_configs_sizes_and_change_the_weights(tool, prediction):
    args = tool['parse_args'](['prediction', str(DIGITS), '--batch', '3', '--device', 'cpu'])
    options = {'model.memory.hidden_channels': 4, 'train_dataloader.dataset.size': 16}
    step = prediction.TrainingStep(prediction.read_config(str(DIGITS), options), args)
    assert step.frames.shape == (3, 20, 1, 16, 16)
    before = {name: weight.clone() for name, weight in step.model.named_parameters()}
    step()
    assert all((weight - before[name]).abs().max() > 0 for name, weight in step.model.named_parameters())


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ('--rollout 50', '--rollout: expected 0 or more than 50, got 50'),
        ('--turns 0', 'nothing to do'),
        ('--batch 0', '--batch of at least 1'),
        ('nowhere.py', 'config nowhere.py: no such file'),
    ],
)
def test_wrong_arguments_are_named(tool, config, options, message, capsys):
    with pytest.raises(SystemExit):
        tool['main'](['prediction', config, *shlex.split(options)])
    assert message in capsys.readouterr().err


def test_a_segmentors_config_is_refused(tool):
    with pytest.raises(ValueError, match='VOSegmentor'):
        tool['main'](['prediction', str(ROOT / 'tests/data/small_vos.py'), '--turns', '1', '--device', 'cpu'])
