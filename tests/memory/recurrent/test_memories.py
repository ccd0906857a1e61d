"""Recurrent memories: cells stepped per object, constant bytes, m that zigzags, past cell states that are
recalled."""

import dataclasses

import pytest
import torch
from helpers.memory_cases import GRID, KEY, POSITIONS, VALUE, assert_close, make_entry, make_query, run, take

from mmstremn.memory import ConvLSTMMemory, E3DLSTMMemory, Entry, STLSTMMemory

HIDDEN, LAYERS, HISTORY = 4, 2, 3
CLASSES = [ConvLSTMMemory, STLSTMMemory, E3DLSTMMemory]
ALL = pytest.mark.parametrize('memory_class', CLASSES)


def build(memory_class, seed=0, **kwargs):
    torch.manual_seed(seed)
    if memory_class is E3DLSTMMemory:
        kwargs.setdefault('history', HISTORY)
    return memory_class(KEY, VALUE, **(dict(hidden_channels=HIDDEN, kernel=3, layers=LAYERS) | kwargs)).eval()


def stream(length, start=0, **kwargs):
    return [make_entry(start + i, **kwargs) for i in range(length)], [
        make_query(i, kwargs.get('batch', 1)) for i in range(length)
    ]


def only(index):
    return slice(index, index + 1)


def plain_outputs(memory, entries):
    """The top layer's outputs after every entry, for one sample and one object, from the cells alone."""
    depth = (2,) if isinstance(memory, E3DLSTMMemory) else ()
    zeros = torch.zeros(1, HIDDEN, *depth, *GRID, dtype=entries[0].value.dtype)
    h, c, m, past = [zeros] * LAYERS, [zeros] * LAYERS, zeros, [[] for _ in range(LAYERS)]
    inputs, outputs = [torch.zeros(1, VALUE + KEY, *GRID, dtype=zeros.dtype)], []
    for entry in entries:
        rows = torch.cat([entry.value[0, 0], entry.key[0, 0]], -1)
        inputs.append(rows.T.reshape(1, -1, *GRID))
        x = torch.stack(inputs[-2:], 2) if depth else inputs[-1]
        for index, cell in enumerate(memory.cells):
            past[index].append(c[index])
            if isinstance(memory, ConvLSTMMemory):
                h[index], c[index] = cell(x, h[index], c[index])
            elif isinstance(memory, STLSTMMemory):
                h[index], c[index], m = cell(x, h[index], c[index], m)[:3]
            else:
                h[index], c[index], m = cell(x, h[index], c[index], m, torch.stack(past[index][-HISTORY:], 1))
            x = h[index]
        outputs.append(x)
    return outputs


def plain_readout(memory, output, query):
    """(P, Cv): one convolution of the output's channels and the query's side by side."""
    weight = torch.cat([memory.from_state.weight, memory.from_query.weight], 1)
    both = torch.cat([output.flatten(1, -3), query.key[0].T.reshape(1, -1, *GRID)], 1)
    return torch.conv2d(both, weight, memory.from_state.bias, padding=1)[0].flatten(1).T


@ALL
@torch.no_grad()
def test_each_object_is_read_as_its_own_cells_say(memory_class):
    """Also an object born in the middle, whose history is shorter, and after the ring went round."""
    memory, born = build(memory_class).double(), 2
    entries = [make_entry(i, 2, 3, dtype=torch.float64) for i in range(8)]
    state = memory.init(take(entries[0], objects=slice(2)))
    for index, entry in enumerate(entries):
        if index == born:
            state = memory.add_objects(state, 1)
        state = memory.write(state, entry if index >= born else take(entry, objects=slice(2)))
        query = make_query(index, 2, dtype=torch.float64)
        readout, state = memory.read(state, query)
        for sample in range(2):
            for o in range(3 if index >= born else 2):
                alone = [take(e, only(sample), only(o)) for e in entries[born if o == 2 else 0 : index + 1]]
                asked = dataclasses.replace(query, key=query.key[only(sample)])
                expected = plain_readout(memory, plain_outputs(memory, alone)[-1], asked)
                torch.testing.assert_close(readout[sample, o], expected, rtol=0, atol=1e-5)
    assert state.births == (0, 0, born)


@ALL
@torch.no_grad()
def test_the_readout_depends_on_old_frames_and_on_the_query(memory_class):
    memory, (entries, queries) = build(memory_class), stream(4)
    state, _ = run(memory, entries)
    other, _ = run(memory, [make_entry(50), *entries[1:]])
    first = memory.read(state, queries[0])[0]
    assert (first - memory.read(other, queries[0])[0]).abs().max() > 1e-5
    assert (first - memory.read(state, queries[1])[0]).abs().max() > 1e-3


