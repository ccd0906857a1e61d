"""The blended memory: averages, and what they lose."""

import dataclasses

import pytest
import torch
from helpers.memory_cases import KEY, POSITIONS, VALUE, assert_close, clip, make_entry, run

from mmstremn.memory import DenseReader, Entry, FIFOSelector, Query, SlotMemory
from mmstremn.memory.published.blended import BlendedMemory
from mmstremn.memory.published.cohorts import CohortState


def build(**kwargs) -> BlendedMemory:
    return BlendedMemory(**kwargs).eval()


def test_the_slot_is_the_mean_of_all_frames():
    entries, _ = clip(7, batch=2, objects=2)
    with torch.no_grad():
        state, _ = run(build(), entries)
    assert_close(state.key[:, :, 0].double(), torch.stack([e.key.double() for e in entries]).mean(0))
    assert_close(state.value[:, :, 0].double(), torch.stack([e.value.double() for e in entries]).mean(0))


def test_the_slot_with_momentum():
    entries, _ = clip(7, objects=2)
    with torch.no_grad():
        state, _ = run(build(momentum=0.9), entries)
    expected = entries[0].value.double()
    for entry in entries[1:]:
        expected = 0.9 * expected + 0.1 * entry.value.double()
    assert_close(state.value[:, :, 0].double(), expected)


def test_without_momentum_only_the_last_frame_stays():
    entries, _ = clip(4)
    with torch.no_grad():
        state, _ = run(build(momentum=0.0), entries)
    assert_close(state.value[:, :, 0], entries[-1].value)


def test_the_readout_is_the_dense_readers_on_the_mean():
    entries, queries = clip(5, objects=2)
    with torch.no_grad():
        _, readouts = run(build(), entries, queries)
    key = torch.stack([e.key for e in entries[:4]]).mean(0)
    value = torch.stack([e.value for e in entries[:4]]).mean(0)
    for one in range(2):
        expected, _ = DenseReader()(
            queries[4], key[:, :, None], None, value[:, one, None, None], torch.ones(1, 1, 1) > 0
        )
        assert_close(readouts[-1][:, one], expected[:, 0])


def test_two_looks_blend_into_neither():
    """The strawman: seen in two ways, the object is remembered as something between. Slots keep both."""

    def look(number):
        """The key of frame ``number`` is far from the other's; its value is 1 or -1."""
        key = torch.full((1, 1, POSITIONS, KEY), 20.0 * number)
        return Entry(key, torch.full((1, 1, POSITIONS, VALUE), 1.0 - 2 * number), (2, 2))

    def recall(memory):
        with torch.no_grad():
            state, _ = run(memory, [look(0), look(1)])
            return [memory.read(state, Query(look(number).key[:, 0]))[0].mean().item() for number in range(2)]

    assert recall(SlotMemory(3, FIFOSelector()).eval()) == pytest.approx([1, -1])
    assert recall(build()) == pytest.approx([0, 0])


def test_small_changes_are_not_lost_in_a_long_video_of_half_precision():
    """The mean is kept in float32: in bfloat16 the 400th frame would change nothing."""
    with torch.no_grad():
        state = build().init(make_entry(dtype=torch.bfloat16))
        for index in range(600):
            entry = make_entry(0, dtype=torch.bfloat16)
            entry.value.fill_(float(index >= 300))
            state = build().write(state, entry)
    assert_close(state.value, torch.full_like(state.value, 0.5))


@pytest.mark.parametrize('momentum', [-0.1, 1.0, 2])
def test_nonsense_is_refused(momentum):
    with pytest.raises(ValueError, match=rf'BlendedMemory\.momentum .* got {momentum}'):
        BlendedMemory(momentum=momentum)


def test_cohorts():
    state = CohortState.with_slots(make_entry(objects=2), 3)
    assert state.cohorts == [(0, slice(0, 2))]
    state = dataclasses.replace(state, step=4).add_objects(1, False).add_objects(2, False)
    assert state.cohorts == [(0, slice(0, 2)), (4, slice(2, 5))]
    assert state.key.shape == (1, 2, 3, POSITIONS, KEY)
    assert state.value.shape == (1, 5, 3, POSITIONS, VALUE)
