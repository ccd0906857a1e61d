"""Galleries of failures, and the scores of single frames."""

import runpy

import numpy as np
import pytest
from helpers.runs import ROOT
from helpers.vos_cases import SquaresVideo
from matplotlib.image import imread

from mmstremn.evaluation import evaluate_video
from mmstremn.utils.palette import encode_palette_png
from studies.failures.gallery import Stretch, worst_stretch
from studies.shared import frame_scores

failure_gallery = runpy.run_path(str(ROOT / 'studies/failures/run.py'))['main']


def test_scores_of_frames_are_those_of_the_metric():
    video = SquaresVideo(num_frames=8, appear=(0, 3), void=True)
    masks = [np.roll(video.mask(index), index, 1) for index in range(8)]
    scores = frame_scores(video, masks)
    assert np.isnan(scores[[0, 7]]).all() and not np.isnan(scores[1:7]).any()
    objects = evaluate_video(video, [encode_palette_png(mask) for mask in masks])['objects']
    late = frame_scores(SquaresVideo(num_frames=8, void=True), masks)
    np.testing.assert_allclose(late[1:4], scores[1:4])  # before the second object is scored
    np.testing.assert_allclose(np.nanmean(late, 0), [objects[3]['J-Mean'], objects[3]['F-Mean']])


def test_worst_stretch():
    values = np.ones(40)
    values[[0, 39]] = np.nan
    values[20:29] = 0.2
    assert worst_stretch(values, number=3, step=4).tolist() == [20, 24, 28]
    assert worst_stretch(values[:5], number=6, step=4).tolist() == [0, 1, 2, 3, 4]
    assert worst_stretch(values[:9], number=4, step=4).tolist() == [0, 2, 4, 6]


def test_stretch_shows_the_outline_of_the_truth():
    video = SquaresVideo()
    stretch = Stretch(video, np.array([3, 5]))
    changed = (stretch.frame(1) != video.frame(5)).any(-1)
    inside = video.mask(5) > 0
    assert changed.any() and not changed[6:14, 15:25].any()
    assert inside[6:14, 15:25].all()


def test_gallery_from_config_to_picture(config, checkpoint, tmp_path, capsys):
    out = tmp_path / 'gallery' / 'worst.png'
    argv = [
        config,
        checkpoint,
        '--memories',
        'fifo',
        'gumbel',
        '--videos',
        '1',
        '--step',
        '2',
        '--out',
        str(out),
    ]
    assert failure_gallery(argv) == 0, capsys.readouterr().err
    picture = imread(out)
    assert picture.shape[1] == 900 and picture.shape[0] > 500  # two strips
    assert failure_gallery([config, 'none.pth', '--out', str(out)]) == 1
    assert 'checkpoint none.pth: no such file' in capsys.readouterr().err
    with pytest.raises(SystemExit):
        failure_gallery(['--help'])
    assert 'must never be' in ' '.join(capsys.readouterr().out.split())
