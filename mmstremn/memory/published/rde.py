"""The first frame and one embedding that every new frame is aggregated into: RDE."""

import dataclasses
import math

import torch
from torch import Tensor, nn

from mmstremn.memory.base import Memory
from mmstremn.memory.published.cohorts import CohortState, read_cohorts
from mmstremn.memory.readers import TopKReader
from mmstremn.memory.state import Entry, Query

FIRST, EMBEDDING = 0, 1


class GatedBlend(nn.Module):
    """An old map and a new one to one map: new + linear(what was gathered from both), gated into the old.

    Args:
        channels: C of the maps.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.mix = nn.Linear(channels, channels)
        self.gate = nn.Conv2d(2 * channels, channels, 3, padding=1)

    def forward(self, old: Tensor, new: Tensor, attention: Tensor, grid: tuple[int, int]) -> Tensor:
        """Blend.

        Args:
            old: (B, M, P, C), M maps that share the attention.
            new: (B, M, P, C).
            attention: (B, 1, P, 2P) over the positions of old and new.
            grid: (h, w) with h * w = P.

        Returns:
            (B, M, P, C).
        """
        attended = new + self.mix(attention @ torch.cat([old, new], 2))
        planes = torch.cat([old, attended], -1).flatten(0, 1).transpose(1, 2).unflatten(2, grid)
        gate = self.gate(planes).sigmoid().flatten(2).transpose(1, 2).view_as(old)
        return old + gate * (attended - old)


class SpatioTemporalAggregation(nn.Module):
    """The new embedding: attention of the frame over the old one and itself, then gated blending.

    Args:
        key_channels: Ck.
        value_channels: Cv.
    """

    def __init__(self, key_channels: int, value_channels: int):
        super().__init__()
        width = max(key_channels // 2, 1)
        self.asking = nn.Linear(key_channels, width)
        self.asked = nn.Linear(key_channels, width, bias=False)
        self.blend_key = GatedBlend(key_channels)
        self.blend_value = GatedBlend(value_channels)

    def forward(
        self, old: tuple[Tensor, Tensor], new: tuple[Tensor, Tensor], grid: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        """Aggregate in float32.

        Args:
            old: Key (B, 1, P, Ck) and values (B, M, P, Cv) of the embedding; M objects.
            new: Those of the frame.
            grid: (h, w).

        Returns:
            Key and values of the new embedding.
        """
        (old_key, old_value), (new_key, new_value) = [
            (key.float(), value.float()) for key, value in (old, new)
        ]
        with torch.autocast(new_key.device.type, enabled=False):
            asking, asked = self.asking(new_key), self.asked(torch.cat([old_key, new_key], 2))
            attention = (asking @ asked.transpose(-1, -2) / math.sqrt(asked.shape[-1])).softmax(
                -1
            )  # (B, 1, P, 2P)
            key = self.blend_key(old_key, new_key, attention, grid)
            return key, self.blend_value(old_value, new_value, attention, grid)


class RecurrentEmbeddingMemory(Memory[CohortState]):
    """Two slots: an object's first frame, and an embedding that aggregates the frames since.

    RDE (Li et al., "Recurrent Dynamic Embedding for Video Object Segmentation", CVPR 2022), checked against
    Limingxing00/RDE-VOS-CVPR2022 model/modules.py, inference_memory_bank.py and eval_davis.py. From there:
    the embedding begins as the first frame; keys and values are aggregated from the old embedding and the new
    frame by a non-local block with a residual and a 3 x 3 convolution over the two; reading is STCN's, L2 and
    the 40 most similar positions; in evaluation every third frame is aggregated.

    This library's own: the non-local attention is a softmax, computed once from the keys for the keys and all
    objects' values (there: one for each, divided by the number of positions); the convolution gives a gate
    between the old and the new instead of the result, so an untrained embedding stays near the features; no
    dilated convolutions; the first frame is read once and the latest frame not at all (there: the first twice
    and the latest too, in one of its modes). The paper's unbiased guidance loss and self-correction belong to
    training and are not here.

    Args:
        every: In evaluation a frame is aggregated when its distance to the object's first frame is a multiple
            of it. Prompted frames always are, and in training all.
        key_channels: Ck.
        value_channels: Cv.

    Raises:
        ValueError: ``every`` is less than 1.
    """

    state_class = CohortState

    def __init__(self, every: int = 3, key_channels: int = 64, value_channels: int = 256):
        super().__init__()
        if every < 1:
            raise ValueError(f'RecurrentEmbeddingMemory.every must be at least 1, got {every}')
        self.every = every
        self.aggregation = SpatioTemporalAggregation(key_channels, value_channels)
        self.reader = TopKReader(k=40)

    def init(self, entry: Entry, seeds: tuple[int, ...] | None = None) -> CohortState:
        """Two empty slots; ``seeds`` are not used."""
        return CohortState.with_slots(entry, 2, seeds)

    def read(self, state: CohortState, query: Query) -> tuple[Tensor, CohortState]:
        """The readout (B, O, P, Cv); reading leaves no trace."""
        return read_cohorts(self.reader, state, query), state

    def write(self, state: CohortState, entry: Entry) -> CohortState:
        """Aggregate the entry; without gradients the slots of ``state`` are changed."""
        key, value = state.writable()
        for index, (birth, members) in enumerate(state.cohorts):
            cohort = slice(index, index + 1)
            new = entry.key, entry.value[:, members]
            if state.step == birth:
                key[:, cohort, FIRST], value[:, members, FIRST] = new
            elif self.training or entry.prompted or (state.step - birth) % self.every == 0:
                old = state.key[:, cohort, EMBEDDING], state.value[:, members, EMBEDDING]
                new = self.aggregation(old, new, state.grid)
            else:
                continue
            key[:, cohort, EMBEDDING], value[:, members, EMBEDDING] = new
        return dataclasses.replace(state, key=key, value=value, step=state.step + 1)
