"""Content addressing, soft writes, erase and add."""

import pytest
import torch
from helpers.memory_cases import KEY, POSITIONS, VALUE, join, make_entry, make_query, run

from mmstremn.memory import Entry, Query
from mmstremn.memory.published.ntm import ContentAddress, NTMMemory

CONSTANT, TOLERANCE = 3.0, 1e-5


def build(num_slots=3, scramble=False, gate=None, sharpness=None, full_erase=True):
    """Weights of the start, and a memory that erases all it overwrites; ``scramble``: any weights."""
    torch.manual_seed(0)
    memory = NTMMemory(num_slots, KEY, VALUE).eval()
    if full_erase:
        for update in (memory.update_key, memory.update_value):
            torch.nn.init.constant_(update.erase.bias, 30.0)
    if scramble:
        for parameter in memory.parameters():
            torch.nn.init.normal_(parameter)
    if gate is not None:
        torch.nn.init.constant_(memory.gate.bias, gate)
    if sharpness is not None:
        torch.nn.init.constant_(memory.read_head.sharpness.bias, sharpness)
        torch.nn.init.constant_(memory.write_head.sharpness.bias, sharpness)
    return memory


def stream(length=10, batch=1, objects=1):
    return [make_entry(i, batch, objects) for i in range(length)], [
        make_query(i, batch) for i in range(length)
    ]


def entry_along(axis, value=0.0):
    """All keys point along one axis."""
    key = torch.zeros(1, 1, POSITIONS, KEY)
    key[..., axis] = 1 + torch.arange(POSITIONS)
    return Entry(key, torch.full((1, 1, POSITIONS, VALUE), value), (2, 2))


def plain_address(head, pooled, slots):
    """softmax(beta cos) for (Ck,) and (S, P, Ck)."""
    key = head.key.weight.double() @ pooled
    beta = torch.log1p((head.sharpness.weight.double() @ pooled + head.sharpness.bias.double()).exp())
    scores = []
    for slot in slots.mean(1):
        scores.append(beta * (key @ slot) / (key.norm() * slot.norm()))
    return torch.cat(scores).softmax(0)


def plain_update(update, slots, new, weight):
    """M(s) (1 - w(s) e) + w(s) a, a slot at a time."""
    erase = torch.sigmoid(new @ update.erase.weight.double().T + update.erase.bias.double())
    add = new @ update.add.weight.double().T
    return torch.stack([slot * (1 - w * erase) + w * add for slot, w in zip(slots, weight, strict=True)])


def test_the_formulas_written_plainly():
    """In float64, one sample, slot by slot."""
    memory, (entries, queries) = build(scramble=True), stream(6, objects=2)
    ones = torch.ones(3, dtype=torch.float64)
    keys, values = torch.zeros(3, POSITIONS, KEY).double(), torch.zeros(2, 3, POSITIONS, VALUE).double()
    usage = 0.01 * torch.arange(3).double()
    with torch.no_grad():
        state = memory.init(entries[0])
        for step, (entry, query) in enumerate(zip(entries, queries, strict=True)):
            if step:
                readout, state = memory.read(state, query)
                q = query.key[0].double()
                prior = plain_address(memory.read_head, q.mean(0), keys)
                affinity = -torch.cdist(q, keys.flatten(0, 1)).square() / KEY**0.5
                attention = (affinity + prior.log().repeat_interleave(POSITIONS)).softmax(-1)
                expected = torch.stack([attention @ v.flatten(0, 1) for v in values])
                torch.testing.assert_close(readout[0].double(), expected, rtol=0, atol=1e-5)
                usage = usage + prior
            weight = ones
            if step:
                pooled = entry.key[0, 0].double().mean(0)
                least = torch.eye(3).double()[usage.argmin()]
                g = torch.sigmoid(memory.gate.weight.double() @ pooled + memory.gate.bias.double())
                weight = g * plain_address(memory.write_head, pooled, keys) + (1 - g) * least
                usage = 0.95 * usage + weight
            keys = plain_update(memory.update_key, keys, entry.key[0, 0].double(), weight)
            new = entry.value[0].double()
            values = torch.stack(
                [plain_update(memory.update_value, values[o], new[o], weight) for o in range(2)]
            )
            state = memory.write(state, entry)
            torch.testing.assert_close(state.key[0, 0].double(), keys, rtol=0, atol=1e-4)
            torch.testing.assert_close(state.value[0].double(), values, rtol=0, atol=1e-4)
            torch.testing.assert_close(state.usage[0, 0].double(), usage, rtol=0, atol=1e-5)


