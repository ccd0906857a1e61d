"""Strategies of Hypothesis for arrays of any kind, and for what is none."""

import numpy as np
import torch
from hypothesis import strategies as st

TYPES = st.sampled_from(
    [np.uint8, np.int8, np.int16, np.int64, np.uint16, np.float16, np.float32, np.float64, bool, np.complex64]
)
VALUES = st.sampled_from(
    [-1e30, -1, 0, 0.3, 0.5, 1, 1.5, 2, 3, 6, 127, 254, 255, 256, 65_535, 1e30, float('nan'), float('inf')]
)


@st.composite
def any_array(draw, shapes):
    """An array of a few values, of any type and shape."""
    shape, dtype = draw(shapes), draw(TYPES)
    values = draw(st.lists(VALUES, min_size=1, max_size=4))
    chosen = np.random.default_rng(draw(st.integers(0, 999))).integers(len(values), size=shape)
    with np.errstate(all='ignore'):
        return np.asarray(values)[chosen].astype(dtype)


OTHERS = st.sampled_from(
    [None, 'mask.png', [], [[1]], {}, 3, object(), b'\x00', torch.zeros(0), torch.ones(40, 56)]
)
