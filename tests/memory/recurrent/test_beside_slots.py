"""Slots with a recurrent state beside them: the sum of two memories that know nothing of each other."""

import pytest
import torch
from helpers.memory_cases import KEY, VALUE, assert_close, make_entry, make_query, run

from mmstremn.memory import (
    ConvLSTMMemory,
    E3DLSTMMemory,
    EveryN,
    FIFOSelector,
    RecurrentSlotMemory,
    SlotMemory,
    STLSTMMemory,
)

CELLS = pytest.mark.parametrize('cells', [ConvLSTMMemory, STLSTMMemory])


def parts(cells, **kwargs):
    torch.manual_seed(0)
    return SlotMemory(2, FIFOSelector(), **kwargs), cells(KEY, VALUE, hidden_channels=4, kernel=3, layers=2)


def clip(length=6):
    return [make_entry(i, 2, 2) for i in range(length)], [make_query(i, 2) for i in range(length)]


@CELLS
@torch.no_grad()
def test_the_readout_is_that_of_the_slots_and_that_of_the_state(cells):
    slots, recurrent = parts(cells)
    state, together = run(RecurrentSlotMemory(slots, recurrent).eval(), *clip())
    of_slots, recalled = run(slots.eval(), *clip())
    of_cells, carried = run(recurrent.eval(), *clip())
    assert_close(torch.stack(together), torch.stack(recalled) + torch.stack(carried))
    assert torch.equal(state.value, of_slots.value) and torch.equal(state.hits, of_slots.hits)
    assert torch.equal(state.carried_hidden, of_cells.hidden)
    assert torch.equal(state.carried_cell, of_cells.cell)


@torch.no_grad()
def test_the_state_follows_frames_that_the_slots_do_not_take():
    slots, recurrent = parts(STLSTMMemory, gates=[EveryN(100)])
    memory, (entries, queries) = RecurrentSlotMemory(slots, recurrent).eval(), clip()
    state, _ = run(memory, entries, queries)
    assert memory.wants(state) and not slots.wants(state)
    assert memory.timeline(state).tolist() == [0, -1]
    assert torch.equal(state.carried_memory, run(recurrent, entries)[0].memory)


def test_the_decoupling_loss_and_what_does_not_learn_are_those_of_the_parts():
    cells = STLSTMMemory(KEY, VALUE, hidden_channels=4, kernel=3, decoupling=0.1)
    memory = RecurrentSlotMemory(SlotMemory(9, key_channels=KEY, value_channels=VALUE), cells).train()
    state, _ = run(memory, *clip(4))
    assert memory.penalty(state)['loss_decoupling'] > 0
    assert '0 forced choices' in memory.untrained_parts(state)['selector']


def test_cells_that_keep_a_history_are_refused():
    with pytest.raises(ValueError, match=r'recurrent: expected a ConvLSTMMemory .* got E3DLSTMMemory'):
        RecurrentSlotMemory(recurrent=E3DLSTMMemory())


def test_the_defaults_have_the_widths_that_are_given():
    memory = RecurrentSlotMemory(key_channels=KEY, value_channels=VALUE).eval()
    _, readouts = run(memory, *clip(3))
    assert readouts[-1].shape == (2, 2, 4, VALUE)
