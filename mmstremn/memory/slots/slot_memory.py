"""A fixed number of slots, of which a selector says which one a frame overwrites: STReMN's memory."""

import dataclasses
import math
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from mmstremn.memory.base import Memory
from mmstremn.memory.readers import DenseReader
from mmstremn.memory.slots.align import DeformableAlign
from mmstremn.memory.slots.feature_selector import notes_of, sighted
from mmstremn.memory.slots.fusion import SlotFusion
from mmstremn.memory.slots.gates import EmptyFirst, Gate
from mmstremn.memory.slots.gumbel import GumbelSelector
from mmstremn.memory.slots.history import History
from mmstremn.memory.slots.reading import count_usage, nearest_distance, read_slots
from mmstremn.memory.slots.selectors import Selector
from mmstremn.memory.slots.slot_state import SlotState
from mmstremn.memory.state import Entry, Query

AnySlots = TypeVar('AnySlots', bound=SlotState)


class SlotMemory(Memory[SlotState]):
    """S slots, each holding one past frame: cost and memory stay the same however long the video is.

    STReMN (arXiv 2109.06474) with the default :class:`GumbelSelector`.

    Args:
        num_slots: S.
        selector: Which slot is overwritten; GumbelSelector by default.
        reader: DenseReader with the L2 affinity by default.
        gates: Applied to the selector's logits in this order; EmptyFirst by default.
        train_slots: S in training (the weights do not depend on S): fewer slots than a clip has frames, so
            that the selector must choose. None: ``num_slots``, but where the selector learns from clips of T
            frames no more than T - 2: of the T - 1 frames written one at least then overwrites another.
        per_object_key: One key per object (G = O, as in STM) instead of one for all (G = 1).
        key_channels: Ck of the default selector.
        value_channels: Cv of the default selector.
        align: Moves the slots' contents to where the query has them before each read; None: they are read
            where they are.
        fusion: What the overwritten slot held is fused into the others first; None: it is forgotten.
    """

    state_class = SlotState

    def __init__(
        self,
        num_slots: int = 5,
        selector: Selector | None = None,
        reader: DenseReader | None = None,
        gates: Sequence[Gate] | None = None,
        train_slots: int | None = None,
        per_object_key: bool = False,
        key_channels: int = 64,
        value_channels: int = 256,
        align: DeformableAlign | None = None,
        fusion: SlotFusion | None = None,
    ):
        super().__init__()
        for name, number in (('num_slots', num_slots), ('train_slots', train_slots)):
            if number is not None and number < 1:
                raise ValueError(f'SlotMemory.{name} must be at least 1, got {number}')
        self.num_slots, self.train_slots = num_slots, train_slots
        self.selector = selector or GumbelSelector(key_channels, value_channels)
        self.reader = reader or DenseReader()
        self.gates: Sequence[Gate] = nn.ModuleList([EmptyFirst()] if gates is None else gates)  # type: ignore
        self.per_object_key = per_object_key
        self.align, self.fusion = align, fusion

    @property
    def needs_selection(self) -> bool:
        """Whether the reader's affinity needs it."""
        return self.reader.affinity.needs_selection

    def init(self, entry: Entry, seeds: tuple[int, ...] | None = None) -> SlotState:
        """Empty slots."""
        state = SlotState.empty(entry, self._slots_of(entry), seeds)
        if self.selector.needs_relevance:
            state.relevance = torch.full_like(state.hits, -1)
        if self.selector.needs_notes:
            batch, objects = entry.value.shape[:2]
            state.notes = state.hits.new_zeros(batch, objects, state.num_slots, 4)
            state.sightings = state.hits.new_zeros(batch, objects, 2)
        if any(gate.needs_prompted for gate in self.gates):
            state.prompted = torch.zeros_like(state.hits, dtype=torch.bool)
        if self._learns():
            state.history = History.empty(entry)
        return state

    def _slots_of(self, entry: Entry) -> int:
        """S of a video, or of a training clip, that begins with the entry."""
        if not self.training:
            return self.num_slots
        if self.train_slots is None and self._learns() and 'clip_length' in entry.extras:
            return min(self.num_slots, max(entry.extras['clip_length'] - 2, 1))
        return self.train_slots or self.num_slots

    def _learns(self) -> bool:
        """Whether gradients should reach the selector."""
        return self.training and torch.is_grad_enabled() and _is_trained(self.selector)

    def read(self, state: SlotState, query: Query) -> tuple[Tensor, SlotState]:
        """The readout (B, O, P, Cv), and the state with its usage counted."""
        query = query.on(state.grid)
        aligned = state if self.align is None else self.align(state, query)
        readout, share = read_slots(self.reader, aligned, query)
        if state.history is not None and self.selector.gradient == 'history':
            readout = readout + state.history.gradient(self.reader, query)
        return readout, count_usage(state, share)

    def distance(self, state: SlotState, query: Query) -> Tensor:
        """As in :class:`Memory`."""
        return nearest_distance(self.reader, state, query)

    def timeline(self, state: SlotState) -> Tensor:
        """As in :class:`Memory`."""
        return state.written_at[0, 0]

    def wants(self, state: SlotState) -> bool:
        """False while a gate is closed."""
        return not any(gate.closed(state) for gate in self.gates)

    def write(self, state: SlotState, entry: Entry) -> SlotState:
        """Offer an entry; without gradients ``state`` is changed and returned."""
        logits = self.logits(state, entry)
        choice = self.selector.choose(logits, state)
        history = (
            None
            if state.history is None
            else state.history.after(state.step, state.written_at, entry, choice, logits)
        )
        blends = history is not None and self.selector.gradient == 'blend'
        slope = choice - choice.detach() if blends else None
        choice = choice.detach()
        if self.fusion is not None:
            state = _fuse(self.fusion, state, choice)
        if torch.is_grad_enabled():
            state = _write_into_copies(state, entry, choice, slope)
        else:
            state = write_in_place(state, entry, choice)
        state.history = history
        if state.sightings is not None:
            state.sightings = sighted(state.sightings, notes_of(entry), state.step - 1)
        return state

    def select(self, state: SlotState, entry: Entry) -> Tensor:
        """One-hot (B, G, S + 1): the slot that the entry overwrites; the last stands for none."""
        return self.selector.choose(self.logits(state, entry), state)

    def logits(self, state: SlotState, entry: Entry) -> Tensor:
        """The selector's logits (B, G, S + 1) after the gates, -inf where barred.

        A prompted entry is always stored: skipping is barred, and if the gates leave no slot they are
        overruled.
        """
        raw = logits = self.selector(state, entry)
        for gate in self.gates:
            logits = gate(logits, state, entry)
        if entry.prompted:
            raw, logits = _bar_skip(raw), _bar_skip(logits)
        stuck = (logits == -math.inf).all(-1, keepdim=True)
        return torch.where(stuck, raw, logits)

    def untrained_parts(self, state: SlotState) -> dict[str, str]:
        """The selector, if no frame had to choose among slots; the fusion, if none was overwritten."""
        parts, written = {}, int((state.written_at >= 0).sum(-1).min())
        if state.history is not None and not state.history.choices.any():
            frames = len(state.history.steps)
            parts['selector'] = f'{frames} frames offered, {state.num_slots} slots, 0 forced choices'
        if self.fusion is not None and written == state.step and _is_trained(self.fusion):
            parts['fusion'] = f'{written} frames written, {state.num_slots} slots, none overwritten'
        return parts


