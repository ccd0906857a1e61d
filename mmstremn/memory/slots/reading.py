"""How slots are read: all objects of a state, the usage that a read leaves, the distance to what is held."""

import dataclasses
from typing import TypeVar

import torch
from torch import Tensor

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


def nearest_distance(state: SlotState, query: Query) -> Tensor:
    """(B, G, P): |q - k|^2 / sqrt(Ck) of each of the query's positions to the nearest in any slot."""
    groups, positions, width = state.key.shape[1], *state.key.shape[3:]
    key = state.key.flatten(2, 3).float()
    empty = (state.written_at < 0).repeat_interleave(positions, -1).unsqueeze(2)
    q = query.key.float().unsqueeze(1).expand(-1, groups, -1, -1)
    return torch.cdist(q, key).masked_fill(empty, float('inf')).amin(-1).square() / width**0.5
