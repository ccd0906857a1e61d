"""Whatever is given to a stream: it goes on with finite numbers, or says in a typed error why not and is as
it was."""

import pytest
import torch
from helpers.any_arrays import OTHERS, any_array
from helpers.vos_cases import SquaresVideo, tiny_model
from hypothesis import given, strategies as st
from hypothesis.extra import numpy as arrays

VIDEO = SquaresVideo(12, appear=(0, 3))
H, W = VIDEO.size
MODELS = {
    'plain': {},
    'short side': dict(short_side=32),
    'merged': dict(test_time=dict(flip=True)),
}
SHAPES = st.one_of(
    st.sampled_from(
        [(H, W), (1, H, W), (2, H, W), (3, H, W), (4, H, W), (H, W, 1), (H, W, 3), (W, H), (0, W), (H,), ()]
    ),
    arrays.array_shapes(max_dims=4, max_side=6),
)
MASKS = st.one_of(
    any_array(SHAPES), any_array(st.just((H, W))), any_array(st.sampled_from([(2, H, W), (3, H, W)])), OTHERS
)
FRAMES = st.one_of(st.just('right'), any_array(SHAPES), any_array(st.just((H, W, 3))), OTHERS)


@pytest.fixture(scope='module', params=MODELS)
def model(request):
    return tiny_model(dict(type='SlotMemory', num_slots=2), **MODELS[request.param]).eval()


@given(calls=st.lists(st.tuples(FRAMES, MASKS), min_size=1, max_size=3))
def test_a_call_succeeds_or_changes_nothing(model, calls):
    stream = model.start(VIDEO.frame(0), VIDEO.mask(0))
    witness = model.start(VIDEO.frame(0), VIDEO.mask(0))
    for index, (frame, masks) in enumerate(calls):
        frame = VIDEO.frame(index + 1) if isinstance(frame, str) and frame == 'right' else frame
        try:
            ids = stream.step(frame, masks)
        except (TypeError, ValueError) as error:
            assert str(error)
            assert torch.equal(stream.step(VIDEO.frame(1)), witness.step(VIDEO.frame(1)))
            assert stream.object_ids == witness.object_ids
        else:
            assert ids.shape == (H, W) and ids.dtype == torch.uint8
            assert set(ids.unique().tolist()) <= {0, *stream.object_ids}
            assert stream.probabilities(VIDEO.frame(2)).isfinite().all()
            return  # the witness has not seen this frame


@given(masks=MASKS)
def test_a_first_call_succeeds_or_says_why_not(model, masks):
    try:
        stream = model.start(VIDEO.frame(0), masks)
    except (TypeError, ValueError) as error:
        assert str(error)
        return
    ids = stream.step(VIDEO.frame(1))
    assert ids.shape == (H, W) and set(ids.unique().tolist()) <= {0, *stream.object_ids}
