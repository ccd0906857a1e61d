"""Linear attention whose state decays by gates that depend on the frame: the matching of LiVOS."""

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mmstremn.memory.base import Memory
from mmstremn.memory.state import Entry, MemoryState, Query

TINY = 1e-12  # below any real normaliser; an object without a frame reads zeros


@dataclass
class GatedLinearState(MemoryState):
    """The two sums of linear attention.

    Attributes:
        numerator: (B, O, Ck, Cv) float32, S of the formulas.
        normalizer: (B, O, Ck, Cv) float32, Z: what S would be if all values were 1.
        dtype: Name of the values' type, in which readouts are given.
    """

    numerator: Tensor
    normalizer: Tensor
    dtype: str

    object_fields = {'numerator': 0, 'normalizer': 0}


class GatedLinearMemory(Memory[GatedLinearState]):
    """Linear attention: S <- S diag(g) + sum_p phi(k_p) v_p^T; the readout is phi(q) S, normalised.

    phi is the softmax over channels.

    LiVOS (Liu et al., "LiVOS: Light Video Object Segmentation with Gated Linear Matching", 2024), checked
    against uncbiag/LiVOS livos/model/livos_wrapper.py. The gates g (Cv of them) are the mean over positions
    of sigmoid(linear(frame)), the same for all objects. This library's own:

    * The gates come from the key (LiVOS: from the backbone's features), and start near 0.88 rather than 0.5.
    * The normaliser decays with the same gates, Z <- Z diag(g) + sum_p phi(k_p) 1^T, and the readout is
      phi(q) S / phi(q) Z in every channel: a mean of the stored values whose weights sum to 1, newer frames
      weighing more. The public code divides a whole frame by one number, without decay.

    Args:
        key_channels: Ck.
        value_channels: Cv.
    """

    state_class = GatedLinearState

    def __init__(self, key_channels: int = 64, value_channels: int = 256):
        super().__init__()
        self.gate = nn.Linear(key_channels, value_channels)
        nn.init.constant_(self.gate.bias, 2.0)

    def init(self, entry: Entry, seeds: tuple[int, ...] | None = None) -> GatedLinearState:
        """Empty sums; ``seeds`` are not used."""
        batch, objects, _, value_channels = entry.value.shape
        zeros = entry.value.new_zeros(
            batch, objects, entry.key.shape[-1], value_channels, dtype=torch.float32
        )
        dtype = str(entry.value.dtype).removeprefix('torch.')
        return GatedLinearState.for_objects_of(
            entry, seeds, numerator=zeros, normalizer=zeros.clone(), dtype=dtype
        )

    def read(self, state: GatedLinearState, query: Query) -> tuple[Tensor, GatedLinearState]:
        """The readout (B, O, P, Cv); reading leaves no trace."""
        with torch.autocast(query.key.device.type, enabled=False):
            phi = query.key.float().softmax(-1)
            numerator = torch.einsum('bpk,bokv->bopv', phi, state.numerator)
            normalizer = torch.einsum('bpk,bokv->bopv', phi, state.normalizer)
        return (numerator / normalizer.clamp(min=TINY)).to(getattr(torch, state.dtype)), state

    def write(self, state: GatedLinearState, entry: Entry) -> GatedLinearState:
        """Decay, then add the entry."""
        with torch.autocast(entry.key.device.type, enabled=False):
            key, value = entry.key[:, 0].float(), entry.value.float()
            gate = self.gate(key).sigmoid().mean(1)[:, None, None]  # (B, 1, 1, Cv)
            phi = key.softmax(-1)  # (B, P, Ck); S <- S diag(g) + phi^T v, Z <- Z diag(g) + phi^T 1
            numerator = state.numerator * gate + torch.einsum('bpk,bopv->bokv', phi, value)
            normalizer = state.normalizer * gate + phi.sum(1)[:, None, :, None]
        return dataclasses.replace(state, numerator=numerator, normalizer=normalizer, step=state.step + 1)
