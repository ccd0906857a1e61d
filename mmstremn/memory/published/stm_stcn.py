"""A memory that grows with the video: STM's and STCN's."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mmstremn.memory.base import Memory
from mmstremn.memory.buffers import put
from mmstremn.memory.readers import DenseReader, TopKReader
from mmstremn.memory.slots.reading import count_usage, nearest_distance, read_slots
from mmstremn.memory.slots.slot_state import SlotState
from mmstremn.memory.state import Entry, Query


@dataclass
class GrowingState(SlotState):
    """Slots of which the first ``kept`` stay; the next, if ``temporary``, is overwritten by the next entry.

    The buffers double when they are full; slots beyond those in use are empty.
    """

    kept: int = 0
    temporary: bool = False

    @property
    def in_use(self) -> int:
        """Slots that a query reads."""
        return self.kept + self.temporary


class GrowingMemory(Memory[GrowingState]):
    """Every n-th frame is stored for good; nothing is ever dropped.

    STCN (Cheng et al., NeurIPS 2021): a shared key, L2, the 20 most similar positions in evaluation, every
    5th frame. STM (Oh et al., ICCV 2019): ``GrowingMemory(DenseReader(DotAffinity()), keep_last=True,
    per_object_key=True)``: a key per object, dot product, the previous frame always readable. In training
    every frame of a clip is stored.

    Args:
        reader: TopKReader(L2Affinity(), k=20) by default.
        every: A frame is kept when its index is a multiple of it.
        keep_last: The previous frame is readable whatever its index, and forgotten after.
        per_object_key: One key per object instead of one for all.
    """

    state_class = GrowingState
    bounded = False

    def __init__(
        self,
        reader: DenseReader | None = None,
        every: int = 5,
        keep_last: bool = False,
        per_object_key: bool = False,
    ):
        super().__init__()
        if every < 1:
            raise ValueError(f'GrowingMemory.every must be at least 1, got {every}')
        self.reader = reader or TopKReader()
        self.every, self.keep_last, self.per_object_key = every, keep_last, per_object_key

    @property
    def needs_selection(self) -> bool:
        """Whether the reader's affinity needs it."""
        return self.reader.affinity.needs_selection

    def init(self, entry: Entry, seeds: tuple[int, ...] | None = None) -> GrowingState:
        """An empty state that entries like ``entry`` fit into; ``seeds`` are not used."""
        return GrowingState.empty(entry, 1, seeds)

    def read(self, state: GrowingState, query: Query) -> tuple[Tensor, GrowingState]:
        """The readout (B, O, P, Cv), and the state with its usage counted."""
        readout, share = read_slots(
            self.reader, _map_slots(state, lambda t: t[:, :, : state.in_use]), query.on(state.grid)
        )
        share = F.pad(share, (0, state.num_slots - state.in_use))
        return readout, count_usage(state, share)

    def distance(self, state: GrowingState, query: Query) -> Tensor:
        """As in :class:`Memory`."""
        return nearest_distance(self.reader, state, query)

    def wants(self, state: GrowingState) -> bool:
        """False for frames that are neither kept nor readable once."""
        return self.training or self.keep_last or state.step % self.every == 0

    def write(self, state: GrowingState, entry: Entry) -> GrowingState:
        """Offer an entry. Without gradients the buffers of ``state`` are changed."""
        if not (entry.prompted or self.wants(state)):
            return self.pass_over(state)
        keep = self.training or entry.prompted or state.step % self.every == 0
        if state.kept == state.num_slots:
            state = _map_slots(state, lambda t: _lengthen(t, t.shape[2]))
        stamps = torch.full_like(state.written_at[:, :, :1], state.step)
        shrinkage = state.shrinkage
        if shrinkage is not None:
            shrinkage = put(shrinkage, state.kept, entry.required_shrinkage().unsqueeze(2))
        return dataclasses.replace(
            state,
            key=put(state.key, state.kept, entry.key.unsqueeze(2)),
            value=put(state.value, state.kept, entry.value.unsqueeze(2)),
            shrinkage=shrinkage,
            written_at=put(state.written_at, state.kept, stamps),
            read_at=put(state.read_at, state.kept, torch.full_like(stamps, -1)),
            hits=put(state.hits, state.kept, torch.zeros_like(state.hits[:, :, :1])),
            step=state.step + 1,
            kept=state.kept + keep,
            temporary=not keep,
        )


SLOT_FIELDS = ('key', 'value', 'shrinkage', 'written_at', 'read_at', 'hits')


def _map_slots(state: GrowingState, function: Callable[[Tensor], Tensor]) -> GrowingState:
    changed: dict[str, Any] = {
        name: function(tensor) for name, tensor in state.tensors().items() if name in SLOT_FIELDS
    }
    return dataclasses.replace(state, **changed)


def _lengthen(tensor: Tensor, number: int) -> Tensor:
    """``number`` slots more: zero, or -1 in the integer stamps."""
    shape = (*tensor.shape[:2], number, *tensor.shape[3:])
    return torch.cat([tensor, tensor.new_full(shape, 0 if tensor.is_floating_point() else -1)], 2)
