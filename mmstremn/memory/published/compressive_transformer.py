"""A queue of frames whose outgoing frame is compressed into a second queue.

The Compressive Transformer (Rae et al., "Compressive Transformers for Long-Range Sequence Modelling", ICLR
2020, section 3), with frames in place of segments of text: the compression of rate 4 is a 2 x 2 window over
positions.
"""

import dataclasses
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmstremn.memory.affinity import L2Affinity
from mmstremn.memory.base import Memory
from mmstremn.memory.buffers import birth_groups, by_object, put, side_by_side
from mmstremn.memory.state import Entry, MemoryState, Query

SIDE = 2  # of the window that becomes one position
MODES = ('conv', 'mean', 'max')


@dataclass
class CompressiveState(MemoryState):
    """The last S frames, and in a coarser grid the M before them; P' = ceil(h / 2) * ceil(w / 2).

    Frame t lies in slot t mod S, and once compressed in slot t mod M: what a slot holds follows from
    ``step``.

    Attributes:
        key: (B, 1, S, P, Ck), zero where empty, as all that follow.
        value: (B, O, S, P, Cv).
        small_key: (B, 1, M, P', Ck).
        small_value: (B, O, M, P', Cv).
    """

    key: Tensor
    value: Tensor
    small_key: Tensor
    small_value: Tensor

    object_fields = {'value': 0, 'small_value': 0}

    def frames(self) -> Tensor:
        """(S * P + M * P',) long: the frame that each position belongs to, negative where empty."""

        def stamps(last: int, tensor: Tensor) -> Tensor:
            slots = torch.arange(tensor.shape[2], device=tensor.device)
            return (last - (last - slots) % len(slots)).repeat_interleave(tensor.shape[3])

        last = self.step - 1
        return torch.cat([stamps(last, self.key), stamps(last - self.key.shape[2], self.small_key)])


class Compression(nn.Module):
    """2 x 2 positions become one. A grid that 2 does not divide is continued by its last row or column.

    Args:
        channels: C.
        mode: ``'conv'``: learned, a mean at first, without bias (zero stays zero); ``'mean'``; ``'max'``.
    """

    def __init__(self, channels: int, mode: str = 'conv'):
        super().__init__()
        self.mode = mode
        if mode == 'conv':
            self.conv = nn.Conv2d(channels, channels, SIDE, stride=SIDE, bias=False)
            with torch.no_grad():
                self.conv.weight.copy_(
                    torch.eye(channels)[..., None, None].expand_as(self.conv.weight) / SIDE**2
                )

    def forward(self, tensor: Tensor, grid: tuple[int, int]) -> Tensor:
        """Map (B, K, P, C) on the grid (h, w) to (B, K, P', C) of the same type."""
        image = tensor.flatten(0, 1).transpose(1, 2).unflatten(2, grid)
        image = F.pad(image, (0, -grid[1] % SIDE, 0, -grid[0] % SIDE), mode='replicate')
        if self.mode == 'conv':
            image = self.conv(image.to(self.conv.weight.dtype))
        else:
            image = (F.avg_pool2d if self.mode == 'mean' else F.max_pool2d)(image, SIDE)
        return image.flatten(2).transpose(1, 2).unflatten(0, tensor.shape[:2]).to(tensor.dtype)


class CompressiveMemory(Memory[CompressiveState]):
    """A read attends to the last S frames, and to the M before them at a quarter of the positions.

    By default as many bytes as five frames, for eleven. The compression learns from the loss of the task
    alone.

    Args:
        num_slots: S.
        num_compressed: M.
        mode: How 2 x 2 positions become one: ``'conv'`` (learned), ``'mean'`` or ``'max'``.
        key_channels: Ck.
        value_channels: Cv.
    """

    state_class = CompressiveState

    def __init__(
        self,
        num_slots: int = 3,
        num_compressed: int = 8,
        mode: str = 'conv',
        key_channels: int = 64,
        value_channels: int = 256,
    ):
        super().__init__()
        for name, number in (('num_slots', num_slots), ('num_compressed', num_compressed)):
            if number < 1:
                raise ValueError(f'CompressiveMemory.{name} must be at least 1, got {number}')
        if mode not in MODES:
            raise ValueError(f"CompressiveMemory.mode must be one of {MODES}, got '{mode}'")
        self.num_slots, self.num_compressed = num_slots, num_compressed
        self.compress_key = Compression(key_channels, mode)
        self.compress_value = Compression(value_channels, mode)
        self.affinity = L2Affinity()

    def init(self, entry: Entry, seeds: tuple[int, ...] | None = None) -> CompressiveState:
        """Empty queues; ``seeds`` are not used."""
        small = -(-entry.grid[0] // SIDE) * -(-entry.grid[1] // SIDE)

        def zeros(tensor: Tensor, slots: int, positions: int) -> Tensor:
            return tensor.new_zeros(*tensor.shape[:2], slots, positions, tensor.shape[3])

        return CompressiveState.for_objects_of(
            entry,
            seeds,
            key=zeros(entry.key, self.num_slots, entry.key.shape[2]),
            value=zeros(entry.value, self.num_slots, entry.key.shape[2]),
            small_key=zeros(entry.key, self.num_compressed, small),
            small_value=zeros(entry.value, self.num_compressed, small),
        )

    def read(self, state: CompressiveState, query: Query) -> tuple[Tensor, CompressiveState]:
        """The readout (B, O, P, Cv); the state stays as it is."""
        key = torch.cat([state.key.flatten(2, 3), state.small_key.flatten(2, 3)], 2)
        value = torch.cat([state.value.flatten(2, 3), state.small_value.flatten(2, 3)], 2)
        frames, readouts = state.frames(), []
        with torch.autocast(key.device.type, enabled=False):
            q, k = self.affinity(Query(query.key.float()), key.float())
            for birth, members in birth_groups(state.births):
                values = value[:, members]
                mask = (frames >= birth).expand(1, 1, q.shape[2], -1)
                v = side_by_side(values)[:, None].float()
                out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=1.0)
                readouts.append(by_object(out[:, 0], values.shape[1]))
        return torch.cat(readouts, 1).to(value.dtype), state

    def untrained_parts(self, state: CompressiveState) -> dict[str, str]:
        """The compression, if no frame left the first queue."""
        if state.step > self.num_slots or not any(p.requires_grad for p in self.parameters()):
            return {}
        return {'compression': f'{state.step} frames written, {self.num_slots} slots, none compressed'}

    def write(self, state: CompressiveState, entry: Entry) -> CompressiveState:
        """Offer an entry. Without gradients the tensors of ``state`` are changed."""
        slot, small_key, small_value = state.step % self.num_slots, state.small_key, state.small_value
        if state.step >= self.num_slots:
            place = (state.step - self.num_slots) % self.num_compressed
            small_key = put(
                small_key, place, self.compress_key(state.key[:, :, slot], state.grid).unsqueeze(2)
            )
            small_value = put(
                small_value, place, self.compress_value(state.value[:, :, slot], state.grid).unsqueeze(2)
            )
        return dataclasses.replace(
            state,
            key=put(state.key, slot, entry.key.unsqueeze(2)),
            value=put(state.value, slot, entry.value.unsqueeze(2)),
            small_key=small_key,
            small_value=small_value,
            step=state.step + 1,
        )
