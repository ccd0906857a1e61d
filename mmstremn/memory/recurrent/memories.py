"""Memories without slots: the recurrent state of a ConvLSTM, PredRNN or E3D-LSTM per object.

Writing is one step of the cells, reading a convolution of the top layer's output and the query's key. Both
cost the same at any length of the video. A write multiplies every weight of the cells with every place, once
per object: with the papers' 5 x 5 kernels that is slow on a CPU (E3D-LSTM above all); ``kernel=3`` needs a
third of the products.
"""

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mmstremn.memory.base import Memory
from mmstremn.memory.recurrent.cells import (
    WINDOW,
    ConvLSTMCell,
    E3DLSTMCell,
    STLSTMCell,
    check_sizes,
    overlap,
)
from mmstremn.memory.recurrent.lean_gates import alias, joined
from mmstremn.memory.state import Entry, MemoryState, Query


@dataclass
class RecurrentState(MemoryState):
    """The states of L layers of cells; zero at an object's birth. E3D-LSTM's maps have a time axis of T = 2
    frames.

    Attributes:
        hidden: (B, O, L, Ch, [T,] h, w) outputs, of the values' type; the others have that of the weights.
        cell: (B, O, L, Ch, [T,] h, w) cell states.
        memory: (B, O, Ch, [T,] h, w) the m of the top layer; None in ConvLSTM.
        history: (B, O, L, N, Ch, T, h, w) ring of past cell states, that of step s at s modulo N; E3D-LSTM
            only.
        previous: (B, O, Cv + Ck, h, w) the input of the step before; E3D-LSTM only.
        overlap: (B, O) summed over the steps, how alike what was added to c and to m is; PredRNN-V2 in
            training only.
    """

    hidden: Tensor
    cell: Tensor
    memory: Tensor | None = None
    history: Tensor | None = None
    previous: Tensor | None = None
    overlap: Tensor | None = None

    object_fields = dict.fromkeys(('hidden', 'cell', 'memory', 'history', 'previous', 'overlap'), 0)


