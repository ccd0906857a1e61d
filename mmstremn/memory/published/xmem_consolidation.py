"""XMem's reads, and its consolidation of positions of working memory into long-term prototypes.

Letters in shapes: B batch, O objects, N stored positions, K prototypes, P positions of a query, Ck and Cv
channels; M is 1 or O.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from mmstremn.memory.affinity import AnisotropicL2Affinity
from mmstremn.memory.buffers import birth_groups
from mmstremn.memory.readers import MASKED
from mmstremn.memory.state import Query

_affinity = AnisotropicL2Affinity()


def position_similarity(key: Tensor, selection: Tensor | None, stored: Tensor, shrinkage: Tensor) -> Tensor:
    """Anisotropic L2 similarity (B, P, N) in float32.

    Args:
        key: (B, P, Ck).
        selection: (B, P, Ck).
        stored: (B, 1, N, Ck).
        shrinkage: (B, 1, N).

    Raises:
        ValueError: There is no selection.
    """
    query = Query(key.float(), None if selection is None else selection.float())
    with torch.autocast(key.device.type, enabled=False):
        q, k = _affinity(query, stored.float(), shrinkage.float())
        return (q @ k.transpose(-1, -2))[:, 0]


def attend(similarity: Tensor, value: Tensor, k: int | None) -> tuple[Tensor, Tensor]:
    """Softmax over stored positions, the same for all objects.

    Args:
        similarity: (B, P, N) float32.
        value: (B, O, N', Cv) with N' >= N; the first N count.
        k: Only the k most similar positions count; None: all do.

    Returns:
        The readout (B, O, P, Cv), and the attention that each position drew, summed over the query (B, N).
    """
    (batch, objects, rows, width), positions = value.shape, similarity.shape[-1]
    with torch.autocast(similarity.device.type, enabled=False):
        if k is None:
            weight = similarity.softmax(-1)
            readout = torch.einsum('bpn,bonc->bopc', weight, value[:, :, :positions].float())
            return readout.to(value.dtype), weight.detach().sum(1)
        top, index = similarity.topk(min(k, positions), -1)
        weight = top.softmax(-1)  # (B, P, k); softmax subtracts the maximum
        table = torch.arange(batch * objects, device=index.device).view(batch, objects, 1, 1) * rows
        readout = F.embedding_bag(
            (index[:, None] + table).flatten(0, 2),
            value.float().reshape(-1, width),
            per_sample_weights=weight[:, None].expand(-1, objects, -1, -1).flatten(0, 2),
            mode='sum',
        )
    usage = torch.zeros_like(similarity[:, 0]).scatter_add_(1, index.flatten(1), weight.detach().flatten(1))
    return readout.view(batch, objects, -1, width).to(value.dtype), usage


def pick(tensor: Tensor, index: Tensor) -> Tensor:
    """Positions ``index`` (B, K) of a tensor (B, M, N, ...): (B, M, K, ...)."""
    batch = torch.arange(index.shape[0], device=index.device)[:, None]
    return tensor.transpose(1, 2)[batch, index].transpose(1, 2)


def most_used(usage: Tensor, life: Tensor, number: int) -> Tensor:
    """The positions that drew the most attention a frame, in the order in which they are stored: (B, number).

    Args:
        usage: (B, 1, N) attention drawn in all.
        life: (B, 1, N) frames that have read the position.
        number: At most N.
    """
    return (usage / life.clamp(min=1))[:, 0].topk(number, -1).indices.sort(-1).values


def potentiate(
    similarity: Tensor, value: Tensor, frame: Tensor, chosen: Tensor, births: tuple[int, ...]
) -> Tensor:
    """The prototypes' values: softmax(similarity) V over all candidates, no top-k.

    An object's prototypes are made of candidates from its birth on; those that are older than it are zero for
    it.

    Args:
        similarity: (B, K, N) of the prototypes to the candidates.
        value: (B, O, N, Cv) of the candidates.
        frame: (B, 1, N) step at which each was written.
        chosen: (B, K) the candidates that became prototypes.
        births: The step from which each object exists.

    Returns:
        (B, O, K, Cv).
    """
    out = torch.zeros_like(value[:, :, : chosen.shape[1]])
    for birth, members in birth_groups(births):
        known = frame >= birth
        barred = similarity.masked_fill(~known, MASKED)
        made, _ = attend(barred, value[:, members], None)
        out[:, members] = made * pick(known, chosen)[..., None]
    return out
