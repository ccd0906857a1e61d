"""A memory of feature maps: what a map lacks is read from the maps of the frames before it."""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmstremn.memory import Entry, MemoryState, Query
from mmstremn.models.key_encoder import FrameFeatures
from mmstremn.models.layers import to_map, to_positions
from mmstremn.models.rollout import advance, run_clip
from mmstremn.registry import build

BANDS = 4  # a coordinate enters the keys as sines and cosines of 1, 2, 4, 8 half periods
NEARNESS = 1.5  # initial weight of the place; by it a map of 8 x 8 positions is read within about one of them


class FeatureMemory(nn.Module):
    """Adds to a feature map what a memory holds of the frames before it.

    Per frame: a projection of the map is the frame's content; with keys from content and place the memory is
    read; a gate blends content and readout; the blend is stored as the frame's value, and a projection of
    what it differs by from the content is added to the map. That projection starts at zero: until it has
    learned the maps stay as they are. So does the first frame of every video. The keys' part that tells the
    place starts larger than the other: reading begins near where a position was.

    Args:
        channels: C of the maps.
        memory: Config of a memory; its widths are filled in.
        key_channels: Ck.
        value_channels: Cv.
        pool: Keys and values are taken from the map averaged over ``pool`` x ``pool`` positions. Reading
            costs the square of the number of positions.
    """

    def __init__(
        self, channels: int, memory: dict, key_channels: int = 64, value_channels: int = 128, pool: int = 1
    ):
        super().__init__()
        if pool < 1:
            raise ValueError(f'pool must be at least 1, got {pool}')
        self.pool = pool
        widths = dict(
            key_channels=key_channels, value_channels=value_channels, decoder_channels=value_channels
        )
        self.memory = build(memory, **widths)
        self.reduce = nn.Conv2d(channels, value_channels, 1)
        self.key = nn.Conv2d(value_channels, key_channels, 1)
        self.place = nn.Conv2d(4 * BANDS, key_channels, 1, bias=False)
        selective = self.memory.needs_selection
        self.selection = nn.Conv2d(value_channels, key_channels, 1) if selective else None
        self.shrinkage = nn.Conv2d(value_channels, 1, 1) if selective else None
        self.gate = nn.Conv2d(2 * value_channels, value_channels, 3, padding=1)
        self.out = nn.Conv2d(value_channels, channels, 1, bias=False)
        nn.init.orthogonal_(self.place.weight, gain=NEARNESS)
        nn.init.zeros_(self.out.weight)

    def clips(
        self, x: Tensor, length: int, seeds: tuple[int, ...] | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The maps of whole clips with what is remembered added; gradients go through the memory.

        Args:
            x: (N * T, C, h, w), the frames of a clip behind each other.
            length: T.
            seeds: One per clip, for memories that draw.

        Returns:
            The maps, and what the memory adds to the loss.
        """
        clip = MapClip(self.encode(x), length)
        penalty = run_clip(self, clip, seeds)
        blends = torch.stack(clip.blends, 1).flatten(0, 1)
        return x + self._change(blends, clip.features, x.shape[-2:]), penalty

    def step(self, x: Tensor, state: MemoryState | None) -> tuple[Tensor, MemoryState]:
        """One frame: the map (B, C, h, w) with what is remembered added, and the state after it; None starts
        a video."""
        features = self.encode(x)
        blend, after = advance(
            self, state, features, features if state is None else None, seeds=(0,) * len(x)
        )
        return x if state is None else x + self._change(blend, features, x.shape[-2:]), after

    def _change(self, blend: Tensor, features: FrameFeatures, size: tuple[int, int]) -> Tensor:
        change = self.out(blend - features.maps[0])
        return change if self.pool == 1 else F.interpolate(change, size, mode='bilinear', align_corners=False)

    # What rollout.advance asks for. The output of a frame is its blend (B, Cv, h, w).

    def encode(self, x: Tensor) -> FrameFeatures:
        """What is computed from maps (B, C, h, w) alone."""
        if self.pool > 1:
            x = F.avg_pool2d(x, self.pool, ceil_mode=True, count_include_pad=False)
        content = self.reduce(x)
        place = self.place(places(content.shape[-2:], content))
        query, shrinkage = Query(to_positions(self.key(content) + place)), None
        if self.selection is not None:
            query.selection = to_positions(self.selection(content)).sigmoid()
            shrinkage = to_positions(self.shrinkage(content)).squeeze(-1).square() + 1
        return FrameFeatures(x, (content,), query, shrinkage)

    def decode(self, readout: Tensor, features: FrameFeatures) -> Tensor:
        """The blend of a frame's content and of what was read, (B, 1, P, Cv)."""
        content = features.maps[0]
        read = to_map(readout[:, 0], features.grid).to(content.dtype)
        return torch.lerp(content, read, self.gate(torch.cat([content, read], 1)).sigmoid())

    def accept(self, output: Tensor | None, given: FrameFeatures) -> Tensor:
        """A first frame's blend is its content."""
        return given.maps[0]

    def encode_value(self, features: FrameFeatures, output: Tensor, prompted: bool) -> Entry:
        """What the frame offers to the memory: its keys and its blend, as those of one object."""
        shrinkage = None if features.shrinkage is None else features.shrinkage[:, None]
        return Entry(
            features.query.key[:, None], to_positions(output)[:, None], features.grid, shrinkage, prompted
        )


@dataclass
class MapClip:
    """T feature maps.

    Attributes:
        features: Of all frames, as one batch (N * T, ...).
        length: T.
        blends: (N, Cv, h, w) of each frame so far.
    """

    features: FrameFeatures
    length: int
    blends: list[Tensor] = field(default_factory=list)

    def frame(self, index: int) -> tuple[FrameFeatures, FrameFeatures | None]:
        """The features of a frame; those of the first begin the memory."""
        features = self.features.frame(index, self.length)
        return features, None if index else features

    def take(self, output: Tensor) -> None:
        """Keep the blend of a frame."""
        self.blends.append(output)


def places(size: tuple[int, int], like: Tensor) -> Tensor:
    """(1, 4 * BANDS, h, w): sines and cosines of the rows and columns of a map, in the type of ``like``."""
    axes = []
    for length, dim in zip(size, (-1, -2), strict=True):
        share = (torch.arange(length, device=like.device) + 0.5) / length
        phases = torch.pi * share * 2 ** torch.arange(BANDS, device=like.device)[:, None]
        waves = torch.cat([phases.sin(), phases.cos()])
        axes.append(waves.unsqueeze(dim).expand(-1, *size))
    return torch.cat(axes)[None].to(like.dtype)
