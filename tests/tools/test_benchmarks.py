"""The benchmarks of growth, of reading, of many objects and of training."""

import json
import runpy
import shlex
import time

import pytest
import torch
from helpers.runs import DATA, ROOT
from mmengine.config import Config
from rich.console import Console

from mmstremn.apis import init_segmentor
from mmstremn.engine.progress import StagedProgress
from mmstremn.memory import MEMORIES, SELECTORS

SMALL = DATA / 'small_vos.py'


TOOL = runpy.run_path(str(ROOT / 'tools/analysis_tools/benchmark.py'))
main, parse_args, KINDS = TOOL['main'], TOOL['parse_args'], TOOL['KINDS']


def test_read_is_measured_beside_bare_attention(tmp_path, capsys):
    file = tmp_path / 'new/read.json'
    sizes = shlex.split(
        '--slots 2 --grid 3 5 --key-channels 8 --value-channels 16 --objects 2 --turns 3 --device cpu'
    )
    assert main(['read', *sizes, '--out', str(file)]) == 0
    saved = json.loads(file.read_text())
    (result,) = saved['results']
    assert len(result['ms_per_turn']['read']) == len(result['ms_per_turn']['bare']) == 3
    assert result['ratio'] > 0
    assert saved['slots'] == 2
    assert f'ratio {result["ratio"]:.3f}' in capsys.readouterr().out


def test_both_of_a_read_benchmark_have_the_same_sizes():
    read = KINDS['read']
    argv = shlex.split('--slots 2 --grid 3 5 --key-channels 8 --value-channels 16 --objects 2')
    functions = read.make_functions(parse_args(['read', *argv]), torch.device('cpu'))
    readout, state = functions['read']()
    assert readout.shape == (1, 2, 15, 16)
    assert functions['bare']().shape == (1, 1, 15, 32)
    assert state.written_at.tolist() == [[[0, 1]]]  # full


def test_objects_are_measured_by_step(tmp_path, capsys):
    file = tmp_path / 'objects.json'
    argv = [
        'objects',
        str(SMALL),
        *shlex.split('--objects 1 3 --size 48 64 --warm-up 1 --turns 2 --device cpu'),
        '--out',
        str(file),
    ]
    assert main(argv) == 0
    saved = json.loads(file.read_text())
    assert [row['objects'] for row in saved['results']] == [1, 3]
    for row in saved['results']:
        assert set(row['ms_per_step']) == set(KINDS['objects'].STEPS)
        assert min(row['ms_per_step'].values()) > 0
    assert saved['ratio'] > 0
    assert '3 / 1' in capsys.readouterr().out


def test_segment_is_measured_by_step(tmp_path, capsys):
    out = tmp_path / 'segment.json'
    options = '--frames 3 --turns 1 --size 64 96 --objects 2 --threads 1 --device cpu --out'
    assert main(['segment', *options.split(), str(out)]) == 0
    found = json.loads(out.read_text())
    assert list(found['results']) == ['float32', 'bfloat16']
    for row in found['results'].values():
        steps = row['cpu_ms_per_frame']
        computed = ('decode frame', 'key', 'read', 'decode mask', 'value', 'masks', 'overlay', 'csv')
        assert all(steps[name] > 0 for name in computed)
        assert sum(steps.values()) == pytest.approx(2 * steps['all'], abs=0.1)
    assert found['results']['float32']['ratio_to_float32'] == 1
    assert '| decode mask' in capsys.readouterr().out


def test_training_is_measured_on_loaded_and_on_cached_batches(tmp_path, capsys):
    file = tmp_path / 'training.json'
    steps = '--steps 2 --warm-up 1 --turns 3 --device cpu --cfg-options train_dataloader.num_workers=1'
    assert main(['training', str(SMALL), '--out', str(file), *steps.split()]) == 0
    saved = json.loads(file.read_text())
    assert {name: len(values) for name, values in saved['ms_per_turn'].items()} == dict(loaded=3, cached=3)
    assert saved['ratio'] > 0 < saved['ms_per_batch']
    assert saved['workers'] == 1
    assert '(1 workers)' in capsys.readouterr().out


