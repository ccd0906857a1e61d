"""Whatever is given to a stream: it goes on with finite numbers, or says in a typed error why not and is as
it was."""

import numpy as np
import pytest
import torch
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
TYPES = st.sampled_from(
    [np.uint8, np.int8, np.int16, np.int64, np.uint16, np.float16, np.float32, np.float64, bool, np.complex64]
)
SHAPES = st.one_of(
    st.sampled_from(
        [(H, W), (1, H, W), (2, H, W), (3, H, W), (4, H, W), (H, W, 1), (H, W, 3), (W, H), (0, W), (H,), ()]
    ),
    arrays.array_shapes(max_dims=4, max_side=6),
)
VALUES = st.sampled_from(
    [-1e30, -1, 0, 0.3, 0.5, 1, 1.5, 2, 3, 6, 127, 254, 255, 256, 65_535, 1e30, float('nan'), float('inf')]
)


@st.composite
def any_array(draw, shapes=SHAPES):
    """An array of a few values, of any type and shape."""
    shape, dtype = draw(shapes), draw(TYPES)
    values = draw(st.lists(VALUES, min_size=1, max_size=4))
    chosen = np.random.default_rng(draw(st.integers(0, 999))).integers(len(values), size=shape)
    with np.errstate(all='ignore'):
        return np.asarray(values)[chosen].astype(dtype)


OTHERS = st.sampled_from(
    [None, 'mask.png', [], [[1]], {}, 3, object(), b'\x00', torch.zeros(0), torch.ones(H, W)]
)
MASKS = st.one_of(
    any_array(), any_array(st.just((H, W))), any_array(st.sampled_from([(2, H, W), (3, H, W)])), OTHERS
)
FRAMES = st.one_of(st.just('right'), any_array(), any_array(st.just((H, W, 3))), OTHERS)


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
