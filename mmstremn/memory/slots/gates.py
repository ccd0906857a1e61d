"""Gates: rules on any selector's logits before the choice, in the order of the memory's list.

Gates that decide whether a frame is stored let every prompted one through; those that protect slots apply to
it too.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmstremn.memory.slots.selectors import key_similarity
from mmstremn.memory.slots.slot_state import SlotState
from mmstremn.memory.state import Entry

BARRED = float('-inf')


class Gate(nn.Module):
    """Base of all gates: it changes the scores of a selector."""

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
        first = F.pad(empty & (empty.cumsum(-1) == 1), (0, 1))
        only_first = torch.zeros_like(logits).masked_fill(~first, BARRED)
        return torch.where(empty.any(-1, keepdim=True), only_first, logits)


class KeepFirst(Gate):
    """The first frame's slot is never overwritten: in VOS its masks are the user's."""

    def forward(self, logits: Tensor, state: SlotState, entry: Entry) -> Tensor:
        """Gate (B, G, S + 1) logits."""
        return logits.masked_fill(F.pad(state.written_at == 0, (0, 1)), BARRED)


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
