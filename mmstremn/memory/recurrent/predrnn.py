"""PredRNN (Wang et al., NeurIPS 2017) and PredRNN-V2 (TPAMI 2022): the ST-LSTM cell, its loss and the memory.

With gradients the cell leaves its gates to :mod:`mmstremn.memory.recurrent.lean_gates`, which computes the
same and keeps less.
"""

import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmstremn.memory.recurrent.base import RecurrentMemory, RecurrentState, check_sizes, conv2d, convolved
from mmstremn.memory.recurrent.lean_gates import GatedOutput, STLSTMGates, alias, joined
from mmstremn.memory.state import Entry


class STLSTMCell(nn.Module):
    """The cell of PredRNN (Wang et al., NeurIPS 2017), with a memory m that goes through all layers.

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
        self.conv_x = conv2d(in_channels, 7 * hidden_channels, kernel)
        self.conv_h = conv2d(hidden_channels, 4 * hidden_channels, kernel)
        self.conv_m = conv2d(hidden_channels, 3 * hidden_channels, kernel)
        self.conv_o = conv2d(2 * hidden_channels, hidden_channels, kernel)
        self.conv_last = conv2d(2 * hidden_channels, hidden_channels, 1)

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
        from_h, from_m = convolved(self.conv_h, h, from_x), self.conv_m(m)
        if torch.is_grad_enabled():
            new_h, both = room or (torch.empty_like(c), c.new_empty(c.shape[0], 2 * c.shape[1], *c.shape[2:]))
            halves = [alias(half) for half in both.chunk(2, 1)]
            both, c, m, o, delta_c, delta_m = STLSTMGates.apply(from_x, from_h, from_m, c, m, both, *halves)
            h = GatedOutput.apply(o + self.conv_o(both), self.conv_last(both), new_h)
            return h, c, m, delta_c, delta_m
        ix, fx, gx, ix_m, fx_m, gx_m, ox = from_x.chunk(7, 1)
        ih, fh, gh, oh = from_h.chunk(4, 1)
        im, fm, gm = from_m.chunk(3, 1)
        # c' = sig(f + 1) c + sig(i) tanh(g), and the same of m with gates of its own
        delta_c = (ix + ih).sigmoid() * (gx + gh).tanh()
        delta_m = (ix_m + im).sigmoid() * (gx_m + gm).tanh()
        c = (fx + fh + 1).sigmoid() * c + delta_c
        m = (fx_m + fm + 1).sigmoid() * m + delta_m
        both = torch.cat([c, m], 1)  # (B, 2 Ch, h, w)
        o = (ox + oh + self.conv_o(both)).sigmoid()
        return o * self.conv_last(both).tanh(), c, m, delta_c, delta_m


def overlap(delta_c: Tensor, delta_m: Tensor, adapter: nn.Module | None = None) -> Tensor:
    """Mean absolute cosine between what an ST-LSTM adds to c and to m, a loss that decouples the two.

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


class STLSTMMemory(RecurrentMemory):
    """PredRNN's state per object (Wang et al., NeurIPS 2017): a cell state per layer and one m.

    Args:
        key_channels: Ck.
        value_channels: Cv.
        hidden_channels: Ch of every layer; None: Cv.
        kernel: Odd size of the cells' convolutions. A write costs about (7 (Cv + Ck) + 9 Ch + 16 (L - 1) Ch)
            Ch kernel^2 products a place (256 channels and kernel 5: 55 million; kernel 3: 20 million).
        layers: L.
        decoupling: Weight of the decoupling loss of PredRNN-V2 in training (0.1 on Moving MNIST, 0.01 on
            KTH); 0: none.

    Raises:
        ValueError: A size is not positive or the kernel is even.
    """

    cell_class = STLSTMCell

    def __init__(
        self,
        key_channels: int = 64,
        value_channels: int = 256,
        hidden_channels: int | None = None,
        kernel: int = 5,
        layers: int = 2,
        decoupling: float = 0.0,
    ):
        super().__init__(key_channels, value_channels, hidden_channels, kernel, layers)
        if decoupling < 0:
            raise ValueError(f'STLSTMMemory.decoupling must be at least 0, got {decoupling}')
        self.decoupling = decoupling
        width = self.hidden_channels
        self.adapter = nn.Conv2d(width, width, 1, bias=False) if decoupling else None

    def init(self, entry: Entry, seeds: tuple[int, ...] | None = None) -> RecurrentState:
        """As in :class:`RecurrentMemory`."""
        overlap = (
            entry.value.new_zeros(entry.value.shape[:2]).float()
            if self.adapter is not None and self.training
            else None
        )
        memory = self._zeros(entry, self.hidden_channels)
        return dataclasses.replace(super().init(entry, seeds), memory=memory, overlap=overlap)

    def penalty(self, state: RecurrentState) -> dict[str, Tensor]:
        """``loss_decoupling``, the weighted mean over steps, objects and layers; empty without decoupling."""
        if state.overlap is None:
            return {}
        return dict(loss_decoupling=self.decoupling * state.overlap.mean() / max(state.step, 1))

    def _advance(self, state: RecurrentState, x: Tensor) -> dict[str, Tensor]:
        assert state.memory is not None, 'init gives it'
        outputs, cells, overlaps, m = [], [], [], state.memory.flatten(0, 1)
        hidden, both, summed = self._room(x), self._room(x, 2), state.overlap
        for index, (layer, h, c) in enumerate(self._layers(state)):
            room = None
            if hidden is not None and both is not None:
                room = alias(hidden[:, index]), alias(both[:, index].flatten(1, 2))
            x, c, m, delta_c, delta_m = layer(x, h if state.step else None, c, m, room)
            outputs.append(x)
            cells.append(c)
            if summed is not None:
                overlaps.append(overlap(delta_c, delta_m, self.adapter))
        cell = joined(cells, None if both is None else alias(both[:, :, 0]))
        new = dict(hidden=joined(outputs, hidden), cell=cell, memory=m)
        if summed is not None:
            new.update(overlap=summed.flatten() + torch.stack(overlaps).mean(0))
        return new
