"""Every registered memory, selector and gate over 100,000 frames: bytes, process memory, time, finite
numbers, and a save and a resume in the middle. What grows by design (STM, STCN) is run to fewer frames."""

import pytest
from helpers.endless import CASES, GROWING_FRAMES, endless


@pytest.mark.parametrize('name', CASES)
def test_a_stream_of_any_length(name, size, record_property):
    memory = CASES[name]()
    bounded = name != 'GrowingMemory'
    stream = endless(memory, size(150, 100_000 if bounded else GROWING_FRAMES))
    assert stream['resumed_equal']
    smallest, largest = stream['state_bytes']
    if bounded:
        assert smallest == largest or size(True, False)
        assert stream['process_growth'] < 0.05
        assert stream['ms'][1] < 2 * stream['ms'][0] or size(True, False)  # a slice is too short
    for key, value in stream.items():
        record_property(key, str(value))
