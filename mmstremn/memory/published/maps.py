"""Slots that are maps of keys and values, each a mixture of many frames, and how they are read."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mmstremn.memory.buffers import by_object, side_by_side
from mmstremn.memory.readers import DenseReader
from mmstremn.memory.state import Entry, MemoryState, Query


@dataclass
class MapState(MemoryState):
    """S slots, each a map of keys and values that mixes many frames.

    Attributes:
        key: (B, 1, S, P, Ck).
        value: (B, O, S, P, Cv).
    """

    key: Tensor
    value: Tensor


def read_maps(reader: DenseReader, key: Tensor, value: Tensor, query: Tensor) -> Tensor:
    """Attention over all maps, once for all objects.

    Args:
        reader: Reads.
        key: (B, 1, S, P, Ck).
        value: (B, O, S, P, Cv).
        query: (B, Q, Ck).

    Returns:
        (B, O, Q, Cv).
    """
    usable = torch.ones(key.shape[:3], dtype=torch.bool, device=key.device)
    readout, _ = reader(Query(query), key, None, side_by_side(value)[:, None], usable)
    return by_object(readout[:, 0], value.shape[1])


def value_of_maps(
    reader: DenseReader, key: Tensor, entry_key: Tensor, entry: Entry, members: list[int]
) -> Tensor:
    """For each key of the maps the values that a read of the entry gives.

    So an object that appears mid-video gets values that fit the older keys.

    Args:
        reader: Reads.
        key: (B, 1, S, P, Ck).
        entry_key: (B, 1, P, Ck) of the entry, comparable to ``key``.
        entry: Its values (B, O, P, Cv) are read.
        members: The objects asked for.

    Returns:
        (B, len(members), S, P, Cv).
    """
    value = read_maps(reader, entry_key[:, :, None], entry.value[:, members, None], key[:, 0].flatten(1, 2))
    return value.unflatten(2, key.shape[2:4])
