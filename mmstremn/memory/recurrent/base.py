"""What the memories of recurrent cells share: a state per object, stepped by layers of cells.

Writing is one step of the cells, reading a convolution of the top layer's output and the query's key. Both
cost the same at any length of the video. A write multiplies every weight of the cells with every place, once
per object: with the papers' 5 x 5 kernels that is slow on a CPU (E3D-LSTM above all); ``kernel=3`` needs a
third of the products.

A cell maps an input map and its state to the next state. States start from zeros. Maps have any size h x w.
Segmentation and prediction share the cells.
"""

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mmstremn.memory.base import Memory
from mmstremn.memory.state import Entry, MemoryState, Query


@dataclass
class RecurrentState(MemoryState):
    """The states of L layers of cells, zero at an object's birth.

    E3D-LSTM's maps have a time axis of T = 2 frames.

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


class RecurrentMemory(Memory[RecurrentState]):
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
        self.input_channels = value_channels + key_channels
        inputs = [self.input_channels] + [hidden] * (layers - 1)
        self.cells = nn.ModuleList([self.cell_class(channels, hidden, kernel, **cell) for channels in inputs])
        frames = math.prod(self.time)
        if key_channels:
            self.from_state = nn.Conv2d(hidden * frames, value_channels, 3, padding=1)
            self.from_query: nn.Conv2d | None = nn.Conv2d(
                key_channels, value_channels, 3, padding=1, bias=False
            )
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
        readout = self.from_state(top.flatten(0, 1).to(self._dtype)).unflatten(0, top.shape[:2])
        if self.from_query is not None:
            readout = readout + self.from_query(self._to_maps(query.key[:, None], state.grid))[:, None]
        return readout.flatten(3).mT.to(state.hidden.dtype), state

    def write(self, state: RecurrentState, entry: Entry) -> RecurrentState:
        """One step of all layers with the entry; without gradients ``state`` may be changed."""
        pairs = entry.value
        if self.from_query is not None:
            pairs = torch.cat([pairs, entry.key.expand(-1, entry.value.shape[1], -1, -1)], -1)
        new = self._advance(state, self._to_maps(pairs, entry.grid))
        changes: dict[str, Any] = {name: _like(tensor, getattr(state, name)) for name, tensor in new.items()}
        return dataclasses.replace(state, **changes, step=state.step + 1)

    def _advance(self, state: RecurrentState, x: Tensor) -> dict[str, Tensor]:
        """The fields of the next state, B and O as one axis, from the input (B O, Cv + Ck, h, w)."""
        raise NotImplementedError(f'{type(self).__name__} must implement _advance(state, x)')

    def _layers(self, state: RecurrentState) -> Iterator[tuple[nn.Module, Tensor, Tensor]]:
        """For each layer its cell, its output and its cell state (B O, Ch, [T,] h, w)."""
        hidden, cell = state.hidden.flatten(0, 1).to(self._dtype), state.cell.flatten(0, 1)
        return zip(self.cells, hidden.unbind(1), cell.unbind(1), strict=True)

    def _room(self, x: Tensor, *shape: int) -> Tensor | None:
        """With gradients (B O, L, *shape, Ch, h, w), so that what the layers make of x is held only once."""
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


def conv2d(in_channels: int, out_channels: int, kernel: int) -> nn.Conv2d:
    """A convolution without bias that keeps the size of maps."""
    return nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=False)


def convolved(conv: nn.Conv2d, maps: Tensor | None, like: Tensor) -> Tensor:
    """The convolution of ``maps``; if None, zeros like those of ``like``, with a gradient of zeros."""
    if maps is not None:
        return conv(maps)
    return (0 * conv.weight.sum()).to(like.dtype).expand(like.shape[0], conv.out_channels, *like.shape[2:])


def _like(tensor: Tensor, old: Tensor) -> Tensor:
    """A field of the next state (B O, ...) in the shape and type that it had.

    Without gradients denormal numbers become zeros: states decay to them, and a CPU computes them slowly.
    """
    tensor = tensor.unflatten(0, old.shape[:2]).to(old.dtype)
    if torch.is_grad_enabled():
        return tensor
    return tensor.contiguous().masked_fill(tensor.abs() < torch.finfo(tensor.dtype).tiny, 0)
