"""Alignment: the slots' contents are moved to where the query has them, then read as usual."""

import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmstremn.memory.readers import places
from mmstremn.memory.slots.slot_state import SlotState
from mmstremn.memory.state import Query


class DeformableAlign(nn.Module):
    """A small network predicts, from the query's key and a slot's, where the slot is sampled.

    The offsets are zero before anything is learned, so at first the slots are read as they are. They follow
    from keys alone: all objects of a key group share them. In the manner of TDAN (Tian et al., CVPR 2020),
    with one bilinear sample per position instead of a deformable convolution. A read costs O(S P (9 Ck C + 9
    C + 4 (Ck + O Cv))) more, where the dense reader costs O(S P^2 (Ck + O Cv)), and holds two more copies of
    the slots while it lasts.

    Args:
        key_channels: Ck.
        channels: C, the width of the network.
    """

    def __init__(self, key_channels: int = 64, channels: int = 32):
        super().__init__()
        if channels < 1:
            raise ValueError(f'DeformableAlign.channels must be at least 1, got {channels}')
        self.from_query = nn.Conv2d(key_channels, channels, 3, padding=1)
        self.from_slot = nn.Conv2d(key_channels, channels, 3, padding=1, bias=False)
        self.to_offset = nn.Conv2d(channels, 2, 3, padding=1)
        for parameter in self.to_offset.parameters():
            nn.init.zeros_(parameter)

    def forward(self, state: SlotState, query: Query) -> SlotState:
        """The state with key, value and shrinkage sampled.

        Args:
            state: Key (B, G, S, P, Ck), value (B, O, S, P, Cv).
            query: Key (B, P, Ck).
        """
        with torch.autocast(state.key.device.type, enabled=False):
            offset = self.offsets(state, query)
            key, value = (sample(content, offset, state.grid) for content in (state.key, state.value))
            shrinkage = state.shrinkage
            if shrinkage is not None:
                shrinkage = sample(shrinkage[..., None], offset, state.grid)[..., 0]
            return dataclasses.replace(state, key=key, value=value, shrinkage=shrinkage)

    def offsets(self, state: SlotState, query: Query) -> Tensor:
        """Offsets (B, G, S, P, 2) in positions, x then y, at which the slot shows what the query does."""
        lead = state.key.shape[:3]
        ours = self.from_query(_maps(query.key.float(), state.grid))  # (B, C, h, w)
        theirs = self.from_slot(_maps(state.key.float().flatten(0, 2), state.grid))  # (B * G * S, C, h, w)
        hidden = F.relu(ours[:, None, None] + theirs.unflatten(0, lead)).flatten(0, 2)
        return self.to_offset(hidden).flatten(2).transpose(1, 2).unflatten(0, lead)


def sample(content: Tensor, offset: Tensor, grid: tuple[int, int]) -> Tensor:
    """What lies ``offset`` away from each position, bilinearly; beyond the border the border's content.

    Args:
        content: (B, N, S, P, C); N is G or a multiple of it (all objects of a group side by side).
        offset: (B, G, S, P, 2) in positions, x then y.
        grid: (h, w).

    Returns:
        (B, N, S, P, C) in the content's type.
    """
    (batch, groups, slots), (height, width) = offset.shape[:3], grid
    x, y = (offset + places(grid, offset.device).flip(-1)).unbind(-1)
    place = torch.stack([(2 * x + 3) / (width + 2), (2 * y + 3) / (height + 2)], -1) - 1  # edges: -1, 1
    maps = content.float().unflatten(1, (groups, -1)).permute(0, 1, 3, 2, 5, 4)  # (B, G, S, N / G, C, P)
    maps = maps.reshape(batch * groups * slots, -1, height, width)
    maps = F.pad(
        maps, (1, 1, 1, 1), mode='replicate'
    )  # on the very border grid_sample gives an offset no gradient
    out = F.grid_sample(maps, place.reshape(-1, height, width, 2), padding_mode='border', align_corners=False)
    out = out.view(batch, groups, slots, -1, content.shape[-1], height * width).permute(0, 1, 3, 2, 5, 4)
    return out.flatten(1, 2).to(content.dtype)


def _maps(key: Tensor, grid: tuple[int, int]) -> Tensor:
    """(N, P, C) to (N, C, h, w)."""
    return key.transpose(1, 2).unflatten(2, tuple(grid))
