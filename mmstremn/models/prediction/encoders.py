"""What video prediction encodes windows and frames with: convolutions or plain patches."""

import torch.nn.functional as F
from torch import Tensor, nn

from mmstremn.models.layers import ResidualBlock
from mmstremn.registry import MODELS


@MODELS.register_module()
class ConvBackbone(nn.Module):
    """Residual blocks, each level at half the size of the one before.

    Args:
        in_channels: C.
        widths: Of the levels at strides p, 2 p, 4 p, ...
        patch: p; the first level sees patches of p x p pixels as channels.

    Attributes:
        channels: Of the maps, coarsest first.
        patch: p.

    Raises:
        ValueError: ``patch`` is below 1.
    """

    def __init__(self, in_channels: int = 3, widths: tuple[int, ...] = (32, 64, 128), patch: int = 1):
        super().__init__()
        if patch < 1:
            raise ValueError(f'ConvBackbone.patch must be at least 1, got {patch}')
        self.channels, self.patch = tuple(reversed(widths)), patch
        inputs = (in_channels * patch**2, *widths[:-1])
        strides = (1, *(2,) * (len(widths) - 1))
        self.down = nn.ModuleList(
            nn.Conv2d(a, b, 3, stride, padding=1)
            for a, b, stride in zip(inputs, widths, strides, strict=True)
        )
        self.blocks = nn.ModuleList(ResidualBlock(width, width) for width in widths)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """(B, C, H, W) to maps (B, C', H / s, W / s), coarsest first."""
        image = F.pixel_unshuffle(image, self.patch)
        maps: list[Tensor] = []
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
