"""Selectors, the eviction policies of slots: hand-made rules here, the learned one in gumbel.py.

A selector scores S slots and one last entry, *skip* (the frame is not stored): (B, G, S + 1), higher is more
likely to be overwritten. Rules never prefer to skip: its score is finite, so no row is without a choice, but
below every slot's.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmstremn.memory.slots.noise import uniform, uniform_of
from mmstremn.memory.slots.slot_state import SlotState
from mmstremn.memory.state import Entry

LAST_RESORT = -1e9
UCB_PRIOR = 8
OLDEST = 1e30  # an age that no frame reaches


class Selector(nn.Module):
    """Base of all selectors: a score, and the highest score wins.

    Attributes:
        needs_relevance: The memory must keep ``SlotState.relevance``.
        needs_keys: It compares ``SlotState.key``.
        needs_usage: It looks at ``SlotState.read_at``, ``hits`` or ``relevance``, which readings leave.
        needs_notes: The memory must keep ``SlotState.notes`` and ``sightings``.
        gradient: How the loss reaches its choices, ``'history'`` or ``'blend'`` (see
            :class:`GumbelSelector`).
    """

    needs_relevance = False
    needs_keys = False
    needs_usage = False
    needs_notes = False
    gradient = 'history'

    def forward(self, state: SlotState, entry: Entry) -> Tensor:
        """Scores (B, G, S + 1); the last is that of skipping."""
        return F.pad(self.score(state, entry).float(), (0, 1), value=LAST_RESORT)

    def score(self, state: SlotState, entry: Entry) -> Tensor:
        """Scores (B, G, S) of the slots; ties go to the first slot."""
        raise NotImplementedError(f'{type(self).__name__} must implement score(state, entry)')

    def choose(self, logits: Tensor, state: SlotState) -> Tensor:
        """One-hot choices (B, G, S + 1) from gated scores."""
        return one_hot_max(logits)


class FIFOSelector(Selector):
    """Drops the oldest."""

    def score(self, state: SlotState, entry: Entry) -> Tensor:
        """Its age: small numbers, exact in float32 however long the stream is."""
        return state.step - state.written_at


class LIFOSelector(Selector):
    """Drops the newest."""

    def score(self, state: SlotState, entry: Entry) -> Tensor:
        """Minus its age."""
        return state.written_at - state.step


class RandomSelector(Selector):
    """Drops any, all with the same probability; a function of the stream's seed and the step."""

    def score(self, state: SlotState, entry: Entry) -> Tensor:
        """Uniform numbers."""
        return uniform(state, tuple(state.written_at.shape[1:]))


class ReservoirSelector(Selector):
    """Holds a uniform sample of the past: each frame offered so far is held with the same probability.

    Reservoir sampling (Vitter, ACM TOMS 1985) by priorities: each frame has a random number, a function of
    the stream's seed and its step, and the frames with the largest stay. Unlike most rules it leaves frames
    out, the more of them the longer the video.
    """

    def forward(self, state: SlotState, entry: Entry) -> Tensor:
        """Minus the frames' numbers (B, G, S + 1), -1..0."""
        now = torch.full_like(state.written_at[..., :1], state.step)
        return -uniform_of(state, torch.cat([state.written_at, now], -1))


class LogarithmicSelector(Selector):
    """Holds frames whose ages are in geometric progression: many recent ones, few old ones, and the oldest.

    Drops the slot between whose neighbours in time the smallest ratio of ages remains. Ages are counted from
    the next frame on in units of the newest slot's age, so the cadence of the frames offered does not
    matter.
    """

    def score(self, state: SlotState, entry: Entry) -> Tensor:
        """Minus the logarithm of the ratio that its removal leaves; of the oldest slot less than of any."""
        age = (state.step - state.written_at).float()
        age = age / age.amin(-1, keepdim=True).clamp(min=1) + 1
        ascending, order = age.sort(-1)
        newer = F.pad(ascending[..., :-1], (1, 0), value=1.0)
        older = F.pad(ascending[..., 1:], (0, 1), value=OLDEST)
        return torch.empty_like(age).scatter_(-1, order, (newer / older).log())


class LRUSelector(Selector):
    """Drops the least recently used; of those used last at the same step the oldest.

    A slot is used by a frame when it draws more than its even share of the attention.
    """

    needs_usage = True

    def score(self, state: SlotState, entry: Entry) -> Tensor:
        """Minus the rank by last use, then by writing."""
        used = torch.maximum(state.read_at, state.written_at)
        return -(used * 2**31 + state.written_at).argsort(-1).argsort(-1)


class LFUSelector(Selector):
    """Drops the least frequently used: the least attention drawn per frame since it was written.

    The usage of XMem (Cheng and Schwing, ECCV 2022, section 3.3), per slot.
    """

    needs_usage = True

    def score(self, state: SlotState, entry: Entry) -> Tensor:
        """Minus the attention drawn per frame."""
        return -state.hits / (state.step - state.written_at).clamp(min=1)


class MostSimilarSelector(Selector):
    """Drops the slot most similar to the new frame, so what is kept stays different.

    Similarity is the cosine of the keys at the same position, averaged over positions.
    """

    needs_keys = True

    def score(self, state: SlotState, entry: Entry) -> Tensor:
        """Cosine similarity -1..1."""
        return key_similarity(state, entry)


class UCBSelector(Selector):
    """Drops the least upper confidence bound of relevance: seldom read, unless it is too new to tell.

    RMem (Zhou et al., CVPR 2024), checked against aot_plus/networks/layers/transformer.py of
    Restricted-Memory/RMem: a + 1.5 sqrt(ln(sum of n) / (n + 8)), where a is the moving average of the
    attention that the slot draws (a fifth of the old one stays) and n the frames offered since it was
    written, itself included; for frame 0 n is the number of slots. The public code weights positions by the
    current frame's foreground, which is not known yet when a memory is read: here all count the same. It
    never drops frame 0: use the gate KeepFirst.

    Args:
        exploration: Weight of the second term, at least 0.
    """

    needs_relevance = needs_usage = True

    def __init__(self, exploration: float = 1.5):
        super().__init__()
        if exploration < 0:
            raise ValueError(f'UCBSelector.exploration must be at least 0, got {exploration}')
        self.exploration = exploration

    def score(self, state: SlotState, entry: Entry) -> Tensor:
        """Minus the bound.

        Raises:
            ValueError: The state was made by a memory whose selector needs no relevance.
        """
        if state.relevance is None:
            raise ValueError(
                'UCBSelector needs SlotState.relevance (B, G, S), which only a memory with it keeps, got None'
            )
        filled = state.written_at >= 0
        frames = torch.where(
            state.written_at == 0, filled.sum(-1, keepdim=True), state.step - state.written_at + 1
        )
        total = (frames * filled).sum(-1, keepdim=True).clamp(min=1)
        return -state.relevance.clamp(min=0) - self.exploration * (total.log() / (frames + UCB_PRIOR)).sqrt()


def one_hot_max(logits: Tensor) -> Tensor:
    """One-hot (..., K) at the largest of (..., K).

    Unlike ``F.one_hot`` it never asks the device for a value.
    """
    return torch.zeros_like(logits).scatter_(-1, logits.argmax(-1, keepdim=True), 1.0)


def key_similarity(state: SlotState, entry: Entry) -> Tensor:
    """Cosine (B, G, S) of the slots' keys and the entry's at the same position, averaged over positions."""
    return F.cosine_similarity(state.key, entry.key[:, :, None], dim=-1).mean(-1)