def test_a_loader_that_is_slow_is_seen():
    args = parse_args(['training', str(SMALL), '--steps', '2', '--warm-up', '0', '--turns', '1'])

    class SlowLoader:
        num_workers = 0

        def __iter__(self):
            while True:
                time.sleep(0.05)
                yield {}

    class Step:
        device = torch.device('cpu')

        def __call__(self, batch):
            time.sleep(0.01)

    result = KINDS['training'].measure(Step(), SlowLoader(), args, StagedProgress(Console(quiet=True)))
    assert result['ratio'] > 3
    assert result['ms_per_batch'] > 50


def test_a_ratio_above_the_bound_fails_the_check(monkeypatch, capsys):
    for name, argv in (
        ('read', '--slots 1 --grid 2 2 --turns 1 --device cpu'),
        ('training', f'{SMALL} --steps 1 --warm-up 0 --turns 1 --device cpu'),
        ('objects', f'{SMALL} --objects 1 2 --size 48 48 --warm-up 0 --turns 1 --device cpu'),
    ):
        monkeypatch.setattr(KINDS[name], 'MAX_RATIO', 0)
        assert main([name, *argv.split()]) == 0
        assert main([name, *argv.split(), '--check']) == 1
        assert f'benchmark {name}: the ratio is' in capsys.readouterr().err


@pytest.mark.parametrize('number', ['0', '64'])
def test_a_wrong_number_of_objects_is_named(number, capsys):
    with pytest.raises(SystemExit):
        main(['objects', str(SMALL), '--size', '48', '64', '--objects', number])
    assert f'expected numbers in 1..63, got [{number}]' in capsys.readouterr().err


def test_all_memories_are_all_that_there_are():
    args = parse_args(['growth', str(SMALL), '--all-memories'])
    assert args.memories == [cls.__name__ for cls in (*SELECTORS, *MEMORIES)]
    assert [cls.__name__ for cls in MEMORIES if not cls.bounded] == ['GrowingMemory']


def test_benchmark_measures_fixed_and_growing_memories(tmp_path, capsys):
    sizes = [
        '--frames',
        '6',
        '18',
        '--size',
        '48',
        '64',
        '--window',
        '3',
        '--turns',
        '2',
        '--device',
        'cpu',
        '--objects',
        '2',
    ]
    file = tmp_path / 'benchmark.json'
    argv = ['growth', str(SMALL), *sizes, '--memories', 'config', 'GrowingMemory', '--out', str(file)]
    assert main(argv) == 0
    saved = json.loads(file.read_text())
    fixed, growing = saved['results']['config'], saved['results']['GrowingMemory']
    assert (fixed['fixed'], fixed['bytes_ratio']) == (True, 1.0)
    assert not growing['fixed'] and growing['bytes_ratio'] > 1.5
    assert [mark['frame'] for mark in fixed['marks']] == [6, 18]
    assert all(mark['ms_per_frame'] > 0 and mark['peak_memory_bytes'] > 1e6 for mark in fixed['marks'])
    assert saved['command'].endswith(f'--out {file}')
    assert 'GrowingMemory' in capsys.readouterr().out


def test_benchmark_builds_the_memory_it_names():
    for name in KINDS['growth'].SELECTOR_NAMES:
        memory = init_segmentor(
            KINDS['growth'].with_memory(Config.fromfile(SMALL), name), device='cpu'
        ).memory
        assert (type(memory.selector).__name__, memory.num_slots) == (name, 3)


def test_benchmark_check_names_what_grew():
    results = {
        'good': dict(fixed=True, bytes_ratio=1.0, time_ratio=1.09),
        'growing': dict(fixed=False, bytes_ratio=9.0, time_ratio=9.0),
        'large': dict(fixed=True, bytes_ratio=1.03, time_ratio=1.0),
        'slow': dict(fixed=True, bytes_ratio=1.0, time_ratio=1.11),
    }
    lines = KINDS['growth'].grown(results)
    assert ['large: bytes' in lines[0], 'slow: time' in lines[1]] == [True, True]
    assert len(lines) == 2


@pytest.mark.parametrize(
    'argv, message',
    [
        (['--frames', '50', '20'], 'expected ascending numbers above --window'),
        (['--frames', '5', '20'], 'expected ascending numbers above --window'),
        (['--objects', '255'], '--objects: expected numbers in 1..254'),
        (['--checkpoint', 'a.pth', '--all-selectors'], "--checkpoint fits the config's own memory only"),
    ],
)
def test_benchmark_refuses_bad_arguments(capsys, argv, message):
    with pytest.raises(SystemExit):
        main(['growth', str(SMALL), *argv])
    assert message in capsys.readouterr().err
