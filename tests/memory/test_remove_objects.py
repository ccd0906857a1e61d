"""Objects leave a memory in the middle of a video: what is remembered of the others stays as it was."""

import dataclasses

import pytest
import torch
from helpers.memory_cases import assert_close, build_memory, crop, full_clip, make_entry, make_query, run

from mmstremn.memory import (
    MEMORIES,
    FIFOSelector,
    GrowingMemory,
    LRUSelector,
    SlotMemory,
    TopKReader,
    UCBSelector,
)
from mmstremn.memory.published.blended import BlendedMemory

JOINED, REMOVED = 4, 8
SMALL = {
    'SlotMemory': dict(num_slots=4, selector=FIFOSelector()),
    'GrowingMemory': dict(every=3, keep_last=True),
    'TwoLevelMemory': dict(
        min_frames=2, max_frames=4, every=1, num_prototypes=3, capacity=7, sensory_channels=4
    ),
    'GraphMemory': dict(num_nodes=4, steps=1),
    'MergingMemory': dict(capacity=2),
    'CompressiveMemory': dict(num_slots=2, num_compressed=3),
    'ConvLSTMMemory': dict(hidden_channels=4, kernel=3),
    'STLSTMMemory': dict(hidden_channels=4, kernel=3),
    'E3DLSTMMemory': dict(hidden_channels=4, kernel=3, history=3),
    'RecurrentSlotMemory': dict(slots=SlotMemory(4, FIFOSelector())),
}
CASES = [
    *((memory, SMALL.get(memory.__name__, {})) for memory in MEMORIES),
    (SlotMemory, dict(num_slots=3, selector=FIFOSelector(), per_object_key=True, reader=TopKReader(k=3))),
    (GrowingMemory, dict(every=2, keep_last=True, per_object_key=True)),
]
TOGETHER = [{}, dict(num_slots=4, selector=LRUSelector()), dict(num_slots=4, selector=UCBSelector())]
ALL = pytest.mark.parametrize(('memory_class', 'settings'), CASES)
WITH_TOGETHER = pytest.mark.parametrize(
    ('memory_class', 'settings'), CASES + [(SlotMemory, settings) for settings in TOGETHER]
)


def begin(memory):
    """A state of four objects, the last two of which joined later; the clip that it is of."""
    entries, queries = full_clip(13, batch=2, objects=4)
    if memory.per_object_key:
        for index, entry in enumerate(entries):
            entry.key, entry.shrinkage = make_entry(index, 2, 4, groups=4).key, None
    state, _ = run(memory, crop(entries[:JOINED], objects=slice(2)), queries)
    state = memory.add_objects(state, 2)
    for index in range(JOINED, REMOVED):
        if index > JOINED:
            _, state = memory.read(state, queries[index])
        state = memory.write(state, entries[index])
    return state, entries, queries


def check_the_others_stay(memory, removed, go_on=True):
    """Right after the removal and, if ``go_on``, for good."""
    kept = [index for index in range(4) if index not in removed]
    with torch.no_grad():
        full, entries, queries = begin(memory)
        before = full.clone()
        fewer = memory.remove_objects(full.clone(), removed)
        assert fewer.births == tuple(full.births[index] for index in kept)
        for index in range(REMOVED, len(entries)):
            (expected, full), (readout, fewer) = (
                memory.read(state, queries[index]) for state in (full, fewer)
            )
            assert readout.shape[1] == len(kept)
            assert readout.isfinite().all()
            if go_on or index == REMOVED:
                assert_close(readout, expected[:, kept], 1e-6)
            full = memory.write(full, entries[index])
            fewer = memory.write(fewer, crop(entries, objects=kept)[index])
    memory.remove_objects(before, removed)


@WITH_TOGETHER
@pytest.mark.parametrize('removed', [[1], [3, 1], [2, 3]])
def test_the_others_stay_as_they_were(memory_class, settings, removed):
    """For good too, but where objects choose frames together: learned, or by the usage of all groups."""
    memory = build_memory(memory_class, **settings)
    check_the_others_stay(memory, removed, go_on=settings not in TOGETHER)


@ALL
def test_the_oldest_may_go(memory_class, settings):
    """Usage counts the reads of others from then on, so what is kept may differ later."""
    check_the_others_stay(build_memory(memory_class, **settings), [0, 1], go_on=False)


@ALL
def test_what_is_left_is_what_it_would_be_without_the_removed(memory_class, settings):
    """No tensor keeps a place for them."""
    memory = build_memory(memory_class, **settings)
    with torch.no_grad():
        state, _, _ = begin(memory)
        once = memory.remove_objects(state, [3, 1])
        twice = memory.remove_objects(memory.remove_objects(state, [1]), [2])
        alone = memory.add_objects(memory.pass_over(memory.init(make_entry(0, 2, 1, 1, True))), 1)
    assert {n: t.shape for n, t in once.tensors().items()} == {n: t.shape for n, t in twice.tensors().items()}
    for name in {*type(once).object_fields} & {*once.tensors()}:
        assert getattr(once, name).shape[1] == getattr(alone, name).shape[1] == 2
    assert once.nbytes < state.nbytes


@ALL
def test_500_objects_come_and_go(memory_class, settings):
    memory = build_memory(
        memory_class, **settings | (dict(every=10**6) if memory_class is GrowingMemory else {})
    )
    entries = [make_entry(index, 1, 3, 3 if memory.per_object_key else 1, True) for index in range(4)]
    sizes = []
    with torch.no_grad():
        state, _ = run(memory, entries[:1])
        for index in range(500):
            state = memory.add_objects(memory.remove_objects(state, [index % 3]), 1)
            state = memory.write(state, entries[index % 4])
            if index % 25 == 0:
                readout, state = memory.read(state, make_query(index, selection=True))
                assert readout.isfinite().all()
            sizes.append(state.nbytes)
            assert len(state.births) == 3
    assert max(sizes[20:]) <= max(sizes[:20])


@pytest.mark.parametrize('indices', [[2], [-1], [0, 5], [0.5]])
@ALL
def test_unknown_objects_are_refused(memory_class, settings, indices):
    memory = build_memory(memory_class, **settings)
    state = memory.init(make_entry(0, 1, 2, 2 if memory.per_object_key else 1, True))
    with pytest.raises(ValueError, match=r'0\.\.1'):
        memory.remove_objects(state, indices)
    with pytest.raises(ValueError, match='at least one object'):
        memory.remove_objects(state, [1, 0])
    assert len(memory.remove_objects(state, []).births) == 2


class RemovesTheLast(BlendedMemory):
    """It forgets another object than it was told to."""

    def remove_objects(self, state, indices):
        last = range(len(state.births) - len(indices), len(state.births))
        return super().remove_objects(state, last)


class DisturbsTheOthers(BlendedMemory):
    """It changes the values that stay."""

    def remove_objects(self, state, indices):
        state = super().remove_objects(state, indices)
        return dataclasses.replace(state, value=1.001 * state.value)


@pytest.mark.parametrize('broken', [RemovesTheLast, DisturbsTheOthers])
def test_the_check_sees_what_is_broken(broken):
    check_the_others_stay(BlendedMemory().eval(), [1])
    with pytest.raises(AssertionError):
        check_the_others_stay(broken().eval(), [1])
