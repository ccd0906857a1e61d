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


@pytest.mark.parametrize('size', [(56, 70), (40, 56)])
def test_the_runner_without_torch(size, tmp_path):
    torch.save(tiny_model(**CASES['shipped']).state_dict(), tmp_path / 'weights.pth')
    config = Config(dict(model=tiny_config(**CASES['shipped'])))
    folder = export(config, tmp_path / 'weights.pth', out=tmp_path / 'onnx')
    video = SquaresVideo(9, size, (0, 0))
    (tmp_path / 'frames').mkdir()
    for index in range(9):
        Image.fromarray(video.frame(index)).save(tmp_path / f'frames/{index:05d}.png')
    (tmp_path / 'first.png').write_bytes(encode_palette_png(video.mask(0)))
    (tmp_path / 'without/torch').mkdir(parents=True)
    (tmp_path / 'without/torch/__init__.py').write_text("raise ImportError('there is no torch')\n")
    code = PAGE.partition('## Without torch')[2].partition('```python\n')[2].partition('```')[0]
    (tmp_path / 'runner.py').write_text(code)
    subprocess.run(
        [sys.executable, 'runner.py', 'onnx', 'frames', 'first.png', 'ids'],
        cwd=tmp_path,
        env=os.environ | dict(PYTHONPATH=str(tmp_path / 'without')),
        check=True,
        timeout=120,
    )
    stream = OnnxSegmentor(folder, threads=1).start(video.frame(0), video.mask(0))
    for index in range(1, 9):
        found = np.asarray(Image.open(tmp_path / f'ids/{index:05d}.png'))
        expected = stream.step(video.frame(index))
        assert (found == expected).mean() > 0.999  # a pixel may be a tie
        assert len(np.unique(expected)) > 1
