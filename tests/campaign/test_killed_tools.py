"""Tools that are killed (SIGKILL) in mid-run: no half result looks whole, and a rerun completes."""

import random
import signal

import pytest
from helpers.annotation_files import add_frames, add_labelme, shape
from helpers.runs import run_tool

FRAMES = 6
KILLS = [('copy', str(k)) for k in range(FRAMES)] + [('flush', str(k)) for k in range(4 * FRAMES)]
KILLS += [('before rename', 'out'), ('after rename', 'out')]


def content(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob('*') if path.is_file()}


@pytest.fixture(scope='module')
def source(tmp_path_factory):
    folder = add_frames(tmp_path_factory.mktemp('kills') / 'frames', FRAMES)
    for index in range(FRAMES):
        add_labelme(folder, index, [shape(index, 1), shape(index, 2)])
    return folder


@pytest.fixture(scope='module')
def whole(source):
    out = source.parent / 'whole'
    assert run_tool('dataset_converters/to_davis', ['labelme', source, out]) == 0
    return content(out)


def test_a_killed_conversion_leaves_all_or_nothing(source, whole, size, tmp_path):
    for number, kill in enumerate(random.Random(0).sample(KILLS, size(6, len(KILLS)))):
        out = tmp_path / str(number) / 'out'
        assert (
            run_tool('dataset_converters/to_davis', ['labelme', source, out], kill=kill) == -signal.SIGKILL
        ), kill
        if out.exists():
            assert content(out) == whole, kill
            continue
        assert run_tool('dataset_converters/to_davis', ['labelme', source, out]) == 0
        assert content(out) == whole, kill
        assert [path.name for path in out.parent.iterdir()] == ['out'], kill
