"""SAMURAI: frames whose masks are probably right, and of several masks the one where it is expected."""

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from mmstremn.memory.published import motion
from mmstremn.memory.published.tracker import TrackerMemory, TrackerState
from mmstremn.memory.slots.selectors import Selector
from mmstremn.memory.slots.slot_state import SlotState
from mmstremn.memory.state import Entry, Query

FIRST, EMPTY = 2.0**40, 2.0**39  # above every age, and exact in float32


class SAMURAISelector(Selector):
    """Drops the previous frame unless it is reliable, then the oldest; for a ``TrackerMemory`` without gates.

    SAMURAI (Yang et al., 2024, section 4.2), checked against the rule in sam2/modeling/sam2_base.py of
    yangchris11/samurai: the latest frames with a predicted IoU above ``iou`` and a presence logit above
    ``score`` are read, and the previous frame always. With N frames read a memory of N + 1 slots that reads
    the latest N holds what that rule finds in the whole past::

        dict(type='TrackerMemory', num_slots=7, num_read=6, by_rank=True, gates=[],
             selector=dict(type='SAMURAISelector'))

    SAM2Long (Ding et al., 2024) chooses the frames of a pathway by the same rule with an IoU of 0.1. The
    paper's third score, that of motion, has no effect on the memory in that code (it is stored and looked up
    by different names); the mask that a Kalman filter prefers is chosen by :class:`SAMURAI`.

    Args:
        iou: Least predicted IoU, exclusive.
        score: Least logit of presence, exclusive.
    """

    def __init__(self, iou: float = 0.5, score: float = 0.0):
        super().__init__()
        self.iou, self.score_above = iou, score

    def score(self, state: SlotState, entry: Entry) -> Tensor:
        """Its age; an empty slot comes before it, and an unreliable frame before that.

        Raises:
            TypeError: The state is not that of a ``TrackerMemory``.
        """
        if not isinstance(state, TrackerState):
            raise TypeError(f'SAMURAISelector needs a TrackerMemory, got a {type(state).__name__}')
        held = state.written_at >= 0
        reliable = (state.iou > self.iou) & (state.score > self.score_above)
        age = (state.step - state.written_at).float()
        return torch.where(held, torch.where(reliable, age, FIRST), EMPTY)


@dataclass(kw_only=True)
class SAMURAIState(TrackerState):
    """A tracker's state with the motion of each object.

    Attributes:
        motion: (1, O, 8): the mean of its Kalman filter, see ``motion.py``.
        spread: (1, O, 8, 8): the covariance.
        stable: (1, O) long: sure frames since the filter began, counted up to ``stable_after``; 0: it begins.
    """

    object_fields = TrackerState.object_fields | {'motion': 0, 'spread': 0, 'stable': 0}
    without_slots = TrackerState.without_slots | {'motion', 'spread', 'stable'}

    motion: Tensor
    spread: Tensor
    stable: Tensor


