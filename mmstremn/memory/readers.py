"""Readers: from stored keys and values and a query to the readout and the slots' shares of the attention."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmstremn.memory.affinity import Affinity, L2Affinity
from mmstremn.memory.state import Query

BLOCK = 2**20  # affinities at a time: 4 MB, which stay in the cache of a CPU
MASKED = -1e30  # exp of it is 0 beside any affinity, and unlike -inf it has gradients


class DenseReader(nn.Module):
    """Attention over all stored positions, in one call of scaled dot product attention.

    S one-hot channels appended to the values give the slots' shares in the same call, and a channel appended
    to the keys bars unusable slots, which costs nothing beside a mask of (P, S * P). Affinities run in
    float32.

    Args:
        affinity: L2 by default.
    """

    def __init__(self, affinity: Affinity | None = None):
        super().__init__()
        self.affinity = affinity or L2Affinity()

    def forward(
        self, query: Query, key: Tensor, shrinkage: Tensor | None, value: Tensor, usable: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Read.

        Args:
            query: Key (B, P, Ck).
            key: (B, G, S, P, Ck).
            shrinkage: (B, G, S, P) or None.
            value: (B, G, S, P, Cv).
            usable: (B, G, S) bool; at least one slot of each row.

        Returns:
            The readout (B, G, P, Cv), and the share of the attention each slot drew (B, G, S), which sums to
            1.
        """
        slots, positions = key.shape[2:4]
        width = value.shape[-1]
        q, k = self._augment(query, key, shrinkage, usable)
        one_hot = torch.eye(slots, slots + _missing(width + slots), dtype=k.dtype, device=k.device)
        one_hot = one_hot.repeat_interleave(positions, 0).expand(*k.shape[:2], -1, -1)
        v = torch.cat([value.flatten(2, 3).to(k.dtype), one_hot], -1)  # (B, G, S * P, Cv + S, padded)
        with torch.autocast(k.device.type, enabled=False):
            out = _attend(q, k, v)  # (B, G, P, Cv + S, padded); the last S sum to 1
        share = out[..., width : width + slots].detach().mean(2)
        return out[..., :width].to(value.dtype), share

    def logits(self, query: Query, key: Tensor, shrinkage: Tensor | None) -> Tensor:
        """What the softmax of dense reading is taken of: (B, G, P, S, P), the query's positions first.

        Args:
            query: Key (B, P, Ck).
            key: (B, G, S, P, Ck).
            shrinkage: (B, G, S, P) or None.
        """
        q, k = self._vectors(query, key, shrinkage)
        return (q @ k.transpose(-1, -2)).unflatten(-1, key.shape[2:4])

    def _vectors(self, query: Query, key: Tensor, shrinkage: Tensor | None) -> tuple[Tensor, Tensor]:
        """The affinity's vectors in float32, (B, 1 or G, P, C') and (B, G, S * P, C')."""
        query = Query(query.key.float(), None if query.selection is None else query.selection.float())
        shrinkage = None if shrinkage is None else shrinkage.flatten(2).float()
        with torch.autocast(key.device.type, enabled=False):
            return self.affinity(query, key.flatten(2, 3).float(), shrinkage)

    def _augment(
        self, query: Query, key: Tensor, shrinkage: Tensor | None, usable: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The affinity's vectors, of which one more channel masks unusable slots.

        Returns:
            (B, G, P, C') and (B, G, S * P, C').
        """
        q, k = self._vectors(query, key, shrinkage)
        mask = torch.zeros_like(usable, dtype=k.dtype).masked_fill(~usable, MASKED)  # (B, G, S)
        mask = mask.repeat_interleave(key.shape[3], -1)  # (B, G, S * P)
        padding = _missing(k.shape[-1] + 1)
        # [q, 1, 0] . [k, mask, 0] = q . k + mask
        q = torch.cat([q, torch.ones_like(q[..., :1]), q.new_zeros(*q.shape[:-1], padding)], -1)
        k = torch.cat([k, mask[..., None], k.new_zeros(*k.shape[:-1], padding)], -1)
        return q.expand(-1, k.shape[1], -1, -1), k


def _attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q k^T) v.

    CPUs have no fused kernel for Cv != Ck; what they have instead looks for rows without any key.
    """
    if q.device.type == 'cpu':
        return (q @ k.transpose(-1, -2)).softmax(-1) @ v
    return F.scaled_dot_product_attention(q, k, v, scale=1.0)


def _missing(width: int) -> int:
    """Channels up to the next multiple of 8, which the fused kernels of GPUs want."""
    return -width % 8


class TopKReader(DenseReader):
    """In evaluation only the k most similar positions count (STCN's top 20); in training all do, as in STCN.

    Args:
        affinity: L2 by default.
        k: Positions that a query position reads.
    """

    def __init__(self, affinity: Affinity | None = None, k: int = 20):
        super().__init__(affinity)
        self.k = k

    def forward(
        self, query: Query, key: Tensor, shrinkage: Tensor | None, value: Tensor, usable: Tensor
    ) -> tuple[Tensor, Tensor]:
        """As in :class:`DenseReader`."""
        if self.training:
            return super().forward(query, key, shrinkage, value, usable)
        (batch, groups, slots, positions), width = key.shape[:4], value.shape[-1]
        q, k = self._augment(query, key, shrinkage, usable)
        with torch.autocast(k.device.type, enabled=False):
            top, index = self._find(query, q, k, min(self.k, k.shape[2]))
            weight = top.softmax(-1)  # (B, G, P, k); softmax subtracts the maximum
            table = torch.arange(batch * groups, device=k.device).view(batch, groups, 1, 1) * (
                slots * positions
            )
            readout = F.embedding_bag(
                (index + table).flatten(0, 2),
                value.float().reshape(-1, width),
                per_sample_weights=weight.flatten(0, 2),
                mode='sum',
            ).view(*index.shape[:3], width)
        share = weight.new_zeros(batch, groups, slots)
        share.scatter_add_(-1, (index // positions).flatten(2), weight.detach().flatten(2))
        return readout.to(value.dtype), share / index.shape[2]

    def _find(self, query: Query, q: Tensor, k: Tensor, number: int) -> tuple[Tensor, Tensor]:
        """The affinities (B, G, P, number) of the positions to read, and the places of these.

        Also notes in ``query.found['nearest']`` the largest affinity (B, G, P).
        """
        top, index = _most_similar(q, k, number)
        query.found['nearest'] = top[..., 0]
        return top, index


class KernelizedReader(TopKReader):
    """A stored position counts by a Gaussian around the query position that is most similar to it.

    Kernelized memory reading of KMN (Seong et al., ECCV 2020): objects that look alike but are elsewhere are
    read less. The kernel is on the grid of the query, so it moves with the object. As an arg-max has no
    gradient, in training all positions count alike.

    The logarithm of the Gaussian at p around c is ``p . c / sigma^2 - (|p|^2 + |c|^2) / (2 sigma^2)``: a few
    more channels of the affinity's vectors.

    Args:
        affinity: L2 by default.
        k: Positions that a query position reads, of those with the largest weights; KMN itself reads all.
        sigma: Standard deviation of the Gaussian, in positions.
        floor: The least that a position counts, below 1; 0 in KMN. With a floor what is seen for the first
            time, and so far from all best matches, still looks most like what it is most similar to.

    Raises:
        ValueError: sigma is not positive, or floor not in 0..1.
    """

    def __init__(self, affinity: Affinity | None = None, k: int = 20, sigma: float = 7.0, floor: float = 0.0):
        super().__init__(affinity, k)
        if sigma <= 0:
            raise ValueError(f'KernelizedReader.sigma must be positive, got {sigma}')
        if not 0 <= floor < 1:
            raise ValueError(f'KernelizedReader.floor must be at least 0 and below 1, got {floor}')
        self.sigma, self.floor = sigma, floor

    def _find(self, query: Query, q: Tensor, k: Tensor, number: int) -> tuple[Tensor, Tensor]:
        """As in :class:`TopKReader`; ``query.extras['grid']`` is the (h, w) of its positions.

        Raises:
            ValueError: The query does not say its grid.
        """
        place = places(_grid_of(query, type(self).__name__), q.device) / self.sigma  # (P, 2)
        lacking = self.affinity.constant(Query(query.key.float(), query.selection))
        best, query.found['nearest'] = _best_matches(q, k, lacking)
        centre = place[best]  # (B, G, N, 2)
        half, one = -0.5 * place.square().sum(-1, keepdim=True), torch.ones_like(place[:, :1])
        half_centre = -0.5 * centre.square().sum(-1, keepdim=True)
        beside = torch.cat([place, half, one], -1).expand(*q.shape[:3], -1)
        around = torch.cat([centre, torch.ones_like(half_centre), half_centre], -1)
        if self.floor:
            return _most_similar(q, k, number, (beside, around, math.log(self.floor)))
        return _most_similar(torch.cat([q, beside], -1), torch.cat([k, around], -1), number)


def _best_matches(q: Tensor, k: Tensor, lacking: Tensor) -> tuple[Tensor, Tensor]:
    """Of the products of (B, G, P, C') and (B, G, N, C').

    Args:
        q: The query's vectors.
        k: The stored ones.
        lacking: (B, 1, P), which makes the products of different positions of the query comparable.

    Returns:
        Which of P is the largest (B, G, N), and the largest of N (B, G, P).
    """
    q = torch.cat([q, lacking[..., None].expand(*q.shape[:3], 1)], -1)
    k = torch.cat([k, torch.ones_like(k[..., :1])], -1)
    block = max(1, BLOCK // (q.shape[0] * q.shape[1] * q.shape[2]))
    queries = q.transpose(-1, -2)
    products = (some @ queries for some in k.split(block, 2))  # a block of N at a time
    best, largest = zip(*((part.argmax(-1), part.amax(2)) for part in products), strict=True)
    return torch.cat(best, 2), torch.stack(largest).amax(0) - lacking


def _most_similar(
    q: Tensor, k: Tensor, number: int, kernel: tuple[Tensor, Tensor, float] | None = None
) -> tuple[Tensor, Tensor]:
    """The largest of (B, G, P, C') . (B, G, N, C') over N and their places, each (B, G, P, number).

    A block of P at a time, so that their products never lie in memory as a whole.

    Args:
        q: The query's vectors.
        k: The stored ones.
        number: How many.
        kernel: Further vectors whose products are added, and the least that one adds.
    """
    block = max(1, BLOCK // (k.shape[0] * k.shape[1] * k.shape[2]))
    keys, parts = k.transpose(-1, -2), []
    for begin in range(0, q.shape[2], block):
        products = q[:, :, begin : begin + block] @ keys
        if kernel is not None:
            beside, around, least = kernel
            products += (beside[:, :, begin : begin + block] @ around.transpose(-1, -2)).clamp_(min=least)
        parts.append(products.topk(number, -1))
    return torch.cat([part.values for part in parts], 2), torch.cat([part.indices for part in parts], 2)


class LocalWindowReader(DenseReader):
    """Attention over the stored positions at most ``radius`` rows and columns away.

    As the short-term attention of AOT (Yang et al., NeurIPS 2021), without its relative positions. The window
    is a mask on dense attention: it costs what the dense reader costs, and a mask of (B, G, P, S P).

    Args:
        affinity: L2 by default.
        radius: Of the window, in positions; the window is (2 radius + 1)^2 positions of each slot.
    """

    def __init__(self, affinity: Affinity | None = None, radius: int = 7):
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
        grid = _grid_of(query, type(self).__name__)
        slots, positions = key.shape[2:4]
        mask = usable[:, :, None, :, None] & near(grid, self.radius, key.device)[:, None]
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
        return super().logits(query, key, shrinkage).masked_fill(~window, -math.inf)


def near(grid: tuple[int, int], radius: int, device: torch.device) -> Tensor:
    """(P, P) bool: two positions of a grid (h, w) are at most ``radius`` rows and columns apart."""
    place = places(grid, device)
    return (place[:, None] - place).abs().amax(-1) <= radius


def places(grid: tuple[int, int], device: torch.device) -> Tensor:
    """(P, 2): row and column of each position of a grid (h, w)."""
    return torch.cartesian_prod(*(torch.arange(side, device=device) for side in grid))


def _grid_of(query: Query, reader: str) -> tuple[int, int]:
    if 'grid' not in query.extras:
        raise ValueError(f"{reader} needs Query.extras['grid'] (h, w), see Query.on, got none")
    return query.extras['grid']