def fill(memory):
    """Slots 0, 1, 2 hold axes 0, 1, 2, by the least used rule."""
    torch.nn.init.constant_(memory.gate.bias, -30.0)
    with torch.no_grad():
        return run(memory, [entry_along(0), entry_along(0), entry_along(1), entry_along(2)])[0]


def test_unused_slots_are_taken_first():
    state = fill(build())
    assert state.key[0, 0].mean(1).argmax(-1).tolist() == [0, 1, 2]


@pytest.mark.parametrize('axis', range(3))
def test_a_write_finds_the_slot_that_holds_its_like(axis):
    memory = build(sharpness=60.0)
    state = fill(memory)
    torch.nn.init.constant_(memory.gate.bias, 30.0)
    before = state.clone()
    with torch.no_grad():
        torch.testing.assert_close(memory.address(state, entry_along(axis)), torch.eye(3)[axis].view(1, 1, 3))
        state = memory.write(state, entry_along(axis, 7.0))
    changed = (state.value - before.value).abs().amax((0, 1, 3, 4))
    assert changed[axis] == 7
    assert changed.sum() == 7


@pytest.mark.parametrize('axis', range(3))
def test_a_read_prefers_the_slot_that_holds_its_like(axis):
    """All keys of the slots are the same at one position, so only the prior can tell."""
    memory = build(sharpness=60.0)
    state = fill(memory)
    state.value[0, 0] = torch.arange(3.0).view(3, 1, 1)
    state.key[:, :, :, 0] = 0
    query = Query(entry_along(axis).key[:, 0])
    query.key[:, 0] = 0
    with torch.no_grad():
        readout, after = memory.read(state, query)
    torch.testing.assert_close(readout[0, 0, 0], torch.full((VALUE,), float(axis)))
    torch.testing.assert_close(after.usage - state.usage, torch.eye(3)[axis].view(1, 1, 3))


def test_a_soft_write_touches_all_slots_by_their_weights():
    memory = build(sharpness=1.0)
    state = fill(memory)
    torch.nn.init.constant_(memory.gate.bias, 0.0)
    with torch.no_grad():
        weight = memory.address(state, entry_along(1))
        torch.testing.assert_close(weight.sum(-1), torch.ones(1, 1))
        assert (weight > 0.01).all()
        state = memory.write(state, entry_along(1, 1.0))
    torch.testing.assert_close(state.value[0, 0, :, 0, 0], weight[0, 0])


def test_what_nobody_reads_is_overwritten():
    memory = build(sharpness=60.0)
    state = fill(memory)
    with torch.no_grad():
        for axis in (0, 2, 0, 2):
            _, state = memory.read(state, Query(entry_along(axis).key[:, 0]))
        state = memory.write(state, entry_along(0, 5.0))
    assert state.value[0, 0].mean((1, 2)).argmax() == 1


def test_the_erase_gate_is_per_channel():
    memory = build()
    state = fill(memory)
    state.value.fill_(2.0)
    with torch.no_grad():
        memory.update_value.erase.bias.copy_(torch.tensor([30.0, -30.0, 30.0, -30.0, 30.0]))
        state = memory.write(state, entry_along(0, 1.0))  # slot 0 is the least used
    torch.testing.assert_close(state.value[0, 0].amax((0, 1)), torch.tensor([2.0, 3.0, 2.0, 3.0, 2.0]))
    torch.testing.assert_close(state.value[0, 0].amin((0, 1)), torch.tensor([1.0, 2.0, 1.0, 2.0, 1.0]))


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match=r'NTMMemory\.num_slots must be at least 2, got 1'):
        NTMMemory(1)


def test_a_constant_value_of_a_new_object_is_read_as_it_is():
    """Older places, which know nothing of it, do not dilute it."""
    entries, queries = stream(objects=2)
    for entry in entries:
        entry.value[:, 1] = CONSTANT
    readouts, _ = join(build(), entries, queries, 4)
    torch.testing.assert_close(
        readouts[:, :, 1], torch.full_like(readouts[:, :, 1], CONSTANT), rtol=0, atol=TOLERANCE
    )


def test_slots_stay_bounded():
    with torch.no_grad():
        state, _ = run(build(full_erase=False), *stream(50, 2, 3))
    assert state.value.abs().max() < 10


def test_addresses_begin_with_the_key_itself_and_one_sharpness():
    address = ContentAddress(KEY)
    assert torch.equal(address.key.weight, torch.eye(KEY))
    assert not address.sharpness.weight.any() and address.sharpness.bias.tolist() == [10.0]
