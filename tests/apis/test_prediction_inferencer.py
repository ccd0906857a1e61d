"""PredictionInferencer: what a stream gives, from anything that shows a video."""

import numpy as np
import pytest
import torch
from helpers.predictor_cases import LATER, OBSERVED, SIZE, tiny_digits, tiny_predictor

from mmstremn.apis import PredictionInferencer, init_predictor

FRAMES = [np.random.default_rng(k).integers(0, 255, (16, 16, 3), dtype=np.uint8) for k in range(4)]
GREY = [np.repeat(frame[..., :1], 3, 2) for frame in FRAMES]


@pytest.fixture(scope='module')
def inferencer():
    return PredictionInferencer(tiny_predictor(dict(type='SlotMemory', num_slots=3)))


def test_it_predicts_what_the_stream_does(inferencer):
    given = [torch.from_numpy(frame[..., 0] / np.float32(255))[None] for frame in GREY]
    stream = inferencer.model.start(given[0])
    for frame in given[1:]:
        stream.step(frame)
    expected = [stream.step().clamp(0, 1)[0].numpy() for _ in range(3)]
    for source in (GREY, iter(GREY)):
        results = list(inferencer(source, steps=3, observe=4))
        assert [(result.index, result.observed) for result in results] == [(k, k < 4) for k in range(7)]
        found = [result.frame for result in results if not result.observed]
        assert found[0].shape == (16, 16, 1)
        assert max(np.abs(a[..., 0] / 255 - b).max() for a, b in zip(found, expected, strict=True)) < 3e-3


def test_true_frames_are_there_as_far_as_the_video_goes(inferencer):
    results = list(inferencer(GREY, steps=3, observe=2))
    assert all((r.true[..., 0] == GREY[r.index][..., 0]).all() for r in results[:4])
    assert results[4].true is None and not results[3].observed
    assert all(r.true is None for r in inferencer(iter(GREY), steps=2, observe=2) if not r.observed)


def test_frames_are_cut_or_stretched_to_the_size(inferencer):
    bright = np.full((16, 16, 3), 100, np.uint8)
    bright[:, :4] = bright[:, -4:] = 0
    for crop, darkest in ((False, 0), (True, 100)):
        first = next(inferencer([bright] * 2, steps=1, observe=2, size=(32, 16), crop=crop))
        assert first.frame.shape == (32, 16, 1) and first.frame.min() == darkest


def test_what_is_left_out_is_the_config_s(tmp_path):
    config = tiny_digits(tmp_path)
    torch.save(init_predictor(config, device='cpu').state_dict(), tmp_path / 'model.pth')
    inferencer = PredictionInferencer(config, tmp_path / 'model.pth', 'cpu')
    results = list(inferencer(GREY))
    assert [result.observed for result in results] == [True] * OBSERVED + [False] * LATER
    assert results[-1].frame.shape == (SIZE, SIZE, 1)


def test_what_is_wrong_is_said(inferencer):
    with pytest.raises(ValueError, match='4 frames, expected at least the 5'):
        inferencer(GREY, steps=1, observe=5)
    with pytest.raises(ValueError, match='4 frames, expected at least the 5'):
        list(inferencer(iter(GREY), steps=1, observe=5))
    with pytest.raises(ValueError, match='steps: expected at least 1, got 0'):
        inferencer(GREY, steps=0)
    with pytest.raises(ValueError, match='height: expected at least 1, got 0'):
        inferencer(GREY, observe=2, size=(0, 4))
    with pytest.raises(ValueError, match='crop: expected a size'):
        inferencer(GREY, observe=2, crop=True)
    with pytest.raises(ValueError, match='expected a checkpoint as weights'):
        PredictionInferencer('configs/prediction/stremn_moving_digits.py')
