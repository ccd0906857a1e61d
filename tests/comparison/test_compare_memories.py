"""The comparison of memories on the smallest model: rows, their resumption and failure, the checked row, what
is refused."""

import json
import os
import runpy
import shutil
import subprocess
import sys

import pytest
import torch
from helpers.comparisons import start_checkpoint
from helpers.runs import DATA, ROOT, run_tool

from mmstremn.comparison import compare
from mmstremn.comparison.row_files import file_sha256

SMALL = str(DATA / 'small_vos.py')
TOOL = ROOT / 'tools/analysis_tools/compare_memories.py'
FEW = ['--cfg-options', 'test_dataloader.dataset.num_videos=2', 'train_dataloader.dataset.clip_length=4']
main = runpy.run_path(str(TOOL))['main']


def run_phase(phase, folder, threads, report, kill=None):
    """As ``compare.run_phase``, in a fork of a server that has imported torch already."""
    return run_tool('../mmstremn/comparison/run_row', [phase, folder], kill=kill, output=folder / 'log.txt')


@pytest.fixture(autouse=True)
def quick_processes(monkeypatch):
    monkeypatch.setattr(compare, 'run_phase', run_phase)


@pytest.fixture(scope='module')
def start(tmp_path_factory):
    return start_checkpoint(tmp_path_factory.mktemp('start'))


def arguments(out, start, *argv, memories=('fifo', 'stm')):
    budget = ['--iters', '3', '--seeds', '1', '--start', start]
    return [str(part) for part in (SMALL, '--out', out, '--memories', *memories, *budget, *argv, *FEW)]


@pytest.fixture(scope='module')
def finished(tmp_path_factory, start):
    """The folder of a comparison of two memories, one seed each."""
    out = tmp_path_factory.mktemp('finished')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compare, 'run_phase', run_phase)
        assert main(arguments(out, start)) == 0
    return out


@pytest.fixture
def copied(finished, tmp_path):
    """A copy that may be changed."""
    return shutil.copytree(finished, tmp_path / 'copy')


def read(out, name, seed=0):
    return json.loads((out / f'rows/{name}/seed_{seed}/row.json').read_text())


def forbid(*args):
    raise AssertionError('nothing is left to run')


def test_rows_hold_what_reproduces_and_describes_them(finished, start):
    row = read(finished, 'fifo')
    assert (row['memory'], row['seed'], row['iterations'], row['memory_config']['num_slots']) == (
        'fifo',
        0,
        3,
        4,
    )
    assert row['videos'].keys() == {'dev_00000', 'dev_00001'}
    assert abs((row['J'] + row['F']) / 2 - row['J&F']) < 1e-9
    assert row['setup']['weights_sha256'] == file_sha256(start)
    assert row['checkpoint_sha256'] == file_sha256(row['checkpoint'])
    assert row['missing_keys'] == []
    assert all(row[key] > 0 for key in ('ms_per_frame', 'peak_memory_mib', 'state_bytes', 'training_seconds'))
    assert row['versions']['torch'] == torch.__version__
    assert str(finished) in row['command']


def test_state_bytes_are_the_largest_of_the_streams(finished):
    positions, key, value = 9, 8, 16  # 48 x 48 pixels at stride 16
    one_object = 4 * (4 * positions * (key + value))  # four slots
    assert one_object < read(finished, 'fifo')['state_bytes'] < 4 * one_object
    assert read(finished, 'stm')['state_bytes'] != read(finished, 'fifo')['state_bytes']


def test_start_lacks_what_the_memory_adds_to_the_model(finished):
    missing = read(finished, 'stm')['missing_keys']
    assert missing and all(key.startswith('value_encoder.') for key in missing)


def test_leaderboard_has_a_line_for_each_memory_and_all_rows(finished):
    board = json.loads((finished / 'leaderboard.json').read_text())
    assert {row['memory'] for row in board['rows']} == {'fifo', 'stm'}
    best, second = board['table']
    assert best['J&F'] >= second['J&F']
    for name in ('leaderboard.md', 'leaderboard.html'):
        text = (finished / name).read_text()
        assert all(f'{100 * line["J"]:.1f}' in text and line['memory'] in text for line in board['table'])


def test_finished_rows_are_skipped(finished, start, monkeypatch, capsys):
    monkeypatch.setattr(compare, 'run_phase', forbid)
    assert main(arguments(finished, start, memories=['fifo'])) == 0
    assert 'stm' in capsys.readouterr().out  # the table is that of the folder


