"""One matrix per object for the whole past: the global context of Li, Shen and Shan (ECCV 2020)."""

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from mmstremn.memory.base import Memory
from mmstremn.memory.buffers import to_device
from mmstremn.memory.state import Entry, MemoryState, Query


@dataclass
class GlobalContextState(MemoryState):
    """The mean of the contexts of all frames.

    Attributes:
        context: (B, O, Ck, Cv) float32, zero before an object's first frame.
        dtype: Name of the values' type, in which readouts are given.
    """

    context: Tensor
    dtype: str

    object_fields = {'context': 0}


class GlobalContextMemory(Memory[GlobalContextState]):
    """Each channel of the key is an attention map over the frame, and gathers one row of the context.

    GC (Li, Shen, Shan, "Fast Video Object Segmentation using the Global Context Module", ECCV 2020): a
    frame's context is C = K^T V (Ck x Cv), the global context the mean of all C, and the readout Q times it.
    The normalisation is that of the efficient attention it builds on (Shen et al., WACV 2021): the softmax of
    a key channel over the positions of its frame, the softmax of a query over its channels. So a readout is a
    convex combination of stored values. Neither the paper's own text nor public code was at hand to check the
    normalisation against. Nothing is learned here.
    """

    state_class = GlobalContextState

    def init(self, entry: Entry, seeds: tuple[int, ...] | None = None) -> GlobalContextState:
        """An empty context; ``seeds`` are not used."""
        batch, objects, _, value_channels = entry.value.shape
        context = entry.value.new_zeros(
            batch, objects, entry.key.shape[-1], value_channels, dtype=torch.float32
        )
        dtype = str(entry.value.dtype).removeprefix('torch.')
        return GlobalContextState.for_objects_of(entry, seeds, context=context, dtype=dtype)

    def read(self, state: GlobalContextState, query: Query) -> tuple[Tensor, GlobalContextState]:
        """The readout (B, O, P, Cv); reading leaves no trace."""
        with torch.autocast(query.key.device.type, enabled=False):
            readout = torch.einsum('bpk,bokv->bopv', query.key.float().softmax(-1), state.context)
        return readout.to(getattr(torch, state.dtype)), state

    def write(self, state: GlobalContextState, entry: Entry) -> GlobalContextState:
        """The mean with the entry's context: all frames since an object's first count the same."""
        with torch.autocast(entry.key.device.type, enabled=False):
            attention = entry.key[:, 0].float().softmax(1)  # (B, P, Ck)
            context = torch.einsum('bpk,bopv->bokv', attention, entry.value.float())
        weights = to_device([1 / (state.step - birth + 1) for birth in state.births], context)
        context = state.context + (context - state.context) * weights[:, None, None]
        return dataclasses.replace(state, context=context, step=state.step + 1)
