"""What a tracker remembers of how objects look: embeddings as tokens without a place, in the slots of a
SlotMemory.

Letters in shapes: N tracks, D detections, C channels of an embedding.
"""

import dataclasses

import torch
from torch import Tensor, nn

from mmstremn.memory import Entry, Query, SlotMemory, SlotState
from mmstremn.registry import build


class AppearanceMemory(nn.Module):
    """A :class:`SlotMemory` of grid 1 x 1: every track is a row of its batch, every detection a position of
    its query.

    A detection reads each track with its own embedding, so that the slots which look like it count most, and
    is as similar to the track as to what it has read. With one slot that is the dot product of two
    embeddings.

    Args:
        channels: C.
        memory: Config of a SlotMemory.
        projected: Keys and values are projections of the embeddings, which begin as the identity and learn;
            otherwise they are the embeddings.

    Raises:
        TypeError: The memory has no slots.
        ValueError: The affinity of its reader needs a selection and a shrinkage, which embeddings do not
            have.
    """

    def __init__(self, channels: int, memory: dict, projected: bool):
        super().__init__()
        self.memory = build(memory, key_channels=channels, value_channels=channels)
        if not isinstance(self.memory, SlotMemory):
            raise TypeError(f'the memory of tracks must be a SlotMemory, got {type(self.memory).__name__}')
        if self.memory.needs_selection:
            raise ValueError(
                'the memory of tracks cannot use AnisotropicL2Affinity: embeddings have no selection'
            )
        self.key = _identity(channels) if projected else nn.Identity()
        self.value = _identity(channels) if projected else nn.Identity()

    def entry(self, embeddings: Tensor) -> Entry:
        """What N observations (N, C), one for each track, offer to the memory."""
        return Entry(self.key(embeddings)[:, None, None], self.value(embeddings)[:, None, None], (1, 1))

    def begin(
        self, embeddings: Tensor, seeds: tuple[int, ...] | None = None, clip_length: int | None = None
    ) -> SlotState:
        """The state of N new tracks after their first observations (N, C).

        Args:
            embeddings: (N, C).
            seeds: One for each track, for memories that draw.
            clip_length: In training, the observations of a track and the read after them.
        """
        entry = self.entry(embeddings)
        if clip_length is not None:
            entry.extras['clip_length'] = clip_length
        return self.memory.write(self.memory.init(entry, seeds), entry)

    def observe(self, state: SlotState, embeddings: Tensor) -> SlotState:
        """The state of N tracks after one more observation (N, C) of each: it reads, which counts usage, and
        is offered."""
        _, state = self.memory.read(state, Query(self.key(embeddings)[:, None]))
        if not self.memory.wants(state):
            return self.memory.pass_over(state)
        return self.memory.write(state, self.entry(embeddings))

    def similarity(self, embeddings: Tensor, state: SlotState) -> Tensor:
        """Similarity (D, N) of detections (D, C) to the tracks of a state; the state stays as it is."""
        key = self.key(embeddings)[None].expand(state.key.shape[0], -1, -1)
        readout, _ = self.memory.read(state, Query(key))
        return torch.einsum('dc,ndc->dn', embeddings, readout[:, 0])


def side_by_side(states: list[SlotState]) -> SlotState:
    """The states of several tracks as one batch. It can be read; it can be written only if all clocks (steps)
    are equal."""
    joined = {name: torch.cat([getattr(state, name) for state in states]) for name in states[0].tensors()}
    seeds = tuple(seed for state in states for seed in state.seeds or ()) or None
    return dataclasses.replace(states[0], **joined, seeds=seeds)


def one_by_one(state: SlotState) -> list[SlotState]:
    """The reverse."""
    rows = [state.map(lambda tensor, row=row: tensor[row, None].clone()) for row in range(state.key.shape[0])]
    if state.seeds is None:
        return rows
    return [dataclasses.replace(row, seeds=(seed,)) for row, seed in zip(rows, state.seeds, strict=True)]


def _identity(channels: int) -> nn.Linear:
    layer = nn.Linear(channels, channels, bias=False)
    nn.init.eye_(layer.weight)
    return layer
