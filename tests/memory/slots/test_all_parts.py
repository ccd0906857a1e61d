"""What every selector, gate, reader and option of slots promises, also those that are registered later."""

import dataclasses

import pytest
import torch
from helpers.memory_cases import (
    KEY,
    VALUE,
    assert_close,
    assert_equal_states,
    build_memory,
    crop,
    full_clip,
    on_tensors,
    rows_of,
    run,
    widths_of,
)

from mmstremn.memory import (
    GATES,
    READERS,
    SELECTORS,
    AnisotropicL2Affinity,
    DeformableAlign,
    FIFOSelector,
    L2Affinity,
    SlotFusion,
    SlotMemory,
)

BATCH, OBJECTS, SEEDS = 3, 2, (3, 1, 4)
PARTS = [dict(selector=part(**widths_of(part))) for part in SELECTORS]
PARTS += [dict(selector=FIFOSelector(), gates=[part()]) for part in GATES]
PARTS += [
    dict(selector=FIFOSelector(), reader=part(affinity()))
    for part in READERS
    for affinity in (L2Affinity, AnisotropicL2Affinity)
]
PARTS += [
    dict(selector=FIFOSelector(), fusion=SlotFusion(mode, 0.2, value_channels=VALUE))
    for mode in ('average', 'learned')
]
PARTS.append(dict(selector=FIFOSelector(), align=DeformableAlign(KEY)))


def name_of(part):
    return ' '.join(type(p[0] if isinstance(p, list) else p).__name__ for p in part.values())


of_all_parts = pytest.mark.parametrize('part', PARTS, ids=name_of)
of_both_keys = pytest.mark.parametrize('own_keys', [False, True], ids=['shared', 'own'])


def build(part, own_keys):
    memory = build_memory(SlotMemory, num_slots=3, per_object_key=own_keys, **part)
    for align in [memory.align] if memory.align is not None else []:
        torch.nn.init.normal_(align.to_offset.weight, generator=torch.Generator().manual_seed(0))
    return memory


def stream(own_keys, length=9):
    """Entries with all that gates ask for, other numbers in each sample, and queries."""
    entries, queries = full_clip(length, BATCH, OBJECTS, prompted=(0, 4))
    g = torch.Generator().manual_seed(1)
    for index, entry in enumerate(entries):
        if own_keys:
            entry.key = entry.key + torch.randn(BATCH, OBJECTS, *entry.key.shape[2:], generator=g)
            entry.shrinkage = entry.shrinkage.repeat(1, OBJECTS, 1)
        entry.extras['presence'] = torch.rand(BATCH, OBJECTS, generator=g)
        shape = entry.value.shape[: 3 if index % 2 else 2]  # of each position, or of each object
        entry.extras['confidence'] = 0.6 + 0.4 * torch.rand(shape, generator=g)
    return entries, queries


@of_all_parts
@of_both_keys
def test_a_sample_is_the_same_in_any_batch(part, own_keys):
    memory = build(part, own_keys)
    entries, queries = stream(own_keys)
    with torch.no_grad():
        state, together = run(memory, entries, queries, SEEDS)
        for row, seed in enumerate(SEEDS):
            rows = slice(row, row + 1)
            own, alone = run(memory, crop(entries, rows), rows_of(queries, rows), (seed,))
            assert_close(torch.stack(together)[:, rows], torch.stack(alone))
            same = state.map(lambda t, rows=rows: t[rows])
            assert_equal_states(dataclasses.replace(own, seeds=SEEDS), same, 1e-5)


@of_all_parts
@of_both_keys
def test_with_gradients_the_same_is_written_and_read(part, own_keys):
    memory = build(part, own_keys)
    entries, queries = stream(own_keys)
    with torch.no_grad():
        expected, readouts = run(memory, entries, queries, SEEDS)
    state, found = run(memory, entries, queries, SEEDS)
    assert_equal_states(state.map(torch.Tensor.detach), expected, 1e-5)
    assert_close(torch.stack(found), torch.stack(readouts))


@of_all_parts
@of_both_keys
def test_a_state_keeps_its_types_and_shapes(part, own_keys):
    memory = build(part, own_keys)
    entries, queries = stream(own_keys)
    for dtype in (torch.bfloat16, torch.float64):
        for entry in entries:
            entry.key, entry.value, entry.shrinkage = (
                t.to(dtype) for t in (entry.key, entry.value, entry.shrinkage)
            )
        for query in queries:
            query.key, query.selection = query.key.to(dtype), query.selection.to(dtype)

        def kinds(state):
            return {name: (t.dtype, t.shape) for name, t in state.tensors().items()}

        for gradients in (False, True):
            with torch.set_grad_enabled(gradients):
                first = kinds(memory.init(entries[0], SEEDS))
                state, readouts = run(memory, entries, queries, SEEDS)
            assert kinds(state) == first and first['value'][0] == dtype
            assert {readout.dtype for readout in readouts} == {dtype}
            assert all(t.isfinite().all() for t in [*readouts, *state.tensors().values()])


@of_all_parts
def test_the_order_of_the_slots_does_not_matter_to_a_read(part):
    memory = build(part, own_keys=False)
    entries, queries = stream(own_keys=False)
    with torch.no_grad():
        state, _ = run(memory, entries, queries, SEEDS)
        turned = dataclasses.replace(
            state,
            **{
                name: tensor.flip(2)
                for name, tensor in state.tensors().items()
                if tensor.dim() > 2 and tensor.shape[2] == 3 and name != 'sightings'
            },
        )
        (one, after), (other, after_turned) = (memory.read(s, queries[-1]) for s in (state, turned))
    assert_close(one, other)
    assert_close(after.hits, after_turned.hits.flip(2))


@of_all_parts
@of_both_keys
def test_scores_of_a_sample_follow_from_its_own_slots(part, own_keys):
    """The slots of each sample were written at other steps."""
    memory = build(part, own_keys)
    entries, queries = stream(own_keys)
    with torch.no_grad():
        state, _ = run(memory, entries, queries, SEEDS)
        state.step, g = 40, torch.Generator().manual_seed(2)
        for stamps in state.written_at.flatten(0, 1):
            stamps.copy_(torch.randperm(state.step, generator=g)[: len(stamps)])
        entry = dataclasses.replace(entries[5], prompted=False)
        together = memory.logits(state, entry)
        for row, seed in enumerate(SEEDS):
            rows = slice(row, row + 1)
            own = dataclasses.replace(state.map(lambda t, rows=rows: t[rows]), seeds=(seed,))
            assert_close(together[rows], memory.logits(own, crop([entry], rows)[0]))


@of_all_parts
@of_both_keys
def test_entries_of_another_type_are_stored_in_that_of_the_state(part, own_keys):
    memory = build(part, own_keys)
    entries, queries = stream(own_keys)
    for gradients in (False, True):
        with torch.set_grad_enabled(gradients):
            expected, readouts = run(memory, entries, queries, SEEDS)
            others = [on_tensors(e, lambda t: t.double()) for e in entries[1:]]
            state, found = run(memory, [entries[0], *others], queries, SEEDS)
        assert_equal_states(state.map(torch.Tensor.detach), expected.map(torch.Tensor.detach), 1e-5)
        assert_close(torch.stack(found), torch.stack(readouts))
