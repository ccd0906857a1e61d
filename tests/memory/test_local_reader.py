"""The reader that looks near by, against attention over the window written out in loops."""

import pytest
import torch
from helpers.memory_cases import make_entry, make_query, reader_contents, run

from mmstremn.memory import (
    AnisotropicL2Affinity,
    DenseReader,
    DotAffinity,
    Entry,
    FIFOSelector,
    GrowingMemory,
    L2Affinity,
    Query,
    SlotMemory,
)
from mmstremn.memory.readers import LocalWindowReader
from mmstremn.registry import build

GRID, POSITIONS = (3, 4), 12


def plain_read(affinity, radius, query, key, shrinkage, value, usable, b, g, p):
    """The readout and the slots' shares at one position of one row."""
    (height, width), slots = GRID, key.shape[2]
    logits, values, owners = [], [], []
    q, k = affinity(
        Query(query.key.double(), query.selection.double()),
        key.flatten(2, 3).double(),
        shrinkage.flatten(2).double(),
    )
    for slot in range(slots):
        for y in range(height):
            for x in range(width):
                near = abs(y - p // width) <= radius and abs(x - p % width) <= radius
                if near and usable[b, g, slot]:
                    at = y * width + x
                    logits.append(q[b, 0, p] @ k[b, g, slot * POSITIONS + at])
                    values.append(value[b, g, slot, at].double())
                    owners.append(slot)
    weight = torch.stack(logits).softmax(0)
    share = torch.zeros(slots, dtype=torch.double).index_add(0, torch.tensor(owners), weight)
    return weight @ torch.stack(values), share


@pytest.mark.parametrize('affinity', [L2Affinity, DotAffinity, AnisotropicL2Affinity])
@pytest.mark.parametrize('radius, groups', [(0, 1), (1, 2)])
def test_it_is_attention_over_the_window(affinity, radius, groups):
    case = reader_contents(GRID, groups)
    readout, share = LocalWindowReader(affinity(), radius)(*case)
    assert readout.shape == (2, groups, POSITIONS, 5)
    for b in range(2):
        for g in range(groups):
            expected = [plain_read(affinity(), radius, *case, b, g, p) for p in range(POSITIONS)]
            torch.testing.assert_close(
                readout[b, g].double(), torch.stack([v for v, _ in expected]), rtol=0, atol=1e-5
            )
            mean = torch.stack([s for _, s in expected]).mean(0)
            torch.testing.assert_close(share[b, g].double(), mean, rtol=0, atol=1e-5)


def test_a_window_over_the_whole_grid_is_the_dense_reader():
    case = reader_contents(GRID)
    for one, other in zip(LocalWindowReader(radius=3)(*case), DenseReader()(*case), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


def test_far_look_alikes_are_not_read():
    """The same key near by and far away: only the near one counts."""
    key = torch.zeros(1, 1, 1, POSITIONS, 3)
    key[..., 0, :], key[..., POSITIONS - 1, :] = 9.0, 9.0
    value = torch.arange(float(POSITIONS)).view(1, 1, 1, POSITIONS, 1)
    query = Query(torch.full((1, POSITIONS, 3), 9.0)).on(GRID)
    usable = torch.ones(1, 1, 1, dtype=torch.bool)
    near, _ = LocalWindowReader(radius=1)(query, key, None, value, usable)
    dense, _ = DenseReader()(query, key, None, value, usable)
    torch.testing.assert_close(near[0, 0, [0, 5, 6, 11], 0], torch.tensor([0.0, 0.0, 11.0, 11.0]))
    torch.testing.assert_close(dense[0, 0, :, 0], torch.full((POSITIONS,), 5.5))


@pytest.mark.parametrize(
    'make', [lambda r: SlotMemory(2, FIFOSelector(), reader=r), lambda r: GrowingMemory(r, every=2)]
)
def test_every_memory_of_slots_can_read_with_it(make):
    entries, queries = [make_entry(i, objects=2) for i in range(6)], [make_query(i) for i in range(6)]
    with torch.no_grad():
        readouts = torch.stack(run(make(LocalWindowReader(radius=0)).eval(), entries, queries)[1])
        wide = torch.stack(run(make(LocalWindowReader(radius=1)).eval(), entries, queries)[1])
        dense = torch.stack(run(make(DenseReader()).eval(), entries, queries)[1])
    torch.testing.assert_close(wide, dense, rtol=0, atol=1e-5)
    assert (readouts - dense).abs().max() > 0.1


def test_a_token_without_a_place_and_bfloat16():
    entry = Entry(torch.randn(1, 1, 1, 3).bfloat16(), torch.randn(1, 2, 1, 5).bfloat16(), (1, 1))
    memory = SlotMemory(3, FIFOSelector(), reader=LocalWindowReader()).eval()
    with torch.no_grad():
        readout, _ = memory.read(memory.write(memory.init(entry), entry), Query(torch.randn(1, 1, 3)))
    assert torch.equal(readout, entry.value)


def test_gradients_reach_queries_and_contents():
    query, key, shrinkage, value, usable = reader_contents(GRID)
    for tensor in (query.key, key, value):
        tensor.requires_grad_()
    LocalWindowReader()(query, key, shrinkage, value, usable)[0].square().sum().backward()
    assert all(
        tensor.grad.isfinite().all() and tensor.grad.abs().max() > 0 for tensor in (query.key, key, value)
    )


def test_it_builds_from_a_config_and_refuses_nonsense():
    reader = dict(type=LocalWindowReader, radius=4, affinity=dict(type='DotAffinity'))
    memory = build(dict(type='SlotMemory', reader=reader))
    assert (memory.reader.radius, type(memory.reader.affinity)) == (4, DotAffinity)
    with pytest.raises(ValueError, match=r'LocalWindowReader\.radius must be at least 0, got -1'):
        LocalWindowReader(radius=-1)
    with pytest.raises(ValueError, match=r"LocalWindowReader needs Query\.extras\['grid'\]"):
        query, *rest = reader_contents(GRID)
        LocalWindowReader()(Query(query.key), *rest)