class SAMURAI(TrackerMemory):
    """SAMURAI whole: the frames of :class:`SAMURAISelector`, and masks chosen with a Kalman filter.

    Checked against the rule in sam2/modeling/sam2_base.py of yangchris11/samurai: once the filter has seen
    ``stable_after`` sure frames the mask with the greatest ``weight`` times the IoU of its box with the
    expected one, and ``1 - weight`` times its predicted IoU, is taken. Unlike there, boxes are those of the
    masks as the decoder gives them; the filter begins after the prompt, and again after each correction.

    Args:
        weight: Of motion (published configs have 0.15 and 0.25).
        stable_after: In frames.
        stable_iou: Predicted IoU of a sure frame, exclusive until ``stable_after``; the filter begins again
            after one that is not.
        iou: As in :class:`SAMURAISelector`.
        score: Likewise.
        num_read: Of tracked frames; None: ``num_places``.
        num_prompted: As in :class:`TrackerMemory`.
        key: Likewise.
        num_places: Likewise.
        num_pointers: Likewise.
        max_prompted: Likewise.

    Raises:
        ValueError: A number is out of range.
    """

    state_class = SAMURAIState
    chooses = True

    def __init__(
        self,
        weight: float = 0.15,
        stable_after: int = 15,
        stable_iou: float = 0.3,
        iou: float = 0.5,
        score: float = 0.0,
        num_read: int | None = None,
        num_prompted: int = 4,
        key: str = 'none',
        num_places: int = 6,
        num_pointers: int = 16,
        max_prompted: int = -1,
    ):
        num_read = num_places if num_read is None else num_read
        if not 0 <= weight <= 1:
            raise ValueError(f'SAMURAI.weight must be in 0..1, got {weight}')
        for name, number in dict(stable_after=stable_after, num_read=num_read).items():
            if number < 1:
                raise ValueError(f'SAMURAI.{name} must be at least 1, got {number}')
        super().__init__(
            num_slots=num_read + 1,
            num_prompted=num_prompted,
            selector=SAMURAISelector(iou, score),
            gates=[],
            key=key,
            num_read=num_read,
            by_rank=True,
            num_places=num_places,
            num_pointers=num_pointers,
            max_prompted=max_prompted,
        )
        self.weight, self.stable_after, self.stable_iou = weight, stable_after, stable_iou

    def further_fields(self, like: Tensor) -> dict[str, Tensor]:
        """No motion is known."""
        mean = torch.zeros(*like.shape, 8, device=like.device)
        return dict(motion=mean, spread=torch.diag_embed(mean), stable=torch.zeros_like(like))

    def read(self, state: TrackerState, query: Query) -> tuple[Tensor, TrackerState]:
        """As in :class:`TrackerMemory`; ``query.extras`` gets what :meth:`choose` needs of the state."""
        assert isinstance(state, SAMURAIState)
        query.extras['motion'] = state.motion[0], state.spread[0], state.stable[0]
        return super().read(state, query)

    def choose(self, query: Query, masks: Tensor, iou: Tensor, score: Tensor) -> tuple[Tensor, Tensor]:
        """Rows (O,), and which of M masks is taken (O,).

        Args:
            query: That was read with; its extras get ``chosen``, the motion after the frame.
            masks: (O, M, h, w) logits.
            iou: (O, M), predicted.
            score: (O,) logits of presence.
        """
        mean, spread, stable = query.extras['motion']
        iou, boxes = iou.to(mean), motion.boxes_of(masks > 0).to(mean)
        rows, begins, settled = (
            torch.arange(len(iou), device=iou.device),
            stable == 0,
            stable >= self.stable_after,
        )
        mean, spread = motion.predict(mean, spread)
        weight = self.weight * settled[:, None].to(iou)
        best = (weight * motion.overlap(mean[:, :4], boxes) + (1 - weight) * iou).argmax(-1)
        box, taken = motion.centred(boxes[rows, best]), iou[rows, best]
        sure = torch.where(settled, taken >= self.stable_iou, taken > self.stable_iou)
        for when, (new_mean, new_spread) in (
            (sure & ~begins, motion.update(mean, spread, box)),
            (begins, motion.begin(box)),
        ):
            mean = torch.where(when[:, None], new_mean, mean)
            spread = torch.where(when[:, None, None], new_spread, spread)
        stable = torch.where(begins | sure, (stable + 1).clamp(max=self.stable_after), 0)
        query.extras['chosen'] = dict(motion=mean[None], spread=spread[None], stable=stable[None])
        return rows, best

    def write(self, state: TrackerState, entry: Entry) -> TrackerState:
        """As in :class:`TrackerMemory`; the filters of prompted objects begin again."""
        extras = dict(entry.extras)
        for name in ('motion', 'spread', 'stable'):
            if name in extras:
                new, old = extras.pop(name), getattr(state, name)
                old[:, : new.shape[1]] = new  # new objects follow
        state = super().write(state, dataclasses.replace(entry, extras=extras))
        assert isinstance(state, SAMURAIState)
        state.stable.masked_fill_(entry.extras['prompted'], 0)
        return state
