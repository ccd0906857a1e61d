"""E3D-LSTM (Wang et al., "Eidetic 3D LSTM", ICLR 2019): the cell and the memory."""

import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmstremn.memory.recurrent.base import RecurrentMemory, RecurrentState, check_sizes, conv2d, convolved
from mmstremn.memory.state import Entry

WINDOW = 2  # frames that an E3D-LSTM looks at at once


class E3DLSTMCell(nn.Module):
    """The cell of E3D-LSTM (Wang et al., ICLR 2019), which attends to its own past cell states.

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
        self.conv_last = conv2d(2 * hidden_channels, hidden_channels, 1)
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
        ih, gh, rh, oh = convolved(self.conv_h, h, from_x).chunk(4, 1)
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
        """Unscaled attention of ``gate`` to all places of ``history``: (B, Ch, T, h, w), as ``gate``."""
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


class _TwoFrameConv2d(nn.Conv2d):
    """A convolution over time of size 2 that keeps the number of frames.

    Each frame sees the next one, the last one zeros.

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


class E3DLSTMMemory(RecurrentMemory):
    """E3D-LSTM's state per object (Wang et al., ICLR 2019), with a history of its cell states.

    The input of a step is this frame and the one before. The history is bounded, where the public code keeps
    all of it.

    Args:
        key_channels: Ck.
        value_channels: Cv.
        hidden_channels: Ch of every layer; None: Cv.
        kernel: Odd size of the cells' convolutions in space. A write costs about 4 (7 (Cv + Ck) + 10 Ch) Ch
            kernel^2 products a place (256 channels and kernel 5: 246 million) and its recall 8 N P Ch more.
        layers: L; the paper stacks 4 of 64 channels.
        history: N, past cell states that a layer recalls from.
        compat: ``'openstl'``: the cells compute what OpenSTL's do, for comparison only; see
            :class:`E3DLSTMCell`. With ``history`` as long as the clip the whole network does. None: they
            follow the paper.

    Raises:
        ValueError: A size is not positive, the kernel is even or ``compat`` unknown.
    """

    cell_class = E3DLSTMCell
    time = (WINDOW,)

    def __init__(
        self,
        key_channels: int = 64,
        value_channels: int = 256,
        hidden_channels: int | None = None,
        kernel: int = 5,
        layers: int = 1,
        history: int = 5,
        compat: str | None = None,
    ):
        super().__init__(key_channels, value_channels, hidden_channels, kernel, layers, compat=compat)
        check_sizes(self, kernel, history=history)
        self.history = history

    def init(self, entry: Entry, seeds: tuple[int, ...] | None = None) -> RecurrentState:
        """As in :class:`RecurrentMemory`."""
        width = self.hidden_channels
        return dataclasses.replace(
            super().init(entry, seeds),
            memory=self._zeros(entry, width, WINDOW),
            history=self._zeros(entry, len(self.cells), self.history, width, WINDOW),
            previous=self._zeros(entry, self.input_channels),
        )

    def _advance(self, state: RecurrentState, x: Tensor) -> dict[str, Tensor]:
        assert state.memory is not None and state.previous is not None, 'init gives them'
        history, usable = self._remember(state), self._usable(state)
        filled = history[:, :, : state.step + 1]
        outputs, cells, m = [], [], state.memory.flatten(0, 1)
        previous, window = x, torch.stack([state.previous.flatten(0, 1), x], 2)
        for (layer, h, c), past in zip(self._layers(state), filled.unbind(1), strict=True):
            window, c, m = layer(window, h if state.step else None, c, m, past, usable)
            outputs.append(window)
            cells.append(c)
        hidden, cell = torch.stack(outputs, 1), torch.stack(cells, 1)
        return dict(hidden=hidden, cell=cell, memory=m, history=history, previous=previous)

    def _remember(self, state: RecurrentState) -> Tensor:
        """The history (B O, L, N, Ch, T, h, w) with the cell states in the place of the oldest."""
        assert state.history is not None, 'init gives it'
        slot = state.step % self.history
        if not torch.is_grad_enabled():
            state.history[:, :, :, slot] = state.cell
            return state.history.flatten(0, 1)
        here = torch.arange(self.history, device=state.cell.device).view(-1, 1, 1, 1, 1) == slot
        return torch.where(here, state.cell.unsqueeze(3), state.history).flatten(0, 1)

    def _usable(self, state: RecurrentState) -> Tensor | None:
        """(B O, up to N) bool: the cell states that an object has had since its birth; None: all."""
        if max(state.births) == 0 or state.step - max(state.births) + 1 >= self.history:
            return None
        slots = torch.arange(min(self.history, state.step + 1), device=state.cell.device)
        ages = (state.step - slots) % self.history
        usable = torch.stack([ages <= state.step - birth for birth in state.births])
        return usable.repeat(state.cell.shape[0], 1)
