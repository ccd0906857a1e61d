"""DAM4SAM's memory: recent frames in which the object is seen, and frames in which a distractor was."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from mmstremn.memory.published.tracker import TrackerMemory, TrackerState
from mmstremn.memory.slots.selectors import FIFOSelector
from mmstremn.memory.slots.slot_state import SlotState
from mmstremn.memory.state import Entry

FIRST, EMPTY = 2.0**40, 2.0**39  # above every age, and exact in float32
NUM_SIZES, SIZES_WITHIN = 10, 300  # sizes of which the median is taken, and the frames in which they lie


@dataclass(kw_only=True)
class DAM4SAMState(TrackerState):
    """What it takes to see whether a frame shows a distractor.

    Attributes:
        sizes: (1, O, 10): pixels of the latest masks that were not empty.
        sizes_at: (1, O, 10) long: their steps, -1 where there is none.
        added_at: (1, O) long: the step of the last frame added for its distractor, -1 before the first.
    """

    object_fields = TrackerState.object_fields | {'sizes': 0, 'sizes_at': -1, 'added_at': -1}
    without_slots = TrackerState.without_slots | {'sizes', 'sizes_at', 'added_at'}

    sizes: Tensor
    sizes_at: Tensor
    added_at: Tensor


class StridedSelector(FIFOSelector):
    """Keeps the latest frame and the latest of every ``stride``-th; frames without pixels are left out.

    Args:
        stride: In frames.
    """

    def __init__(self, stride: int):
        super().__init__()
        self.stride = stride

    def forward(self, state: SlotState, entry: Entry) -> Tensor:
        """Logits (B, O, S + 1); the last is that of skipping."""
        logits = super().forward(state, entry)
        unseen = (entry.extras['pixels'] < 1)[..., None]
        skip = torch.full_like(logits, -math.inf)
        skip[..., -1] = 0
        return torch.where(unseen, skip, logits)

    def score(self, state: SlotState, entry: Entry) -> Tensor:
        """Its age; an empty slot comes before it, and a frame off the stride before that."""
        held, between = state.written_at >= 0, state.written_at % self.stride != 0
        age = (state.step - state.written_at).float()
        return torch.where(held, torch.where(between, FIRST, age), EMPTY)


class DAM4SAM(TrackerMemory):
    """Recent appearance memory and distractor-resolving memory.

    Videnovic et al., "A Distractor-Aware Memory for Visual Object Tracking with SAM2" (2024), checked against
    the rules in dam4sam_tracker.py and sam2/modeling/sam2_base.py of jovanavidenovic/DAM4SAM.

    The frame of the first prompt and the latest ``num_resolving - 1`` of those that were prompted or showed a
    distractor are read as prompted ones are. The other places of the tracker are for the latest frame with
    the object and for the latest of every ``stride``-th, placed by rank. Pointers of frames without the
    object are not read. A frame shows a distractor where the tracker is sure of a mask of a usual size and
    another of its masks, added to the mask taken, has a clearly different box.

    Unlike there, masks are measured at the resolution at which the decoder gives them, not at that of the
    video, and a frame with a distractor keeps the memory features of its soft mask.

    Args:
        num_resolving: Frames of the distractor-resolving memory that are read.
        stride: Of the recent appearance memory, in frames.
        least_iou: Predicted IoU of a frame with a distractor, exclusive.
        size_change: Greatest change of its size relative to the median of the latest sizes.
        interval: Least frames between two frames with distractors, exclusive.
        most_overlap: Of boxes.
        key: As in :class:`TrackerMemory`.
        num_places: Likewise.
        num_pointers: Likewise.

    Raises:
        ValueError: A number is below 1, or ``num_resolving`` leaves no place for recent frames.
    """

    state_class = DAM4SAMState
    needs_candidates = True

    def __init__(
        self,
        num_resolving: int = 4,
        stride: int = 5,
        least_iou: float = 0.8,
        size_change: float = 0.2,
        interval: int = 5,
        most_overlap: float = 0.7,
        key: str = 'none',
        num_places: int = 6,
        num_pointers: int = 16,
    ):
        if stride < 1:
            raise ValueError(f'DAM4SAM.stride must be at least 1, got {stride}')
        if not 1 <= num_resolving <= num_places:
            raise ValueError(f'DAM4SAM.num_resolving must be in 1..{num_places}, got {num_resolving}')
        super().__init__(
            num_slots=num_places,
            num_prompted=num_resolving + 1,  # the newest is read as a recent one for a frame
            selector=StridedSelector(stride),
            gates=[],
            key=key,
            by_rank=True,
            num_places=num_places,
            num_pointers=num_pointers,
        )
        self.num_resolving, self.stride, self.interval = num_resolving, stride, interval
        self.least_iou, self.size_change, self.most_overlap = least_iou, size_change, most_overlap

    def further_fields(self, like: Tensor) -> dict[str, Tensor]:
        """No size is known, and no distractor was seen."""
        never = torch.full_like(like, -1)
        sizes_at = never[..., None].repeat(1, 1, NUM_SIZES)
        return dict(sizes=torch.zeros_like(sizes_at, dtype=torch.float32), sizes_at=sizes_at, added_at=never)

    def frames_to_read(self, stamps: list[int], step: int) -> list[tuple[int, int]]:
        """As in :class:`TrackerMemory`."""
        held = sorted((slot for slot, stamp in enumerate(stamps) if stamp >= 0), key=stamps.__getitem__)
        kept = [slot for slot in held if slot < self.num_prompted]
        earlier = [slot for slot in kept[1:] if stamps[slot] != step - 1]
        resolving = kept[:1] + earlier[max(len(earlier) - self.num_resolving + 1, 0) :]
        recent = [slot for slot in held if slot >= self.num_prompted or slot in kept[1:]]
        recent = [slot for slot in recent if slot >= self.num_prompted or stamps[slot] == step - 1]
        regular = [slot for slot in recent[:-1] if stamps[slot] % self.stride == 0]
        room = self.num_places - len(resolving)
        chosen = regular[max(len(regular) - room, 0) :] + recent[-1:]
        ranked = [(slot, len(chosen) - rank) for rank, slot in enumerate(chosen)]
        return [(slot, 0) for slot in resolving] + ranked

    def _pointers_to_read(self, stamps: list[int], latest: list[int], step: int) -> list[tuple[int, int]]:
        read = [slot for slot, _ in self.frames_to_read(stamps, step)]
        pairs = super()._pointers_to_read(stamps, latest, step)
        return [(index, age) for index, age in pairs if index >= self.num_prompted or index in read]

    def _point(self, state: TrackerState, entry: Entry, left_out: Tensor) -> None:
        super()._point(state, entry, left_out | (entry.extras['pixels'] < 1))

    def keeps(self, state: TrackerState, entry: Entry) -> Tensor:
        """(1, O) bool: it was prompted, or shows a distractor; the state's sizes are brought up to date."""
        assert isinstance(state, DAM4SAMState)
        prompted, pixels = entry.extras['prompted'], entry.extras['pixels']
        ratio = self._size_ratio(state, pixels, ~prompted)
        added = state.added_at
        shows = (entry.extras['iou'] > self.least_iou) & (entry.extras['overlap'] <= self.most_overlap)
        shows &= (ratio >= 1 - self.size_change) & (ratio <= 1 + self.size_change) & (pixels >= 1)
        shows &= ~prompted & ((added < 0) | (state.step - added > self.interval))
        state.added_at = torch.where(shows, state.step, added)
        return prompted | shows

    def _size_ratio(self, state: DAM4SAMState, pixels: Tensor, tracked: Tensor) -> Tensor:
        """(1, O): the size over the median of the latest ones, this among them; -1 where that is unknown."""
        counted = tracked & (pixels >= 1)
        for name, new in (('sizes', pixels), ('sizes_at', torch.full_like(pixels, state.step))):
            old = getattr(state, name)
            shifted = torch.cat([old[..., 1:], new[..., None].to(old.dtype)], -1)
            setattr(state, name, torch.where(counted[..., None], shifted, old))
        recent = (state.sizes_at >= 0) & (state.sizes_at > state.step - SIZES_WITHIN)
        median = state.sizes.masked_fill(~recent, math.nan).nanquantile(0.5, -1)
        births = torch.tensor(state.births, device=pixels.device)
        known = counted & (state.step - births > 1)
        return torch.where(known, pixels / median, -1.0)
