"""Files and folders that are written aside."""

import os
import subprocess
import sys

import pytest
from helpers.runs import ROOT

from mmstremn.utils.atomic import check_place, folder_written_aside, write_json, written_aside


def test_a_failure_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    path = tmp_path / 'new/a.txt'
    with written_aside(path) as partial:
        partial.write_text('first')
        assert not path.exists()
    with pytest.raises(KeyError), written_aside(path) as partial:
        partial.write_text('half')
        raise KeyError
    with pytest.raises(TypeError):
        write_json(path, {('a', 'b'): 1})
    assert path.read_text() == 'first'
    assert [*path.parent.iterdir()] == [path]


def test_a_failure_leaves_the_old_folder_and_nothing_beside_it(tmp_path):
    folder = tmp_path / 'new/masks'
    with folder_written_aside(folder) as partial:
        (partial / 'a.png').write_text('first')
    with pytest.raises(KeyError), folder_written_aside(folder) as partial:
        (partial / 'b.png').write_text('second')
        raise KeyError
    assert [*folder.parent.rglob('*')] == [folder, folder / 'a.png']


def test_what_a_killed_run_left_aside_does_not_get_in(tmp_path):
    (tmp_path / 'masks.partial').mkdir()
    (tmp_path / 'masks.partial/old.png').write_text('killed')
    with folder_written_aside(tmp_path / 'masks') as partial:
        (partial / 'a.png').write_text('new')
    assert [path.name for path in (tmp_path / 'masks').iterdir()] == ['a.png']


def test_a_place_is_checked_before_the_work(tmp_path):
    (tmp_path / 'file').touch()
    for path in (tmp_path / 'new/deep.json', tmp_path / 'file'):
        check_place(path)
    for path, message in (
        (tmp_path, 'is a folder'),
        (tmp_path / 'file/a.json', 'file. is no folder that can be'),
    ):
        with pytest.raises(OSError, match=message):
            check_place(path)


def test_a_link_to_a_folder_stays_and_its_content_is_replaced(tmp_path):
    (tmp_path / 'disk').mkdir()
    (tmp_path / 'masks').symlink_to(tmp_path / 'disk')
    for name in 'ab':
        with folder_written_aside(tmp_path / 'masks') as partial:
            (partial / f'{name}.png').write_text(name)
        assert (tmp_path / 'masks').is_symlink()
        assert sorted(tmp_path.rglob('*')) == [
            tmp_path / 'disk',
            tmp_path / f'disk/{name}.png',
            tmp_path / 'masks',
        ]


def test_a_folder_is_no_path_of_a_file(tmp_path):
    with pytest.raises(IsADirectoryError, match='is a folder'), written_aside(tmp_path):
        pytest.fail('nothing is written')


def killed(*args):
    raise KeyboardInterrupt


@pytest.mark.parametrize('step', [1, 2])
def test_no_kill_costs_what_a_folder_held(tmp_path, monkeypatch, step):
    """At the first rename, and between the two; ``finally`` does not run in a process that is killed."""
    folder = tmp_path / 'masks'
    (folder / 'own').mkdir(parents=True)
    for name in ('a.png', 'notes.txt', 'own/b.png'):
        (folder / name).write_text('first')
    renames, replace = [], os.replace

    def until_killed(source, target):
        renames.append(target)
        killed() if len(renames) >= step else replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr('os.replace', until_killed)
        patch.setattr('shutil.rmtree', lambda *args, **kwargs: None)
        with pytest.raises(KeyboardInterrupt), folder_written_aside(folder) as partial:
            (partial / 'a.png').write_text('second')
    with folder_written_aside(folder) as partial:
        (partial / 'c.png').write_text('third')
    files = {
        str(path.relative_to(tmp_path)): path.read_text() for path in tmp_path.rglob('*') if path.is_file()
    }
    assert files == {'masks/c.png': 'third', 'masks/notes.txt': 'first', 'masks/own/b.png': 'first'}


def test_text_files_are_utf8_whatever_the_system_prefers():
    rule = ['--preview', '--select', 'PLW1514', '--no-cache', '--isolated']
    command = [sys.executable, '-m', 'ruff', 'check', *rule, 'mmstremn', 'tools', 'demo']
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout
