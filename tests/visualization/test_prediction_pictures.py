"""Strips and videos of predicted frames, and the hook that writes them."""

import av
import numpy as np
import pytest
import torch
from PIL import Image

from mmstremn.engine import PredictionVisualizationHook, VOSVisualizationHook
from mmstremn.structures import PredictionDataSample
from mmstremn.visualization import draw_prediction_strip, write_prediction
from mmstremn.visualization.prediction_strip import (
    GAP,
    OBSERVED,
    PREDICTED,
    SIDE,
    PredictionWriter,
    as_picture,
)

CELL = SIDE + 2 * GAP  # of frames of 32 pixels


def frames(*levels, channels=1, size=32):
    """(T, C, H, W) uint8 of one level each."""
    return torch.stack([torch.full((channels, size, size), level, dtype=torch.uint8) for level in levels])


class Pictures:
    """Takes what a video gets."""

    def __init__(self):
        self.pictures = []

    def add(self, picture):
        self.pictures.append(picture)


def test_strip_has_the_truth_above_the_prediction():
    strip = draw_prediction_strip(frames(10, 20, 30), frames(110, 120, 130) / 255)
    assert strip.shape == (2 * CELL, 3 * CELL, 3) and strip.dtype == np.uint8
    middles = strip[CELL // 2 :: CELL, CELL // 2 :: CELL, 0]
    assert middles.tolist() == [[10, 20, 30], [110, 120, 130]]
    assert (strip[0] == 255).all()


def test_long_strip_shows_the_first_and_the_last_frame_and_ended_truth_is_white():
    strip = draw_prediction_strip(frames(*range(1, 6)), frames(*range(101, 142)), columns=5)
    middles = strip[CELL // 2 :: CELL, CELL // 2 :: CELL, 0]
    assert middles.tolist() == [[1, 255, 255, 255, 255], [101, 111, 121, 131, 141]]


def test_colours_stay_and_predictions_are_clipped():
    red = torch.zeros(1, 3, 64, 64)
    red[:, 0], red[:, 1] = 7.0, -1.0
    picture = as_picture(red[0])
    assert picture.shape == (128, 128, 3)
    assert (picture == (255, 0, 0)).all()
    assert as_picture(frames(1, size=128)[0]).shape == (128, 128, 3)


def test_video_has_input_and_prediction_beside_the_truth():
    video = Pictures()
    writer = PredictionWriter(video, places=[1])
    for frame in frames(1, 2):
        writer.add_observed(frame)
    writer.add_predicted(frames(103)[0], frames(3)[0])
    writer.add_predicted(frames(104)[0])
    pictures = video.pictures
    width = SIDE + 4 * GAP
    assert [picture.shape for picture in pictures] == [(width, 2 * width, 3)] * 4
    middles = [picture[width // 2, [width // 2, width + width // 2], 0].tolist() for picture in pictures]
    assert middles == [[1, 1], [2, 2], [103, 3], [104, 255]]
    assert [tuple(picture[0, 0]) for picture in pictures] == [OBSERVED] * 2 + [PREDICTED] * 2

    (pair,) = writer.pairs
    assert pair[0] is None and pair[1][0, 0, 0] == 104


def test_files_are_written_beside_dots_in_the_name(tmp_path):
    write_prediction(tmp_path / 'deep/a.b@00001', frames(1, 2), frames(3), frames(4))
    assert sorted(path.name for path in (tmp_path / 'deep').iterdir()) == ['a.b@00001.mp4', 'a.b@00001.png']
    assert Image.open(tmp_path / 'deep/a.b@00001.png').size == (CELL, 2 * CELL)
    with av.open(str(tmp_path / 'deep/a.b@00001.mp4')) as container:
        assert sum(1 for _ in container.decode(video=0)) == 3


def batch(*names):
    samples = [
        PredictionDataSample(
            metainfo=dict(clip_name=name, input_frames=2), pred_frames=frames(4) / 255, true_frames=frames(3)
        )
        for name in names
    ]
    return dict(inputs=[frames(1, 2, 3)] * len(names)), samples


@pytest.mark.parametrize('max_clips, names', [(3, ['a', 'b', 'c']), (0, [])])
def test_hook_writes_the_first_clips_of_every_test(max_clips, names, tmp_path):
    hook = PredictionVisualizationHook(str(tmp_path), max_clips=max_clips)
    for _ in range(2):
        hook.before_test(None)
        for some in (('a', 'b'), ('c', 'd')):
            data, samples = batch(*some)
            hook.after_test_iter(None, 0, data, samples)
        assert sorted(path.stem for path in tmp_path.glob('*.png')) == names
        for path in tmp_path.iterdir():
            path.unlink()


def test_hooks_leave_results_of_another_kind_to_each_other(tmp_path):
    data, samples = batch('a')
    VOSVisualizationHook(str(tmp_path)).after_test_iter(None, 0, data, samples)
    hook = PredictionVisualizationHook(str(tmp_path))
    hook.after_test_iter(None, 0, data, [PredictionDataSample(metainfo=dict(clip_name='a', input_frames=2))])
    assert not list(tmp_path.iterdir())
