"""The benchmarks of reading, of many objects and of training; that of growth is in test_demo.py."""

import json
import runpy
import shlex
import time

import pytest
from helpers.runs import DATA, ROOT
from rich.console import Console

from mmstremn.engine.progress import StagedProgress

SMALL = DATA / 'small_vos.py'


def load(name):
    return runpy.run_path(str(ROOT / f'tools/analysis_tools/{name}.py'))


def test_read_is_measured_beside_bare_attention(tmp_path, capsys):
    file = tmp_path / 'new/read.json'
    sizes = shlex.split(
        '--slots 2 --grid 3 5 --key-channels 8 --value-channels 16 --objects 2 --turns 3 --device cpu'
    )
    assert load('benchmark_read')['main']([*sizes, '--out', str(file)]) == 0
    saved = json.loads(file.read_text())
    (result,) = saved['results']
    assert len(result['ms_per_turn']['read']) == len(result['ms_per_turn']['bare']) == 3
    assert result['ratio'] > 0
    assert saved['slots'] == 2
    assert f'ratio {result["ratio"]:.3f}' in capsys.readouterr().out


def test_both_of_a_read_benchmark_have_the_same_sizes():
    tool = load('benchmark_read')
    argv = shlex.split('--slots 2 --grid 3 5 --key-channels 8 --value-channels 16 --objects 2')
    functions = tool['make_functions'](tool['parse_args'](argv), tool['torch'].device('cpu'))
    readout, state = functions['read']()
    assert readout.shape == (1, 2, 15, 16)
    assert functions['bare']().shape == (1, 1, 15, 32)
    assert state.written_at.tolist() == [[[0, 1]]]  # full


def test_objects_are_measured_by_step(tmp_path, capsys):
    file, tool = tmp_path / 'objects.json', load('benchmark_objects')
    argv = [
        str(SMALL),
        *shlex.split('--objects 1 3 --size 48 64 --warm-up 1 --turns 2 --device cpu'),
        '--out',
        str(file),
    ]
    assert tool['main'](argv) == 0
    saved = json.loads(file.read_text())
    assert [row['objects'] for row in saved['results']] == [1, 3]
    for row in saved['results']:
        assert set(row['ms_per_step']) == set(tool['STEPS'])
        assert min(row['ms_per_step'].values()) > 0
    assert saved['ratio'] > 0
    assert '3 / 1' in capsys.readouterr().out


def test_training_is_measured_on_loaded_and_on_cached_batches(tmp_path, capsys):
    file, tool = tmp_path / 'training.json', load('benchmark_training')
    steps = '--steps 2 --warm-up 1 --turns 3 --device cpu --cfg-options train_dataloader.num_workers=1'
    assert tool['main']([str(SMALL), '--out', str(file), *steps.split()]) == 0
    saved = json.loads(file.read_text())
    assert {name: len(values) for name, values in saved['ms_per_turn'].items()} == dict(loaded=3, cached=3)
    assert saved['ratio'] > 0 < saved['ms_per_batch']
    assert saved['workers'] == 1
    assert '(1 workers)' in capsys.readouterr().out


def test_a_loader_that_is_slow_is_seen():
    tool = load('benchmark_training')
    args = tool['parse_args'](['CONFIG', '--steps', '2', '--warm-up', '0', '--turns', '1'])

    class SlowLoader:
        num_workers = 0

        def __iter__(self):
            while True:
                time.sleep(0.05)
                yield {}

    class Step:
        device = tool['torch'].device('cpu')

        def __call__(self, batch):
            time.sleep(0.01)

    result = tool['measure'](Step(), SlowLoader(), args, StagedProgress(Console(quiet=True)))
    assert result['ratio'] > 3
    assert result['ms_per_batch'] > 50


def test_a_ratio_above_the_bound_fails_the_check(monkeypatch):
    for name, argv in (
        ('benchmark_read', '--slots 1 --grid 2 2 --turns 1 --device cpu'),
        ('benchmark_training', f'{SMALL} --steps 1 --warm-up 0 --turns 1 --device cpu'),
        ('benchmark_objects', f'{SMALL} --objects 1 2 --size 48 48 --warm-up 0 --turns 1 --device cpu'),
    ):
        tool = load(name)
        tool['main'].__globals__['MAX_RATIO'] = 0
        assert tool['main'](argv.split()) == 0
        assert tool['main']([*argv.split(), '--check']) == 1


@pytest.mark.parametrize('number', ['0', '64'])
def test_a_wrong_number_of_objects_is_named(number, capsys):
    with pytest.raises(SystemExit):
        load('benchmark_objects')['main']([str(SMALL), '--size', '48', '64', '--objects', number])
    assert f'expected numbers in 1..63, got [{number}]' in capsys.readouterr().err


def test_all_memories_are_all_that_there_are():
    tool = load('benchmark')
    args = tool['parse_args']([str(SMALL), '--all-memories'])
    assert args.memories == [cls.__name__ for cls in (*tool['SELECTORS'], *tool['MEMORIES'])]
    assert [cls.__name__ for cls in tool['MEMORIES'] if not cls.bounded] == ['GrowingMemory']
