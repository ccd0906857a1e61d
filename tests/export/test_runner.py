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

    def run(mask):
        argv = [sys.executable, 'runner.py', 'onnx', 'frames', mask, 'ids']
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
