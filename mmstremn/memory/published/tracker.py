"""The memory of trackers that store memory features and object pointers: SAM 2, EdgeTAM, SAM 3's tracker."""

import dataclasses
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mmstremn.memory.base import Memory
from mmstremn.memory.buffers import empty_slots
from mmstremn.memory.slots.feature_selector import notes_of, sighted
from mmstremn.memory.slots.gates import EmptyFirst, Gate
from mmstremn.memory.slots.reading import count_usage
from mmstremn.memory.slots.selectors import FIFOSelector, Selector
from mmstremn.memory.slots.slot_memory import SlotMemory, write_in_place
from mmstremn.memory.slots.slot_state import SlotState
from mmstremn.memory.state import Entry, Query

KEYS = ('none', 'memory', 'image')


@dataclass(kw_only=True)
class TrackerState(SlotState):
    """K slots of prompted frames, then those of tracked frames, per object (G = O), and R - 1 late pointers.

    The position code of memory features is the same for every frame, so the model has it and not the state.

    Attributes:
        pointer: (B, O, S, Cp) object pointers; zero where empty, as what follows.
        iou: (B, O, S) predicted IoU of the mask; 1 where the user gave it.
        score: (B, O, S) logit of the object's presence.
        latest: (B, O, R - 1, Cp): pointers of the latest tracked frames; that of step t is at t % (R - 1).
        latest_at: (B, O, R - 1) long: their steps, -1 where there is none.
    """

    object_fields = SlotState.object_fields | {
        'pointer': 0,
        'iou': 0,
        'score': 0,
        'latest': 0,
        'latest_at': -1,
    }
    without_slots = {'latest', 'latest_at', 'sightings'}
    """Fields that have no axis of slots."""

    pointer: Tensor
    iou: Tensor
    score: Tensor
    latest: Tensor
    latest_at: Tensor


@dataclass
class Tokens:
    """What n objects that hold equally much read.

    Attributes:
        objects: Their places among the O.
        value: (n, F, P, Cv) memory features of F frames.
        place: (n, F) long: 0 for prompted frames, else the place 1 (the newest) ... in time.
        pointer: (n, R', Cp).
        age: (n, R') long: frames since each pointer.
    """

    objects: list[int]
    value: Tensor
    place: Tensor
    pointer: Tensor
    age: Tensor


