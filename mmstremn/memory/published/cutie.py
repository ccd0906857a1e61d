"""Cutie's memory: any memory of pixels, a sensory state, and a few summaries of each object."""

import dataclasses
import functools
from typing import Any

import torch
from torch import Tensor, nn

from mmstremn.memory.base import Memory
from mmstremn.memory.encoding import encode_places
from mmstremn.memory.published.sensory import SensoryCell, follow_decoder
from mmstremn.memory.published.xmem import TwoLevelMemory
from mmstremn.memory.state import Entry, MemoryState, Query

SMALLEST_AREA = 1e-4


class SensoryMemory(nn.Module):
    """A map of each object that follows the decoder every frame, and the values of stored frames.

    Cutie and XMem; checked against hkchengrex/Cutie model/modules.py.

    Args:
        channels: Ch.
        value_channels: Cv.
        decoder_channels: Of ``extras['decoded']``.

    Raises:
        ValueError: ``channels`` is below 1.
    """

    def __init__(self, channels: int = 256, value_channels: int = 256, decoder_channels: int = 256):
        super().__init__()
        if channels < 1:
            raise ValueError(f'SensoryMemory.channels must be at least 1, got {channels}')
        self.channels = channels
        self.from_decoded = SensoryCell(decoder_channels, channels)
        self.from_value = SensoryCell(value_channels, channels)

    def empty(self, entry: Entry) -> Tensor:
        """Zeros (B, O, P, Ch)."""
        return self.from_value.gates.weight.new_zeros(*entry.value.shape[:3], self.channels)


class ObjectMemory(nn.Module):
    """N summaries of each object: averages of features under weights that a network gives to positions.

    Cutie, section 3.3; checked against hkchengrex/Cutie model/transformer/object_summarizer.py. The first
    half of the summaries looks at the object, the second half at what is not the object. A summary is held as
    a sum of features and the sum of their weights, to which stored frames add: its size stays the same.

    Args:
        num_summaries: N, even.
        channels: C of a summary, a multiple of 4.
        value_channels: Cv.

    Raises:
        ValueError: ``num_summaries`` is odd or below 2, or ``channels`` no multiple of 4.
    """

    def __init__(self, num_summaries: int = 16, channels: int = 256, value_channels: int = 256):
        super().__init__()
        if num_summaries < 2 or num_summaries % 2:
            raise ValueError(f'ObjectMemory.num_summaries must be even and at least 2, got {num_summaries}')
        if channels < 4 or channels % 4:
            raise ValueError(f'ObjectMemory.channels must be a multiple of 4, got {channels}')
        self.num_summaries, self.channels = num_summaries, channels
        self.project = nn.Linear(value_channels, channels)
        self.feature = _perceptron(channels, channels)
        self.weight = _perceptron(channels, num_summaries)

    def empty(self, entry: Entry) -> Tensor:
        """Zeros (B, O, N, C + 1)."""
        size = (*entry.value.shape[:2], self.num_summaries, self.channels + 1)
        return self.project.weight.new_zeros(size)

    def forward(self, entry: Entry) -> Tensor:
        """What an entry adds to the sums (B, O, N, C + 1): of features, and last of their weights."""
        place = encode_places(entry.grid, self.channels, device=entry.value.device)
        value = self.project(entry.value.to(self.project.weight.dtype)) + place
        mask = mask_of(entry).to(value.dtype)[..., None]
        half = self.num_summaries // 2
        inside = torch.cat([mask.expand(-1, -1, -1, half), (1 - mask).expand(-1, -1, -1, half)], -1)
        weight = self.weight(value).sigmoid() * inside  # (B, O, P, N)
        sums = torch.einsum('bopn,bopc->bonc', weight, self.feature(value))
        return torch.cat([sums, weight.sum(2)[..., None]], -1)

    def average(self, sums: Tensor) -> Tensor:
        """The summaries (B, O, N, C) that sums (B, O, N, C + 1) hold."""
        return sums[..., :-1] / (sums[..., -1:] + SMALLEST_AREA)


def _perceptron(channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(channels, channels), nn.ReLU(), nn.Linear(channels, out_channels))


def mask_of(entry: Entry) -> Tensor:
    """(B, O, P) share of each position that the object covers; everything where the entry has no masks."""
    mask = entry.extras.get('mask')
    return torch.ones_like(entry.value[..., 0]) if mask is None else mask


@functools.cache
def cutie_state_of(state_class: type[MemoryState]) -> Any:
    """The class of states of ``state_class`` that also hold what :class:`CutieMemory` holds.

    Further fields:

    - ``sensory_map``: (B, O, P, Ch), or None.
    - ``last_mask``: (B, O, P) share of each position that the object covers in the latest frame, or None.
    - ``summary_sums``: (B, O, N, C + 1), or None.
    """
    own = dict(sensory_map=Tensor | None, last_mask=Tensor | None, summary_sums=Tensor | None)
    extended = dataclasses.make_dataclass(
        f'Cutie{state_class.__name__}',
        own.items(),
        bases=(state_class,),
        namespace=dict(object_fields=state_class.object_fields | dict.fromkeys(own, 0), __module__=__name__),
        kw_only=True,
    )
    torch.export.register_dataclass(extended)
    return extended