def _is_trained(part: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in part.parameters())


def _fuse(fusion: SlotFusion, state: SlotState, choice: Tensor) -> SlotState:
    value = fusion(state, choice)
    if torch.is_grad_enabled():
        return dataclasses.replace(state, value=value)
    state.value.copy_(value)
    return state


def _bar_skip(logits: Tensor) -> Tensor:
    return torch.cat([logits[..., :-1], torch.full_like(logits[..., -1:], -math.inf)], -1)


def _write_into_copies(
    state: SlotState, entry: Entry, choice: Tensor, slope: Tensor | None = None
) -> SlotState:
    """A new state, through which gradients reach the entry and what the slots held before.

    Args:
        state: Before the write.
        entry: Offered.
        choice: One-hot (B, G, S + 1).
        slope: Zeros (B, G, S + 1) with the gradient of the choice w, which then has that of blending,
            old (1 - w) + new w. None: the choice gets no gradient here.
    """
    written = choice[..., :-1] > 0.5  # (B, G, S)

    def put(old: Tensor, new: Tensor | float) -> Tensor:
        if isinstance(new, Tensor):
            new = new.unsqueeze(2).to(old.dtype)
        return torch.where(written.view(*written.shape, *[1] * (old.dim() - 3)), new, old)

    def blend(old: Tensor, new: Tensor) -> Tensor:
        stored = put(old, new)
        if slope is None:
            return stored
        weight = slope[..., :-1].reshape(*written.shape, *[1] * (old.dim() - 3)).to(old.dtype)
        return stored + weight * (new.unsqueeze(2).to(old.dtype) - old)

    shrinkage, relevance, prompted = state.shrinkage, state.relevance, state.prompted
    notes = None if state.notes is None else put(state.notes, notes_of(entry))
    if shrinkage is not None:
        shrinkage = blend(shrinkage, entry.required_shrinkage())
    return dataclasses.replace(
        state,
        key=blend(state.key, entry.key),
        value=blend(state.value, entry.value),
        shrinkage=shrinkage,
        written_at=put(state.written_at, state.step),
        read_at=put(state.read_at, -1),
        hits=put(state.hits, 0.0),
        relevance=None if relevance is None else put(relevance, -1.0),
        prompted=None if prompted is None else put(prompted, int(entry.prompted)).bool(),  # for torch.jit
        notes=notes,
        step=state.step + 1,
    )


def write_in_place(
    state: AnySlots, entry: Entry, choice: Tensor, more: dict[str, Tensor] | None = None
) -> AnySlots:
    """The same values as above, without a copy of the slots and without asking the host which slot it is.

    Args:
        state: Changed and returned.
        entry: Offered.
        choice: One-hot (B, G, S + 1); the last stands for none.
        more: What further fields (B, G, S, ...) of the state get (B, G, ...), by name.
    """
    chosen = choice.argmax(-1, keepdim=True)  # (B, G, 1)
    stored = chosen < state.num_slots
    slot = chosen.clamp(max=state.num_slots - 1)

    def put(old: Tensor, new: Tensor | float) -> None:
        tail = [1] * (old.dim() - 3)
        index = slot.view(*slot.shape, *tail).expand(-1, old.shape[1], 1, *old.shape[3:])
        if isinstance(new, Tensor):
            new = new.unsqueeze(2).to(old.dtype)
        keep = stored.view(*stored.shape, *tail)
        old.scatter_(2, index, torch.where(keep, new, old.gather(2, index)))

    if state.shrinkage is not None:
        put(state.shrinkage, entry.required_shrinkage())
    put(state.key, entry.key)
    put(state.value, entry.value)
    put(state.written_at, state.step)
    put(state.read_at, -1)
    put(state.hits, 0.0)
    if state.relevance is not None:
        put(state.relevance, -1.0)
    if state.prompted is not None:
        put(state.prompted, entry.prompted)
    for name, new in (more or {}).items():
        put(getattr(state, name), new)
    if state.notes is not None:
        put(state.notes, notes_of(entry))
    state.step += 1
    return state
