"""Streams of prediction: in files, and what is said about wrong frames."""

import numpy as np
import pytest
import torch
from helpers.predictor_cases import tiny_predictor

FIXED = dict(type='SlotMemory', num_slots=2, selector=dict(type='FIFOSelector'))
MEMORIES = {
    'slots': FIXED,
    'random': FIXED | dict(selector=dict(type='RandomSelector')),
    'convlstm': dict(type='ConvLSTMMemory', hidden_channels=4, kernel=3),
}


def frames(number=4):
    return torch.rand(number, 1, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize('memory', MEMORIES.values(), ids=MEMORIES.keys())
@pytest.mark.parametrize('seen', [1, 2, 6])
def test_a_saved_stream_goes_on_bit_by_bit(memory, seen, tmp_path):
    path, model = str(tmp_path / 'stream.safetensors'), tiny_predictor(memory)
    stream = model.start(frames()[0], seed=3)
    for index in range(1, seen):
        stream.step(frames()[index] if index < 4 else None)
    stream.save(path)
    loaded = model.load_stream(path)
    assert (loaded.index, loaded.seed) == (seen, 3)
    for given in (None, frames()[2], None, None):
        assert torch.equal(loaded.step(given), stream.step(given))


@pytest.mark.parametrize(
    'change, message',
    [
        (dict(query_frames=2), "query_frames 3, but this one's is 2"),
        (dict(residual=True), "residual False, but this one's is True"),
        (dict(value_channels=6), "value_channels 8, but this one's is 6"),
        (dict(frame_channels=3), "frame_channels 1, but this one's is 3"),
        (dict(memory=FIXED | dict(num_slots=3)), "memory.num_slots 2, but this one's is 3"),
    ],
)
def test_a_stream_of_another_model_is_refused(change, message, tmp_path):
    path = str(tmp_path / 'stream.safetensors')
    tiny_predictor(FIXED).start(frames()[0]).save(path)
    with pytest.raises(ValueError, match=rf"stream.safetensors' is a stream of a model with {message}"):
        tiny_predictor(**(dict(memory=FIXED) | change)).load_stream(path)


def test_a_stream_that_has_not_begun_cannot_be_saved(tmp_path):
    from mmstremn.models import PredictionStream

    with pytest.raises(ValueError, match=r"nothing to save in '.*x.safetensors'"):
        PredictionStream(tiny_predictor(FIXED)).save(str(tmp_path / 'x.safetensors'))


@pytest.mark.parametrize(
    'frame, error, message',
    [
        (torch.zeros(1, 16, 16, dtype=torch.uint8), TypeError, 'must hold floats in 0..1, got torch.uint8'),
        ('frame.png', TypeError, 'must be a tensor of floats in 0..1, got str'),
        (np.array(['a']), TypeError, 'numpy'),
        (torch.zeros(16, 16), ValueError, r'must be \(1, H, W\), got \(16, 16\)'),
        (torch.zeros(3, 16, 16), ValueError, r'must be \(1, H, W\), got \(3, 16, 16\)'),
        (torch.zeros(1, 0, 16), ValueError, r'must be \(1, H, W\)'),
        (torch.zeros(1, 8, 16), ValueError, r'is \(1, 8, 16\), but the stream began with \(1, 16, 16\)'),
        (torch.full((1, 16, 16), torch.nan), ValueError, 'must be in 0..1, got nan..nan'),
        (torch.full((1, 16, 16), 255.0), ValueError, r'must be in 0..1, got 255..255'),
    ],
)
def test_wrong_frames_leave_the_stream_as_it_was(frame, error, message):
    model = tiny_predictor(FIXED)
    stream, other = (model.start(frames()[0]) for _ in range(2))
    with pytest.raises(error, match=message):
        stream.step(frame)
    assert torch.equal(stream.step(), other.step())
    assert stream.index == 2
