"""SAMURAI's choice of frames: those whose masks are probably right, and the previous one whatever it is."""

import torch
from torch import Tensor

from mmstremn.memory.published.tracker import TrackerState
from mmstremn.memory.slots.selectors import Selector
from mmstremn.memory.slots.slot_state import SlotState
from mmstremn.memory.state import Entry

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
    by different names); the mask that a Kalman filter prefers is no part of a memory.

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
