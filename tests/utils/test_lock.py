"""A folder belongs to one process at a time."""

import multiprocessing
import signal

import pytest
from helpers.runs import TINY, run_tool

from mmstremn.utils.lock import NAME, hold_folder

_context = multiprocessing.get_context('spawn')


def _hold(folder, held, done):
    hold_folder(folder)
    held.set()
    done.wait(60)


def test_a_second_process_is_refused_until_the_first_ends(tmp_path):
    held, done = _context.Event(), _context.Event()
    process = _context.Process(target=_hold, args=(tmp_path, held, done))
    process.start()
    assert held.wait(60)
    with pytest.raises(
        RuntimeError, match=f'process {process.pid} writes to this folder.*another --work-dir'
    ):
        hold_folder(tmp_path)
    process.kill()
    process.join()
    hold_folder(tmp_path)
    hold_folder(tmp_path)  # again, by the process that has it


def test_a_killed_training_leaves_its_folder_free(tmp_path):
    arguments = [TINY, '--work-dir', tmp_path]
    assert run_tool('train', arguments, kill=('iteration', '4')) == -signal.SIGKILL
    assert (tmp_path / NAME).is_file()
    assert run_tool('train', [*arguments, '--resume']) == 0


def test_a_second_training_in_a_folder_is_refused(tmp_path):
    hold_folder(tmp_path)
    output = tmp_path.parent / f'{tmp_path.name}.txt'
    assert run_tool('train', [TINY, '--work-dir', tmp_path], output=output) != 0
    assert 'writes to this folder: wait for it' in output.read_text()
    assert not list(tmp_path.glob('*.pth'))