class CutieMemory(Memory[Any]):
    """A memory of pixels with a sensory state and a summary of each object beside it.

    Cutie (Cheng et al., CVPR 2024, arXiv 2310.12982); checked against hkchengrex/Cutie
    inference/memory_manager.py. A read gives the readout of the pixel memory. With a sensory memory further
    channels follow, for ``PixelFuser``: its state, the object's mask in the previous frame and that of all
    other objects. :meth:`object_tokens` gives the summaries, for ``ObjectTransformer``.

    Sensory state and masks follow every frame. Values enter the sensory state and the summaries on frames
    that are stored: those that the pixel memory wants, prompted ones, and in training all.

    Args:
        pixel_memory: Any memory; :class:`TwoLevelMemory` without a sensory state by default.
        sensory_memory: :class:`SensoryMemory`, or None.
        object_memory: :class:`ObjectMemory`, or None.
    """

    state_class: type[Any] = MemoryState

    def __init__(
        self,
        pixel_memory: Memory[Any] | None = None,
        sensory_memory: SensoryMemory | None = None,
        object_memory: ObjectMemory | None = None,
    ):
        super().__init__()
        self.pixel_memory: Memory[Any] = pixel_memory or TwoLevelMemory(sensory_channels=0)
        self.sensory_memory, self.object_memory = sensory_memory, object_memory
        self.per_object_key, self.bounded = self.pixel_memory.per_object_key, self.pixel_memory.bounded
        pixel_states: Any = self.pixel_memory.state_class  # mypy: a class of unhashable objects is hashable
        self.state_class = cutie_state_of(pixel_states)
        self.follows_masks = sensory_memory is not None

    @property
    def needs_selection(self) -> bool:
        """As the pixel memory."""
        return self.pixel_memory.needs_selection

    def init(self, entry: Entry, seeds: tuple[int, ...] | None = None) -> Any:
        """An empty state."""
        state = self.pixel_memory.init(entry, seeds)
        return self.state_class(
            **state.by_name(),
            sensory_map=self.sensory_memory and self.sensory_memory.empty(entry),
            last_mask=self.sensory_memory and torch.zeros_like(mask_of(entry)),
            summary_sums=self.object_memory and self.object_memory.empty(entry),
        )

    def read(self, state: Any, query: Query) -> tuple[Tensor, Any]:
        """The readout (B, O, P, Cv), with a sensory memory (B, O, P, Cv + Ch + 2), and the state that the
        pixel memory leaves."""
        readout, state = self.pixel_memory.read(state, query)
        if self.sensory_memory is None:
            return readout, state
        mask = state.last_mask
        others = (mask.sum(1, keepdim=True) - mask).clamp(0, 1)
        further = state.sensory_map, mask[..., None], others[..., None]
        return torch.cat([readout, *(x.to(readout.dtype) for x in further)], -1), state

    def object_tokens(self, state: Any) -> Tensor:
        """The objects' summaries (B, O, N, C); without an object memory the tokens of the pixel memory."""
        if self.object_memory is None:
            return self.pixel_memory.object_tokens(state)
        return self.object_memory.average(state.summary_sums)

    def distance(self, state: Any, query: Query) -> Tensor:
        """As the pixel memory."""
        return self.pixel_memory.distance(state, query)

    def timeline(self, state: Any) -> Tensor | None:
        """As the pixel memory."""
        return self.pixel_memory.timeline(state)

    def wants(self, state: Any) -> bool:
        """As the pixel memory."""
        return self.pixel_memory.wants(state)

    def write(self, state: Any, entry: Entry) -> Any:
        """Offer an entry; without gradients ``state`` may be changed."""
        stored = entry.prompted or self.training or self.wants(state)
        sensory, sums = self._follow(state, entry.extras.get('decoded')), state.summary_sums
        if stored and self.sensory_memory is not None:
            sensory = self.sensory_memory.from_value(entry.value, sensory, state.grid)
        if stored and self.object_memory is not None:
            sums = sums + self.object_memory(entry)
        mask = state.last_mask if self.sensory_memory is None else mask_of(entry).to(state.last_mask.dtype)
        state = self.pixel_memory.write(state, entry)
        return dataclasses.replace(state, sensory_map=sensory, last_mask=mask, summary_sums=sums)

    def pass_over(self, state: Any, decoded: Tensor | None = None, mask: Tensor | None = None) -> Any:
        """The state after a frame whose entry was not wanted; sensory state and masks follow it."""
        sensory = self._follow(state, decoded)
        mask = state.last_mask if mask is None else mask.to(state.last_mask.dtype)
        state = self.pixel_memory.pass_over(state, decoded)
        return dataclasses.replace(state, sensory_map=sensory, last_mask=mask)

    def _follow(self, state: Any, decoded: Tensor | None) -> Tensor | None:
        """The sensory state after the decoder's features."""
        if self.sensory_memory is None or decoded is None:
            return state.sensory_map
        return follow_decoder(self.sensory_memory.from_decoded, state.sensory_map, decoded, state)

    def penalty(self, state: Any) -> dict[str, Tensor]:
        """As the pixel memory."""
        return self.pixel_memory.penalty(state)

    def untrained_parts(self, state: Any) -> dict[str, str]:
        """As the pixel memory."""
        return self.pixel_memory.untrained_parts(state)
