"""Whatever is given to a stream of prediction as a frame: a typed error that leaves it as it was, or finite
numbers; and its saved states."""

import pytest
import torch
from helpers.any_arrays import OTHERS, any_array
from helpers.predictor_cases import tiny_predictor
from hypothesis import given, strategies as st

SHAPE = 1, 16, 16
SHAPES = st.sampled_from(
    [SHAPE, (16, 16), (3, 16, 16), (16, 16, 1), (1, 1, 16, 16), (1, 0, 16), (1, 16, 17), ()]
)
FRAMES = st.one_of(
    any_array(SHAPES), any_array(SHAPES).map(lambda array: array.tolist()), any_array(st.just(SHAPE)), OTHERS
)


@pytest.fixture(scope='module', params=['SlotMemory', 'ConvLSTMMemory', 'STLSTMMemory'])
def model(request):
    cells = {} if request.param == 'SlotMemory' else dict(hidden_channels=4, kernel=3)
    return tiny_predictor(dict(type=request.param, **cells))


def frame(index):
    return torch.rand(SHAPE, generator=torch.Generator().manual_seed(index))


@given(frames=st.lists(FRAMES, min_size=1, max_size=3))
def test_a_step_succeeds_or_changes_nothing(model, frames):
    stream, witness = model.start(frame(0)), model.start(frame(0))
    for given_frame in frames:
        try:
            predicted = stream.step(given_frame)
        except (TypeError, ValueError) as error:
            assert str(error)
            assert torch.equal(stream.step(frame(1)), witness.step(frame(1)))
            assert stream.index == witness.index
        else:
            assert predicted.shape == SHAPE and predicted.isfinite().all()
            assert stream.step(None).isfinite().all()
            return  # the witness has not seen this frame


@given(first=FRAMES)
def test_a_first_frame_succeeds_or_the_error_says_why_not(model, first):
    try:
        stream = model.start(first)
    except (TypeError, ValueError) as error:
        assert str(error)
        return
    assert stream.step(None).isfinite().all()


def test_a_stream_saved_after_every_frame_goes_on_equal(model, size, tmp_path):
    path, stream = tmp_path / 'a.safetensors', model.start(frame(0), seed=5)
    for index in range(1, size(8, 300)):
        stream.save(path)
        loaded, shown = model.load_stream(path), frame(index) if index % 3 else None
        assert torch.equal(stream.step(shown), loaded.step(shown))
        stream = loaded
