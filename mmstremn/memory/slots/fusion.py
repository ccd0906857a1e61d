"""Fusion: what an overwritten slot held lives on in the slots that remain."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmstremn.memory.slots.slot_state import SlotState

MODES = ('none', 'average', 'learned')


class SlotFusion(nn.Module):
    """The overwritten slot is fused into the others, each position where the keys match best.

    The matched value is fused into its own: ``own + amount * (matched - own)``. Keys stay as they are, so a
    slot is found as before, and an object that joined later is not disturbed by what is older than it.
    Nothing is fused into empty slots, into frame 0 (in VOS its masks are the user's) or into a slot that
    holds no value of the object, nor from one that holds none. A write costs O(S P^2 Ck + O S P Cv) more.
    Merging what is alike above a cosine of 0.95 follows AFB-URR (Liang et al., NeurIPS 2020), which merges
    keys too; the learned amount is this library's own.

    Args:
        mode: 'none': nothing is fused. 'average': the amount is ``weight`` where the cosine of the keys is
            above ``threshold``, else 0. 'learned': a gate sees both values and the cosine.
        threshold: -1..1, of 'average'.
        weight: 0..1, of 'average'.
        value_channels: Cv, of 'learned'.
    """

    def __init__(
        self, mode: str = 'average', threshold: float = 0.95, weight: float = 0.5, value_channels: int = 256
    ):
        super().__init__()
        if mode not in MODES:
            raise ValueError(f'SlotFusion.mode must be one of {", ".join(MODES)}, got {mode!r}')
        if not -1 <= threshold <= 1:
            raise ValueError(f'SlotFusion.threshold must be in -1..1, got {threshold}')
        if not 0 <= weight <= 1:
            raise ValueError(f'SlotFusion.weight must be in 0..1, got {weight}')
        self.mode, self.threshold, self.weight = mode, threshold, weight
        self.gate = FusionGate(value_channels) if mode == 'learned' else None

    def forward(self, state: SlotState, choice: Tensor) -> Tensor:
        """The values after fusion.

        Args:
            state: Before the write.
            choice: (B, G, S + 1) one-hot; the last stands for no write.

        Returns:
            (B, O, S, P, Cv).
        """
        if self.mode == 'none':
            return state.value
        objects = state.value.shape[1]
        weight = choice[..., :-1].expand(-1, objects, -1)  # (B, O, S)
        leaves = weight.detach() > 0.5
        cosine, index = match(state.key, choice)
        cosine, index = (t.expand(-1, objects, -1, -1)[..., None] for t in (cosine, index))  # (B, O, S, P, 1)
        outgoing = torch.einsum('bos,bospc->bopc', weight.to(state.value.dtype), state.value)
        matched = outgoing[:, :, None].expand_as(state.value).gather(3, index.expand_as(state.value))
        both = state.valid & (state.written_at > 0) & (state.valid & leaves).any(-1, keepdim=True)
        amount = self._amount(state.value, matched, cosine).masked_fill(~both[..., None, None], 0)
        return state.value + amount.to(state.value.dtype) * (matched - state.value)

    def _amount(self, own: Tensor, matched: Tensor, cosine: Tensor) -> Tensor:
        """How much of the matched value goes in: (B, O, S, P, 1) in 0..1."""
        if self.gate is None:
            return self.weight * (cosine > self.threshold).float()
        return self.gate(own, matched, cosine)


class FusionGate(nn.Module):
    """How much of a matched value a position takes in; at first little.

    Args:
        value_channels: Cv.
        channels: Width of the network.
    """

    def __init__(self, value_channels: int, channels: int = 32):
        super().__init__()
        self.from_own = nn.Linear(value_channels, channels)
        self.from_matched = nn.Linear(value_channels + 1, channels, bias=False)
        self.to_gate = nn.Linear(channels, 1)
        nn.init.constant_(self.to_gate.bias, -2.0)

    def forward(self, own: Tensor, matched: Tensor, cosine: Tensor) -> Tensor:
        """(..., Cv), (..., Cv) and (..., 1) to (..., 1) in 0..1."""
        with torch.autocast(own.device.type, enabled=False):
            matched = torch.cat([matched.float(), cosine], -1)
            return self.to_gate(F.relu(self.from_own(own.float()) + self.from_matched(matched))).sigmoid()


@torch.no_grad()
def match(key: Tensor, choice: Tensor) -> tuple[Tensor, Tensor]:
    """For each position of each slot the most similar one of the chosen slot, by the cosine of the keys.

    Args:
        key: (B, G, S, P, Ck).
        choice: (B, G, S + 1) one-hot.

    Returns:
        The cosine and the index of the position, both (B, G, S, P); without meaning where no slot is chosen.
    """
    with torch.autocast(key.device.type, enabled=False):
        unit = F.normalize(key.float(), dim=-1)
        outgoing = torch.einsum('bgs,bgspc->bgcp', choice[..., :-1].float().round(), unit)
        return (unit @ outgoing[:, :, None]).max(-1)