@torch.no_grad()
def test_a_conv_lstm_forgets_and_holds_as_its_gates_say():
    memory = build(ConvLSTMMemory, layers=1)
    entries = [make_entry(i) for i in range(4)]
    state, _ = run(memory, entries)
    cell = memory.cells[0]
    for convolution in (cell.conv_x, cell.conv_h):
        convolution.weight.zero_()
    middle = memory.cells[0].conv_x.weight[:, :, 1, 1]
    constant = Entry(torch.ones(1, 1, POSITIONS, KEY), torch.ones(1, 1, POSITIONS, VALUE), GRID)
    middle[:HIDDEN], middle[HIDDEN : 2 * HIDDEN] = -5, 5  # nothing comes in, all stays
    torch.testing.assert_close(memory.write(state.clone(), constant).cell, state.cell, rtol=0, atol=1e-6)
    middle[HIDDEN : 2 * HIDDEN] = -5  # nothing stays
    assert memory.write(state.clone(), constant).cell.abs().max() < 1e-6


@torch.no_grad()
def test_m_goes_up_the_layers_and_back_to_the_first_at_the_next_frame():
    memory, (entries, _) = build(STLSTMMemory), stream(4)
    state, _ = run(memory, entries[:3])
    flat = [t.flatten(0, 1) for t in (state.hidden, state.cell, state.memory)]
    x = torch.cat([entries[3].value, entries[3].key], -1)[0].mT.unflatten(-1, GRID)
    bottom = memory.cells[0](x, flat[0][:, 0], flat[1][:, 0], flat[2])
    top = memory.cells[1](bottom[0], flat[0][:, 1], flat[1][:, 1], bottom[2])
    after = memory.write(state, entries[3])
    torch.testing.assert_close(after.memory[0], top[2])
    torch.testing.assert_close(after.hidden[0], torch.stack([bottom[0], top[0]], 1))
    assert (bottom[2] - top[2]).abs().max() > 1e-3


@torch.no_grad()
@pytest.mark.parametrize('pushed', range(HISTORY + 1))
def test_e3d_recalls_a_cell_state_that_was_overwritten_until_it_leaves_the_history(pushed):
    """A trace left in nothing but one past cell state changes what is written as long as that state is
    remembered."""
    memory, (entries, _) = build(E3DLSTMMemory), stream(12)
    plain, _ = run(memory, entries[:6])
    traced = plain.clone()
    traced.history[:, :, :, (plain.step - 1) % HISTORY] += 3

    def turn_the_ring(state):
        after = memory.write(state.clone(), entries[6])
        return dataclasses.replace(after, hidden=plain.hidden, cell=plain.cell, memory=plain.memory)

    states = [plain, traced]
    for _ in range(pushed):
        states = [turn_the_ring(state) for state in states]
    one, other = (memory.write(state, entries[10]).hidden for state in states)
    assert ((one - other).abs().max() > 1e-4) == (pushed < HISTORY - 1)


@torch.no_grad()
def test_e3d_sees_the_frame_before():
    memory, entries = build(E3DLSTMMemory), stream(3)[0]
    state, _ = run(memory, entries[:2])
    x = torch.cat([entries[1].value, entries[1].key], -1)
    assert torch.equal(state.previous.flatten(3).mT, x)
    blank = dataclasses.replace(state.clone(), previous=torch.zeros_like(state.previous))
    assert (
        memory.write(state, entries[2]).hidden - memory.write(blank, entries[2]).hidden
    ).abs().max() > 1e-4


@ALL
@torch.no_grad()
@pytest.mark.parametrize('autocast', [False, True])
def test_half_precision_values_come_out_as_they_went_in(memory_class, autocast):
    memory, entries = build(memory_class), stream(5, objects=2)[0]
    exact, _ = run(memory, entries)
    halves = [dataclasses.replace(e, value=e.value.bfloat16()) for e in entries]
    with torch.autocast('cpu', torch.bfloat16, enabled=autocast):
        state = memory.init(halves[0])
        before = {name: (t.dtype, t.shape) for name, t in state.tensors().items()}
        for entry in halves:
            state = memory.write(state, entry)
        readout, _ = memory.read(state, make_query())
    assert {name: (t.dtype, t.shape) for name, t in state.tensors().items()} == before
    assert (readout.dtype, state.cell.dtype) == (torch.bfloat16, torch.float32)
    torch.testing.assert_close(readout.float(), memory.read(exact, make_query())[0], rtol=0, atol=0.05)


