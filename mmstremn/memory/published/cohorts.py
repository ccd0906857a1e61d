"""The state of memories that start anew for every group of objects that appear together."""

import dataclasses
from collections.abc import Collection
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from mmstremn.memory.buffers import append_objects, birth_groups, keep_objects
from mmstremn.memory.readers import DenseReader
from mmstremn.memory.slots.reading import read_slots
from mmstremn.memory.slots.slot_state import SlotState
from mmstremn.memory.state import MemoryState, Query


@dataclass
class CohortState(MemoryState):
    """S slots for every cohort, which is the objects born at the same step; a cohort remembers nothing older.

    So an object that appears mid-video is remembered as if the video began with it. K counts the cohorts: 1
    unless objects appear later.

    Attributes:
        key: (B, K, S, P, Ck), zero where empty.
        value: (B, O, S, P, Cv), zero where empty.
    """

    key: Tensor
    value: Tensor

    @property
    def cohorts(self) -> list[tuple[int, slice]]:
        """The birth of every cohort, and its objects."""
        return birth_groups(self.births)

    def add_objects(self, number: int, own_keys: bool = False) -> Self:
        """As in :class:`MemoryState`; the first objects of a step are a new, empty cohort."""
        state = super().add_objects(number)
        new = len(state.cohorts) - len(self.cohorts)
        return dataclasses.replace(state, key=append_objects(state.key, new))

    def remove_objects(self, indices: Collection[int], own_keys: bool = False) -> Self:
        """As in :class:`MemoryState`, without the cohorts of which no object is left."""
        state = super().remove_objects(indices)
        return dataclasses.replace(state, key=keep_objects(self.key, self.cohorts_without(indices)))

    def cohorts_without(self, indices: Collection[int]) -> list[int]:
        """The cohorts that still have objects once the objects ``indices`` are gone."""
        members = [range(cohort.start, cohort.stop) for _, cohort in self.cohorts]
        return [index for index, cohort in enumerate(members) if not set(cohort) <= set(indices)]

    def writable(self) -> tuple[Tensor, Tensor]:
        """The key and value buffers, or with gradients copies of them, to write into."""
        if torch.is_grad_enabled():
            return self.key.clone(), self.value.clone()
        return self.key, self.value


def read_cohorts(reader: DenseReader, state: CohortState, query: Query) -> Tensor:
    """The readout (B, O, P, Cv) from all slots, by one attention per cohort."""
    readouts = []
    for index, (_, members) in enumerate(state.cohorts):
        key, value = state.key[:, index : index + 1], state.value[:, members]
        stamps = torch.zeros(key.shape[:3], dtype=torch.long, device=key.device)
        births = (0,) * value.shape[1]
        slots = SlotState(key, value, None, stamps, stamps, stamps, births=births, grid=state.grid)
        readouts.append(read_slots(reader, slots, query)[0])
    return torch.cat(readouts, 1)
