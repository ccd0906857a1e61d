"""A fixed number of recurrent slots, all updated through gates by every frame.

The memory of MART (Lei et al., "MART: Memory-Augmented Recurrent Transformer for Coherent Video Paragraph
Captioning", ACL 2020, section 3.2); the maths was checked against jayleicn/recurrent-transformer
src/rtransformer/model.py.
"""

import dataclasses
import math

import torch
from torch import Tensor, nn

from mmstremn.memory.base import Memory
from mmstremn.memory.published.maps import MapState, read_maps, value_of_maps
from mmstremn.memory.readers import DenseReader
from mmstremn.memory.state import Entry, Query


class GatedUpdate(nn.Module):
    """M' = (1 - Z) * C + Z * M with C = tanh(W M + W S + b) and Z = sigmoid(W M + W S + b).

    The biases belong to the slots. Those of Z start so that slot s keeps about 1 - 2^-(s + 1) of itself at a
    step; C starts as tanh(S).

    Args:
        channels: C.
        num_slots: S.
    """

    def __init__(self, channels: int, num_slots: int):
        super().__init__()
        self.memory = nn.Linear(channels, 2 * channels, bias=False)
        self.summary = nn.Linear(channels, 2 * channels, bias=False)
        spans = 2.0 ** torch.arange(1, num_slots + 1)
        self.candidate_bias = nn.Parameter(torch.zeros(num_slots, channels))
        self.gate_bias = nn.Parameter((spans - 1).log()[:, None].repeat(1, channels))
        with torch.no_grad():
            self.memory.weight[:channels].zero_()
            self.summary.weight[:channels].copy_(torch.eye(channels))

    def forward(self, memory: Tensor, summary: Tensor) -> Tensor:
        """The new M from M and S, all (B, K, S, P, C)."""
        candidate, gate = (self.memory(memory) + self.summary(summary)).float().chunk(2, -1)
        candidate = (candidate + self.candidate_bias[:, None]).tanh()
        gate = (gate + self.gate_bias[:, None]).sigmoid()
        return (1 - gate) * candidate + gate * memory


class GatedSlotMemory(Memory[MapState]):
    """S maps that every frame updates through gates.

    Slot s at a position attends to all slots and the frame there, then a gate decides.

    MART's cells attend to the tokens of a segment; here a position has one token a frame, and the slots
    beside it. Keys live behind a learned tanh(W k), for queries and entries alike, since the update keeps
    slots in -1..1. One attention over keys serves keys and values of all objects. Slots begin as the first
    frame plus an embedding each, and the biases of the gates are per slot: with one bias for all they would
    grow equal. An object that appears mid-video begins in every slot with what its first frame says about the
    slot's keys.

    Args:
        num_slots: S.
        key_channels: Ck.
        value_channels: Cv.
    """

    state_class = MapState

    def __init__(self, num_slots: int = 4, key_channels: int = 64, value_channels: int = 256):
        super().__init__()
        if num_slots < 1:
            raise ValueError(f'GatedSlotMemory.num_slots must be at least 1, got {num_slots}')
        self.num_slots = num_slots
        self.project = nn.Linear(key_channels, key_channels)
        nn.init.eye_(self.project.weight)
        nn.init.zeros_(self.project.bias)
        self.key_embedding = nn.Parameter(0.1 * torch.randn(num_slots, key_channels))
        self.value_embedding = nn.Parameter(0.1 * torch.randn(num_slots, value_channels))
        self.ask = nn.Linear(key_channels, key_channels, bias=False)
        self.update_key = GatedUpdate(key_channels, num_slots)
        self.update_value = GatedUpdate(value_channels, num_slots)
        self.reader = DenseReader()

    def init(self, entry: Entry, seeds: tuple[int, ...] | None = None) -> MapState:
        """Zeros, which the first entry replaces; ``seeds`` are not used."""
        return MapState.with_slots(entry, self.num_slots, seeds)

    def read(self, state: MapState, query: Query) -> tuple[Tensor, MapState]:
        """The readout (B, O, P, Cv); the state stays as it is."""
        return read_maps(self.reader, state.key, state.value, self._squash(query.key)), state

    def write(self, state: MapState, entry: Entry) -> MapState:
        """Update all slots; a new state is made."""
        new = self._squash(entry.key)
        key, value = self._begin(state, entry, new)
        weight = self._attend(key, new)  # (B, 1, S, P, S + 1)
        return dataclasses.replace(
            state,
            key=self.update_key(key, _summarise(weight, key, new)).to(state.key.dtype),
            value=self.update_value(value, _summarise(weight, value, entry.value)).to(state.value.dtype),
            step=state.step + 1,
        )

    def _squash(self, key: Tensor) -> Tensor:
        return self.project(key.to(self.project.weight.dtype)).float().tanh()

    def _begin(self, state: MapState, entry: Entry, new: Tensor) -> tuple[Tensor, Tensor]:
        """The slots before the update, those of objects that this entry is the first of included."""
        key, value = state.key.float(), state.value.float()
        fresh = [index for index, birth in enumerate(state.births) if birth == state.step]
        if state.step == 0:
            key = new[:, :, None] + self.key_embedding[:, None]
            value = entry.value.float()[:, :, None] + self.value_embedding[:, None]
        elif fresh:
            value = value.clone()
            value[:, fresh] = (
                value_of_maps(self.reader, key, new, entry, fresh).float() + self.value_embedding[:, None]
            )
        return key, value

    def _attend(self, key: Tensor, new: Tensor) -> Tensor:
        """softmax over the slots and the new key at the same place: (B, 1, S, P, S + 1)."""
        asked = self.ask(key).float()
        with torch.autocast(key.device.type, enabled=False):
            among = torch.einsum('bgspc,bgtpc->bgspt', asked, key)
            there = torch.einsum('bgspc,bgpc->bgsp', asked, new)
            return (torch.cat([among, there[..., None]], -1) / math.sqrt(key.shape[-1])).softmax(-1)


def _summarise(weight: Tensor, memory: Tensor, new: Tensor) -> Tensor:
    """S: the attended mean (B, K, S, P, C) of slots (B, K, S, P, C) and an entry (B, K, P, C)."""
    with torch.autocast(weight.device.type, enabled=False):
        among = torch.einsum('bspt,bktpc->bkspc', weight[:, 0, ..., :-1], memory)
        return among + weight[..., -1:] * new.float()[:, :, None]
