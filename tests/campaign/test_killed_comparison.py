"""``compare_memories.py`` itself is killed: run again, it ends with the figures of a run that nothing
stopped."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest
from helpers.comparisons import start_checkpoint
from helpers.runs import DATA, ROOT

from mmstremn.comparison.scores import compared_scores

SMALL = DATA / 'small_vos.py'
TOOL = ROOT / 'tools/analysis_tools/compare_memories.py'
FEW = ['--cfg-options', 'test_dataloader.dataset.num_videos=2', 'train_dataloader.dataset.clip_length=4']
SEEN = ['job.json', 'train/*.log', 'train/*.pth', 'trained.json', 'row.json']
"""It is killed once one of these files of the row is there."""
PATIENCE = 300  # seconds


@pytest.fixture(scope='module')
def start(tmp_path_factory):
    return start_checkpoint(tmp_path_factory.mktemp('start'))


def compare(out, start) -> subprocess.Popen:
    budget = ['--iters', '3', '--seeds', '1', '--start', start]
    command = [sys.executable, TOOL, SMALL, '--out', out, '--memories', 'fifo', *budget, *FEW]
    environment = os.environ | dict(PYTHONPATH=os.pathsep.join([str(ROOT), str(DATA)]))
    return subprocess.Popen([*map(str, command)], env=environment)


def figures(out) -> dict[str, float]:
    row = json.loads((out / 'rows/fifo/seed_0/row.json').read_text())
    (listed,) = json.loads((out / 'leaderboard.json').read_text())['rows']
    assert listed == row
    return {key: row[key] for key in compared_scores(row)}


@pytest.fixture(scope='module')
def uninterrupted(start, tmp_path_factory) -> dict[str, float]:
    out = tmp_path_factory.mktemp('uninterrupted')
    assert compare(out, start).wait() == 0
    return figures(out)


def test_a_killed_comparison_goes_on_at_once(start, uninterrupted, size, tmp_path):
    for seen in random.Random(0).sample(SEEN, size(1, len(SEEN))):
        out = tmp_path / seen.replace('/', '_').replace('*', '')
        with compare(out, start) as process:
            deadline = time.monotonic() + PATIENCE
            while not list(out.glob(f'rows/fifo/seed_0/{seen}')):
                assert process.poll() is None and time.monotonic() < deadline, seen
                time.sleep(0.01)
            process.send_signal(signal.SIGKILL)
        with compare(out, start) as again:
            assert again.wait() == 0, seen
        assert figures(out) == uninterrupted, seen
