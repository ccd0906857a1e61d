"""The state of memories that start anew for every group of objects that appear together, and how it is
read."""

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from mmstremn.memory.buffers import append_objects, birth_groups, empty_slots
from mmstremn.memory.readers import DenseReader, read_slots
from mmstremn.memory.state import Entry, MemoryState, Query, SlotState


@dataclass
class CohortState(MemoryState):
    """S slots for every cohort, which is the objects born at the same step; a cohort remembers nothing older.

    So an object that appears mid-video is remembered as if the video began with it. K counts the cohorts: 1
    unless objects appear later.

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
    def empty(
        cls, entry: Entry, num_slots: int, seeds: tuple[int, ...] | None = None, **fields
    ) -> 'CohortState':
        """Empty slots that entries like ``entry`` fit into.

        Args:
            entry: Key (B, 1, P, Ck), value (B, O, P, Cv).
            num_slots: S.
            seeds: One per sample.
            fields: Further fields of a derived state.
        """

        key, value = empty_slots(entry.key, num_slots), empty_slots(entry.value, num_slots)
        return cls(key, value, (0,) * entry.value.shape[1], tuple(entry.grid), seeds=seeds, **fields)

    @property
    def cohorts(self) -> list[tuple[int, slice]]:
        """The birth of every cohort, and its objects."""
        return birth_groups(self.births)

    def add_objects(self, number: int, own_keys: bool) -> 'CohortState':
        """The state with ``number`` more objects and, if they are the first of this step, one empty cohort
        more."""

        key = self.key if self.step in self.births else append_objects(self.key, 1)
        births = self.births + (self.step,) * number
        return dataclasses.replace(self, key=key, value=append_objects(self.value, number), births=births)

    def writable(self) -> tuple[Tensor, Tensor]:
        """The key and value buffers, or with gradients copies of them, to write into."""
        return tuple(t.clone() if torch.is_grad_enabled() else t for t in (self.key, self.value))


def read_cohorts(reader: DenseReader, state: CohortState, query: Query) -> Tensor:
    """The readout (B, O, P, Cv) from all slots; one attention per cohort, its objects' values side by
    side."""
    readouts = []
    for index, (_, members) in enumerate(state.cohorts):
        key, value = state.key[:, index : index + 1], state.value[:, members]
        stamps = torch.zeros(key.shape[:3], dtype=torch.long, device=key.device)
        slots = SlotState(key, value, None, stamps, stamps, stamps, (0,) * value.shape[1], state.grid)
        readouts.append(read_slots(reader, slots, query)[0])
    return torch.cat(readouts, 1)
