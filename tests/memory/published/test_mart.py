"""Recurrent slots with gated updates."""

import dataclasses

import pytest
import torch
from helpers.memory_cases import KEY, POSITIONS, VALUE, make_entry, make_query, run

from mmstremn.memory.published.mart import GatedSlotMemory, GatedUpdate


def build(num_slots=3, scramble=False):
    """``scramble``: weights that are not those of the start."""
    torch.manual_seed(0)
    memory = GatedSlotMemory(num_slots, KEY, VALUE).eval()
    if scramble:
        for parameter in memory.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
    return memory


def stream(length=10, batch=1, objects=1):
    return [make_entry(i, batch, objects) for i in range(length)], [
        make_query(i, batch) for i in range(length)
    ]


def plain_update(update, memory, summary, slot):
    """MART's formula for one cell."""
    channels = len(memory)
    wm, ws = update.memory.weight.double(), update.summary.weight.double()
    c = torch.tanh(wm[:channels] @ memory + ws[:channels] @ summary + update.candidate_bias[slot].double())
    z = torch.sigmoid(wm[channels:] @ memory + ws[channels:] @ summary + update.gate_bias[slot].double())
    return (1 - z) * c + z * memory


def test_the_formula_written_plainly():
    """Cell by cell in float64: each attends to the slots beside it and the frame there, then the gate
    mixes."""
    memory, (entries, queries) = build(2, scramble=True), stream(5, objects=2)
    weight, bias = memory.project.weight.double(), memory.project.bias.double()

    def squash(key):
        return torch.tanh(key.double() @ weight.T + bias)

    with torch.no_grad():
        state, readouts = run(memory, entries, queries)
        keys = values = None
        for step, entry in enumerate(entries):
            new, value = squash(entry.key[0, 0]), entry.value[0].double()
            if step == 0:
                keys = torch.stack([new + e.double() for e in memory.key_embedding])
                values = torch.stack([value + e.double() for e in memory.value_embedding], 1)
            else:
                q = squash(queries[step].key[0])
                attention = (-torch.cdist(q, keys.flatten(0, 1)).square() / KEY**0.5).softmax(-1)
                expected = torch.stack([attention @ v.flatten(0, 1) for v in values])
                torch.testing.assert_close(readouts[step - 1][0].double(), expected, rtol=0, atol=1e-5)
            next_keys, next_values = keys.clone(), values.clone()
            for s in range(2):
                for p in range(POSITIONS):
                    asked = memory.ask.weight.double() @ keys[s, p]
                    candidates = torch.stack([keys[0, p], keys[1, p], new[p]])
                    w = (candidates @ asked / KEY**0.5).softmax(0)
                    next_keys[s, p] = plain_update(memory.update_key, keys[s, p], w @ candidates, s)
                    for o in range(2):
                        told = w @ torch.stack([values[o, 0, p], values[o, 1, p], value[o, p]])
                        next_values[o, s, p] = plain_update(memory.update_value, values[o, s, p], told, s)
            keys, values = next_keys, next_values
    torch.testing.assert_close(state.key[0, 0].double(), keys, rtol=0, atol=1e-5)
    torch.testing.assert_close(state.value[0].double(), values, rtol=0, atol=1e-5)


def test_every_write_updates_every_slot():
    memory, (entries, _) = build(), stream(4)
    with torch.no_grad():
        state, _ = run(memory, entries[:3])
        before = state.clone()
        state = memory.write(state, entries[3])
    for name in ('key', 'value'):
        change = (getattr(state, name) - getattr(before, name)).abs().amax((0, 1, 3, 4))
        assert (change > 1e-3).all()


def test_slots_stay_different():
    memory = build()
    with torch.no_grad():
        state, _ = run(memory, [make_entry(i) for i in range(60)])
    for name in ('key', 'value'):
        maps = getattr(state, name)[0, 0].flatten(1)
        assert torch.cdist(maps, maps)[~torch.eye(3, dtype=torch.bool)].min() > 0.05


def test_slots_with_one_bias_and_no_embedding_would_grow_equal():
    memory = build()
    for parameter in (memory.update_key.gate_bias, memory.update_value.gate_bias):
        torch.nn.init.zeros_(parameter)
    for parameter in (memory.key_embedding, memory.value_embedding):
        torch.nn.init.zeros_(parameter)
    with torch.no_grad():
        state, _ = run(memory, [make_entry(i) for i in range(5)])
    torch.testing.assert_close(state.value[:, :, :1].expand_as(state.value), state.value)


def test_later_slots_forget_more_slowly():
    memory = build(4)
    entries = [make_entry(i) for i in range(6)]
    other = [dataclasses.replace(e, value=e.value + 1) if i == 0 else e for i, e in enumerate(entries)]
    with torch.no_grad():
        change = (run(memory, entries)[0].value - run(memory, other)[0].value).abs().mean((0, 1, 3, 4))
    assert change.tolist() == sorted(change.tolist())
    assert change[-1] > 1.5 * change[0]


@pytest.mark.parametrize(('bias', 'kept'), [(30.0, True), (-30.0, False)])
def test_the_gate_decides_between_old_and_new(bias, kept):
    update = GatedUpdate(VALUE, 2)
    torch.nn.init.constant_(update.gate_bias, bias)
    memory, summary = torch.randn(1, 1, 2, 4, VALUE), torch.randn(1, 1, 2, 4, VALUE)
    torch.testing.assert_close(update(memory, summary), memory if kept else summary.tanh())


def test_a_new_object_gets_values_that_fit_the_older_keys():
    """Where the new frame holds the object's look, there and only there it is in the older slots."""
    memory = build()
    torch.nn.init.constant_(memory.update_value.gate_bias, 30.0)  # the values are those of the beginning
    torch.nn.init.constant_(memory.update_key.gate_bias, 30.0)
    torch.nn.init.zeros_(memory.value_embedding)
    torch.nn.init.constant_(memory.project.weight, 0)
    memory.project.weight.data.fill_diagonal_(20.0)
    first = make_entry(0)
    moved = dataclasses.replace(first, key=first.key.roll(1, 2), value=first.value.repeat(1, 2, 1, 1))
    moved.value[:, 1] = torch.eye(POSITIONS, VALUE)
    with torch.no_grad():
        state, _ = run(memory, [first])
        state = memory.write(memory.add_objects(state, 1), moved)
        own = state.value[0, 1].argmax(-1)
    same = first.key[0, 0].sign().unique(dim=0).shape[0] == POSITIONS
    assert same, 'the four keys must differ in sign for this test'
    assert torch.equal(own, ((torch.arange(POSITIONS) + 1) % POSITIONS).expand(3, -1))


def test_gradients_reach_every_parameter_in_a_clip_of_six():
    entries, queries = stream(6)
    memory = build().train()
    _, readouts = run(memory, entries, queries)
    torch.stack(readouts).square().sum().backward()
    for name, parameter in memory.named_parameters():
        assert parameter.grad is not None, name
        assert (parameter.grad.flatten(1) if parameter.dim() > 1 else parameter.grad[:, None]).abs().amax(
            1
        ).min() > 0, name


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match=r'GatedSlotMemory\.num_slots must be at least 1, got 0'):
        GatedSlotMemory(0)
