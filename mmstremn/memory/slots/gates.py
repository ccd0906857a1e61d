"""Gates: rules on any selector's logits before the choice, in the order of the memory's list.

Gates that decide whether a frame is stored let every prompted one through; those that protect slots apply to
it too.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmstremn.memory.slots.selectors import key_similarity
from mmstremn.memory.slots.slot_state import SlotState
from mmstremn.memory.state import Entry

BARRED = -math.inf
EPSILON = 1e-6


class Gate(nn.Module):
    """Base of all gates: it changes the scores of a selector.

    Attributes:
        needs_prompted: The memory must keep ``SlotState.prompted``.
        needs_keys: It compares ``SlotState.key``.
    """

    needs_prompted = False
    needs_keys = False

    def forward(self, logits: Tensor, state: SlotState, entry: Entry) -> Tensor:
        """Gate (B, G, S + 1) logits; the last is that of skipping, -inf bars a choice."""
        raise NotImplementedError(f'{type(self).__name__} must implement forward(logits, state, entry)')

    def closed(self, state: SlotState) -> bool:
        """Whether the next frame is left out, whatever it shows, unless it is prompted."""
        return False


def _only_skip(logits: Tensor) -> Tensor:
    """Logits that leave skipping as the only choice."""
    skip = torch.zeros_like(logits[..., -1:])
    return torch.cat([torch.full_like(logits[..., :-1], BARRED), skip], -1)


class EmptyFirst(Gate):
    """While a slot is empty the frame goes into the first such slot."""

    def forward(self, logits: Tensor, state: SlotState, entry: Entry) -> Tensor:
        """Gate (B, G, S + 1) logits."""
        empty = state.written_at < 0
        first = F.pad(empty & (empty.long().cumsum(-1) == 1), (0, 1))
        only_first = torch.zeros_like(logits).masked_fill(~first, BARRED)
        return torch.where(empty.any(-1, keepdim=True), only_first, logits)


class KeepFirst(Gate):
    """The first frame's slot is never overwritten: in VOS its masks are the user's."""

    def forward(self, logits: Tensor, state: SlotState, entry: Entry) -> Tensor:
        """Gate (B, G, S + 1) logits."""
        return logits.masked_fill(F.pad(state.written_at == 0, (0, 1)), BARRED)


class KeepPrompted(Gate):
    """The slots of prompted frames are never overwritten: their masks are the user's.

    Bounded: one slot at least stays free for other frames. Where more frames were prompted than may be kept
    the oldest give way, but the very first stays.

    Args:
        most: Prompted frames that are kept, at least 1; None: all but one slot.

    Raises:
        ValueError: ``most`` is below 1.
    """

    needs_prompted = True

    def __init__(self, most: int | None = None):
        super().__init__()
        if most is not None and most < 1:
            raise ValueError(f'KeepPrompted.most must be at least 1 or None, got {most}')
        self.most = most

    def forward(self, logits: Tensor, state: SlotState, entry: Entry) -> Tensor:
        """Gate (B, G, S + 1) logits.

        Raises:
            ValueError: The state was made by a memory without this gate.
        """
        if state.prompted is None:
            raise ValueError(
                'KeepPrompted needs SlotState.prompted (B, G, S), which only a memory with it keeps, got None'
            )
        most = min(self.most or state.num_slots, state.num_slots - 1)
        newest = state.written_at.masked_fill(~state.prompted, -1)
        oldest = newest.masked_fill(~state.prompted, state.step).amin(-1, keepdim=True)
        importance = newest.masked_fill(newest == oldest, state.step)
        rank = importance.argsort(-1, descending=True).argsort(-1)
        return logits.masked_fill(F.pad(state.prompted & (rank < most), (0, 1)), BARRED)


class EveryN(Gate):
    """In evaluation only every n-th frame may be stored (STM and STCN: 5).

    Training clips skip frames already.

    Args:
        n: 1 is every frame.
    """

    def __init__(self, n: int = 5):
        super().__init__()
        if n < 1:
            raise ValueError(f'EveryN.n must be at least 1, got {n}')
        self.n = n

    def forward(self, logits: Tensor, state: SlotState, entry: Entry) -> Tensor:
        """Gate (B, G, S + 1) logits."""
        return _only_skip(logits) if self.closed(state) and not entry.prompted else logits

    def closed(self, state: SlotState) -> bool:
        """True between the n-th frames."""
        return not self.training and state.step % self.n != 0


class MinNovelty(Gate):
    """A frame is stored only if it differs from every slot.

    Args:
        novelty: Least 1 - cosine similarity to the nearest slot, 0..2.
    """

    needs_keys = True

    def __init__(self, novelty: float = 0.05):
        super().__init__()
        self.novelty = novelty

    def forward(self, logits: Tensor, state: SlotState, entry: Entry) -> Tensor:
        """Gate (B, G, S + 1) logits."""
        if entry.prompted:
            return logits
        filled = state.written_at >= 0
        nearest = key_similarity(state, entry).masked_fill(~filled, -1).amax(-1, keepdim=True)
        novel = (1 - nearest >= self.novelty) | ~filled.any(-1, keepdim=True)
        return torch.where(novel, logits, _only_skip(logits))


class MinPresence(Gate):
    """A frame is stored only if it shows an object, by the model's presence score (``extras['presence']``).

    Without that score every frame passes.

    Args:
        probability: Least presence of any object (of the object itself where each has its own key), 0..1.
    """

    def __init__(self, probability: float = 0.5):
        super().__init__()
        self.probability = probability

    def forward(self, logits: Tensor, state: SlotState, entry: Entry) -> Tensor:
        """Gate (B, G, S + 1) logits."""
        presence = entry.extras.get('presence')
        if presence is None or entry.prompted:
            return logits
        if logits.shape[1] == 1:
            presence = presence.amax(1, keepdim=True)
        return torch.where(presence.unsqueeze(-1) >= self.probability, logits, _only_skip(logits))


class MinConfidence(Gate):
    """A frame is stored only if its masks are probably right (``extras['confidence']``).

    Of a confidence per position (B, O, P) it takes the mean over what the masks cover (``extras['mask']``;
    over all positions where there is no such mask or it is empty), of one per object (B, O) the mean over
    objects; where each object has its own key, of the object itself. Without that score every frame passes.

    Args:
        probability: Least confidence, 0..1.
    """

    def __init__(self, probability: float = 0.8):
        super().__init__()
        self.probability = probability

    def forward(self, logits: Tensor, state: SlotState, entry: Entry) -> Tensor:
        """Gate (B, G, S + 1) logits."""
        if entry.extras.get('confidence') is None or entry.prompted:
            return logits
        confidence = mask_confidence(entry, per_object=logits.shape[1] > 1)
        return torch.where(confidence.unsqueeze(-1) >= self.probability, logits, _only_skip(logits))


def mask_confidence(entry: Entry, per_object: bool = False) -> Tensor:
    """Mean of ``extras['confidence']`` over what the masks cover: (B, 1), or (B, O) if ``per_object``."""
    confidence, mask = entry.extras['confidence'], entry.extras.get('mask')
    if confidence.dim() == 2:
        return confidence if per_object else confidence.mean(1, keepdim=True)
    weight = torch.ones_like(confidence) if mask is None else mask.to(confidence.dtype)
    weight = weight.clamp(min=EPSILON)  # an empty mask: all positions alike
    if not per_object:
        confidence, weight = confidence.flatten(1)[:, None], weight.flatten(1)[:, None]
    return (confidence * weight).sum(-1) / weight.sum(-1)


class Skip(Gate):
    """Whether a frame may be left out by the selector's own choice.

    Args:
        allowed: False: every frame that the other gates let through is stored.
        penalty: Subtracted from the score of skipping where it is allowed.
    """

    def __init__(self, allowed: bool = True, penalty: float = 0.0):
        super().__init__()
        self.allowed, self.penalty = allowed, penalty

    def forward(self, logits: Tensor, state: SlotState, entry: Entry) -> Tensor:
        """Gate (B, G, S + 1) logits."""
        slots, skip = logits[..., :-1], logits[..., -1:]
        if self.allowed:
            return torch.cat([slots, skip - self.penalty], -1)
        barred = (slots > BARRED).any(-1, keepdim=True)
        return torch.cat([slots, skip.masked_fill(barred, BARRED)], -1)
