"""Affinities of a query and stored keys, each as a dot product of augmented vectors.

So every reader needs one matrix product, or one call of scaled dot product attention. An affinity maps a
query and stored keys to ``(q, k)`` with ``q @ k.T`` equal to it up to a constant per query position, which
softmax removes.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmstremn.memory.state import Query


class Affinity(nn.Module):
    """Base of all affinities.

    Attributes:
        needs_selection: Queries must carry a selection and entries a shrinkage.
    """

    needs_selection = False

    def forward(self, query: Query, key: Tensor, shrinkage: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The augmented vectors q and k.

        Args:
            query: Key (B, P, C), selection (B, P, C).
            key: (B, G, N, C), N stored positions.
            shrinkage: (B, G, N).

        Returns:
            (B, 1, P, C') and (B, G, N, C').
        """
        raise NotImplementedError(f'{type(self).__name__} must implement forward(query, key, shrinkage)')

    def constant(self, query: Query) -> Tensor:
        """(B, 1, P): what ``q @ k.T`` lacks, for whoever compares the query's positions with each other."""
        return query.key.new_zeros(query.key.shape[:-1])[:, None]


class DotAffinity(Affinity):
    """q . k / sqrt(C): STM (Oh et al., ICCV 2019), checked against seoungwugoh/STM model.py."""

    def forward(self, query: Query, key: Tensor, shrinkage: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """As in :class:`Affinity`; C' = C."""
        return query.key[:, None] / math.sqrt(key.shape[-1]), key


class CosineAffinity(Affinity):
    """cos(q, k) / temperature.

    Args:
        temperature: Smaller is sharper.
    """

    def __init__(self, temperature: float = 0.07):
        super().__init__()
        self.temperature = temperature

    def forward(self, query: Query, key: Tensor, shrinkage: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """As in :class:`Affinity`."""
        return F.normalize(query.key, dim=-1)[:, None] / self.temperature, F.normalize(key, dim=-1)


class L2Affinity(Affinity):
    """Computes ``-|k - q|^2 / sqrt(C)``: STCN (Cheng et al., NeurIPS 2021).

    Checked against hkchengrex/STCN model/network.py.

    One appended channel carries ``-|k|^2``; ``|q|^2`` is constant under softmax.
    """

    def forward(self, query: Query, key: Tensor, shrinkage: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """As in :class:`Affinity`; C' = C + 1."""
        q = torch.cat([2 * query.key, torch.ones_like(query.key[..., :1])], -1)
        k = torch.cat([key, -key.square().sum(-1, keepdim=True)], -1)
        return q[:, None] / math.sqrt(key.shape[-1]), k

    def constant(self, query: Query) -> Tensor:
        """As in :class:`Affinity`: ``-|q|^2 / sqrt(C)``."""
        return -query.key.square().sum(-1)[:, None] / math.sqrt(query.key.shape[-1])


class AnisotropicL2Affinity(Affinity):
    """-s sum_c e_c (k_c - q_c)^2 / sqrt(C): XMem (Cheng and Schwing, ECCV 2022), section 3.4.

    Checked against hkchengrex/XMem model/memory_util.py.

    The shrinkage s belongs to the stored position, the selection e to the query's. With s the ``|q|^2`` term
    does not cancel.
    """

    needs_selection = True

    def forward(self, query: Query, key: Tensor, shrinkage: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """As in :class:`Affinity`; C' = 2 C + 1.

        Raises:
            ValueError: The query has no selection or the entries no shrinkage.
        """
        if query.selection is None or shrinkage is None:
            raise ValueError(
                'AnisotropicL2Affinity needs Query.selection (B, P, C) and Entry.shrinkage (B, G, P), '
                f'got selection={query.selection is not None}, shrinkage={shrinkage is not None}'
            )
        q, e = query.key, query.selection
        q = torch.cat([e, 2 * e * q, (e * q.square()).sum(-1, keepdim=True)], -1)
        k = torch.cat([-key.square(), key, -torch.ones_like(key[..., :1])], -1)
        return q[:, None] / math.sqrt(key.shape[-1]), k * shrinkage[..., None]
