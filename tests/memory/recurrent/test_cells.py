"""Recurrent cells against the formulas of their papers, written out in float64."""

import pytest
import torch
import torch.nn.functional as F
from helpers.memory_cases import generator

from mmstremn.memory.recurrent.convlstm import ConvLSTMCell
from mmstremn.memory.recurrent.e3d_lstm import E3DLSTMCell
from mmstremn.memory.recurrent.predrnn import STLSTMCell, overlap

C, CH, H, W, B = 3, 4, 3, 4, 2
TOLERANCE = dict(rtol=0, atol=1e-9)


@pytest.fixture(autouse=True)
def double_precision():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def rand(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed, *shape))


def build(cell_class, *args, **kwargs):
    torch.manual_seed(0)
    return cell_class(C, CH, *args, **kwargs)


def conv(weight, x):
    """A convolution, place by place, with zeros around."""
    size = weight.shape[-1]
    padded, out = F.pad(x, [size // 2] * 4), x.new_zeros(x.shape[0], weight.shape[0], *x.shape[2:])
    for row in range(x.shape[2]):
        for column in range(x.shape[3]):
            patch = padded[:, :, row : row + size, column : column + size]
            out[:, :, row, column] = torch.einsum('bcij,ocij->bo', patch, weight)
    return out


def conv_in_time(module, x):
    """Two frames at a time: frame t sees t and t + 1, the last a frame of zeros."""
    now, after = module.weight.chunk(2, 1)
    frames = [conv(now, x[:, :, t]) for t in range(x.shape[2])]
    for t in range(x.shape[2] - 1):
        frames[t] = frames[t] + conv(after, x[:, :, t + 1])
    return torch.stack(frames, 2)


def part(tensor, index):
    return tensor[:, index * CH : (index + 1) * CH]


@torch.no_grad()
def test_conv_lstm():
    cell = build(ConvLSTMCell)
    x, h, c = rand(B, C, H, W), rand(B, CH, H, W, seed=1), rand(B, CH, H, W, seed=2)
    a = conv(cell.conv_x.weight, x) + conv(cell.conv_h.weight, h)
    i, f, g, o = (part(a, k) for k in range(4))
    expected_c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    expected_h = torch.sigmoid(o) * torch.tanh(expected_c)
    new_h, new_c = cell(x, h, c)
    torch.testing.assert_close(new_c, expected_c, **TOLERANCE)
    torch.testing.assert_close(new_h, expected_h, **TOLERANCE)


@torch.no_grad()
def test_st_lstm():
    cell = build(STLSTMCell)
    x, (h, c, m) = rand(B, C, H, W), (rand(B, CH, H, W, seed=s) for s in (1, 2, 3))
    ax, ah, am = conv(cell.conv_x.weight, x), conv(cell.conv_h.weight, h), conv(cell.conv_m.weight, m)
    added_c = torch.sigmoid(part(ax, 0) + part(ah, 0)) * torch.tanh(part(ax, 2) + part(ah, 2))
    added_m = torch.sigmoid(part(ax, 3) + part(am, 0)) * torch.tanh(part(ax, 5) + part(am, 2))
    expected_c = torch.sigmoid(part(ax, 1) + part(ah, 1) + 1) * c + added_c
    expected_m = torch.sigmoid(part(ax, 4) + part(am, 1) + 1) * m + added_m
    both = torch.cat([expected_c, expected_m], 1)
    o = torch.sigmoid(part(ax, 6) + part(ah, 3) + conv(cell.conv_o.weight, both))
    expected = o * torch.tanh(conv(cell.conv_last.weight, both)), expected_c, expected_m, added_c, added_m
    for one, other in zip(cell(x, h, c, m), expected, strict=True):
        torch.testing.assert_close(one, other, **TOLERANCE)


def e3d_case(number=3):
    maps = [rand(B, CH, 2, H, W, seed=s) for s in (1, 2, 3)]
    history = torch.stack([rand(B, CH, 2, H, W, seed=s) for s in range(4, 3 + number)] + [maps[1]], 1)
    return rand(B, C, 2, H, W), *maps, history


def recall(r, history):
    """For every place the mean of all past cell states there are, weighted by the softmax of the dot
    products."""
    out = torch.zeros_like(r)
    for b in range(B):
        past = torch.stack(
            [
                history[b, n, :, t, i, j]
                for n in range(history.shape[1])
                for t in range(2)
                for i in range(H)
                for j in range(W)
            ]
        )
        for t in range(2):
            for i in range(H):
                for j in range(W):
                    out[b, :, t, i, j] = (past @ r[b, :, t, i, j]).softmax(0) @ past
    return out


@torch.no_grad()
def test_e3d_lstm():
    cell = build(E3DLSTMCell)
    cell.norm.weight.copy_(rand(CH, seed=8)), cell.norm.bias.copy_(rand(CH, seed=9))
    x, h, c, m, history = e3d_case()
    ax, ah, am = conv_in_time(cell.conv_x, x), conv_in_time(cell.conv_h, h), conv_in_time(cell.conv_m, m)
    i, g, r = (
        torch.sigmoid(part(ax, 0) + part(ah, 0)),
        torch.tanh(part(ax, 1) + part(ah, 1)),
        part(ax, 2) + part(ah, 2),
    )
    old = c + recall(torch.sigmoid(r), history)
    mean, variance = old.mean((1, 2, 3, 4), keepdim=True), old.var((1, 2, 3, 4), unbiased=False, keepdim=True)
    scale, shift = (p.view(1, CH, 1, 1, 1) for p in (cell.norm.weight, cell.norm.bias))
    expected_c = (old - mean) / torch.sqrt(variance + 1e-5) * scale + shift + i * g
    forget, add = torch.sigmoid(part(ax, 6) + part(am, 1) + 1), torch.sigmoid(part(ax, 4) + part(am, 0))
    expected_m = forget * torch.tanh(part(am, 3)) + add * torch.tanh(part(ax, 5) + part(am, 2))
    gate = torch.tanh(
        part(ax, 3)
        + part(ah, 3)
        + conv_in_time(cell.conv_new_c, expected_c)
        + conv_in_time(cell.conv_new_m, expected_m)
    )
    last = torch.einsum(
        'oc,bcthw->bothw', cell.conv_last.weight.flatten(1), torch.cat([expected_c, expected_m], 1)
    )
    new_h, new_c, new_m = cell(x, h, c, m, history)
    torch.testing.assert_close(new_c, expected_c, **TOLERANCE)
    torch.testing.assert_close(new_m, expected_m, **TOLERANCE)
    torch.testing.assert_close(new_h, torch.tanh(last) * torch.sigmoid(gate), **TOLERANCE)


@torch.no_grad()
def test_e3d_lstm_ignores_what_is_not_usable():
    cell = build(E3DLSTMCell)
    *inputs, history = e3d_case(5)
    usable = torch.tensor([[True, False, False, True, True], [False, True, False, False, True]])
    out = cell(*inputs, history, usable)
    for b in range(B):
        alone = cell(*(t[b : b + 1] for t in inputs), history[b : b + 1, usable[b]])
        for one, other in zip(out, alone, strict=True):
            torch.testing.assert_close(one[b], other[0], **TOLERANCE)


@torch.no_grad()
def test_e3d_lstm_recalls_a_state_that_fits():
    """With one channel open, what comes back is the past state that is large there, whatever its age."""
    cell = build(E3DLSTMCell)
    gate, history = torch.zeros(B, CH, 2, H, W), 0.1 * rand(B, 4, CH, 2, H, W)
    gate[:, 0] = 1
    history[:, 1, 0, 1, 2, 3] = 50
    recalled = cell._recall(gate, history, None)
    expected = history[:, 1, :, 1, 2, 3][..., None, None, None].expand_as(recalled)
    torch.testing.assert_close(recalled, expected, **TOLERANCE)


@torch.no_grad()
def test_e3d_lstm_as_in_openstl():
    """m comes back as it came in, Ch neighbouring numbers are a token, and two frames give one that is
    stretched to two."""
    cell = build(E3DLSTMCell, compat='openstl')
    x, h, c, m, history = e3d_case()
    out = cell(x, h, c, m, history)
    assert out[2] is m

    def stretched(module, frames):
        one = conv_in_time(module, frames)[:, :, :1]
        return torch.cat([one, one], 2)

    ax, ah, am = stretched(cell.conv_x, x), stretched(cell.conv_h, h), stretched(cell.conv_m, m)
    r = torch.sigmoid(part(ax, 2) + part(ah, 2)).flatten(1).view(B, -1, CH)
    tokens = torch.stack(
        [torch.cat([state.flatten().view(-1, CH) for state in history[b]]) for b in range(B)]
    )
    recalled = (torch.einsum('bxc,byc->bxy', r, tokens).softmax(-1) @ tokens).reshape(c.shape)
    new_c = F.layer_norm(c + recalled, c.shape[1:])
    new_c = new_c + torch.sigmoid(part(ax, 0) + part(ah, 0)) * torch.tanh(part(ax, 1) + part(ah, 1))
    torch.testing.assert_close(out[1], new_c, **TOLERANCE)
    new_m = torch.sigmoid(part(ax, 6) + part(am, 1) + 1) * torch.tanh(part(am, 3))
    new_m = new_m + torch.sigmoid(part(ax, 4) + part(am, 0)) * torch.tanh(part(ax, 5) + part(am, 2))
    gate = torch.tanh(
        part(ax, 3) + part(ah, 3) + stretched(cell.conv_new_c, new_c) + stretched(cell.conv_new_m, new_m)
    )
    last = torch.einsum('oc,bcthw->bothw', cell.conv_last.weight.flatten(1), torch.cat([new_c, new_m], 1))
    torch.testing.assert_close(out[0], torch.tanh(last) * torch.sigmoid(gate), **TOLERANCE)
    ours = build(E3DLSTMCell)
    ours.load_state_dict(cell.state_dict())
    assert all(
        (one - other).abs().max() > 1e-3 for one, other in zip(out, ours(x, h, c, m, history), strict=True)
    )


@pytest.mark.parametrize('cell_class', [ConvLSTMCell, STLSTMCell, E3DLSTMCell])
def test_no_output_before_is_an_output_of_zeros(cell_class):
    cell = build(cell_class)
    if cell_class is E3DLSTMCell:
        x, h, *rest = e3d_case()
    else:
        maps = 1 if cell_class is ConvLSTMCell else 2
        x, h, *rest = rand(B, C, H, W), *(rand(B, CH, H, W, seed=s) for s in range(1, 2 + maps))
    results = [cell(x, before, *rest) for before in (None, torch.zeros_like(h))]
    for one, other in zip(*results, strict=True):
        assert torch.equal(one, other)
    weights = list(cell.parameters())
    gradients = [torch.autograd.grad(sum(part.sum() for part in result), weights) for result in results]
    for one, other in zip(*gradients, strict=True):  # none is None: distributed training needs them all
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


@torch.no_grad()
def test_overlap_is_the_mean_absolute_cosine():
    delta_c, delta_m, adapter = (
        rand(B, CH, H, W),
        rand(B, CH, H, W, seed=1),
        torch.nn.Conv2d(CH, CH, 1, bias=False),
    )
    cosines = []
    for b in range(B):
        for channel in range(CH):
            first, second = (adapter(t)[b, channel].flatten() for t in (delta_c, delta_m))
            cosines.append(abs(first @ second) / (first.norm() * second.norm()))
    expected = torch.stack(cosines).view(B, CH).mean(1)
    torch.testing.assert_close(overlap(delta_c, delta_m, adapter), expected, **TOLERANCE)


def test_overlap_of_known_cases():
    delta = rand(B, CH, H, W)
    assert overlap(delta, -3 * delta).mean().item() == pytest.approx(1)
    left, right = delta.clone(), delta.clone()
    left[..., :2], right[..., 2:] = 0, 0
    assert overlap(left, right).mean().item() == pytest.approx(0)
    zero = torch.zeros_like(delta, requires_grad=True)
    overlap(zero, delta).mean().backward()
    assert zero.grad.isfinite().all()


@pytest.mark.parametrize('cell_class', [ConvLSTMCell, STLSTMCell, E3DLSTMCell])
def test_no_biases_and_a_kernel_of_five(cell_class):
    cell = build(cell_class)
    assert cell.conv_h.kernel_size[-2:] == (5, 5)
    assert {name for name, _ in cell.named_parameters() if 'bias' in name} <= {'norm.bias'}
    out = build(cell_class, 3).conv_x(torch.zeros(1, C, *[2] * (cell_class is E3DLSTMCell), 1, 1))
    assert out.shape[-2:] == (1, 1)


@pytest.mark.parametrize('cell_class', [ConvLSTMCell, STLSTMCell, E3DLSTMCell])
def test_nonsense_is_refused(cell_class):
    name = cell_class.__name__
    with pytest.raises(ValueError, match=rf'{name}\.kernel must be odd and positive, got 4'):
        cell_class(C, CH, 4)
    with pytest.raises(ValueError, match=rf'{name}\.hidden_channels must be at least 1, got 0'):
        cell_class(C, 0)


def test_an_unknown_compatibility_is_refused():
    with pytest.raises(ValueError, match=r"E3DLSTMCell\.compat must be None or 'openstl', got 'tf'"):
        E3DLSTMCell(C, CH, compat='tf')
