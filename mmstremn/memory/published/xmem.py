"""XMem's memory: a sensory state, a working memory of recent frames, and a compact long-term memory."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mmstremn.memory.base import Memory
from mmstremn.memory.buffers import birth_groups, put
from mmstremn.memory.published.sensory import SensoryCell, follow_decoder
from mmstremn.memory.published.xmem_consolidation import (
    attend,
    most_used,
    pick,
    position_similarity,
    potentiate,
)
from mmstremn.memory.published.xmem_rules import RULES, LibraryRules
from mmstremn.memory.readers import MASKED
from mmstremn.memory.state import Entry, MemoryState, Query

WORKING = ('key', 'value', 'shrinkage', 'selection', 'usage', 'written_at')
LONG = ('long_key', 'long_value', 'long_shrinkage', 'long_usage', 'long_frame', 'long_since')


@dataclass
class TwoLevelState(MemoryState):
    """T slots of working memory, L positions of long-term memory, and one sensory map per object.

    Attributes:
        key: (B, 1, T, P, Ck), zero where empty, as all that follows.
        value: (B, O, T, P, Cv).
        shrinkage: (B, 1, T, P).
        selection: (B, 1, T, P, Ck) with which the stored frame asked when it was the query.
        usage: (B, 1, T, P) attention drawn since the frame was stored.
        written_at: (B, 1, T) long: the step at which the slot was written, -1 where empty.
        long_key: (B, 1, L, Ck).
        long_value: (B, O, L, Cv).
        long_shrinkage: (B, 1, L).
        long_usage: (B, 1, L) attention drawn since the prototype was made.
        long_frame: (B, 1, L) long: the step at which the prototype's position was written.
        long_since: (B, 1, L) long: the step at which the prototype was made.
        sensory: (B, O, P, Ch).
        asked: (B, P, Ck) the selection of the latest read; all ones before any.
        frames: Slots of working memory in use.
        prototypes: Positions of long-term memory in use.
        stored: The step at which a frame was stored last.
        permanent: The slots of working memory whose frames stay for good, ascending; None: the first alone.
    """

    key: Tensor
    value: Tensor
    shrinkage: Tensor
    selection: Tensor
    usage: Tensor
    written_at: Tensor
    long_key: Tensor
    long_value: Tensor
    long_shrinkage: Tensor
    long_usage: Tensor
    long_frame: Tensor
    long_since: Tensor
    sensory: Tensor
    asked: Tensor
    frames: int = 0
    prototypes: int = 0
    stored: int = 0
    permanent: tuple[int, ...] | None = None

    object_fields = {'value': 0, 'long_value': 0, 'sensory': 0}


class TwoLevelMemory(Memory[TwoLevelState]):
    """Recent frames in full, older ones as prototypes: bounded, with a reach over thousands of frames.

    XMem (Cheng and Schwing, ECCV 2022); checked against hkchengrex/XMem
    inference/{memory_manager,kv_memory_store}.py.

    - *Working memory* stores the first frame, every n-th and prompted ones in evaluation, every frame in
      training.
    - *Permanent memory*: the first frame, and with ``permanent`` above 1 the latest other frames that were
      prompted, stay in working memory for good (XMem++, ICCV 2023, which does not bound them).
    - When it is full it is *consolidated*: the permanent frames and the newest ``min_frames - 1`` stay; of
      the positions of all others the most used per frame become prototypes. A prototype keeps its position's
      key and shrinkage (the public code averages the shrinkage as it does the value); its value is the
      softmax of its similarity to all candidates times their values. Its similarity uses the selection with
      which its frame asked when it was the query.
    - *Long-term memory* makes room for new prototypes by dropping those least used per frame.
    - The *sensory* state follows the decoder's features every frame and the value of frames that evaluation
      stores (also in training, where XMem draws them with probability 0.2); without decoder features it
      follows the value every frame. The public code leaves out the decoder's update on stored frames in
      evaluation, but not in training.
    - An object that appears mid-video reads positions of frames since its birth. A prototype counts as its
      position's frame, and is made of candidates since the birth only, so no older value enters (the public
      code's rule). Usage is counted on the reads of the oldest objects, so later ones do not change what is
      kept.

    Args:
        min_frames: Slots in use after consolidation (T_min).
        max_frames: Slots of working memory (T_max), with one permanent frame.
        every: In evaluation a frame is stored when its index is a multiple of it.
        num_prototypes: Made by one consolidation, at most.
        capacity: Positions of long-term memory (L).
        k: Positions that a query position reads in evaluation; all in training.
        sensory_channels: Ch; 0: there is no sensory state.
        value_channels: Cv.
        decoder_channels: Of ``extras['decoded']``.
        compat: ``'xmem'`` computes what the public code does, for its weights: the sensory state follows the
            readout as channels of its own, the decoder's update is left out on stored frames, a frame is
            stored ``every`` frames after the last stored one, a prototype's shrinkage is averaged as its
            value is, and prototypes that tie with the best one dropped are dropped too. ``'cutie'``: what
            the public code of Cutie does, which has no such ties and whose sensory state is a part of its own
            (:class:`CutieMemory`).
        buffer: Prototypes dropped beyond those that must make room, so that it happens less often.
        permanent: Prompted frames that stay for good, the first frame among them; where more were prompted
            the oldest but the first give way. Each above 1 is a slot more.

    Raises:
        ValueError: An argument is out of range, or ``compat`` unknown.
    """

    state_class = TwoLevelState

    @property
    def needs_selection(self) -> bool:
        """True."""
        return True

    def __init__(
        self,
        min_frames: int = 5,
        max_frames: int = 10,
        every: int = 5,
        num_prototypes: int = 128,
        capacity: int = 10000,
        k: int = 30,
        sensory_channels: int = 64,
        value_channels: int = 256,
        decoder_channels: int = 256,
        compat: str | None = None,
        buffer: int = 0,
        permanent: int = 1,
    ):
        super().__init__()
        if compat not in RULES:
            names = ' or '.join(map(repr, RULES))
            raise ValueError(f'TwoLevelMemory.compat must be {names}, got {compat!r}')
        if min_frames < 2:
            raise ValueError(f'TwoLevelMemory.min_frames must be at least 2, got {min_frames}')
        if max_frames <= min_frames:
            raise ValueError(
                f'TwoLevelMemory.max_frames must be more than min_frames ({min_frames}), got {max_frames}'
            )
        for name, number in dict(
            every=every, num_prototypes=num_prototypes, k=k, permanent=permanent
        ).items():
            if number < 1:
                raise ValueError(f'TwoLevelMemory.{name} must be at least 1, got {number}')
        for name, number in dict(sensory_channels=sensory_channels, buffer=buffer).items():
            if number < 0:
                raise ValueError(f'TwoLevelMemory.{name} must be at least 0, got {number}')
        if capacity < num_prototypes + buffer:
            raise ValueError(
                f'TwoLevelMemory.capacity must be at least num_prototypes ({num_prototypes}) and buffer '
                f'({buffer}) together, got {capacity}'
            )
        self.min_frames, self.max_frames, self.every = min_frames, max_frames, every
        self.num_prototypes, self.capacity, self.k, self.buffer = num_prototypes, capacity, k, buffer
        self.compat, self.sensory_channels, self.permanent = compat, sensory_channels, permanent
        self.rules = RULES[compat]
        self.from_decoded = self.from_value = self.project = None
        if sensory_channels:
            self.from_decoded = SensoryCell(decoder_channels, sensory_channels)
            self.from_value = SensoryCell(value_channels, sensory_channels)
            self.project = self.rules.projection(sensory_channels, value_channels)

    def init(self, entry: Entry, seeds: tuple[int, ...] | None = None) -> TwoLevelState:
        """An empty state; ``seeds`` are not used.

        Raises:
            ValueError: The entry has no shrinkage.
        """
        if entry.shrinkage is None:
            raise ValueError('TwoLevelMemory needs Entry.shrinkage (B, 1, P), got None')
        batch, objects, positions, _ = entry.value.shape

        def zeros(tensor: Tensor, *size: int) -> Tensor:
            return tensor.new_zeros(*tensor.shape[:2], *size, *tensor.shape[3:])

        def stamps(number: int) -> Tensor:
            return torch.full((batch, 1, number), -1, device=entry.key.device)

        like = entry.value if self.from_value is None else self.from_value.gates.weight
        sensory = like.new_zeros(batch, objects, positions, self.sensory_channels)
        slots = self.max_frames + self.permanent - 1
        working, long = (slots, positions), (self.capacity,)
        return TwoLevelState.for_objects_of(
            entry,
            seeds,
            key=zeros(entry.key, *working),
            value=zeros(entry.value, *working),
            shrinkage=zeros(entry.shrinkage, *working),
            selection=zeros(entry.key, *working),
            usage=zeros(entry.shrinkage, *working).float(),
            written_at=stamps(slots),
            long_key=zeros(entry.key, *long),
            long_value=zeros(entry.value, *long),
            long_shrinkage=zeros(entry.shrinkage, *long),
            long_usage=zeros(entry.shrinkage, *long).float(),
            long_frame=stamps(self.capacity),
            long_since=stamps(self.capacity),
            sensory=sensory,
            asked=torch.ones_like(entry.key[:, 0]),
            permanent=None if self.permanent == 1 else (),
        )

    def read(self, state: TwoLevelState, query: Query) -> tuple[Tensor, TwoLevelState]:
        """The readout (B, O, P, Cv), in ``compat`` (B, O, P, Cv + Ch), and the state with its usage counted.

        Raises:
            ValueError: The query has no selection.
        """
        selection = query.selection
        if selection is None:
            raise ValueError('TwoLevelMemory needs Query.selection (B, P, Ck), got None')
        prototypes = state.prototypes
        key, shrinkage = _readable(state, 'key'), _readable(state, 'shrinkage')
        written_at = state.written_at[..., None].expand_as(state.usage)
        frame = _join(state.long_frame, prototypes, written_at[:, :, : state.frames])
        value = _join(state.long_value, prototypes, state.value)  # its empty slots come last and are not read
        affinity = position_similarity(query.key, selection, key, shrinkage)
        readouts, drawn = [], []
        for birth, members in birth_groups(state.births):
            usable = affinity.masked_fill(frame < birth, MASKED) if birth else affinity
            readout, usage = attend(usable, value[:, members], None if self.training else self.k)
            readouts.append(readout)
            drawn.append(usage)
        readout = torch.cat(readouts, 1)
        if self.project is None:
            readout = torch.cat([readout, state.sensory.to(readout.dtype)], -1)
        else:
            readout = (readout + self.project(state.sensory)).to(readout.dtype)
        oldest = _count(state, drawn[0][:, None])
        return readout, dataclasses.replace(oldest, asked=selection.to(state.asked.dtype))

    def timeline(self, state: TwoLevelState) -> Tensor:
        """The slots of working memory."""
        return state.written_at[0, 0]

    def wants(self, state: TwoLevelState) -> bool:
        """Whether the frame is encoded; in ``compat`` the decoder's features of frames not stored suffice."""
        return self.rules.encodes_every_frame or self.training or self._due(state)

    def pass_over(self, state: TwoLevelState, decoded: Tensor | None = None) -> TwoLevelState:
        """The state after a frame whose entry was not wanted; the sensory state follows ``decoded``."""
        sensory = state.sensory if decoded is None else self._follow(state, decoded)
        return dataclasses.replace(state, sensory=sensory, step=state.step + 1)

    def _due(self, state: TwoLevelState) -> bool:
        regular = self.rules.is_regular(state.step, state.stored, self.every)
        return regular or state.step in state.births

    def write(self, state: TwoLevelState, entry: Entry) -> TwoLevelState:
        """Offer an entry. Without gradients the buffers of ``state`` are changed."""
        due = entry.prompted or self._due(state)
        state = dataclasses.replace(state, sensory=self._sense(state, entry, due))
        if due or self.training:
            state = self._mark(_store(state, entry), entry.prompted)
        if state.frames - len(_permanent(state)) == self.max_frames - 1:
            state = self._consolidate(state)
        return dataclasses.replace(state, step=state.step + 1)

    def _sense(self, state: TwoLevelState, entry: Entry, due: bool) -> Tensor:
        """The sensory state after an entry."""
        sensory, decoded = state.sensory, entry.extras.get('decoded')
        if self.from_value is None:
            return sensory
        followed = self.training or not due or self.rules.decoder_moves_stored
        if decoded is not None and followed:
            sensory = self._follow(state, decoded)
        return self.from_value(entry.value, sensory, state.grid) if due or decoded is None else sensory

    def _follow(self, state: TwoLevelState, decoded: Tensor) -> Tensor:
        """The sensory state after the decoder's features."""
        if self.from_decoded is None:
            return state.sensory
        return follow_decoder(self.from_decoded, state.sensory, decoded, state)

    def _mark(self, state: TwoLevelState, prompted: bool) -> TwoLevelState:
        """The state in which the frame stored last is permanent if it is the first or prompted."""
        newest = state.frames - 1
        if state.permanent is None or (newest and not prompted):
            return state
        first, *others = (*state.permanent, newest)
        return dataclasses.replace(state, permanent=(first, *others[-(self.permanent - 1) :]))

    def _consolidate(self, state: TwoLevelState) -> TwoLevelState:
        """Move all but the permanent frames and the newest ``min_frames - 1`` to long-term memory."""
        permanent = _permanent(state)
        passing = [slot for slot in range(state.frames) if slot not in permanent]
        passing, newest = passing[: 1 - self.min_frames], passing[1 - self.min_frames :]
        kept_slots = sorted((*permanent, *newest))
        usage, written_at, key, value, shrinkage, selection = (
            _slots(getattr(state, name), passing)
            for name in ('usage', 'written_at', 'key', 'value', 'shrinkage', 'selection')
        )
        frame = written_at[..., None].expand_as(usage).flatten(2)
        # Candidates: N positions of the slots that are passing, (B, M, N, ...)
        usage, key, value, shrinkage, selection = (
            t.flatten(2, 3) for t in (usage, key, value, shrinkage, selection)
        )
        chosen = most_used(usage, state.step - frame, min(self.num_prototypes, usage.shape[2]))
        alike = position_similarity(pick(key, chosen)[:, 0], pick(selection, chosen)[:, 0], key, shrinkage)
        prototypes: dict[str, Tensor] = dict(
            long_key=pick(key, chosen),
            long_value=potentiate(alike, value, frame, chosen, state.births),
            long_shrinkage=self.rules.shrinkage(alike, shrinkage, chosen),
            long_usage=torch.zeros_like(pick(usage, chosen)),
            long_frame=pick(frame, chosen),
            long_since=torch.full_like(pick(frame, chosen), state.step),
        )
        state = _forget(state, self.capacity - chosen.shape[1], self.buffer, self.rules)
        added: dict[str, Any]
        added = {name: put(getattr(state, name), state.prototypes, new) for name, new in prototypes.items()}
        kept: dict[str, Any] = {name: _keep(getattr(state, name), kept_slots) for name in WORKING}
        number = state.prototypes + chosen.shape[1]
        if state.permanent is not None:
            kept.update(permanent=tuple(kept_slots.index(slot) for slot in permanent))
        return dataclasses.replace(state, frames=len(kept_slots), prototypes=number, **kept, **added)