def test_killed_row_goes_on_as_if_nothing_had_happened(finished, start, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(compare, 'run_phase', lambda *args: run_phase(*args, kill=('iteration', '2')))
    assert main(arguments(tmp_path, start, memories=['fifo'])) == 1
    error = capsys.readouterr().err
    assert 'fifo, seed 0: training failed with exit code -9' in error
    assert 'Saving checkpoint at 2 iterations' in error  # the end of its log
    assert not list(tmp_path.rglob('row.json'))

    phases = []
    monkeypatch.setattr(compare, 'run_phase', lambda *args: phases.append(args[0]) or run_phase(*args))
    assert main(arguments(tmp_path, start, '--drop-checkpoints', memories=['fifo'])) == 0
    assert phases == ['train', 'test']
    again, before = read(tmp_path, 'fifo'), read(finished, 'fifo')
    assert (again['videos'], again['fingerprint']) == (before['videos'], before['fingerprint'])
    assert again['missing_keys'] == []
    logs = [path.read_text() for path in sorted((tmp_path / 'rows/fifo/seed_0/train').glob('*/*.log'))]
    assert 'resumed epoch: 0, iter: 2' in logs[-1]
    assert not list(tmp_path.rglob('*.pth'))


def test_failing_row_is_reported_with_the_end_of_its_log(start, tmp_path, capsys):
    """The other one draws at random, in testing too, by its seed."""
    file = tmp_path / 'memories.py'
    slots = "dict(type='SlotMemory', num_slots={}, selector=dict(type='RandomSelector'))"
    file.write_text(f'memories = dict(bad={slots.format(-1)}, good={slots.format(2)})\n')
    argv = [SMALL, '--out', tmp_path, '--memory-file', file, '--checkpoint', start, '--seeds', '2', *FEW]
    assert main([str(part) for part in (*argv, 'test_dataloader.dataset.num_frames=8')]) == 1
    captured = capsys.readouterr()
    assert 'bad, seed 0: testing failed with exit code 1' in captured.err
    assert 'num_slots' in captured.err
    rows = [read(tmp_path, 'good', seed) for seed in range(2)]
    assert [row['training_seconds'] for row in rows] == [0, 0]
    assert rows[0]['videos'] != rows[1]['videos']
    assert 'good' in captured.out


def test_checkpoint_that_lacks_parameters_is_refused_unless_allowed(finished, tmp_path, capsys):
    checkpoint = finished / 'rows/fifo/seed_0/train/iter_3.pth'
    argv = [SMALL, '--memories', 'gumbel', '--checkpoint', str(checkpoint), '--seeds', '1', *FEW]
    assert main([*argv, '--out', str(tmp_path / 'strict')]) == 1
    error = capsys.readouterr().err
    assert 'the checkpoint lacks' in error and 'memory.selector' in error
    assert main([*argv, '--out', str(tmp_path / 'allowed'), '--allow-missing']) == 0
    row = read(tmp_path / 'allowed', 'gumbel')
    assert row['missing_keys'] and all(key.startswith('memory.selector') for key in row['missing_keys'])
    assert row['checkpoint_sha256'] == file_sha256(checkpoint)


def test_changed_config_is_refused_or_overwritten(copied, start, monkeypatch, capsys):
    monkeypatch.setattr(compare, 'run_phase', forbid)
    changed = ['--iters', '2']
    assert main(arguments(copied, start, *changed)) == 1
    assert 'rows/fifo/seed_0: made with another iters (3, now 2)' in capsys.readouterr().err
    file = copied / 'memories.py'
    file.write_text("memories = dict(fifo=dict(type='GrowingMemory'))\n")
    assert main(arguments(copied, start, '--memory-file', file, memories=['fifo'])) == 1
    assert 'rows/fifo/seed_0: made with another memory_config: ' in capsys.readouterr().err
    assert main(arguments(copied, start, *changed, '--overwrite', memories=['fifo'])) == 1
    assert 'rows/stm/seed_0: made with another iters' in capsys.readouterr().err  # not asked for: left alone
    monkeypatch.setattr(
        compare, 'run_phase', lambda phase, folder, *rest: (folder / 'log.txt').write_text('new') and 1
    )
    assert main(arguments(copied, start, *changed, '--overwrite')) == 1
    assert 'fifo, seed 0: training failed' in capsys.readouterr().err
    assert not list(copied.rglob('row.json'))


def test_checked_row_gives_the_same(finished, tmp_path, capsys):
    shutil.copy(finished / 'leaderboard.json', tmp_path)  # nothing else is needed
    assert main(['--check-row', 'fifo', '--out', str(tmp_path)]) == 0
    output = capsys.readouterr().out
    row = read(finished, 'fifo')
    assert f'{row["J&F"]:.6f} committed, {row["J&F"]:.6f} now' in output
    assert 'another' not in output


def test_checked_row_that_differs_is_named(finished, start, tmp_path, monkeypatch, capsys):
    board = json.loads((finished / 'leaderboard.json').read_text())
    row = next(row for row in board['rows'] if row['memory'] == 'fifo')
    row['F'] += 0.0011
    (tmp_path / 'leaderboard.json').write_text(json.dumps(board))
    result = (finished / 'rows/fifo/seed_0/row.json').read_text()
    monkeypatch.setattr(compare, 'run_row', lambda row, *rest: (row.folder / 'row.json').write_text(result))
    assert main(['--check-row', 'fifo:0', '--out', str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert 'fifo:0: F: ' in error and 'J: ' not in error
    assert main(['--check-row', 'fifo:0', '--out', str(tmp_path), '--tolerance', '0.01']) == 0
    other = tmp_path / 'other.pth'
    shutil.copy(start, other)
    assert (
        main(['--check-row', 'fifo', '--out', str(tmp_path), '--start', str(other), '--tolerance', '0.01'])
        == 0
    )
    torch.save({}, other)
    assert main(['--check-row', 'fifo', '--out', str(tmp_path), '--start', str(other)]) == 1
    assert 'expected that of the leaderboard' in capsys.readouterr().err
    assert main(['--check-row', 'fifo:1', '--out', str(tmp_path)]) == 1
    assert "'fifo:1' is not in" in capsys.readouterr().err


def test_tool_from_the_command_line(start, tmp_path):
    """In real processes and from another folder."""
    argv = [
        SMALL,
        '--memories',
        'fifo',
        '--checkpoint',
        start,
        '--seeds',
        '1',
        '--jobs',
        '2',
        '--out',
        tmp_path,
        *FEW,
    ]
    environment = dict(os.environ, OMP_NUM_THREADS='2', PYTHONPATH=str(ROOT))
    result = subprocess.run(
        map(str, [sys.executable, TOOL, *argv]), cwd='/', env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert 'testing fifo, seed 0' in result.stdout and 'J&F' in result.stdout
    assert read(tmp_path, 'fifo')['threads'] == 1  # two threads for two rows at a time
    assert 'mmengine - INFO' in (tmp_path / 'rows/fifo/seed_0/log.txt').read_text()


@pytest.mark.parametrize(
    'config, options, message',
    [
        (SMALL, ['--memories', 'fifo', 'filo'], "'filo' is unknown; there are: gumbel, gumbel_align, "),
        (SMALL, ['--start', 'none.pth'], 'checkpoint none.pth: no such file'),
        (SMALL, ['--start', 'https://host/x.pth'], 'expected a local file'),
        (SMALL, ['--memory-file', SMALL], 'expected a dict `memories`'),
        (SMALL, ['--memory-file', 'none.py'], 'memory file none.py: no such file'),
        (SMALL, ['--cfg-options', 'model.memory.num_slots=8'], 'the memories are those of the memory file'),
        (str(ROOT / 'configs/_base_/default_runtime.py'), [], 'expected a config with model.memory'),
        ('none.py', [], 'config none.py: no such file'),
    ],
)
def test_what_is_refused(config, options, message, tmp_path, capsys):
    assert main([config, '--out', str(tmp_path), *options]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    'argv, message',
    [
        ([], 'expected either a config or --check-row'),
        ([SMALL, '--check-row', 'fifo'], 'expected either a config or --check-row'),
        ([SMALL, '--seeds', '0'], '--seeds must be at least 1'),
        ([SMALL, '--checkpoint', 'a.pth', '--iters', '3'], 'leave --iters out'),
        ([SMALL, '--allow-missing'], '--allow-missing is for --checkpoint'),
    ],
)
def test_bad_arguments(argv, message, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main([*argv, '--out', str(tmp_path)])
    assert message in capsys.readouterr().err
