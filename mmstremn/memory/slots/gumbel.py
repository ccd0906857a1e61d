"""STReMN's learned selector: Gumbel-Softmax over the slots and the new frame (arXiv 2109.06474, section 3).

The abstract and introduction state the principle (a fixed number of slots, the one to overwrite learned with
Gumbel-Softmax); the network that compares the frame with the slots is this library's own.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmstremn.memory.slots.noise import uniform
from mmstremn.memory.slots.selectors import Selector, key_similarity, one_hot_max
from mmstremn.memory.slots.slot_state import SlotState
from mmstremn.memory.state import Entry

SCALARS = 7
EPSILON = 1e-3
GRADIENTS = ('history', 'blend')


class GumbelSelector(Selector):
    """S slots and the new frame are candidates, of which one is dropped; if the new one, it is skipped.

    Every candidate is described by the key and the values where it shows an object (pooled with learned
    weights), compared with the new frame and with the other candidates, and scored by one small network.
    Nothing that the network sees depends on S or on the length of the video, so a selector trained on short
    clips serves long ones. In training the choice is drawn with Gumbel-Softmax, straight-through (Jang et
    al., ICLR 2017: hard one-hot forward, soft gradient); in evaluation it is the arg-max. Before it has
    learned anything it drops the oldest.

    Args:
        key_channels: Ck.
        value_channels: Cv.
        channels: Width of the description.
        temperature: Of Gumbel-Softmax; a hook anneals it. The hard sample follows softmax(logits) at every
            temperature.
        gradient: How the loss reaches the choices: ``'history'``, what a readout would change with or without
            a frame (:class:`History`, this library's), or ``'blend'``, the straight-through write
            ``old * (1 - w) + new * w`` that the paper's introduction suggests. What is written is the same.

    Raises:
        ValueError: Another ``gradient``.
    """

    needs_keys = needs_usage = True

    def __init__(
        self,
        key_channels: int = 64,
        value_channels: int = 256,
        channels: int = 64,
        temperature: float = 1.0,
        gradient: str = 'history',
    ):
        super().__init__()
        if gradient not in GRADIENTS:
            raise ValueError(f'GumbelSelector.gradient must be one of {GRADIENTS}, got {gradient!r}')
        self.temperature, self.gradient = temperature, gradient
        self.attend = nn.Linear(value_channels, 4, bias=False)
        self.describe_key = nn.Linear(key_channels, channels)
        self.describe_value = nn.Linear(value_channels, channels)
        self.norm = nn.LayerNorm(channels)
        first, last = nn.Linear(4 * channels + SCALARS, channels), nn.Linear(channels, 1)
        self.network = nn.Sequential(first, nn.ReLU(), last)
        nn.init.normal_(last.weight, std=0.02)
        del last.bias  # added to all logits alike it has no gradient: it is kept, not learned
        last.register_buffer('bias', torch.zeros(1))
        self.age_weight = nn.Parameter(torch.tensor(2.0))
        self._sums: dict[str, Tensor] = {}

    def forward(self, state: SlotState, entry: Entry) -> Tensor:
        """Logits (B, G, S + 1); the last is that of skipping."""
        with torch.autocast(entry.key.device.type, enabled=False):
            slots, shown = self._describe(state.key.float(), state.value.float())
            new, new_shown = self._describe(entry.key[:, :, None].float(), entry.value[:, :, None].float())
            filled = F.pad(state.written_at >= 0, (0, 1), value=1).unsqueeze(-1)
            # Empty slots are cut off: the gradient of normalising their zeros is infinite.
            candidates = torch.where(filled, torch.cat([slots, new], 2), 0)
            mean = candidates.sum(2, keepdim=True) / filled.sum(2, keepdim=True)
            # Each (B, G, S + 1, C): the candidate, beside the new frame, beside the mean, the new frame.
            features = [candidates, candidates * new, candidates - mean, new.expand_as(candidates)]
            scalars = self._scalars(state, entry, candidates, filled, torch.cat([shown, new_shown], 2))
            logits = self.network(torch.cat([*features, scalars], -1)).squeeze(-1)
            return logits + self.age_weight * scalars[..., 2]

    def _describe(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Describe keys (B, G, S, P, Ck) and values (B, O, S, P, Cv) where they show an object.

        Returns:
            The descriptions (B, G, S, C), and how much of the objects is shown (B, G, S).
        """
        weight = self.attend(value).relu().mean(-1, keepdim=True)  # (B, O, S, P, 1); zero where the value is
        weighted = weight * value
        if key.shape[1] == 1:
            weight, weighted = weight.sum(1, keepdim=True), weighted.sum(1, keepdim=True)
        total = weight.mean(3)
        pooled_key = (weight * key).mean(3) / (total + EPSILON)
        pooled_value = weighted.mean(3) / (total + EPSILON)
        return self.norm(self.describe_key(pooled_key) + self.describe_value(pooled_value)), total.squeeze(-1)

    def _scalars(
        self, state: SlotState, entry: Entry, candidates: Tensor, filled: Tensor, shown: Tensor
    ) -> Tensor:
        """What else is known of the candidates, (B, G, S + 1, SCALARS).

        Likeness to the new frame; to the nearest other candidate; age, and time since it was last read, as
        shares of the oldest one's age; usage; how much of the objects it shows; whether it is the new frame.
        """
        likeness = F.pad(
            key_similarity(state, entry).float().masked_fill(state.written_at < 0, 0), (0, 1), value=1.0
        )
        unit = F.normalize(candidates, dim=-1)
        others = torch.eye(unit.shape[2], device=unit.device).bool() | ~filled.squeeze(-1)[:, :, None]
        nearest = (unit @ unit.transpose(-1, -2)).masked_fill(others, -1).amax(-1)  # (B, G, S + 1)
        empty = state.written_at < 0
        age = (state.step - state.written_at).masked_fill(empty, 0).float()
        unused = (state.step - torch.maximum(state.read_at, state.written_at)).masked_fill(empty, 0).float()
        oldest = age.amax(-1, keepdim=True).clamp(min=1)
        usage = state.hits * (~empty).sum(-1, keepdim=True) / age.clamp(min=1)
        is_new = F.pad(torch.zeros_like(age), (0, 1), value=1.0)
        return torch.stack(
            [
                likeness,
                nearest,
                F.pad(age / oldest, (0, 1)),
                F.pad(unused / oldest, (0, 1)),
                F.pad(usage.log1p(), (0, 1)),
                shown.log1p(),
                is_new,
            ],
            -1,
        )

    def choose(self, logits: Tensor, state: SlotState) -> Tensor:
        """One-hot choices (B, G, S + 1): sampled straight-through in training, arg-max in evaluation."""
        if not self.training:
            return super().choose(logits, state)
        choice = gumbel_softmax(logits, uniform(state, tuple(logits.shape[1:])), self.temperature)
        self._count(logits.detach(), choice.detach(), state)
        return choice

    def _count(self, logits: Tensor, choice: Tensor, state: SlotState) -> None:
        """Add to the running sums over real choices: rows with more than one candidate left by the gates."""
        real = ((logits > -math.inf).sum(-1) > 1).float()
        entropy = torch.special.entr(logits.softmax(-1)).sum(-1)
        age = (choice[..., :-1] * (state.step - state.written_at)).sum(-1)
        sums = dict(choices=real, entropy=entropy * real, skips=choice[..., -1] * real, age=age * real)
        for name, value in sums.items():
            self._sums[name] = self._sums.get(name, 0) + value.sum()

    def pop_statistics(self) -> dict[str, float]:
        """Means over the real choices since the last call, then start anew.

        Returns:
            ``choices`` (how many), ``entropy`` (nats), ``skips`` (share of frames not stored), ``age``
            (frames since the overwritten slot was written; 0 for a skip); empty if there was no training.
        """
        sums = {name: float(value) for name, value in self._sums.items()}
        self._sums = {}
        number = max(sums.get('choices', 0), 1)
        return {name: value if name == 'choices' else value / number for name, value in sums.items()}


def gumbel_softmax(logits: Tensor, uniform_noise: Tensor, temperature: float) -> Tensor:
    """A straight-through sample of softmax(logits) along the last dimension.

    Args:
        logits: (..., K); -inf where barred.
        uniform_noise: (..., K) in [0, 1).
        temperature: > 0. The hard sample does not depend on it, the soft gradient does.

    Returns:
        One-hot (..., K) whose gradient is that of softmax((logits + Gumbel noise) / temperature).
    """
    tiny = torch.finfo(uniform_noise.dtype).tiny
    noisy = logits - (-(uniform_noise.clamp(min=tiny).log())).clamp(min=tiny).log()
    soft = (noisy / temperature).softmax(-1)
    return one_hot_max(noisy) + soft - soft.detach()
