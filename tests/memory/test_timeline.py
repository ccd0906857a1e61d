"""A memory says itself which frame each of its slots holds, or that it has no such slots."""

import pytest
import torch
from helpers.memory_cases import build_memory, full_clip, run

from mmstremn.memory import MEMORIES, FIFOSelector, MergingMemory, SlotMemory

SETTINGS = {
    'SlotMemory': dict(num_slots=3, selector=FIFOSelector()),
    'TwoLevelMemory': dict(min_frames=2, max_frames=4, every=2, num_prototypes=3, capacity=7),
    'CutieMemory': dict(pixel_memory=SlotMemory(3, FIFOSelector())),
    'RecentPromptedMemory': dict(num_recent=2, num_prompted=2),
    'RecurrentSlotMemory': dict(slots=SlotMemory(3, FIFOSelector())),
}
EXPECTED = {  # after nine frames, of which 0 and 5 are prompted
    'SlotMemory': [6, 7, 8],
    'TwoLevelMemory': [0, 8, -1, -1],  # consolidated at frames 5 and 8
    'CutieMemory': [6, 7, 8],
    'RecentPromptedMemory': [8, 7, 0, 5],
    'RecurrentSlotMemory': [6, 7, 8],
}


@pytest.mark.parametrize('memory_class', MEMORIES)
def test_the_frames_that_slots_hold(memory_class):
    memory = build_memory(memory_class, **SETTINGS.get(memory_class.__name__, {}))
    with torch.no_grad():
        state, _ = run(memory, *full_clip(9, batch=2, objects=2, prompted=(0, 5)))
    timeline = memory.timeline(state)
    expected = EXPECTED.get(memory_class.__name__)
    assert timeline is None if expected is None else timeline.tolist() == expected


def test_the_timeline_has_as_many_slots_as_the_memory():
    """Not as many as there are places with a stamp."""
    entries, _ = full_clip(1)
    memory = SlotMemory(7, FIFOSelector())
    assert memory.timeline(memory.init(entries[0])).tolist() == [-1] * 7
    bank = MergingMemory(capacity=4)
    state = bank.init(entries[0])
    assert state.written_at.shape[-1] == 16
    assert bank.timeline(state) is None
