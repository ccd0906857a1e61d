"""Gated linear matching: its formula, and that it forgets as its gates say."""

import pytest
import torch
from helpers.memory_cases import KEY, POSITIONS, VALUE, assert_close, clip, make_entry, make_query, run

from mmstremn.memory.published.livos import GatedLinearMemory


def build() -> GatedLinearMemory:
    torch.manual_seed(0)
    memory = GatedLinearMemory(KEY, VALUE).eval()
    torch.nn.init.normal_(memory.gate.weight)
    return memory


def with_gate(bias: float) -> GatedLinearMemory:
    memory = build()
    torch.nn.init.zeros_(memory.gate.weight)
    torch.nn.init.constant_(memory.gate.bias, bias)
    return memory


def test_formula():
    """The recurrence as the paper writes it, with diagonal matrices, in float64."""
    memory, (entries, queries) = build(), clip(6, batch=2, objects=2)
    with torch.no_grad():
        state, readouts = run(memory, entries, queries)
        weight, bias = memory.gate.weight.double(), memory.gate.bias.double()
    for b in range(2):
        for o in range(2):
            s, z = torch.zeros(2, KEY, VALUE, dtype=torch.float64)
            for index, entry in enumerate(entries):
                if index:
                    phi = queries[index].key[b].double().softmax(-1)
                    assert_close(readouts[index - 1][b, o].double(), (phi @ s) / (phi @ z))
                key, value = entry.key[b, 0].double(), entry.value[b, o].double()
                gates = torch.stack([(weight @ key[p] + bias).sigmoid() for p in range(POSITIONS)]).mean(0)
                s, z = s @ gates.diag(), z @ gates.diag()
                for p in range(POSITIONS):
                    s += torch.outer(key[p].softmax(-1), value[p])
                    z += torch.outer(key[p].softmax(-1), torch.ones_like(value[p]))
            assert_close(state.numerator[b, o].double(), s)


def test_gates_depend_on_the_frame():
    memory = build()
    with torch.no_grad():
        state, _ = run(memory, [make_entry(0)])
        decays = [
            memory.write(state, make_entry(i)).normalizer
            - memory.write(memory.init(make_entry()), make_entry(i)).normalizer
            for i in (1, 2)
        ]
    assert (decays[0] - decays[1]).abs().max() > 0.1


@pytest.mark.parametrize(('bias', 'gate'), [(0.0, 0.5), (2.0, 0.8808)])
def test_the_first_frame_fades_geometrically(bias, gate):
    """Its share of a readout after t later frames with the same key: gate^t / (1 + gate + ... + gate^t)."""
    memory, first, later = with_gate(bias), make_entry(0), make_entry(0)
    first.value.fill_(1.0)
    later.value.fill_(0.0)
    with torch.no_grad():
        _, readouts = run(memory, [first] + [later] * 6, [make_query()] * 7)
    for t, readout in enumerate(readouts):
        expected = gate**t / sum(gate**i for i in range(t + 1))
        assert_close(readout, torch.full_like(readout, expected), 1e-3)


def test_open_gates_forget_nothing_and_closed_ones_all():
    entries, queries = clip(5)
    with torch.no_grad():
        _, kept = run(with_gate(100.0), entries, queries)
        _, shuffled = run(with_gate(100.0), entries[:4][::-1] + entries[4:], queries)
        _, forgotten = run(with_gate(-100.0), entries, queries)
        _, last = run(with_gate(0.0), entries[3:], queries[3:])
    assert_close(kept[-1], shuffled[-1])
    assert_close(forgotten[-1], last[0])


def test_what_is_constant_is_read_back():
    entries, queries = clip(5)
    for entry in entries:
        entry.value.fill_(3.0)
    with torch.no_grad():
        _, readouts = run(build(), entries, queries)
    assert_close(torch.stack(readouts), torch.full_like(torch.stack(readouts), 3.0))


def test_the_sums_stay_bounded():
    """A state that only adds would grow without end; the gates hold it."""
    memory = with_gate(2.0)
    with torch.no_grad():
        state, _ = run(memory, [make_entry(i % 5) for i in range(300)])
    assert state.normalizer.max() < POSITIONS / (1 - 0.881)
