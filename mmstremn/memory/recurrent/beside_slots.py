"""Slots with a recurrent state beside them: what happened just now, and what was seen long ago."""

import dataclasses
from dataclasses import dataclass
from typing import Any, cast

from torch import Tensor

from mmstremn.memory.base import Memory
from mmstremn.memory.recurrent.base import RecurrentMemory, RecurrentState
from mmstremn.memory.recurrent.predrnn import STLSTMMemory
from mmstremn.memory.slots.slot_memory import SlotMemory
from mmstremn.memory.slots.slot_state import SlotState
from mmstremn.memory.state import Entry, Query

CARRIED = 'hidden', 'cell', 'memory', 'overlap'
"""The fields of a :class:`RecurrentState` that are carried beside the slots."""


@dataclass
class RecurrentSlotState(SlotState):
    """S slots, and the states of L layers of cells.

    Attributes:
        carried_hidden: (B, O, L, Ch, h, w) outputs of the cells.
        carried_cell: (B, O, L, Ch, h, w) cell states.
        carried_memory: (B, O, Ch, h, w) the m of PredRNN's top layer; None with other cells.
        carried_overlap: (B, O) as in :class:`RecurrentState`; PredRNN-V2 in training only.
    """

    object_fields = SlotState.object_fields | {f'carried_{name}': 0 for name in CARRIED}

    carried_hidden: Tensor | None = None
    carried_cell: Tensor | None = None
    carried_memory: Tensor | None = None
    carried_overlap: Tensor | None = None


class RecurrentSlotMemory(Memory[RecurrentSlotState]):
    """A :class:`SlotMemory` and the recurrent state of ConvLSTM or PredRNN beside it; their readouts add up.

    The cells step at every frame; a gate that is closed keeps a frame out of the slots alone. This library's
    own: a state hands on what was worked out for the frame before, slots keep old frames as they were.

    Args:
        slots: SlotMemory by default.
        recurrent: :class:`STLSTMMemory` by default, or :class:`ConvLSTMMemory`.
        key_channels: Ck of the defaults.
        value_channels: Cv of the defaults.

    Raises:
        ValueError: ``recurrent`` keeps a history of its own (E3D-LSTM).
    """

    state_class = RecurrentSlotState

    def __init__(
        self,
        slots: SlotMemory | None = None,
        recurrent: RecurrentMemory | None = None,
        key_channels: int = 64,
        value_channels: int = 256,
    ):
        super().__init__()
        self.slots = slots or SlotMemory(key_channels=key_channels, value_channels=value_channels)
        self.recurrent = recurrent or STLSTMMemory(key_channels, value_channels)
        if self.recurrent.time:
            raise ValueError(
                f'RecurrentSlotMemory.recurrent: expected a ConvLSTMMemory or an STLSTMMemory, got '
                f'{type(self.recurrent).__name__}, whose state has a time axis'
            )
        self.per_object_key = self.slots.per_object_key

    @property
    def needs_selection(self) -> bool:
        """As the slots."""
        return self.slots.needs_selection

    def init(self, entry: Entry, seeds: tuple[int, ...] | None = None) -> RecurrentSlotState:
        """Empty slots and states of zeros."""
        state = self.slots.init(entry, seeds)
        carried = _named(self.recurrent.init(entry, seeds))
        return RecurrentSlotState(**state.by_name(), **carried)

    def read(self, state: RecurrentSlotState, query: Query) -> tuple[Tensor, RecurrentSlotState]:
        """The sum of both readouts (B, O, P, Cv), and the state with the usage of its slots counted."""
        recalled, counted = self.slots.read(state, query)
        carried, _ = self.recurrent.read(_carried(state), query)
        return recalled + carried, cast(RecurrentSlotState, counted)

    def distance(self, state: RecurrentSlotState, query: Query) -> Tensor:
        """As the slots."""
        return self.slots.distance(state, query)

    def timeline(self, state: RecurrentSlotState) -> Tensor:
        """As the slots."""
        return self.slots.timeline(state)

    def write(self, state: RecurrentSlotState, entry: Entry) -> RecurrentSlotState:
        """Offer an entry; without gradients ``state`` may be changed."""
        carried = self.recurrent.write(_carried(state), entry)
        written = cast(RecurrentSlotState, self.slots.write(state, entry))
        return dataclasses.replace(written, **_named(carried))

    def penalty(self, state: RecurrentSlotState) -> dict[str, Tensor]:
        """What both add to the loss."""
        return self.slots.penalty(state) | self.recurrent.penalty(_carried(state))

    def untrained_parts(self, state: RecurrentSlotState) -> dict[str, str]:
        """As the slots."""
        return self.slots.untrained_parts(state)


def _carried(state: RecurrentSlotState) -> RecurrentState:
    fields: dict[str, Any] = {name: getattr(state, f'carried_{name}') for name in CARRIED}
    return RecurrentState(births=state.births, grid=state.grid, step=state.step, seeds=state.seeds, **fields)


def _named(carried: RecurrentState) -> dict[str, Any]:
    return {f'carried_{name}': getattr(carried, name) for name in CARRIED}
