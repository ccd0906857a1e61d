"""How a selector learns: from what a frame, kept or dropped, changes in every later readout.

Overwriting a slot is a jump between two frames. Blending them, ``old * (1 - w) + new * w``, with a
straight-through ``w``, has a gradient, but that of a mixture of two frames' keys, which is like neither:
measured, it hardly correlates with what the choice does to the loss (studies/selector_gradient/README.md). So
here a frame that a clip has offered stays on record while the clip is trained, with a weight that is 1 while
a slot holds it and 0 after. The weight multiplies the frame's part in the attention; what the readout would
change if it were 0 instead of 1, or 1 instead of 0, stands for its derivative.

It knows frames as they were offered. Where slots are aligned or fused before they are read, it is what the
choice would do without. In training, and only there, a read holds O(B O T P Cv) numbers for the backward pass
and a clip all its T frames.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from mmstremn.memory.readers import DenseReader
from mmstremn.memory.state import Entry, Query

LEAST = 1e-3  # share of the mass that all other frames are taken to have at least


@dataclass
class History:
    """The T frames that a training clip has offered so far.

    Attributes:
        key: (B, G, T, P, Ck), detached.
        value: (B, O, T, P, Cv), detached.
        shrinkage: (B, G, T, P), detached, or None.
        kept: (B, G, T): 1 for frames that a slot holds, 0 for others, with the gradient of the choices.
        steps: (T,) long: the frames' steps; a memory may be passed over.
        choices: (B, G) long: frames for which the gates left more than one candidate.
    """

    key: Tensor
    value: Tensor
    shrinkage: Tensor | None
    kept: Tensor
    steps: Tensor
    choices: Tensor

    @classmethod
    def empty(cls, entry: Entry) -> 'History':
        """No frame yet."""

        def none_of(tensor: Tensor) -> Tensor:
            return tensor.new_zeros(*tensor.shape[:2], 0, *tensor.shape[2:])

        shrinkage = None if entry.shrinkage is None else none_of(entry.shrinkage)
        kept = none_of(entry.key[:, :, 0, 0]).float()
        steps, choices = (kept.new_zeros(size, dtype=torch.long) for size in (0, kept.shape[:2]))
        return cls(none_of(entry.key), none_of(entry.value), shrinkage, kept, steps, choices)

    def after(self, step: int, written_at: Tensor, entry: Entry, choice: Tensor, logits: Tensor) -> 'History':
        """The history after an entry was offered.

        Args:
            step: Of the entry.
            written_at: (B, G, S) of the slots before the write.
            entry: What was offered.
            choice: One-hot (B, G, S + 1), straight-through: the slot that it overwrites, or none.
            logits: (B, G, S + 1) from which it was drawn, -inf where barred.
        """
        held = written_at[..., None] == self.steps  # (B, G, S, T); empty slots hold none
        dropped = (choice[..., :-1, None] * held).sum(2)
        kept = torch.cat([self.kept * (1 - dropped), 1 - choice[..., -1:]], -1)

        def longer(old: Tensor, new: Tensor) -> Tensor:
            return torch.cat([old, new.detach().unsqueeze(2)], 2)

        shrinkage = self.shrinkage
        if shrinkage is not None:
            shrinkage = longer(shrinkage, entry.required_shrinkage())
        return History(
            key=longer(self.key, entry.key),
            value=longer(self.value, entry.value),
            shrinkage=shrinkage,
            kept=kept,
            steps=F.pad(self.steps, (0, 1), value=step),
            choices=self.choices + ((logits > -math.inf).sum(-1) > 1),
        )

    def gradient(self, reader: DenseReader, query: Query) -> Tensor:
        """A zero (B, O, P, Cv) to add to a readout, through which the loss reaches the choices.

        With m_t the mass of the attention on frame t and r_t what frame t alone would give, the readout is
        r = sum_t kept_t m_t r_t / sum_t kept_t m_t. Its derivative by kept_t is taken to be the difference
        that frame t makes, m_t / M_t (r_t - r), with M_t the mass on the frames held and t, where t is not
        held, and on the frames held but t, where it is. (The slope at the present kept_t has the mass on the
        frames held for M_t in both cases.)

        Args:
            reader: Its attention counts, all of it where only the largest are read in evaluation.
            query: Key (B, P, Ck).
        """
        effect = self._effect(reader, query)
        weight = (self.kept - self.kept.detach())[..., None, None]
        return (weight * effect).sum(2).to(self.value.dtype)

    @torch.no_grad()
    def _effect(self, reader: DenseReader, query: Query) -> Tensor:
        """(B, O, T, P, Cv): the readout with each frame less the readout without it."""
        held = (self.kept > 0.5)[..., None]  # (B, G, T, 1)
        with torch.autocast(self.key.device.type, enabled=False):
            logits = reader.logits(query, self.key, self.shrinkage)  # (B, G, P, T, P)
            mass = logits.logsumexp(-1).transpose(-1, -2)  # (B, G, T, P)
            total = mass.masked_fill(~held, -math.inf).logsumexp(2, keepdim=True)
            share = (mass - total)[..., None]  # the logarithm
            alone = logits.softmax(-1).transpose(2, 3) @ self.value.float()  # (B, O, T, P, Cv); G is 1 or O
            held = held[..., None]
            own = share.masked_fill(~held, -math.inf).exp()
            readout = (own * alone).sum(2, keepdim=True)
            difference = torch.where(held, own / (1 - own).clamp(min=LEAST), share.sigmoid())
            return difference * (alone - readout)
