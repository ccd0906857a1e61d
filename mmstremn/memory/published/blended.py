"""One blended map for the whole past."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mmstremn.memory.base import Memory
from mmstremn.memory.buffers import to_device
from mmstremn.memory.published.cohorts import CohortState, read_cohorts
from mmstremn.memory.readers import DenseReader
from mmstremn.memory.state import Entry, Query


@dataclass
class BlendedState(CohortState):
    """One slot in float32: the average of all frames.

    Attributes:
        dtype: Name of the values' type, in which readouts are given.
    """

    dtype: str = 'float32'


class BlendedMemory(Memory[BlendedState]):
    """One slot holds the average of the keys and of the values of all frames, read by dense L2 attention.

    The multi-modality strawman of STReMN (arXiv 2109.06474): once the video has shown an object in several
    ways, the average is none of them.

    Args:
        momentum: Weight 0..1 (1 excluded) of the old average in ``momentum * old + (1 - momentum) * new``;
            None: the mean of all frames.

    Raises:
        ValueError: ``momentum`` is outside its range.
    """

    state_class = BlendedState

    def __init__(self, momentum: float | None = None):
        super().__init__()
        if momentum is not None and not 0 <= momentum < 1:
            raise ValueError(f'BlendedMemory.momentum must be None or in 0 <= momentum < 1, got {momentum}')
        self.momentum = momentum
        self.reader = DenseReader()

    def init(self, entry: Entry, seeds: tuple[int, ...] | None = None) -> BlendedState:
        """An empty slot; ``seeds`` are not used."""
        dtype = str(entry.value.dtype).removeprefix('torch.')
        return BlendedState.with_slots(entry, 1, seeds, dtype=dtype).to(torch.float32)

    def read(self, state: BlendedState, query: Query) -> tuple[Tensor, BlendedState]:
        """The readout (B, O, P, Cv); reading leaves no trace."""
        return read_cohorts(self.reader, state, query).to(getattr(torch, state.dtype)), state

    def write(self, state: BlendedState, entry: Entry) -> BlendedState:
        """Blend the entry into the averages; an object's first frame is its average."""

        def blend(old: Tensor, new: Tensor, births: Sequence[int]) -> Tensor:
            """(B, K or O, 1, P, C) with (B, 1, P, C) or (B, O, P, C)."""
            weights = to_device([self._weight(state.step - birth) for birth in births], old)
            return old + (new.float()[:, :, None] - old) * weights.view(1, -1, 1, 1, 1)

        return dataclasses.replace(
            state,
            key=blend(state.key, entry.key, [birth for birth, _ in state.cohorts]),
            value=blend(state.value, entry.value, state.births),
            step=state.step + 1,
        )

    def _weight(self, frames: int) -> float:
        """Of a new frame, where ``frames`` are in the average already."""
        return 1 / (frames + 1) if self.momentum is None or frames == 0 else 1 - self.momentum
