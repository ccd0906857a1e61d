"""Alignment of slots before they are read: nothing at first, and it follows what has moved once it has
learned to."""

import dataclasses

import pytest
import torch
from helpers.memory_cases import KEY, VALUE, assert_equal_states, generator, make_entry, make_query, run, take

from mmstremn.memory import (
    SELECTORS,
    AnisotropicL2Affinity,
    DenseReader,
    Entry,
    FIFOSelector,
    GumbelSelector,
    Query,
    SlotMemory,
    SlotState,
)
from mmstremn.memory.slots.align import DeformableAlign, sample
from mmstremn.registry import build

GRID = (4, 5)


def make_align(seed=0, moving=True):
    """Alignment by a random network, as if it had learned something."""
    torch.manual_seed(seed)
    align = DeformableAlign(KEY, 8)
    if moving:
        torch.nn.init.normal_(align.to_offset.weight, std=0.1)
        torch.nn.init.normal_(align.to_offset.bias, std=0.5)
    return align


def make_memory(align, selector=None, **kwargs):
    return SlotMemory(3, selector or FIFOSelector(), align=align, **kwargs)


def stream(length=8, **kwargs):
    return [make_entry(i, **kwargs) for i in range(length)], [
        make_query(i, kwargs.get('batch', 1)) for i in range(length)
    ]


def plain_sample(content, offset):
    """Bilinear sampling of one map (h, w, C) at offsets (h, w, 2), in loops."""
    height, width = content.shape[:2]
    out = torch.zeros_like(content)
    for y in range(height):
        for x in range(width):
            px = (x + offset[y, x, 0]).clamp(0, width - 1)
            py = (y + offset[y, x, 1]).clamp(0, height - 1)
            x0, y0 = int(px.floor()), int(py.floor())
            x1, y1 = min(x0 + 1, width - 1), min(y0 + 1, height - 1)
            fx, fy = px - x0, py - y0
            top = content[y0, x0] * (1 - fx) + content[y0, x1] * fx
            bottom = content[y1, x0] * (1 - fx) + content[y1, x1] * fx
            out[y, x] = top * (1 - fy) + bottom * fy
    return out


