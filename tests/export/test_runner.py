"""The runner of docs/deployment.md, where torch cannot be imported, gives the masks of OnnxSegmentor."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from helpers.export_cases import CASES
from helpers.runs import ROOT
from helpers.vos_cases import SquaresVideo, tiny_config, tiny_model
from mmengine.config import Config
from PIL import Image

pytest.importorskip('onnx', reason="needs the extra 'export'")
pytest.importorskip('onnxruntime', reason="needs the extra 'export'")

from mmstremn.export import OnnxSegmentor, export
from mmstremn.utils.palette import encode_palette_png

PAGE = (ROOT / 'docs/deployment.md').read_text()


T = 9


@pytest.fixture
def runner(tmp_path):
    """A function that runs it on a first mask, where torch cannot be imported, in a folder with an export."""
    torch.save(tiny_model(**CASES['shipped']).state_dict(), tmp_path / 'weights.pth')
    config = Config(dict(model=tiny_config(**CASES['shipped'])))
    export(config, tmp_path / 'weights.pth', out=tmp_path / 'onnx')
    (tmp_path / 'without/torch').mkdir(parents=True)
    (tmp_path / 'without/torch/__init__.py').write_text("raise ImportError('there is no torch')\n")
    code = PAGE.partition('## Without torch')[2].partition('```python\n')[2].partition('```')[0]
    (tmp_path / 'runner.py').write_text(code)
    environment = os.environ | dict(PYTHONPATH=str(tmp_path / 'without'))

    def run(mask, out='ids'):
        argv = [sys.executable, 'runner.py', 'onnx', 'frames', mask, out]
        return subprocess.run(
            argv, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True, timeout=120
        )

    return run


def write_frames(folder, video):
    (folder / 'frames').mkdir()
    for index in range(video.num_frames):
        Image.fromarray(video.frame(index)).save(folder / f'frames/{index:05d}.png')


@pytest.mark.parametrize('size', [(56, 70), (40, 56)])
def test_the_runner_without_torch(runner, size, tmp_path):
    video = SquaresVideo(T, size, (0, 0))
    write_frames(tmp_path, video)
    (tmp_path / 'first.png').write_bytes(encode_palette_png(video.mask(0)))
    done = runner('first.png')
    assert done.returncode == 0, done.stderr
    stream = OnnxSegmentor(tmp_path / 'onnx', threads=1).start(video.frame(0), video.mask(0))
    for index in range(1, T):
        found = np.asarray(Image.open(tmp_path / f'ids/{index:05d}.png'))
        expected = stream.step(video.frame(index))
        assert (found == expected).mean() > 0.999  # a pixel may be a tie
        assert len(np.unique(expected)) > 1


def test_the_runner_reads_black_and_white_masks_and_refuses_others(runner, tmp_path):
    video = SquaresVideo(T, (40, 56), (0, 0))
    write_frames(tmp_path, video)
    shown = Image.fromarray((video.mask(0) > 0).astype(np.uint8) * 255)
    for name, mask in (
        ('small.png', shown.crop((0, 0, 28, 40)).point(lambda level: level and 1)),
        ('colour.png', shown.convert('RGB')),
        ('empty.png', shown.point(lambda level: 0)),
    ):
        mask.save(tmp_path / name)
        done = runner(name)
        assert done.returncode == 1 and done.stderr.startswith(f'{name}: '), done.stderr
        assert 'Traceback' not in done.stderr and 'expected' in done.stderr
    shown.save(tmp_path / 'white.png')
    done = runner('white.png')
    assert done.returncode == 0, done.stderr
    first = np.asarray(Image.open(tmp_path / 'ids/00000.png'))
    assert np.array_equal(first, video.mask(0) > 0) and len(list((tmp_path / 'ids').iterdir())) == T


def test_the_runner_takes_the_pictures_of_a_folder_in_natural_order(runner, tmp_path):
    video = SquaresVideo(3, (40, 56), (0, 0))
    (tmp_path / 'frames').mkdir()
    for name, index in (('f2', 0), ('f10', 1), ('f100', 2)):
        Image.fromarray(video.frame(index)).save(tmp_path / f'frames/{name}.PNG')
    for name in ('._f2.png', '.DS_Store', 'Thumbs.db', 'notes.txt'):
        (tmp_path / 'frames' / name).write_bytes(b'no picture')
    (tmp_path / 'first.png').write_bytes(encode_palette_png(video.mask(0)))
    refused = runner('first.png', out='frames')
    assert refused.returncode == 1 and 'another folder' in refused.stderr
    done = runner('first.png')
    assert done.returncode == 0, done.stderr
    assert np.array_equal(np.asarray(Image.open(tmp_path / 'ids/f2.png')), video.mask(0))
    stream = OnnxSegmentor(tmp_path / 'onnx', threads=1).start(video.frame(0), video.mask(0))
    for index, name in ((1, 'f10'), (2, 'f100')):
        found = np.asarray(Image.open(tmp_path / f'ids/{name}.png'))
        assert (found == stream.step(video.frame(index))).mean() > 0.999