def _permanent(state: TwoLevelState) -> tuple[int, ...]:
    return (0,) if state.permanent is None else state.permanent


def _join(long: Tensor, prototypes: int, working: Tensor) -> Tensor:
    """Positions (B, M, N, ...): long-term memory in use, then working slots (B, M, S, P, ...)."""
    working = working.flatten(2, 3)
    return torch.cat([long[:, :, :prototypes], working], 2) if prototypes else working


def _readable(state: TwoLevelState, name: str) -> Tensor:
    """A field at all positions that a query reads: (B, 1, N, ...)."""
    return _join(getattr(state, f'long_{name}'), state.prototypes, getattr(state, name)[:, :, : state.frames])


def _count(state: TwoLevelState, drawn: Tensor) -> TwoLevelState:
    """The state after a read in which its positions drew ``drawn`` (B, 1, N) of the attention."""
    long, working = drawn.split([state.prototypes, drawn.shape[2] - state.prototypes], 2)
    working = working.unflatten(2, (state.frames, -1))
    return dataclasses.replace(
        state,
        usage=state.usage + F.pad(working, (0, 0, 0, state.usage.shape[2] - state.frames)),
        long_usage=state.long_usage + F.pad(long, (0, state.long_usage.shape[2] - state.prototypes)),
    )


