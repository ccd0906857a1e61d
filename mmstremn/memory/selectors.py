"""Selectors: which slot does a new frame overwrite? Hand-made rules here, the learned one in gumbel.py.

A selector scores S slots and one last entry, *skip* (the frame is not stored): (B, G, S + 1), higher is more likely to be
overwritten. Rules never prefer to skip: its score is finite, so no row is without a choice, but below every slot's.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmstremn.memory.noise import uniform
from mmstremn.memory.state import Entry, SlotState

LAST_RESORT = -1e9


class Selector(nn.Module):
    """Base of all selectors: a score, and the highest score wins."""

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


class LRUSelector(Selector):
    """Drops the least recently used; of those used last at the same step the oldest.

    A slot is used by a frame when it draws more than its even share of the attention.
    """

    def score(self, state: SlotState, entry: Entry) -> Tensor:
        """Minus the rank by last use, then by writing."""
        used = torch.maximum(state.read_at, state.written_at)
        return -(used * 2**31 + state.written_at).argsort(-1).argsort(-1)


class LFUSelector(Selector):
    """Drops the least frequently used: the least attention drawn per frame since it was written.

    The usage of XMem (Cheng and Schwing, ECCV 2022, section 3.3), per slot.
    """

    def score(self, state: SlotState, entry: Entry) -> Tensor:
        """Minus the attention drawn per frame."""
        return -state.hits / (state.step - state.written_at).clamp(min=1)


class MostSimilarSelector(Selector):
    """Drops the slot most similar to the new frame, so what is kept stays different.

    Similarity is the cosine of the keys at the same position, averaged over positions.
    """

    def score(self, state: SlotState, entry: Entry) -> Tensor:
        """Cosine similarity -1..1."""
        return similarity(state, entry)


def one_hot_max(logits: Tensor) -> Tensor:
    """One-hot (..., K) at the largest of (..., K); unlike ``F.one_hot`` it never asks the device for a value."""
    return torch.zeros_like(logits).scatter_(-1, logits.argmax(-1, keepdim=True), 1.0)


def similarity(state: SlotState, entry: Entry) -> Tensor:
    """Mean over positions of the cosine of the slots' keys and the entry's at the same position: (B, G, S)."""
    return F.cosine_similarity(state.key, entry.key[:, :, None], dim=-1).mean(-1)