@ALL
@torch.no_grad()
@pytest.mark.parametrize('grid', [(1, 1), (3, 5)])
def test_any_grid_and_a_key_per_object(memory_class, grid):
    memory, places = build(memory_class), grid[0] * grid[1]
    torch.manual_seed(0)
    shared = Entry(torch.randn(1, 1, places, KEY), torch.randn(1, 2, places, VALUE), grid)
    own = dataclasses.replace(shared, key=shared.key.expand(-1, 2, -1, -1))
    query = make_query()
    query.key = torch.randn(1, places, KEY)
    readouts = [memory.read(memory.write(memory.init(e), e), query)[0] for e in (shared, own)]
    assert readouts[0].shape == (1, 2, places, VALUE)
    assert torch.equal(*readouts)


def test_defaults_have_a_sensible_number_of_weights():
    def count(memory):
        return sum(p.numel() for p in memory.parameters())

    with torch.device('meta'):
        for memory_class, layers, weights in zip(CLASSES, (1, 2, 1), (16e6, 57e6, 63e6), strict=True):
            memory = memory_class()
            assert (len(memory.cells), memory.hidden_channels) == (layers, 256)
            assert count(memory) < weights
            assert count(memory_class(value_channels=128)) < 18e6


@ALL
def test_nonsense_is_refused(memory_class):
    name = memory_class.__name__
    for argument in ('value_channels', 'hidden_channels', 'layers'):
        with pytest.raises(ValueError, match=rf'{name}\.{argument} must be at least 1, got 0'):
            memory_class(**{argument: 0})
    with pytest.raises(ValueError, match=rf'{name}\.key_channels must be at least 0, got -1'):
        memory_class(key_channels=-1)
    with pytest.raises(ValueError, match=rf'{name}\.kernel must be odd and positive, got 2'):
        memory_class(kernel=2)


def test_a_history_of_nothing_is_refused():
    with pytest.raises(ValueError, match=r'E3DLSTMMemory\.history must be at least 1, got 0'):
        E3DLSTMMemory(KEY, VALUE, history=0)


@ALL
def test_without_keys_the_query_changes_nothing(memory_class):
    """As in the public video predictors: values in, a projection of the top layer out."""
    memory = memory_class(0, VALUE, 8, kernel=3).eval()
    entries = [make_entry(i, 2, 1) for i in range(3)]
    state, _ = run(memory, entries)
    readouts = [memory.read(state, make_query(i, 2))[0] for i in (7, 8)]
    assert torch.equal(*readouts)
    assert memory.from_query is None and memory.from_state.bias is None


def test_the_decoupling_loss_is_that_of_the_cells():
    """Averaged over steps and layers, weighted; and it reaches the cells."""
    torch.manual_seed(0)
    memory = STLSTMMemory(KEY, VALUE, 8, kernel=3, layers=2, decoupling=0.5).train()
    entries = [make_entry(i, 2, 1) for i in range(3)]
    state, expected = memory.init(entries[0]), []
    for entry in entries:
        x = memory._to_maps(torch.cat([entry.value, entry.key], -1), entry.grid)
        m = state.memory.flatten(0, 1)
        for layer, h, c in memory._layers(state):
            x, _, m, delta_c, delta_m = layer(x, h, c, m)
            first, second = (memory.adapter(delta).flatten(2) for delta in (delta_c, delta_m))
            expected.append(torch.cosine_similarity(first, second, dim=-1).abs().mean())
        state = memory.write(state, entry)
    ((name, loss),) = memory.penalty(state).items()
    assert name == 'loss_decoupling'
    assert_close(loss, 0.5 * torch.stack(expected).mean())
    loss.backward()
    assert memory.adapter.weight.grad.abs().max() > 0
    assert memory.cells[0].conv_m.weight.grad.abs().max() > 0


def test_without_decoupling_or_training_there_is_no_penalty():
    entry = make_entry(0, 2, 1)
    for memory in (
        STLSTMMemory(KEY, VALUE, 8, 3).train(),
        STLSTMMemory(KEY, VALUE, 8, 3, decoupling=0.1).eval(),
    ):
        assert memory.penalty(memory.write(memory.init(entry), entry)) == {}
    with pytest.raises(ValueError, match=r'STLSTMMemory\.decoupling must be at least 0, got -1'):
        STLSTMMemory(decoupling=-1)


@ALL
@torch.no_grad()
def test_a_state_that_decays_ends_in_zeros_not_in_denormal_numbers(memory_class):
    memory, entry = build(memory_class), make_entry(0)
    state = run(memory, [entry])[0].map(lambda t: t * 1e-38 if t.is_floating_point() else t)
    silent = dataclasses.replace(entry, key=torch.zeros_like(entry.key), value=torch.zeros_like(entry.value))
    for _ in range(3):
        state = memory.write(state, silent)
    tiny = torch.finfo(torch.float32).tiny
    for name, tensor in state.tensors().items():
        assert not ((tensor != 0) & (tensor.abs() < tiny)).any(), name
