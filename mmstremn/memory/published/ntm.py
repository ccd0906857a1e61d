"""Slots that are found by what they hold and written softly.

The Neural Turing Machine (Graves et al., 2014, arXiv 1410.5401, section 3: content addressing, erase and add)
with the least used slot of Santoro et al., "Meta-Learning with Memory-Augmented Neural Networks" (ICML 2016,
section 3.2).
"""

import dataclasses
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmstremn.memory.affinity import L2Affinity
from mmstremn.memory.base import Memory
from mmstremn.memory.buffers import by_object, side_by_side
from mmstremn.memory.published.maps import MapState, value_of_maps
from mmstremn.memory.readers import DenseReader
from mmstremn.memory.slots.selectors import one_hot_max
from mmstremn.memory.state import Entry, Query

DECAY = 0.95  # of the usage, a step
HEAD_START = (
    0.01  # usage by which slots that are used alike differ at first, so that rounding does not choose
)


@dataclass
class NTMState(MapState):
    """S slots, each a template: a map of keys and values.

    Attributes:
        usage: (B, 1, S) float32: decayed sum of the weights with which the slot was read and written.
    """

    usage: Tensor


class ContentAddress(nn.Module):
    """softmax_s(beta cos(W k, M_s)): k is a frame's key and M_s a slot's, both averaged over positions.

    Args:
        key_channels: Ck.
    """

    def __init__(self, key_channels: int):
        super().__init__()
        self.key = nn.Linear(key_channels, key_channels, bias=False)
        self.sharpness = nn.Linear(key_channels, 1)
        nn.init.eye_(self.key.weight)
        nn.init.zeros_(self.sharpness.weight)
        nn.init.constant_(self.sharpness.bias, 10.0)

    def forward(self, pooled: Tensor, slots: Tensor) -> Tensor:
        """Address.

        Args:
            pooled: (B, 1, Ck) float32.
            slots: (B, 1, S, P, Ck).

        Returns:
            Log weights (B, 1, S) float32.
        """
        key, sharpness = self.key(pooled).float(), F.softplus(self.sharpness(pooled).float())
        cosine = F.cosine_similarity(key[:, :, None], slots.float().mean(3), dim=-1)
        return (sharpness * cosine).log_softmax(-1)


class EraseAdd(nn.Module):
    """M' = M * (1 - w e) + w a with e = sigmoid(W x + b) and a = W x of the new features x.

    At first e is .95 and a is x: a weight of 1 replaces a slot.

    Args:
        channels: C.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.erase = nn.Linear(channels, channels)
        self.add = nn.Linear(channels, channels, bias=False)
        nn.init.zeros_(self.erase.weight)
        nn.init.constant_(self.erase.bias, 3.0)
        nn.init.eye_(self.add.weight)

    def forward(self, memory: Tensor, new: Tensor, weight: Tensor) -> Tensor:
        """The new M (B, K, S, P, C) from M, new features (B, K, P, C) and weights (B, 1, S)."""
        new = new.to(self.add.weight.dtype)
        erase, add = self.erase(new).float().sigmoid()[:, :, None], self.add(new).float()[:, :, None]
        weight = weight[..., None, None]
        return (memory.float() * (1 - weight * erase) + weight * add).to(memory.dtype)


class NTMMemory(Memory[NTMState]):
    """S templates; each frame is written into all of them, mostly where its like is, or where nobody looks.

    The write weights are g w_content + (1 - g) w_least_used with a learned g. A read attends to all positions
    of all slots (L2), the log of the slots' read weights added to the affinity: a prior. The first frame
    fills every slot, the least used takes most of the second, and so on. An object that appears mid-video
    begins in every slot with what its first frame says about the slot's keys. There is no shift: slots have
    no order.

    Args:
        num_slots: S.
        key_channels: Ck.
        value_channels: Cv.
    """

    state_class = NTMState

    def __init__(self, num_slots: int = 5, key_channels: int = 64, value_channels: int = 256):
        super().__init__()
        if num_slots < 2:
            raise ValueError(f'NTMMemory.num_slots must be at least 2, got {num_slots}')
        self.num_slots = num_slots
        self.read_head, self.write_head = ContentAddress(key_channels), ContentAddress(key_channels)
        self.gate = nn.Linear(key_channels, 1)
        nn.init.zeros_(self.gate.weight)
        nn.init.constant_(self.gate.bias, -1.0)
        self.update_key, self.update_value = EraseAdd(key_channels), EraseAdd(value_channels)
        self.reader, self.affinity = DenseReader(), L2Affinity()

    def init(self, entry: Entry, seeds: tuple[int, ...] | None = None) -> NTMState:
        """Zeros, which the first entry replaces; ``seeds`` are not used."""
        ranks = torch.arange(self.num_slots, device=entry.key.device) * HEAD_START
        usage = ranks.repeat(entry.key.shape[0], 1, 1)
        return NTMState.with_slots(entry, self.num_slots, seeds, usage=usage)

    def read(self, state: NTMState, query: Query) -> tuple[Tensor, NTMState]:
        """The readout (B, O, P, Cv), and the state with its usage counted."""
        prior = self.read_head(query.key.float().mean(1, keepdim=True), state.key)
        with torch.autocast(state.key.device.type, enabled=False):
            q, k = self.affinity(Query(query.key.float()), state.key.flatten(2, 3).float())
            q = torch.cat([q, torch.ones_like(q[..., :1])], -1)  # one more channel adds the prior
            k = torch.cat([k, prior.repeat_interleave(state.key.shape[3], -1)[..., None]], -1)
            v = side_by_side(state.value.flatten(2, 3))[:, None].float()
            readout = F.scaled_dot_product_attention(q, k, v, scale=1.0)[:, 0]
        readout = by_object(readout, len(state.births)).to(state.value.dtype)
        return readout, dataclasses.replace(state, usage=state.usage + prior.detach().exp())

    def write(self, state: NTMState, entry: Entry) -> NTMState:
        """Write softly to all slots; a new state is made."""
        if state.step == 0:
            return self._fill(state, entry)
        weight = self.address(state, entry)
        return dataclasses.replace(
            state,
            key=self.update_key(state.key, entry.key, weight),
            value=self.update_value(self._known_values(state, entry), entry.value, weight),
            usage=DECAY * state.usage + weight.detach(),
            step=state.step + 1,
        )

    def address(self, state: NTMState, entry: Entry) -> Tensor:
        """The weights (B, 1, S) of a write; they sum to 1."""
        pooled = entry.key.float().mean(2)
        content = self.write_head(pooled, state.key).exp()
        share = self.gate(pooled).float().sigmoid()
        return share * content + (1 - share) * one_hot_max(-state.usage)

    def _fill(self, state: NTMState, entry: Entry) -> NTMState:
        everywhere = torch.ones_like(state.usage)
        return dataclasses.replace(
            state,
            key=self.update_key(state.key, entry.key, everywhere),
            value=self.update_value(state.value, entry.value, everywhere),
            step=state.step + 1,
        )

    def _known_values(self, state: NTMState, entry: Entry) -> Tensor:
        """The slots' values (B, O, S, P, Cv), those of objects that this entry is the first of included."""
        fresh = [index for index, birth in enumerate(state.births) if birth == state.step]
        if not fresh:
            return state.value
        value = state.value.clone()
        value[:, fresh] = value_of_maps(self.reader, state.key, entry.key, entry, fresh).to(value.dtype)
        return value