@pytest.mark.parametrize('groups', [1, 3])
def test_sampling_is_the_formula(groups):
    g = generator(0)
    content = torch.randn(2, 3, 2, 20, 4, generator=g)
    offset = 2 * torch.randn(2, groups, 2, 20, 2, generator=g)
    out = sample(content, offset, GRID)
    for b in range(2):
        for o in range(3):
            for s in range(2):
                shift = offset[b, o if groups > 1 else 0, s].double().view(*GRID, 2)
                expected = plain_sample(content[b, o, s].double().view(*GRID, 4), shift).flatten(0, 1)
                torch.testing.assert_close(out[b, o, s].double(), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize('grid', [(1, 20), (20, 1), (4, 5)])
def test_no_offset_is_the_identity(grid):
    content = torch.randn(2, 3, 2, 20, 4, generator=generator(1))
    torch.testing.assert_close(sample(content, torch.zeros(2, 1, 2, 20, 2), grid), content, rtol=0, atol=1e-5)


def test_an_offset_is_where_the_content_is_taken_from():
    content = torch.arange(20.0).view(1, 1, 1, 20, 1)
    offset = torch.tensor([1.0, 2.0]).expand(1, 1, 1, 20, 2)
    out = sample(content, offset, GRID).view(GRID)
    torch.testing.assert_close(out[:2, :4], torch.arange(20.0).view(GRID)[2:, 1:], rtol=0, atol=1e-4)


@pytest.mark.parametrize('shrinkage', [False, True])
def test_at_first_nothing_is_moved(shrinkage):
    reader = DenseReader(AnisotropicL2Affinity() if shrinkage else None)
    entries = [make_entry(i, objects=2, shrinkage=shrinkage) for i in range(6)]
    queries = [make_query(i, selection=shrinkage) for i in range(6)]
    with torch.no_grad():
        _, expected = run(make_memory(None, reader=reader).eval(), entries, queries)
        _, readouts = run(make_memory(make_align(moving=False), reader=reader).eval(), entries, queries)
    torch.testing.assert_close(torch.stack(readouts), torch.stack(expected), rtol=0, atol=1e-5)


def test_what_is_read_is_what_is_sampled():
    """The readout is that of a memory that holds the sampled contents, and the slots themselves stay."""
    align = make_align()
    memory = make_memory(align, reader=DenseReader(AnisotropicL2Affinity())).eval()
    with torch.no_grad():
        state, _ = run(memory, [make_entry(i, objects=2, shrinkage=True) for i in range(5)])
        query, before = make_query(7, selection=True), state.clone()
        offset = align.offsets(state, query)
        readout, after = memory.read(state, query)
        sampled = dataclasses.replace(
            state,
            key=sample(state.key, offset, state.grid),
            value=sample(state.value, offset, state.grid),
            shrinkage=sample(state.shrinkage[..., None], offset, state.grid)[..., 0],
        )
        expected, _ = make_memory(None, reader=memory.reader).read(sampled, query)
        unaligned, _ = make_memory(None, reader=memory.reader).read(state, query)
    torch.testing.assert_close(readout, expected)
    assert offset.abs().max() > 0.1
    assert (readout - unaligned).abs().max() > 1e-3
    for name in ('key', 'value', 'shrinkage', 'written_at'):
        assert torch.equal(getattr(after, name), getattr(before, name))


def test_it_learns_to_follow_a_shift():
    """The content has moved by one column since it was stored, and the place of a position is not in its
    key."""
    torch.manual_seed(0)
    align = DeformableAlign(KEY, 16)
    memory = SlotMemory(1, FIFOSelector(), align=align).train()
    optimizer = torch.optim.Adam(align.parameters(), 0.01)
    losses = []
    for step in range(80):
        g = generator(step)
        frame = torch.randn(1, 5, 6, KEY, generator=g)
        stored, seen = frame[:, :, :-1].flatten(1, 2), frame[:, :, 1:].flatten(1, 2)
        value = torch.randn(1, 5, 6, VALUE, generator=g)
        state = memory.init(entry := Entry(stored[:, None], value[:, :, :-1].flatten(1, 2)[:, None], (5, 5)))
        aligned = align(memory.write(state, entry), Query(seen))
        inner = (aligned.value[:, 0, 0] - value[:, :, 1:].flatten(1, 2)).view(5, 5, VALUE)[:, :-1]
        losses.append(inner.square().mean())
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert torch.stack(losses[-10:]).mean() < 0.3 * losses[0]


def test_gradients_reach_all_of_it():
    """At first the last layer only, whose weights are zero, and the rest once they are not."""
    entries, queries = stream(6)
    for moving, reached in ((False, ['to_offset.weight', 'to_offset.bias']), (True, None)):
        align = make_align(moving=moving)
        torch.stack(run(make_memory(align).train(), entries, queries)[1]).square().sum().backward()
        moved = [name for name, parameter in align.named_parameters() if parameter.grad.abs().max() > 0]
        assert moved == (reached or [name for name, _ in align.named_parameters()])


@pytest.mark.parametrize('own_keys', [False, True])
def test_training_and_evaluation_are_equal(own_keys):
    memory = make_memory(make_align(), per_object_key=own_keys)
    entries, queries = stream(batch=2, objects=3, groups=3 if own_keys else 1)
    with torch.no_grad():
        evaluated, readouts = run(memory.eval(), entries, queries)
    trained, train_readouts = run(memory.train(), entries, queries)
    assert_equal_states(trained, evaluated, 1e-6)
    torch.testing.assert_close(torch.stack(train_readouts), torch.stack(readouts), rtol=0, atol=1e-6)


@pytest.mark.parametrize('own_keys', [False, True])
def test_rows_and_objects_do_not_depend_on_each_other(own_keys):
    memory = make_memory(make_align(), per_object_key=own_keys).eval()
    entries, queries = stream(batch=2, objects=2, groups=2 if own_keys else 1)
    with torch.no_grad():
        readouts = torch.stack(run(memory, entries, queries)[1])
        for row in range(2):
            for index in range(2):
                one = [take(entry, slice(row, row + 1), slice(index, index + 1)) for entry in entries]
                alone = run(memory, one, [Query(query.key[row : row + 1]) for query in queries])[1]
                expected = readouts[:, row : row + 1, index : index + 1]
                torch.testing.assert_close(torch.stack(alone), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize('own_keys', [False, True])
def test_a_new_object_reads_only_what_was_written_since(own_keys):
    memory = make_memory(make_align(), per_object_key=own_keys).eval()
    entries, queries = stream(objects=2, groups=2 if own_keys else 1)
    with torch.no_grad():
        state, _ = run(memory, [take(entry, objects=slice(0, 1)) for entry in entries[:4]])
        state = memory.write(memory.add_objects(state, 1), entries[4])
        readout, state = memory.read(state, queries[5])
        alone, _ = run(memory, [take(entry, objects=slice(1, 2)) for entry in entries[4:5]])
        expected, _ = memory.read(alone, queries[5])
        old, _ = run(memory, [take(entry, objects=slice(0, 1)) for entry in entries[:5]])
        old_readout, _ = memory.read(old, queries[5])
    torch.testing.assert_close(readout[:, 1:], expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(readout[:, :1], old_readout, rtol=0, atol=1e-5)


def test_tokens_without_a_place_stay():
    entry = Entry(torch.randn(1, 1, 1, KEY), torch.randn(1, 2, 1, VALUE), (1, 1))
    memory = make_memory(make_align()).eval()
    with torch.no_grad():
        state = memory.write(memory.init(entry), entry)
        readout, _ = memory.read(state, Query(torch.randn(1, 1, KEY)))
    torch.testing.assert_close(readout, entry.value)


def test_values_keep_their_type():
    memory = make_memory(make_align()).eval()
    with torch.no_grad():
        entries = [make_entry(i, dtype=torch.bfloat16) for i in range(4)]
        state, readouts = run(memory, entries, [make_query(i, dtype=torch.bfloat16) for i in range(4)])
    assert readouts[-1].dtype == state.value.dtype == torch.bfloat16


@pytest.mark.parametrize('selector', SELECTORS)
def test_every_selector_works_with_it_and_its_state_is_reloaded(selector):
    arguments = dict(key_channels=KEY, value_channels=VALUE) if selector is GumbelSelector else {}
    memory = make_memory(make_align(), selector(**arguments)).eval()
    entries, queries = stream()
    with torch.no_grad():
        state, _ = run(memory, entries[:5], queries[:5], seeds=(3,))
        loaded = SlotState(**state.clone().tensors(), **state.plain())
        for index in range(5, 8):
            readout, state = memory.read(state, queries[index])
            again, loaded = memory.read(loaded, queries[index])
            assert torch.equal(readout, again)
            state, loaded = memory.write(state, entries[index]), memory.write(loaded, entries[index])
    assert_equal_states(state, loaded)


def test_it_builds_from_a_config_and_none_is_the_default():
    align = build(
        dict(type=SlotMemory, align=dict(type=DeformableAlign)), key_channels=12, value_channels=20
    ).align
    assert align.from_query.in_channels == align.from_slot.in_channels == 12
    assert SlotMemory().align is None
    with pytest.raises(ValueError, match=r'DeformableAlign\.channels must be at least 1, got 0'):
        DeformableAlign(channels=0)