class TrackerMemory(Memory[TrackerState]):
    """Frames that the user prompted, frames that were tracked, and object pointers; each object has its own.

    With neither ``selector`` nor ``gates`` it is SAM 2's memory (Ravi et al., 2024; checked against
    transformers' ``Sam2VideoModel``): prompted frames, the latest ``num_slots`` frames, and the pointers of
    the prompted and of the latest ``num_pointers - 1`` frames. There the state grows with each prompt; here
    ``num_prompted`` slots are kept, of which the oldest but the first give way.

    It is read by the tracker's own memory attention, which the model hands in as
    ``query.extras['attend']``: it takes :class:`Tokens` and gives the readout (n, P, C) and the shares of the
    attention (n, F) or None.

    Args:
        num_slots: Of tracked frames; None: ``num_places``.
        num_prompted: K, slots of prompted frames.
        selector: Which tracked frame is overwritten; the oldest by default.
        gates: Of tracked frames; EmptyFirst by default.
        key: What selectors and gates compare: ``'none'`` (nothing is stored), the ``'memory'`` features or
            the ``'image'`` features.
        horizon: Tracked frames older than this are not read. None: all are, but for SAM 2's own rule
            ``num_slots``.
        num_read: At most so many of the tracked frames, the latest, are read; None: all.
        by_rank: The place in time of a tracked frame is its rank among those read, the newest first, as in
            SAMURAI and SAM2Long. False: its age in frames, as in SAM 2. Either way a frame beyond the last
            place has the code of the last: that is what SAM 2 would give the oldest.
        num_places: Places in time that the tracker has codes for (``num_maskmem - 1``).
        num_pointers: R (``max_object_pointers_in_encoder``).
        max_prompted: Prompted frames that are read, the latest, -1: all (``max_cond_frame_num``). Others are
            read as tracked ones.

    Raises:
        ValueError: A number is below 1 (``num_pointers``: below 2), or ``key`` is none of these.
    """

    state_class: type[TrackerState] = TrackerState
    per_object_key = True
    num_pathways = 1
    chooses = False
    """Whether it has a method ``choose`` that says which of the decoder's masks are taken."""
    needs_candidates = False
    """Whether entries must hold what the mask decoder's other masks say."""

    def __init__(
        self,
        num_slots: int | None = None,
        num_prompted: int = 4,
        selector: Selector | None = None,
        gates: Sequence[Gate] | None = None,
        key: str = 'none',
        horizon: int | None = None,
        num_read: int | None = None,
        by_rank: bool = False,
        num_places: int = 6,
        num_pointers: int = 16,
        max_prompted: int = -1,
    ):
        super().__init__()
        num_slots = num_places if num_slots is None else num_slots
        numbers = dict(num_slots=(num_slots, 1), num_prompted=(num_prompted, 1), num_places=(num_places, 1))
        for name, (number, least) in dict(numbers, num_pointers=(num_pointers, 2)).items():
            if number < least:
                raise ValueError(f'TrackerMemory.{name} must be at least {least}, got {number}')
        if key not in KEYS:
            raise ValueError(f'TrackerMemory.key must be one of {", ".join(KEYS)}, got {key!r}')
        for part in (selector, *(gates or ())):
            if getattr(part, 'needs_prompted', False):
                raise ValueError(
                    f'TrackerMemory.gates: {type(part).__name__} is not needed: prompted frames have slots '
                    'of their own: set num_prompted'
                )
            if key == 'none' and getattr(part, 'needs_keys', False):
                raise ValueError(
                    f"TrackerMemory.key: {type(part).__name__} compares keys, expected 'memory' or 'image', "
                    "got 'none'"
                )
        if selector is None and gates is None and horizon is None:
            horizon = num_slots
        self.slots = SlotMemory(
            num_slots,
            selector or FIFOSelector(),
            gates=[EmptyFirst()] if gates is None else gates,
            per_object_key=True,
        )
        self.num_prompted, self.key, self.horizon, self.num_read = num_prompted, key, horizon, num_read
        self.by_rank, self.num_places, self.num_pointers = by_rank, num_places, num_pointers
        self.max_prompted = max_prompted

    def init(self, entry: Entry, seeds: tuple[int, ...] | None = None) -> TrackerState:
        """Empty slots.

        Raises:
            ValueError: The batch is not 1.
        """
        if entry.value.shape[0] != 1:
            raise ValueError(
                f'TrackerMemory holds one video at a time, got a batch of {entry.value.shape[0]}'
            )
        slots, latest = self.num_prompted + self.slots.num_slots, self.num_pointers - 1
        blank = SlotState.empty(entry, slots, seeds)
        if self.slots.selector.needs_relevance:
            blank.relevance = torch.full_like(blank.hits, -1)
        if self.slots.selector.needs_notes:
            blank.notes = blank.hits.new_zeros(*blank.hits.shape, 4)
            blank.sightings = blank.hits.new_zeros(*blank.hits.shape[:2], 2)
        pointer, iou, score = (entry.extras[name] for name in ('pointer', 'iou', 'score'))
        further: dict[str, Any] = self.further_fields(blank.written_at[:, :, 0])
        return self.state_class(
            **blank.by_name(),
            pointer=empty_slots(pointer, slots),
            iou=empty_slots(iou, slots),
            score=empty_slots(score, slots),
            latest=empty_slots(pointer, latest),
            latest_at=blank.written_at.new_full((*iou.shape, latest), -1),
            **further,
        )

    def further_fields(self, like: Tensor) -> dict[str, Tensor]:
        """What a derived state holds at first; ``like`` is (1, O) long."""
        return {}

    def tracked(self, state: TrackerState) -> TrackerState:
        """The slots of tracked frames, as a view."""
        return self._some(state, slice(self.num_prompted, None))

    def prompted(self, state: TrackerState) -> TrackerState:
        """The slots of prompted frames, as a view."""
        return self._some(state, slice(None, self.num_prompted))

    @staticmethod
    def _some(state: TrackerState, slots: slice) -> TrackerState:
        views: dict[str, Any] = {
            name: tensor[:, :, slots]
            for name, tensor in state.tensors().items()
            if name not in state.without_slots
        }
        return dataclasses.replace(state, **views)

    def timeline(self, state: TrackerState) -> Tensor:
        """Prompted frames first, then those that were tracked, of the first object."""
        return state.written_at[0, 0]

    def read(self, state: TrackerState, query: Query) -> tuple[Tensor, TrackerState]:
        """The readout (1, O, P, C), and the state with its usage counted where the model measures it."""
        readouts: dict[int, Tensor] = {}
        shares = torch.zeros_like(state.hits)
        measured = False
        for tokens, slots in self.tokens(state):
            readout, share = query.extras['attend'](tokens)
            readouts.update(zip(tokens.objects, readout, strict=True))
            if share is not None:
                measured = True
                rows = torch.tensor(tokens.objects, device=shares.device)[:, None]
                shares[0, rows, slots] = share.to(shares.dtype)
        readout = torch.stack([readouts[index] for index in range(len(state.births))])[None]
        return readout, count_usage(state, shares) if measured else state

    def tokens(self, state: TrackerState) -> list[tuple[Tokens, Tensor]]:
        """What the objects read, in groups that hold equally much, and the slots (n, F) of the frames."""
        device = state.value.device
        stamps = torch.cat([state.written_at, state.latest_at], -1)[
            0
        ].tolist()  # the only wait for the device
        number = state.num_slots
        plans = defaultdict(list)
        for index, stamp in enumerate(stamps):
            frames = self.frames_to_read(stamp[:number], state.step)
            pointers = self._pointers_to_read(stamp[:number], stamp[number:], state.step)
            plans[len(frames), len(pointers)].append((index, frames, pointers))
        both = torch.cat([state.pointer, state.latest], 2)[0]
        groups = []
        for plan in plans.values():
            objects = [index for index, _, _ in plan]
            rows = torch.tensor(objects, device=device)[:, None]
            held = torch.tensor([frames for _, frames, _ in plan], device=device)  # (n, F, 2)
            pointed = torch.tensor([pointers for _, _, pointers in plan], device=device)
            slots = held[..., 0]
            tokens = Tokens(
                objects,
                state.value[0][rows, slots],
                held[..., 1],
                both[rows, pointed[..., 0]],
                pointed[..., 1],
            )
            groups.append((tokens, slots))
        return groups

    def frames_to_read(self, stamps: list[int], step: int) -> list[tuple[int, int]]:
        """(slot, place in time) of the frames that an object reads at ``step``, the oldest first.

        Args:
            stamps: The step at which each slot was written, -1 where empty.
            step: Of the frame that is read.
        """
        held = sorted((slot for slot, stamp in enumerate(stamps) if stamp >= 0), key=stamps.__getitem__)
        prompted = [slot for slot in held if slot < self.num_prompted]
        first = max(len(prompted) - self.max_prompted, 0) if self.max_prompted >= 0 else 0
        late = [slot for slot in held if slot not in prompted[first:]]
        if self.horizon is not None:
            late = [slot for slot in late if step - stamps[slot] <= self.horizon]
        if self.num_read is not None:
            late = late[-self.num_read :]
        ages = [len(late) - rank if self.by_rank else step - stamps[slot] for rank, slot in enumerate(late)]
        places = [min(age, self.num_places) for age in ages]
        return [(slot, 0) for slot in prompted[first:]] + list(zip(late, places, strict=True))

    def _pointers_to_read(self, stamps: list[int], latest: list[int], step: int) -> list[tuple[int, int]]:
        """(index, age) of the pointers, those of prompted frames first, then the latest ones."""
        prompted = [
            (slot, step - stamp) for slot, stamp in enumerate(stamps[: self.num_prompted]) if stamp >= 0
        ]
        late = [(len(stamps) + index, step - stamp) for index, stamp in enumerate(latest) if stamp >= 0]
        return sorted(prompted, key=lambda pair: -pair[1]) + sorted(late, key=lambda pair: pair[1])

    def write(self, state: TrackerState, entry: Entry) -> TrackerState:
        """Offer an entry; ``state`` is changed and returned.

        Args:
            state: Of one video.
            entry: Its ``extras`` hold ``pointer`` (1, O, Cp), ``iou``, ``score`` and ``prompted`` (1, O).
        """
        prompted = self.keeps(state, entry)[..., None]  # (1, O, 1)
        entry = dataclasses.replace(entry, prompted=False)  # it is said by object
        kept = F.pad(self._prompted_slot(state), (0, self.slots.num_slots + 1))
        late = self.slots.select(self.tracked(state), entry)
        choice = torch.where(prompted, kept.to(late.dtype), F.pad(late, (self.num_prompted, 0)))
        extras = {name: entry.extras[name] for name in ('pointer', 'iou', 'score')}
        self._point(state, entry, prompted[..., 0])
        state = write_in_place(state, entry, choice, extras)
        if state.sightings is not None:
            state.sightings = sighted(state.sightings, notes_of(entry), state.step - 1)
        return state

    def keeps(self, state: TrackerState, entry: Entry) -> Tensor:
        """(1, O) bool: the frame is kept among the prompted ones."""
        return entry.extras['prompted']

    def _prompted_slot(self, state: TrackerState) -> Tensor:
        """One-hot (1, O, K): an empty slot, else that of the oldest but the first."""
        order = self.prompted(state).written_at.argsort(dim=-1, stable=True)
        full = (self.prompted(state).written_at >= 0).all(-1)
        slot = torch.where(full, order[..., min(1, self.num_prompted - 1)], order[..., 0])
        return F.one_hot(slot, self.num_prompted)

    def _point(self, state: TrackerState, entry: Entry, left_out: Tensor) -> None:
        """Put the pointers of the frame among the latest, but for the objects (1, O) that are left out."""
        place = state.step % (self.num_pointers - 1)
        state.latest[:, :, place] = entry.extras['pointer'].to(state.latest.dtype)
        state.latest_at[:, :, place] = torch.where(left_out, -1, state.step)
