"""How slots are read: all objects of a state, the usage that a read leaves, the distance to what is held."""

import dataclasses
import math
from typing import TypeVar

import torch
from torch import Tensor

from mmstremn.memory.affinity import L2Affinity
from mmstremn.memory.buffers import birth_groups, by_object, side_by_side
from mmstremn.memory.readers import DenseReader
from mmstremn.memory.slots.slot_state import SlotState
from mmstremn.memory.state import Query

ROUNDING = 1e-4  # even shares stay even, however they were summed
RELEVANCE_KEPT = 0.2  # of the moving average, at each read (RMem)
AnySlots = TypeVar('AnySlots', bound=SlotState)


def read_slots(reader: DenseReader, state: SlotState, query: Query) -> tuple[Tensor, Tensor]:
    """Read all objects of a state, each from the slots that hold a value of it.

    With a key of its own an object is a row of the attention. With a shared key the objects born at the same
    step are read in one call, their values side by side, so the attention is computed once for all of them.

    Returns:
        The readout (B, O, P, Cv) and the shares of the attention (B, G, S).
    """
    shared = state.key.shape[1] == 1
    if not shared:
        return reader(query, state.key, state.shrinkage, state.value, state.written_at >= 0)
    readouts, shares = [], []
    for birth, members in birth_groups(state.births):
        value = side_by_side(state.value[:, members])[:, None]
        readout, share = reader(query, state.key, state.shrinkage, value, state.written_at >= birth)
        readouts.append(by_object(readout[:, 0], members.stop - members.start))
        shares.append(share)
    return torch.cat(readouts, 1), torch.stack(shares).mean(0)


def count_usage(state: AnySlots, share: Tensor) -> AnySlots:
    """The state after a read in which the slots drew ``share`` (B, G, S) of the attention."""
    filled = state.written_at >= 0
    used = filled & (share * filled.sum(-1, keepdim=True) > 1 + ROUNDING)
    read_at = torch.where(used, state.step, state.read_at)
    relevance = state.relevance
    if relevance is not None:
        average = RELEVANCE_KEPT * relevance + (1 - RELEVANCE_KEPT) * share
        relevance = torch.where(relevance < 0, share, average)
    return dataclasses.replace(state, read_at=read_at, hits=state.hits + share, relevance=relevance)


def nearest_distance(reader: DenseReader, state: SlotState, query: Query) -> Tensor:
    """(B, G, P): |q - k|^2 / sqrt(Ck) of each of the query's positions to the nearest in any slot.

    The L2 affinity is 2 q . k - |k|^2, all but a constant of its negative. So where a read of this state has
    found the nearest key of all slots, nothing is multiplied again.
    """
    q = Query(query.key.float())
    affinity = query.found.get('nearest') if _finds_the_nearest(reader, state) else None
    if affinity is None:
        k, empty = state.key.flatten(2, 3).float(), state.written_at < 0
        with torch.autocast(k.device.type, enabled=False):
            augmented, k = L2Affinity()(q, k)
            products = augmented @ k.transpose(-1, -2)
        empty = empty.repeat_interleave(state.key.shape[3], -1).unsqueeze(2)
        affinity = products.masked_fill_(empty, -math.inf).amax(-1)
    return (-L2Affinity().constant(q) - affinity).clamp(min=0)


def _finds_the_nearest(reader: DenseReader, state: SlotState) -> bool:
    """Whether one L2 read covers all that is stored: the key is shared, all objects are as old as it."""
    return type(reader.affinity) is L2Affinity and state.key.shape[1] == 1 and set(state.births) == {0}
