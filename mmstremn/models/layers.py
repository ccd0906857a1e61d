"""The few layers that encoders and decoder share."""

import torch.nn.functional as F
from torch import Tensor, nn


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions, pre-activation, without norm (as STM, STCN and XMem have it).

    Args:
        in_channels: C.
        out_channels: C'; another number gets a projected shortcut.
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        same = in_channels == out_channels
        self.shortcut = nn.Identity() if same else nn.Conv2d(in_channels, out_channels, 1)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) to (N, C', h, w)."""
        return self.shortcut(x) + self.conv2(F.relu(self.conv1(F.relu(x))))


def to_positions(x: Tensor) -> Tensor:
    """(..., C, h, w) to (..., h * w, C)."""
    return x.flatten(-2).transpose(-1, -2)


def to_map(x: Tensor, grid: tuple[int, int]) -> Tensor:
    """(..., h * w, C) to (..., C, h, w)."""
    return x.transpose(-1, -2).unflatten(-1, grid)
