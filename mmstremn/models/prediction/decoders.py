"""From readouts to frames: convolutions or plain patches."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmstremn.models.layers import ResidualBlock, size_of, to_map, to_positions
from mmstremn.registry import MODELS


@dataclass
class Prediction:
    """A frame.

    Attributes:
        predicted: (B, C, H, W), not clipped; None for the first frame of all.
        taken: (B, C, H, W) what the video goes on from: what was predicted or what was given.
        decoded: (B, 1, P, C') the decoder's features; None for the first frame.
    """

    predicted: Tensor | None
    taken: Tensor
    decoded: Tensor | None = None


@MODELS.register_module()
class FrameDecoder(nn.Module):
    """Joins the readout with the window's maps, from the coarsest to the finest.

    Args:
        value_channels: Cv.
        feature_channels: Of the window's maps, coarsest first.
        channels: Widths at the same strides; None: those of the maps.
        frame_channels: C of a frame.
        patch: p, stride of the finest map.

    Attributes:
        decoded_channels: Of the features handed on.
    """

    def __init__(
        self,
        value_channels: int = 128,
        feature_channels: tuple[int, ...] = (128, 64, 32),
        channels: tuple[int, ...] | None = None,
        frame_channels: int = 1,
        patch: int = 1,
    ):
        super().__init__()
        self.patch = patch
        channels = tuple(channels or feature_channels)
        self.decoded_channels = channels[0]
        self.join = ResidualBlock(value_channels + feature_channels[0], channels[0])
        self.narrow = nn.ModuleList(
            nn.Conv2d(a + f, b, 1)
            for a, f, b in zip(channels, feature_channels[1:], channels[1:], strict=False)
        )
        self.blocks = nn.ModuleList(ResidualBlock(c, c) for c in channels[1:])
        self.predict = nn.Conv2d(channels[-1], frame_channels * patch**2, 3, padding=1)

    def forward(self, readout: Tensor, maps: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Decode.

        Args:
            readout: (B, 1, P, Cv).
            maps: (B, C', h, w), coarsest first; the finest is that of p x p pixels a position.

        Returns:
            A frame (B, C, H, W), and the features (B, 1, P, channels[0]) it was made from.
        """
        x = to_map(readout[:, 0], size_of(maps[0]))
        x = joined = self.join(torch.cat([x, maps[0]], 1))
        for narrow, block, feature in zip(self.narrow, self.blocks, maps[1:], strict=True):
            x = F.interpolate(x, feature.shape[-2:], mode='bilinear', align_corners=False)
            x = block(narrow(torch.cat([x, feature], 1)))
        return F.pixel_shuffle(self.predict(F.relu(x)), self.patch), to_positions(joined)[:, None]


@MODELS.register_module()
class PatchDecoder(nn.Module):
    """The readout's channels as patches of a frame, no weights: the inverse of :class:`PatchBackbone`.

    Args:
        value_channels: p p C.
        frame_channels: C.

    Attributes:
        decoded_channels: Of the features handed on.
    """

    def __init__(self, value_channels: int = 16, frame_channels: int = 1):
        super().__init__()
        self.decoded_channels = value_channels
        self.patch = round((value_channels / frame_channels) ** 0.5)
        if self.patch**2 * frame_channels != value_channels:
            raise ValueError(
                f'PatchDecoder.value_channels must be p * p * frame_channels ({frame_channels}), got '
                f'{value_channels}'
            )

    def forward(self, readout: Tensor, maps: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """As in :class:`FrameDecoder`; the features are the readout."""
        p = self.patch
        x = to_map(readout[:, 0], size_of(maps[0]))
        x = x.unflatten(1, (p, p, -1)).permute(0, 3, 4, 1, 5, 2)  # (B, C, h, p, w, p)
        return x.flatten(4).flatten(2, 3), readout
