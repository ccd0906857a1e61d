"""The state of memories whose slots hold one past frame each."""

import dataclasses
from collections.abc import Collection
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from mmstremn.memory.buffers import empty_slots
from mmstremn.memory.slots.history import History
from mmstremn.memory.state import Entry, MemoryState


@dataclass
class SlotState(MemoryState):
    """S slots, each holding one past frame.

    Attributes:
        key: (B, G, S, P, Ck), zero where empty.
        value: (B, O, S, P, Cv), zero where empty.
        shrinkage: (B, G, S, P) or None.
        written_at: (B, G, S) long: the step at which the slot was written, -1 where empty.
        read_at: (B, G, S) long: the last step at which the slot drew more than its even share of the
            attention.
        hits: (B, G, S): the shares of the attention that the slot has drawn since it was written, summed.
        relevance: (B, G, S): the moving average of the shares of the attention that the slot has drawn since
            it was written, -1 before the first; None unless the selector needs it.
        prompted: (B, G, S) bool: the slot holds a frame with masks given by the user; None unless a gate
            needs it.
        notes: (B, O, S, 4): what is noted of each object in the slot's frame (see ``feature_selector.py``);
            None unless the selector needs it.
        sightings: (B, O, 2): how many frames offered showed the object, and the step of the last; likewise.
        history: What a selector that is being trained learns from (see ``history.py``); None otherwise, and
            from the moment on that an object is added or removed.
    """

    object_fields = {'value': 0, 'notes': 0, 'sightings': 0}
    group_fields = {
        'key': 0,
        'shrinkage': 0,
        'written_at': -1,
        'read_at': -1,
        'hits': 0,
        'relevance': -1,
        'prompted': 0,
    }

    key: Tensor
    value: Tensor
    shrinkage: Tensor | None
    written_at: Tensor
    read_at: Tensor
    hits: Tensor
    relevance: Tensor | None = None
    prompted: Tensor | None = None
    notes: Tensor | None = None
    sightings: Tensor | None = None
    history: History | None = None

    @classmethod
    def empty(cls, entry: Entry, num_slots: int, seeds: tuple[int, ...] | None = None) -> Self:
        """``num_slots`` empty slots that entries like ``entry`` fit into."""
        batch, groups = entry.key.shape[:2]
        stamps = torch.full((batch, groups, num_slots), -1, device=entry.key.device)
        return cls.with_slots(
            entry,
            num_slots,
            seeds,
            shrinkage=None if entry.shrinkage is None else empty_slots(entry.shrinkage, num_slots),
            written_at=stamps,
            read_at=stamps.clone(),
            hits=torch.zeros(batch, groups, num_slots, device=entry.key.device),
        )

    @property
    def num_slots(self) -> int:
        return self.key.shape[2]

    @property
    def valid(self) -> Tensor:
        """(B, O, S) bool: the slot holds a value of the object."""
        stamps = self.written_at.expand(-1, len(self.births), -1)
        return torch.stack([stamps[:, index] >= birth for index, birth in enumerate(self.births)], 1)

    def add_objects(self, number: int, own_keys: bool = False) -> Self:
        """As in :class:`MemoryState`; the history is of the objects so far, and ends."""
        return dataclasses.replace(super().add_objects(number, own_keys), history=None)

    def remove_objects(self, indices: Collection[int], own_keys: bool = False) -> Self:
        """As in :class:`MemoryState`; the history ends."""
        return dataclasses.replace(super().remove_objects(indices, own_keys), history=None)
