"""A reader that looks near by: in each slot only at the positions around the query's own."""

import torch
import torch.nn.functional as F
from torch import Tensor

from mmstremn.memory.readers import DenseReader
from mmstremn.memory.state import Query


class LocalWindowReader(DenseReader):
    """Attention over the stored positions at most ``radius`` rows and columns away: far look-alikes are not
    read.

    As the short-term attention of AOT (Yang et al., NeurIPS 2021), without its relative positions. The window
    is a mask on dense attention: it costs what the dense reader costs, and a mask of (B, G, P, S P).

    Args:
        affinity: L2 by default.
        radius: Of the window, in positions; the window is (2 radius + 1)^2 positions of each slot.
    """

    def __init__(self, affinity: torch.nn.Module | None = None, radius: int = 7):
        super().__init__(affinity)
        if radius < 0:
            raise ValueError(f'LocalWindowReader.radius must be at least 0, got {radius}')
        self.radius = radius

    def forward(
        self, query: Query, key: Tensor, shrinkage: Tensor | None, value: Tensor, usable: Tensor
    ) -> tuple[Tensor, Tensor]:
        """As in :class:`DenseReader`; ``query.extras['grid']`` is the (h, w) of its positions.

        Raises:
            ValueError: The query does not say its grid.
        """
        if 'grid' not in query.extras:
            raise ValueError("LocalWindowReader needs Query.extras['grid'] (h, w), see Query.on, got none")
        slots, positions = key.shape[2:4]
        mask = usable[:, :, None, :, None] & near(query.extras['grid'], self.radius, key.device)[:, None]
        with torch.autocast(key.device.type, enabled=False):
            q, k = self._vectors(query, key, shrinkage)
            one_hot = torch.eye(slots, device=k.device).repeat_interleave(positions, 0)
            v = torch.cat([value.flatten(2, 3).float(), one_hot.expand(*k.shape[:2], -1, -1)], -1)
            q = q.expand(-1, k.shape[1], -1, -1)
            out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask.flatten(3), scale=1.0)
        readout, share = out.split([value.shape[-1], slots], -1)
        return readout.to(value.dtype), share.detach().mean(2)

    def logits(self, query: Query, key: Tensor, shrinkage: Tensor | None) -> Tensor:
        """As in :class:`DenseReader`; -inf outside of the window."""
        window = near(query.extras['grid'], self.radius, key.device)[:, None]
        return super().logits(query, key, shrinkage).masked_fill(~window, float('-inf'))


def near(grid: tuple[int, int], radius: int, device: torch.device) -> Tensor:
    """(P, P) bool: two positions of a grid (h, w) are at most ``radius`` rows and columns apart."""
    ys, xs = torch.meshgrid(*(torch.arange(side, device=device) for side in grid), indexing='ij')
    place = torch.stack([ys, xs], -1).flatten(0, 1)
    return (place[:, None] - place).abs().amax(-1) <= radius
