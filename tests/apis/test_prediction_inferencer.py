"""PredictionInferencer: what a stream gives, from anything that shows a video."""

import numpy as np
import pytest
import torch
from helpers.predictor_cases import tiny_predictor

from mmstremn.apis import PredictionInferencer

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
        found = list(inferencer(source, steps=3, observe=4))
        assert len(found) == 3 and found[0].shape == (16, 16, 1)
        assert max(np.abs(a[..., 0] / 255 - b).max() for a, b in zip(found, expected, strict=True)) < 3e-3


def test_what_is_wrong_is_said(inferencer):
    with pytest.raises(ValueError, match='4 frames, expected at least the 5'):
        inferencer(GREY, steps=1, observe=5)
    with pytest.raises(ValueError, match='4 frames, expected at least the 5'):
        list(inferencer(iter(GREY), steps=1, observe=5))
    with pytest.raises(ValueError, match='steps: expected at least 1, got 0'):
        inferencer(GREY, steps=0)
    with pytest.raises(ValueError, match='expected a checkpoint as weights'):
        PredictionInferencer('configs/prediction/stremn_moving_digits.py')
