"""What video prediction encodes windows and frames with, and decodes readouts with: convolutions or plain
patches."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmstremn.models.layers import ResidualBlock, to_map, to_positions
from mmstremn.registry import MODELS


@MODELS.register_module()
class ConvBackbone(nn.Module):
    """Residual blocks, each level at half the size of the one before.

    Args:
        in_channels: C.
        widths: Of the levels at strides 1, 2, 4, ...

    Attributes:
        channels: Of the maps, coarsest first.
    """

    def __init__(self, in_channels: int = 3, widths: tuple[int, ...] = (32, 64, 128)):
        super().__init__()
        self.channels = tuple(reversed(widths))
        inputs = (in_channels, *widths[:-1])
        strides = (1, *(2,) * (len(widths) - 1))
        self.down = nn.ModuleList(
            nn.Conv2d(a, b, 3, stride, padding=1)
            for a, b, stride in zip(inputs, widths, strides, strict=True)
        )
        self.blocks = nn.ModuleList(ResidualBlock(width, width) for width in widths)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """(B, C, H, W) to maps (B, C', H / s, W / s), coarsest first."""
        maps = []
        for down, block in zip(self.down, self.blocks, strict=True):
            image = block(down(F.relu(image) if maps else image))
            maps.append(image)
        return tuple(reversed(maps))


@MODELS.register_module()
class PatchBackbone(nn.Module):
    """Patches of the newest frame as channels, no weights: what ConvLSTM, PredRNN and E3D-LSTM are fed with.

    The channels are ordered as a frame of (H / p, p, W / p, p, C) flattened to (H / p, W / p, p p C) has them
    (thuml/predrnn-pytorch core/utils/preprocess.py).

    Args:
        in_channels: Of the window that comes in.
        patch: p.
        frame_channels: C; of the window only the last ones are used. None: all.
    """

    def __init__(self, in_channels: int = 1, patch: int = 4, frame_channels: int | None = None):
        super().__init__()
        self.patch, self.frame_channels = patch, frame_channels or in_channels
        self.channels = (patch * patch * self.frame_channels,)

    def forward(self, image: Tensor) -> tuple[Tensor]:
        """(B, C', H, W) to (B, p p C, H / p, W / p)."""
        p = self.patch
        frame = (
            image[:, -self.frame_channels :].unflatten(3, (-1, p)).unflatten(2, (-1, p))
        )  # (B, C, h, p, w, p)
        return (frame.permute(0, 3, 5, 1, 2, 4).flatten(1, 3),)


@MODELS.register_module()
class FrameDecoder(nn.Module):
    """Joins the readout with the window's maps, from the coarsest to the finest.

    Args:
        value_channels: Cv.
        feature_channels: Of the window's maps, coarsest first.
        channels: Widths at the same strides; None: those of the maps.
        frame_channels: C of a frame.

    Attributes:
        decoded_channels: Of the features handed on.
    """

    def __init__(
        self,
        value_channels: int = 128,
        feature_channels: tuple[int, ...] = (128, 64, 32),
        channels: tuple[int, ...] | None = None,
        frame_channels: int = 1,
    ):
        super().__init__()
        channels = tuple(channels or feature_channels)
        self.decoded_channels = channels[0]
        self.join = ResidualBlock(value_channels + feature_channels[0], channels[0])
        self.narrow = nn.ModuleList(
            nn.Conv2d(a + f, b, 1)
            for a, f, b in zip(channels, feature_channels[1:], channels[1:], strict=False)
        )
        self.blocks = nn.ModuleList(ResidualBlock(c, c) for c in channels[1:])
        self.predict = nn.Conv2d(channels[-1], frame_channels, 3, padding=1)

    def forward(self, readout: Tensor, maps: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Decode.

        Args:
            readout: (B, 1, P, Cv).
            maps: (B, C', h, w), coarsest first; the finest has the size of a frame.

        Returns:
            A frame (B, C, H, W), and the features (B, 1, P, channels[0]) it was made from.
        """
        x = to_map(readout[:, 0], tuple(maps[0].shape[-2:]))
        x = joined = self.join(torch.cat([x, maps[0]], 1))
        for narrow, block, feature in zip(self.narrow, self.blocks, maps[1:], strict=True):
            x = F.interpolate(x, feature.shape[-2:], mode='bilinear', align_corners=False)
            x = block(narrow(torch.cat([x, feature], 1)))
        return self.predict(F.relu(x)), to_positions(joined)[:, None]


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
        x = to_map(readout[:, 0], tuple(maps[0].shape[-2:]))
        x = x.unflatten(1, (p, p, -1)).permute(0, 3, 4, 1, 5, 2)  # (B, C, h, p, w, p)
        return x.flatten(4).flatten(2, 3), readout
