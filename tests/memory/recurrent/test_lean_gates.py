"""Gates that keep little for backward: the results and gradients of the plain equations, and what is kept."""

import pytest
import torch
from helpers.memory_cases import generator

from mmstremn.memory import ConvLSTMMemory, Entry, STLSTMMemory
from mmstremn.memory.recurrent.convlstm import ConvLSTMCell
from mmstremn.memory.recurrent.lean_gates import GatedOutput, LSTMGates, STLSTMGates, alias, joined
from mmstremn.memory.recurrent.predrnn import STLSTMCell

B, W, SIDE = 2, 3, 4
SCALES = pytest.mark.parametrize('scale', [1, 10, 100])  # of the sums: 100 saturates every gate


def rand(channels, seed=0, scale=1.0):
    """(B, channels, h, w) in float64 that gradients are recorded for."""
    values = torch.randn(B, channels, SIDE, SIDE, generator=generator(seed), dtype=torch.float64)
    return (scale * values).requires_grad_()


def room(channels=W):
    return torch.empty(B, channels, SIDE, SIDE, dtype=torch.float64)


def assert_same(found, expected, inputs):
    """Values, and gradients under random ones from above."""
    pulls = [torch.randn(t.shape, generator=generator(90 + i), dtype=t.dtype) for i, t in enumerate(expected)]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)
    gradients = [torch.autograd.grad(outputs, inputs, pulls) for outputs in (found, expected)]
    for one, other in zip(*gradients, strict=True):
        assert one.isfinite().all()
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-10)


def lstm(sums, c):
    i, f, g, o = sums.chunk(4, 1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def st_lstm(from_x, from_h, from_m, c, m):
    ix, fx, gx, ix_m, fx_m, gx_m, ox = from_x.chunk(7, 1)
    ih, fh, gh, oh = from_h.chunk(4, 1)
    im, fm, gm = from_m.chunk(3, 1)
    added_c = (ix + ih).sigmoid() * (gx + gh).tanh()
    added_m = (ix_m + im).sigmoid() * (gx_m + gm).tanh()
    c, m = (fx + fh + 1).sigmoid() * c + added_c, (fx_m + fm + 1).sigmoid() * m + added_m
    return torch.cat([c, m], 1), c, m, ox + oh, added_c, added_m


@SCALES
def test_lstm_gates(scale):
    inputs = rand(4 * W, 0, scale), rand(W, 1)
    assert_same(LSTMGates.apply(1 * inputs[0], inputs[1], room(), room()), lstm(*inputs), inputs)


@SCALES
def test_st_lstm_gates(scale):
    inputs = *(rand(k * W, k, scale) for k in (7, 4, 3)), rand(W, 1), rand(W, 2)
    both = room(2 * W)
    found = STLSTMGates.apply(*inputs, both, *(alias(half) for half in both.chunk(2, 1)))
    assert_same(found, st_lstm(*inputs), inputs)


@SCALES
def test_gated_output(scale):
    inputs = rand(W, 0, scale), rand(W, 1, scale)
    assert_same(
        [GatedOutput.apply(1 * inputs[0], 1 * inputs[1], room())],
        [inputs[0].sigmoid() * inputs[1].tanh()],
        inputs,
    )


def test_gates_that_are_exactly_zero_have_gradients_of_zero():
    """Below -104 a sigmoid is 0 in single precision."""
    sums = torch.full((B, 4 * W, 1, 1), -200.0, requires_grad=True)
    c = torch.ones(B, W, 1, 1, requires_grad=True)
    h, new_c = LSTMGates.apply(1 * sums, c, torch.empty_like(c), torch.empty_like(c))
    out = GatedOutput.apply(1 * sums[:, :W], 1 * c, torch.empty_like(c))
    (h + new_c + out).sum().backward()
    assert sums.grad.abs().max() == 0 and c.grad.abs().max() == 0


def test_a_stack_of_aliases_is_not_copied_and_passes_gradients_on():
    whole, x = torch.empty(B, 2, W), torch.randn(B, W, generator=generator(0)).requires_grad_()
    zeros = torch.zeros(B, W, requires_grad=True)
    parts = [GatedOutput.apply(1 * zeros, k * x, alias(whole[:, k])) for k in range(2)]
    stack = joined(parts, whole)
    assert stack.data_ptr() == whole.data_ptr() == parts[0].data_ptr()
    torch.testing.assert_close(stack, torch.stack([0.5 * (k * x).tanh() for k in range(2)], 1))
    (found,) = torch.autograd.grad(stack[:, 1].sum() + parts[0].sum(), x)
    torch.testing.assert_close(found, 0.5 * (1 - x.tanh() ** 2))
    assert torch.equal(joined(parts), stack)


@pytest.mark.parametrize(('cell_class', 'states'), [(ConvLSTMCell, 2), (STLSTMCell, 3)])
def test_a_cell_gives_the_same_with_and_without_gradients(cell_class, states):
    torch.manual_seed(0)
    cell = cell_class(W, W, 3).double()
    inputs = [rand(W, seed) for seed in range(1 + states)]
    with torch.no_grad():
        expected = cell(*inputs)
    for one, other in zip(cell(*inputs), expected, strict=True):
        assert one.requires_grad and not other.requires_grad
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


@pytest.mark.parametrize(('memory_class', 'tensors'), [(ConvLSTMMemory, 6), (STLSTMMemory, 11)])
def test_a_step_keeps_few_numbers_for_backward(memory_class, tensors):
    """In states (B, w, h, w) a step and layer: i, f, g, o, c, h; and in an ST-LSTM three more gates, m and
    the tanh."""
    steps, layers, kept = 4, 3, {}
    memory = memory_class(0, W, hidden_channels=W, kernel=3, layers=layers)

    def pack(tensor):
        if tensor.shape[0] == B:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    entries = [
        Entry(
            torch.zeros(B, 1, SIDE**2, 0), torch.randn(B, 1, SIDE**2, W, generator=generator(t)), (SIDE, SIDE)
        )
        for t in range(steps)
    ]
    state, states = memory.init(entries[0]), []  # held, so that no storage is used twice
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        for entry in entries:
            state = memory.write(state, entry)
            states.append(state)
    one = 4 * B * W * SIDE**2
    inputs, beginning = steps, layers + (tensors == 11)  # of the first layer; zeros of each c, and of m
    assert sum(kept.values()) == one * (steps * layers * tensors + inputs + beginning)
    sum(state.hidden.sum() for state in states).backward()
    assert all(weight.grad.isfinite().all() for weight in memory.cells.parameters())
