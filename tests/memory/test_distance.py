"""The distance of a frame to what a memory holds, against loops over all that is stored."""

import math

import pytest
import torch
from helpers.memory_cases import KEY, POSITIONS, clip, run, take

from mmstremn.memory import (
    AnisotropicL2Affinity,
    CosineAffinity,
    DenseReader,
    FIFOSelector,
    GrowingMemory,
    KernelizedReader,
    SlotMemory,
    TopKReader,
)

READERS = [
    DenseReader(),
    TopKReader(k=2),
    KernelizedReader(k=2),
    TopKReader(CosineAffinity(), k=2),
    TopKReader(AnisotropicL2Affinity(), k=2),
]


def nearest(query, entries):
    """(B, G, P): the least |q - k|^2 / sqrt(C) by loops."""
    batch, groups = entries[0].key.shape[:2]
    least = torch.full((batch, groups, POSITIONS), math.inf, dtype=torch.float64)
    for b in range(batch):
        for g in range(groups):
            for p in range(POSITIONS):
                for entry in entries:
                    for key in entry.key[b, g].double():
                        far = (query.key[b, p].double() - key).square().sum() / math.sqrt(KEY)
                        least[b, g, p] = min(least[b, g, p], far)
    return least


@pytest.mark.parametrize('groups', [1, 2])
@pytest.mark.parametrize('reader', READERS, ids=lambda r: f'{type(r).__name__} {type(r.affinity).__name__}')
@pytest.mark.parametrize('grows', [False, True], ids=['slots', 'growing'])
def test_distance_to_the_nearest_of_all_that_is_stored(grows, reader, groups):
    """Before and after a read of the query, and where another read of it was of a state with more in it."""
    own = groups > 1
    settings = dict(reader=reader, per_object_key=own)
    memory = GrowingMemory(every=1, **settings) if grows else SlotMemory(3, FIFOSelector(), **settings)
    memory.eval()
    entries, queries = clip(5, batch=2, objects=2, groups=groups, shrinkage=True)
    selection = torch.rand(2, POSITIONS, KEY)
    for query in queries:
        query.selection = selection
    with torch.no_grad():
        for length in (2, 5):  # with an empty slot, and with one that was overwritten
            state, _ = run(memory, entries[:length], queries)
            expected = nearest(queries[-1], entries[:length] if grows else entries[:length][-3:])
            fresh = queries[-1].on((2, 2))
            fresh.found.clear()
            for _ in range(2):
                found = memory.distance(state, fresh)
                torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-4)
                memory.read(state, fresh)


@pytest.mark.parametrize('grows', [False, True], ids=['slots', 'growing'])
def test_frames_before_an_object_count_for_the_shared_key(grows):
    memory = (
        GrowingMemory(TopKReader(k=2), every=1) if grows else SlotMemory(4, FIFOSelector(), TopKReader(k=2))
    )
    memory.eval()
    entries, queries = clip(4, objects=2)
    with torch.no_grad():
        state, _ = run(memory, [take(entry, objects=[0]) for entry in entries[:2]], queries)
        state = memory.add_objects(state, 1)
        for entry in entries[2:]:
            state = memory.write(state, entry)
        for _ in range(2):
            found = memory.distance(state, queries[-1])
            torch.testing.assert_close(found.double(), nearest(queries[-1], entries), rtol=1e-4, atol=1e-4)
            memory.read(state, queries[-1])