class RecurrentMemory(Memory):
    """Base of the memories of recurrent cells, which step all objects as one batch with shared weights.

    Args:
        key_channels: Ck; 0: keys are not used, and the readout is a 1 x 1 convolution of the top layer's
            output without bias, as in the public video predictors.
        value_channels: Cv.
        hidden_channels: Ch of every layer; None: Cv.
        kernel: Odd size of the cells' convolutions.
        layers: L.
        cell: What else the cells are built with.

    Raises:
        ValueError: A size is not positive or the kernel is even.
    """

    state_class = RecurrentState
    cell_class: type[nn.Module]
    time: tuple[int, ...] = ()

    def __init__(
        self,
        key_channels: int,
        value_channels: int,
        hidden_channels: int | None,
        kernel: int,
        layers: int,
        **cell: object,
    ):
        super().__init__()
        hidden = value_channels if hidden_channels is None else hidden_channels
        check_sizes(self, kernel, value_channels=value_channels, hidden_channels=hidden, layers=layers)
        if key_channels < 0:
            raise ValueError(f'{type(self).__name__}.key_channels must be at least 0, got {key_channels}')
        self.hidden_channels = hidden
        inputs = [value_channels + key_channels] + [hidden] * (layers - 1)
        self.cells = nn.ModuleList([self.cell_class(channels, hidden, kernel, **cell) for channels in inputs])
        frames = WINDOW if self.time else 1
        if key_channels:
            self.from_state = nn.Conv2d(hidden * frames, value_channels, 3, padding=1)
            self.from_query = nn.Conv2d(key_channels, value_channels, 3, padding=1, bias=False)
        else:
            self.from_state = nn.Conv2d(hidden * frames, value_channels, 1, bias=False)
            self.from_query = None

    def init(self, entry: Entry, seeds: tuple[int, ...] | None = None) -> RecurrentState:
        """Zeros for the objects of ``entry``; ``seeds`` are not used."""
        layers = len(self.cells)
        return RecurrentState.for_objects_of(
            entry,
            seeds,
            hidden=self._zeros(entry, layers, self.hidden_channels, *self.time).to(entry.value.dtype),
            cell=self._zeros(entry, layers, self.hidden_channels, *self.time),
        )

    def read(self, state: RecurrentState, query: Query) -> tuple[Tensor, RecurrentState]:
        """The readout (B, O, P, Cv), a convolution of output and query, and the state as it was."""
        top = state.hidden[:, :, -1].flatten(2, -3)  # (B, O, Ch [T], h, w)
        told = self.from_state(top.flatten(0, 1).to(self._dtype)).unflatten(0, top.shape[:2])
        if self.from_query is not None:
            told = told + self.from_query(self._to_maps(query.key[:, None], state.grid))[:, None]
        return told.flatten(3).mT.to(state.hidden.dtype), state

    def write(self, state: RecurrentState, entry: Entry) -> RecurrentState:
        """One step of all layers with the entry's values and keys. Without gradients ``state`` may be
        changed."""
        pairs = entry.value
        if self.from_query is not None:
            pairs = torch.cat([pairs, entry.key.expand(-1, entry.value.shape[1], -1, -1)], -1)
        new = self._advance(state, self._to_maps(pairs, entry.grid))
        changes = {name: _like(tensor, getattr(state, name)) for name, tensor in new.items()}
        return dataclasses.replace(state, **changes, step=state.step + 1)

    def _advance(self, state: RecurrentState, x: Tensor) -> dict[str, Tensor]:
        """The fields of the next state, B and O as one axis, from the input (B O, Cv + Ck, h, w)."""
        raise NotImplementedError(f'{type(self).__name__} must implement _advance(state, x)')

    def _layers(self, state: RecurrentState):
        """For each layer its cell, its output and its cell state (B O, Ch, [T,] h, w)."""
        hidden, cell = state.hidden.flatten(0, 1).to(self._dtype), state.cell.flatten(0, 1)
        return zip(self.cells, hidden.unbind(1), cell.unbind(1), strict=True)

    def _room(self, x: Tensor, *shape: int) -> Tensor | None:
        """With gradients (B O, L, *shape, Ch, h, w) for what the layers make of x (B O, C, h, w), to be held
        only once."""
        if not torch.is_grad_enabled():
            return None
        return x.new_empty(x.shape[0], len(self.cells), *shape, self.hidden_channels, *x.shape[-2:])

    @property
    def _dtype(self) -> torch.dtype:
        return self.from_state.weight.dtype

    def _zeros(self, entry: Entry, *shape: int) -> Tensor:
        return entry.value.new_zeros(*entry.value.shape[:2], *shape, *entry.grid, dtype=self._dtype)

    def _to_maps(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """(B, O, P, C) to (B O, C, h, w) of the weights' type."""
        return tokens.flatten(0, 1).mT.unflatten(-1, grid).to(self._dtype)


class ConvLSTMMemory(RecurrentMemory):
    """One ConvLSTM state per object (Shi et al., NeurIPS 2015).

    Args:
        key_channels: Ck.
        value_channels: Cv.
        hidden_channels: Ch of every layer; None: Cv.
        kernel: Odd size of the cells' convolutions. A write costs 4 (Cv + Ck + L Ch + (L - 1) Ch) Ch kernel^2
            products a place (256 channels and kernel 5: 15 million; kernel 3: 5 million).
        layers: L.

    Raises:
        ValueError: A size is not positive or the kernel is even.
    """

    cell_class = ConvLSTMCell

    def __init__(
        self,
        key_channels: int = 64,
        value_channels: int = 256,
        hidden_channels: int | None = None,
        kernel: int = 5,
        layers: int = 1,
    ):
        super().__init__(key_channels, value_channels, hidden_channels, kernel, layers)

    def _advance(self, state: RecurrentState, x: Tensor) -> dict[str, Tensor]:
        outputs, cells = [], []
        hidden, cell = self._room(x), self._room(x)
        for index, (layer, h, c) in enumerate(self._layers(state)):
            room = None if hidden is None else (alias(hidden[:, index]), alias(cell[:, index]))
            x, c = layer(x, h if state.step else None, c, room)
            outputs.append(x)
            cells.append(c)
        return dict(hidden=joined(outputs, hidden), cell=joined(cells, cell))


class STLSTMMemory(RecurrentMemory):
    """PredRNN's state per object (Wang et al., NeurIPS 2017): a cell state per layer and one m that zigzags
    through all.

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
        """``loss_decoupling``: the mean over steps, objects and layers, weighted; empty without
        decoupling."""
        if state.overlap is None:
            return {}
        return dict(loss_decoupling=self.decoupling * state.overlap.mean() / max(state.step, 1))

    def _advance(self, state: RecurrentState, x: Tensor) -> dict[str, Tensor]:
        outputs, cells, overlaps, m = [], [], [], state.memory.flatten(0, 1)
        hidden, both = self._room(x), self._room(x, 2)
        for index, (layer, h, c) in enumerate(self._layers(state)):
            room = None if hidden is None else (alias(hidden[:, index]), alias(both[:, index].flatten(1, 2)))
            x, c, m, delta_c, delta_m = layer(x, h if state.step else None, c, m, room)
            outputs.append(x)
            cells.append(c)
            if state.overlap is not None:
                overlaps.append(overlap(delta_c, delta_m, self.adapter))
        cell = joined(cells, None if both is None else alias(both[:, :, 0]))
        new = dict(hidden=joined(outputs, hidden), cell=cell, memory=m)
        if overlaps:
            new.update(overlap=state.overlap.flatten() + torch.stack(overlaps).mean(0))
        return new


class E3DLSTMMemory(RecurrentMemory):
    """E3D-LSTM's state per object (Wang et al., ICLR 2019): it can recall cell states that were since
    overwritten.

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
            previous=self._zeros(entry, self.cells[0].conv_x.in_channels // WINDOW),
        )

    def _advance(self, state: RecurrentState, x: Tensor) -> dict[str, Tensor]:
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
        slot = state.step % self.history
        if not torch.is_grad_enabled():
            state.history[:, :, :, slot] = state.cell
            return state.history.flatten(0, 1)
        here = torch.arange(self.history, device=state.cell.device).view(-1, 1, 1, 1, 1) == slot
        return torch.where(here, state.cell.unsqueeze(3), state.history).flatten(0, 1)

    def _usable(self, state: RecurrentState) -> Tensor | None:
        """(B O, up to N) bool: the cell states, of those there are, that an object has had since its birth;
        None: all."""
        if max(state.births) == 0 or state.step - max(state.births) + 1 >= self.history:
            return None
        slots = torch.arange(min(self.history, state.step + 1), device=state.cell.device)
        ages = (state.step - slots) % self.history
        usable = torch.stack([ages <= state.step - birth for birth in state.births])
        return usable.repeat(state.cell.shape[0], 1)


def _like(tensor: Tensor, old: Tensor) -> Tensor:
    """A field of the next state (B O, ...) in the shape and type that it had; without gradients
    contiguous."""
    tensor = tensor.unflatten(0, old.shape[:2]).to(old.dtype)
    return tensor if torch.is_grad_enabled() else tensor.contiguous()
