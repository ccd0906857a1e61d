"""Recurrent cells of video prediction: ConvLSTM, ST-LSTM (PredRNN) and E3D-LSTM. Segmentation and prediction
share them.

A cell maps an input map and its state to the next state. States start from zeros. Maps have any size h x w.
With gradients ConvLSTM and ST-LSTM leave their gates to :mod:`mmstremn.memory.recurrent.lean_gates`, which
computes the same and keeps less.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmstremn.memory.recurrent.lean_gates import GatedOutput, LSTMGates, STLSTMGates, alias

WINDOW = 2  # frames that an E3D-LSTM looks at at once


class ConvLSTMCell(nn.Module):
    """An LSTM whose products are convolutions (Shi et al., NeurIPS 2015), without peepholes and biases.

    Checked against chengtan9907/OpenSTL openstl/modules/convlstm_modules.py.

    Args:
        in_channels: C of the input.
        hidden_channels: Ch of the state.
        kernel: Odd size of the convolutions.

    Raises:
        ValueError: A size is not positive or the kernel is even.
    """

    def __init__(self, in_channels: int, hidden_channels: int, kernel: int = 5):
        super().__init__()
        check_sizes(self, kernel, in_channels=in_channels, hidden_channels=hidden_channels)
        self.conv_x = _conv2d(in_channels, 4 * hidden_channels, kernel)
        self.conv_h = _conv2d(hidden_channels, 4 * hidden_channels, kernel)

    def forward(
        self, x: Tensor, h: Tensor | None, c: Tensor, room: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """One step.

        Args:
            x: (B, C, h, w).
            h: Output of the step before (B, Ch, h, w); None: zeros, which need no products.
            c: Cell state (B, Ch, h, w).
            room: Where the next h and c are written; None: new tensors. Only used with gradients.

        Returns:
            The next h and c.
        """
        sums = self.conv_x(x)
        sums += _convolved(self.conv_h, h, sums)
        if torch.is_grad_enabled():
            return LSTMGates.apply(sums, c, *(room or (torch.empty_like(c), torch.empty_like(c))))
        i, f, g, o = sums.chunk(4, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c


class STLSTMCell(nn.Module):
    """The cell of PredRNN (Wang et al., NeurIPS 2017): besides the cell state c, a memory m that goes through
    all layers.

    Within a frame m goes up from layer to layer; the top layer's m enters the bottom layer at the next frame.
    Checked against thuml/predrnn-pytorch core/layers/SpatioTemporalLSTMCell_v2.py without its layer norm.

    Args:
        in_channels: C of the input.
        hidden_channels: Ch of the state.
        kernel: Odd size of the convolutions.

    Raises:
        ValueError: A size is not positive or the kernel is even.
    """

    def __init__(self, in_channels: int, hidden_channels: int, kernel: int = 5):
        super().__init__()
        check_sizes(self, kernel, in_channels=in_channels, hidden_channels=hidden_channels)
        self.conv_x = _conv2d(in_channels, 7 * hidden_channels, kernel)
        self.conv_h = _conv2d(hidden_channels, 4 * hidden_channels, kernel)
        self.conv_m = _conv2d(hidden_channels, 3 * hidden_channels, kernel)
        self.conv_o = _conv2d(2 * hidden_channels, hidden_channels, kernel)
        self.conv_last = _conv2d(2 * hidden_channels, hidden_channels, 1)

    def forward(
        self, x: Tensor, h: Tensor | None, c: Tensor, m: Tensor, room: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """One step.

        Args:
            x: (B, C, h, w).
            h: Output of this layer at the step before (B, Ch, h, w); None: zeros, which need no products.
            c: Cell state of this layer (B, Ch, h, w).
            m: Memory from the layer below, or from the top layer at the step before (B, Ch, h, w).
            room: Where the next h (B, Ch, h, w) and c and m side by side (B, 2 Ch, h, w) are written; None:
                new tensors. Only used with gradients.

        Returns:
            The next h, c and m, and what was added to c and to m: the increments of :func:`overlap`.
        """
        from_x = self.conv_x(x)
        from_h, from_m = _convolved(self.conv_h, h, from_x), self.conv_m(m)
        if torch.is_grad_enabled():
            new_h, both = room or (torch.empty_like(c), c.new_empty(c.shape[0], 2 * c.shape[1], *c.shape[2:]))
            halves = [alias(half) for half in both.chunk(2, 1)]
            both, c, m, o, delta_c, delta_m = STLSTMGates.apply(from_x, from_h, from_m, c, m, both, *halves)
            h = GatedOutput.apply(o + self.conv_o(both), self.conv_last(both), new_h)
            return h, c, m, delta_c, delta_m
        ix, fx, gx, ix_m, fx_m, gx_m, ox = from_x.chunk(7, 1)
        ih, fh, gh, oh = from_h.chunk(4, 1)
        im, fm, gm = from_m.chunk(3, 1)
        delta_c = (ix + ih).sigmoid() * (gx + gh).tanh()
        delta_m = (ix_m + im).sigmoid() * (gx_m + gm).tanh()
        c = (fx + fh + 1).sigmoid() * c + delta_c
        m = (fx_m + fm + 1).sigmoid() * m + delta_m
        both = torch.cat([c, m], 1)
        o = (ox + oh + self.conv_o(both)).sigmoid()
        return o * self.conv_last(both).tanh(), c, m, delta_c, delta_m


class E3DLSTMCell(nn.Module):
    """The cell of E3D-LSTM (Wang et al., ICLR 2019): it attends to its own past cell states, over windows of
    frames.

    Maps have a time axis: the window of the last T frames. Checked against google/e3d_lstm
    src/layers/rnn_cell.py and chengtan9907/OpenSTL openstl/modules/e3dlstm_modules.py. Both return the memory
    m as it came in; this cell returns the new one, as the paper's equations do. As in the equations only the
    recalled cell state is normalised: over all its channels, frames and places, with a scale and a shift per
    channel.

    Args:
        in_channels: C of the input.
        hidden_channels: Ch of the state.
        kernel: Odd size of the convolutions in space; in time it is 2.
        compat: ``'openstl'`` computes what OpenSTL does, for comparison only: m comes back as it came in, the
            attention takes Ch neighbouring numbers of a map for the channels of a place, and time is not
            padded but stretched. None: none of it.

    Raises:
        ValueError: A size is not positive, the kernel is even or ``compat`` unknown.
    """

    def __init__(self, in_channels: int, hidden_channels: int, kernel: int = 5, compat: str | None = None):
        super().__init__()
        check_sizes(self, kernel, in_channels=in_channels, hidden_channels=hidden_channels)
        if compat not in (None, 'openstl'):
            raise ValueError(f"E3DLSTMCell.compat must be None or 'openstl', got {compat!r}")
        self.compat = compat
        self.conv_x = _TwoFrameConv2d(in_channels, 7 * hidden_channels, kernel, compat)
        self.conv_h = _TwoFrameConv2d(hidden_channels, 4 * hidden_channels, kernel, compat)
        self.conv_m = _TwoFrameConv2d(hidden_channels, 4 * hidden_channels, kernel, compat)
        self.conv_new_c = _TwoFrameConv2d(hidden_channels, hidden_channels, kernel, compat)
        self.conv_new_m = _TwoFrameConv2d(hidden_channels, hidden_channels, kernel, compat)
        self.conv_last = _conv2d(2 * hidden_channels, hidden_channels, 1)
        self.norm = nn.GroupNorm(1, hidden_channels)

    def forward(
        self, x: Tensor, h: Tensor | None, c: Tensor, m: Tensor, history: Tensor, usable: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One step.

        Args:
            x: (B, C, T, h, w).
            h: Output of this layer at the step before (B, Ch, T, h, w); None: zeros, which need no products.
            c: Cell state of this layer (B, Ch, T, h, w).
            m: Memory from the layer below, or from the top layer at the step before (B, Ch, T, h, w).
            history: N past cell states of this layer, ``c`` among them, in any order (B, N, Ch, T, h, w).
            usable: (B, N) bool, at least one in a row: which of them there are; None: all.

        Returns:
            The next h, c and m.
        """
        from_x = self.conv_x(x)
        ix, gx, rx, ox, ix_m, gx_m, fx_m = from_x.chunk(7, 1)
        ih, gh, rh, oh = _convolved(self.conv_h, h, from_x).chunk(4, 1)
        im, fm, gm, mm = self.conv_m(m).chunk(4, 1)
        c = (
            self.norm(c + self._recall((rx + rh).sigmoid(), history, usable))
            + (ix + ih).sigmoid() * (gx + gh).tanh()
        )
        new_m = (fx_m + fm + 1).sigmoid() * mm.tanh() + (ix_m + im).sigmoid() * (gx_m + gm).tanh()
        gate = (ox + oh + self.conv_new_c(c) + self.conv_new_m(new_m)).tanh().sigmoid()
        h = self.conv_last(torch.cat([c, new_m], 1).flatten(3)).view_as(c).tanh() * gate
        return h, c, m if self.compat else new_m

    def _recall(self, gate: Tensor, history: Tensor, usable: Tensor | None) -> Tensor:
        """Unscaled dot product attention of ``gate`` (B, Ch, T, h, w) to all places of ``history``; as large
        as ``gate``."""
        batch, width = gate.shape[:2]
        if self.compat:
            query, past = gate.reshape(batch, -1, width), history.reshape(batch, -1, width)
        else:
            query, past = (
                gate.flatten(2).mT,
                history.flatten(3).mT.flatten(1, 2),
            )  # (B, T h w, Ch) and (B, N T h w, Ch)
        mask = None
        if usable is not None:
            mask = usable.repeat_interleave(past.shape[1] // history.shape[1], 1)[:, None, None]
        exact = torch.promote_types(gate.dtype, torch.float32)
        query, past = query[:, None].to(exact), past[:, None].to(exact)
        with torch.autocast(gate.device.type, enabled=False):
            recalled = F.scaled_dot_product_attention(query, past, past, mask, scale=1.0)[:, 0]
        return (recalled if self.compat else recalled.mT).reshape(gate.shape)


def overlap(delta_c: Tensor, delta_m: Tensor, adapter: nn.Module | None = None) -> Tensor:
    """Mean absolute cosine between what an ST-LSTM adds to c and to m. As a loss it lets the two hold
    different things.

    The decoupling loss of PredRNN-V2 (Wang et al., TPAMI 2022), section 3.3, checked against
    thuml/predrnn-pytorch core/models/predrnn_v2.py. There its weight is 0.1 (Moving MNIST) or 0.01 (KTH), and
    it is averaged over samples, layers and frames.

    Args:
        delta_c: Increment of c (B, Ch, h, w).
        delta_m: Increment of m (B, Ch, h, w).
        adapter: Applied to both first: a 1 x 1 convolution without bias, shared by all layers. None: nothing
            is.

    Returns:
        (B,) in 0..1: the mean over channels of the cosine over places.
    """
    if adapter is not None:
        delta_c, delta_m = adapter(delta_c), adapter(delta_m)
    first, second = F.normalize(delta_c.flatten(2), dim=-1), F.normalize(delta_m.flatten(2), dim=-1)
    return (first * second).sum(-1).abs().mean(-1)


def check_sizes(owner: nn.Module, kernel: int, **counts: int) -> None:
    """Refuse even kernels and counts below 1.

    Args:
        owner: Named in the error.
        kernel: Size of a convolution.
        counts: Arguments of ``owner`` by name.

    Raises:
        ValueError: One of them is out of range.
    """
    name = type(owner).__name__
    if kernel < 1 or kernel % 2 == 0:
        raise ValueError(f'{name}.kernel must be odd and positive, got {kernel}')
    for argument, value in counts.items():
        if value < 1:
            raise ValueError(f'{name}.{argument} must be at least 1, got {value}')


def _conv2d(in_channels: int, out_channels: int, kernel: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=False)


def _convolved(conv: nn.Conv2d, maps: Tensor | None, like: Tensor) -> Tensor:
    """The convolution of ``maps``; if None, zeros as large as the maps of ``like``, with a gradient of
    zeros."""
    if maps is not None:
        return conv(maps)
    return (0 * conv.weight.sum()).to(like.dtype).expand(like.shape[0], conv.out_channels, *like.shape[2:])


class _TwoFrameConv2d(nn.Conv2d):
    """A convolution over time of size 2 that keeps the number of frames: each sees the next one, the last one
    zeros.

    It is a 2-D convolution of the channels of two frames, so that its weight (C', 2 C, k, k) can be
    channels-last: a model with weights of five axes cannot.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int, compat: str | None):
        super().__init__(WINDOW * in_channels, out_channels, kernel, padding=kernel // 2, bias=False)
        self.compat = compat

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, h, w) to (B, C', T, h, w)."""
        frames = x if self.compat else F.pad(x, (0, 0, 0, 0, 0, 1))
        pairs = torch.cat([frames[:, :, :-1], frames[:, :, 1:]], 1).transpose(
            1, 2
        )  # (B, T or T - 1, 2 C, h, w)
        out = super().forward(pairs.flatten(0, 1)).unflatten(0, pairs.shape[:2]).transpose(1, 2)
        return F.interpolate(out, size=x.shape[2:], mode='nearest') if self.compat else out
