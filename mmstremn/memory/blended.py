"""One blended map for the whole past, and the state of memories that start anew for every group of objects."""

import dataclasses
import itertools
from dataclasses import dataclass

import torch
from torch import Tensor

from mmstremn.memory.base import Memory
from mmstremn.memory.readers import DenseReader, read_slots
from mmstremn.memory.state import Entry, MemoryState, Query, SlotState


@dataclass
class CohortState(MemoryState):
    """S slots for every cohort, which is the objects born at the same step; a cohort remembers nothing older.

    So an object that appears mid-video is remembered as if the video began with it. K counts the cohorts: 1 unless objects
    appear later.

    Attributes:
        key: (B, K, S, P, Ck), zero where empty.
        value: (B, O, S, P, Cv), zero where empty.
        births: For each object the step from which on entries hold a value for it; they never decrease.
        grid: (h, w).
        step: Entries offered so far.
        seeds: One per sample; not used.
    """

    key: Tensor
    value: Tensor
    births: tuple[int, ...]
    grid: tuple[int, int]
    step: int = 0
    seeds: tuple[int, ...] | None = None

    @classmethod
    def empty(cls, entry: Entry, num_slots: int, seeds: tuple[int, ...] | None = None, **fields) -> 'CohortState':
        """Empty slots that entries like ``entry`` fit into.

        Args:
            entry: Key (B, 1, P, Ck), value (B, O, P, Cv).
            num_slots: S.
            seeds: One per sample.
            fields: Further fields of a derived state.
        """

        def zeros(tensor: Tensor) -> Tensor:
            return tensor.new_zeros(*tensor.shape[:2], num_slots, *tensor.shape[2:])

        births = (0,) * entry.value.shape[1]
        return cls(zeros(entry.key), zeros(entry.value), births, tuple(entry.grid), seeds=seeds, **fields)

    @property
    def cohorts(self) -> list[tuple[int, slice]]:
        """The birth of every cohort, and its objects."""
        sizes = [(birth, len(list(members))) for birth, members in itertools.groupby(self.births)]
        stops = list(itertools.accumulate(size for _, size in sizes))
        return [(birth, slice(stop - size, stop)) for (birth, size), stop in zip(sizes, stops, strict=True)]

    def add_objects(self, number: int, own_keys: bool) -> 'CohortState':
        """The state with ``number`` more objects and, if they are the first of this step, one empty cohort more."""

        def pad(tensor: Tensor, size: int) -> Tensor:
            return torch.cat([tensor, tensor.new_zeros(tensor.shape[0], size, *tensor.shape[2:])], 1)

        new = self.step not in self.births
        births = self.births + (self.step,) * number
        return dataclasses.replace(self, key=pad(self.key, int(new)), value=pad(self.value, number), births=births)

    def writable(self) -> tuple[Tensor, Tensor]:
        """The key and value buffers, or with gradients copies of them, to write into."""
        return tuple(t.clone() if torch.is_grad_enabled() else t for t in (self.key, self.value))


def read_cohorts(reader: DenseReader, state: CohortState, query: Query) -> Tensor:
    """The readout (B, O, P, Cv) from all slots; one attention per cohort, its objects' values side by side."""
    readouts = []
    for index, (_, members) in enumerate(state.cohorts):
        key, value = state.key[:, index : index + 1], state.value[:, members]
        stamps = torch.zeros(key.shape[:3], dtype=torch.long, device=key.device)
        slots = SlotState(key, value, None, stamps, stamps, stamps, (0,) * value.shape[1], state.grid)
        readouts.append(read_slots(reader, slots, query)[0])
    return torch.cat(readouts, 1)


@dataclass
class BlendedState(CohortState):
    """One slot in float32: the average of all frames.

    Attributes:
        dtype: Name of the values' type, in which readouts are given.
    """

    dtype: str = 'float32'


class BlendedMemory(Memory):
    """The keys and the values of all frames, averaged: one slot however long the video is, read by dense L2 attention.

    The multi-modality strawman of STReMN (arXiv 2109.06474): once the video has shown an object in several ways, the
    average is none of them.

    Args:
        momentum: Weight 0..1 (1 excluded) of the old average in ``momentum * old + (1 - momentum) * new``; None: the mean of
            all frames.

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
        return BlendedState.empty(entry, 1, seeds, dtype=dtype).to(torch.float32)

    def read(self, state: BlendedState, query: Query) -> tuple[Tensor, BlendedState]:
        """The readout (B, O, P, Cv); reading leaves no trace."""
        return read_cohorts(self.reader, state, query).to(getattr(torch, state.dtype)), state

    def write(self, state: BlendedState, entry: Entry) -> BlendedState:
        """Blend the entry into the averages; an object's first frame is its average."""

        def blend(old: Tensor, new: Tensor, births: list[int]) -> Tensor:
            """(B, K or O, 1, P, C) with (B, 1, P, C) or (B, O, P, C)."""
            weights = old.new_tensor([self._weight(state.step - birth) for birth in births])
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