def _store(state: TwoLevelState, entry: Entry) -> TwoLevelState:
    """The entry in the next slot of working memory."""
    slot = dict(
        key=entry.key,
        value=entry.value,
        shrinkage=entry.required_shrinkage(),
        selection=state.asked[:, None],
        usage=torch.zeros_like(state.usage[:, :, 0]),
        written_at=torch.full_like(state.written_at[:, :, 0], state.step),
    )
    stored: dict[str, Any]
    stored = {name: put(getattr(state, name), state.frames, new.unsqueeze(2)) for name, new in slot.items()}
    return dataclasses.replace(state, frames=state.frames + 1, stored=state.step, **stored)


def _forget(state: TwoLevelState, number: int, buffer: int, rules: LibraryRules) -> TwoLevelState:
    """The state with at most ``number`` prototypes, ``buffer`` fewer if some must go: those used most per
    frame."""
    if not rules.overflows(state.prototypes, number):
        return state
    number -= buffer
    held = {name: getattr(state, name)[:, :, : state.prototypes] for name in LONG}
    life = state.step - held['long_since']
    number = rules.number_kept(held['long_usage'] / life.clamp(min=1), number)
    kept = most_used(held['long_usage'], life, number)
    changes: dict[str, Any]
    changes = {name: put(getattr(state, name), 0, pick(tensor, kept)) for name, tensor in held.items()}
    return dataclasses.replace(state, prototypes=number, **changes)


def _slots(tensor: Tensor, places: list[int]) -> Tensor:
    """The slots ``places`` of (B, M, S, ...)."""
    return torch.cat([tensor[:, :, place : place + 1] for place in places], 2)


def _keep(tensor: Tensor, places: list[int]) -> Tensor:
    """The slots ``places`` first; the others are empty."""
    empty = torch.full_like(tensor[:, :, len(places) :], 0 if tensor.is_floating_point() else -1)
    return torch.cat([_slots(tensor, places), empty], 2)
