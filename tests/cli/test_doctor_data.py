"""``mmstremn doctor --data``: every kind of data set is counted, and all that is missing is named."""

import gzip
import shutil

import numpy as np
import pytest
from helpers.davis_tree import add_sequence, draw_frame, draw_ids, save_ids
from helpers.photographs import add_pair
from helpers.prediction_files import flat_frames, write_pictures, write_video
from helpers.youtube_vos_tree import add_video
from PIL import Image

from mmstremn.cli import main
from mmstremn.cli.data_kinds import DATA_KINDS
from mmstremn.cli.doctor import KINDS
from mmstremn.datasets.prediction.human36m import SUBJECTS
from mmstremn.datasets.prediction.kth import PERSONS


def davis(root, year=2017):
    for name in ('bear', 'cow', 'dog'):
        add_sequence(root, name, [draw_ids(t) for t in range(4)], year=year)
    return [root / f'JPEGImages/480p/{name}/00001.jpg' for name in ('bear', 'dog')]


def youtube_vos(root):
    for name in ('a', 'b'):
        add_video(root / 'train', name, {1: 0})
    return [root / f'train/JPEGImages/{name}/00010.jpg' for name in ('a', 'b')]


def without_lists(root, split='valid'):
    for name in ('rat', 'cat'):
        for t in range(3):
            path = root / split / f'JPEGImages/{name}/{t:05d}.jpg'
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(draw_frame(draw_ids(t))).save(path)
        save_ids(root / split / f'Annotations/{name}/00000.png', draw_ids(0))
    return [root / split / f'JPEGImages/{name}/00000.jpg' for name in ('rat', 'cat')]


def photographs(root, layout):
    return [add_pair(root, str(k), layout=layout)[1] for k in range(3)][1:]


def kth(root):
    lines = []
    for person in (1, PERSONS['dev'][0], PERSONS['test'][0]):
        name = f'person{person:02d}_boxing_d1'
        write_video(root / f'boxing/{name}_uncomp.avi', flat_frames(range(25)))
        lines.append(f'{name} frames 1-25')
    (root / '00sequences.txt').write_text('\n'.join(lines))
    return [root / '00sequences.txt']


def human36m(root):
    for subject in sum(SUBJECTS.values(), ()):
        frames = {t: np.full((24, 32, 3), t, np.uint8) for t in range(1, 41)}
        write_pictures(root / f'S{subject}/Walking', frames)
    return [root / 'S9/Walking']


def moving_mnist(root):
    np.save(root / 'mnist_test_seq.npy', np.zeros((20, 3, 64, 64), np.uint8))
    header = np.array([2051, 5001, 28, 28], '>u4').tobytes()
    digits = root / 'train-images-idx3-ubyte.gz'
    digits.write_bytes(gzip.compress(header + bytes(5001 * 28 * 28), 1))
    return [digits]


TREES = {
    'DAVIS': (davis, 'val: 3 sequences, 12 frames, 12 masks'),
    'DAVIS2016': (lambda root: davis(root, 2016), 'val: 3 sequences, 12 frames, 12 masks'),
    'YouTubeVOS': (youtube_vos, 'train: 2 sequences, 16 frames, 16 masks'),
    'MOSE': (without_lists, 'valid: 2 sequences, 6 frames, 2 masks'),
    'LVOS': (without_lists, 'valid: 2 sequences, 6 frames, 2 masks'),
    'LongTimeVideo': (lambda root: without_lists(root, '.'), 'all: 2 sequences, 6 frames, 2 masks'),
    'FSS1000': (lambda root: photographs(root, 'fss1000'), 'all: 3 photographs, 3 frames, 3 masks'),
    'DUTS': (lambda root: photographs(root, 'duts'), 'all: 3 photographs'),
    'ECSSD': (lambda root: photographs(root, 'ecssd'), 'all: 3 photographs'),
    'Photographs': (lambda root: photographs(root, 'list'), 'all: 3 photographs'),
    'KTH': (kth, 'test: 1 videos, 25 frames'),
    'Human36M': (human36m, 'test: 2 videos, 80 frames'),
    'MovingMNIST': (moving_mnist, 'test: 3 clips, 60 frames'),
}


def test_every_kind_is_known():
    assert set(KINDS) == set(DATA_KINDS) == set(TREES)


@pytest.mark.parametrize('kind', KINDS)
def test_a_whole_data_set_is_counted_and_what_is_missing_is_named(kind, tmp_path, capsys):
    make, counts = TREES[kind]
    missing = make(tmp_path)
    argv = ['doctor', '--data', kind, str(tmp_path)]
    assert main(argv) == 0, capsys.readouterr().err
    out = capsys.readouterr().out
    assert counts in out and 'can be read' in out
    named = [path.parent if path.is_dir() or path.suffix == '.jpg' else path.name for path in missing]
    for path in missing:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert main([*argv, '--quick']) == 1
    error = capsys.readouterr().err
    assert all(str(path) in error for path in named), error


def test_damage_and_published_numbers_are_said(tmp_path, capsys):
    frames = [*davis(tmp_path), tmp_path / 'JPEGImages/480p/bear/00003.jpg']
    mask = tmp_path / 'Annotations/480p/cow/00001.png'
    assert main(['doctor', '--data', 'davis', str(tmp_path), '--quick']) == 0
    assert 'as published it has 30 sequences' in capsys.readouterr().out
    whole = {path: path.read_bytes() for path in [*frames, mask]}
    for path, content in whole.items():
        path.write_bytes(content[:-30])
    assert main(['doctor', '--data', 'davis', str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert all(str(path) in error for path in frames)
    for path in frames:
        path.write_bytes(whole[path])
    assert main(['doctor', '--data', 'davis', str(tmp_path)]) == 1
    assert str(mask) in capsys.readouterr().err
    assert main(['doctor', '--data', 'KTH', str(tmp_path / 'none')]) == 1
    assert 'none: no such folder, expected that of KTH' in capsys.readouterr().err
