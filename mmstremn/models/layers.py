"""The few layers that encoders and decoder share."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions, pre-activation, without norm (as STM, STCN and XMem have it).

    Args:
        in_channels: C.
        out_channels: C'; another number gets a projected shortcut.
        shortcut_size: Kernel of the projected shortcut; 3 in the public code of all three.
        hidden_channels: Between the two convolutions; C' if None.
    """

    def __init__(
        self, in_channels: int, out_channels: int, shortcut_size: int = 1, hidden_channels: int | None = None
    ):
        super().__init__()
        hidden = hidden_channels or out_channels
        same = in_channels == out_channels
        padding = shortcut_size // 2
        self.shortcut: nn.Conv2d | nn.Identity = (
            nn.Identity() if same else nn.Conv2d(in_channels, out_channels, shortcut_size, padding=padding)
        )
        self.conv1 = nn.Conv2d(in_channels, hidden, 3, padding=1)
        self.conv2 = nn.Conv2d(hidden, out_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) to (N, C', h, w)."""
        return self.shortcut(x) + self.conv2(F.relu(self.conv1(F.relu(x))))

    def join(self, shared: Tensor) -> Callable[[Tensor], Tensor]:
        """The block for channels of objects joined with ``shared`` ones, which are convolved only once.

        Args:
            shared: (B, C2, h, w).

        Returns:
            Maps (B * O, C1, h, w), C1 + C2 = C, to (B * O, C', h, w); for any objects, some at a time.
        """
        hidden, shortcut = (
            join_convolution(self.conv1, F.relu(shared)),
            join_convolution(self.shortcut, shared),
        )
        return lambda x: shortcut(x) + self.conv2(F.relu(hidden(F.relu(x))))


def join_convolution(conv: nn.Conv2d | nn.Identity, shared: Tensor) -> Callable[[Tensor], Tensor]:
    """``conv`` of channels (B * O, C1, h, w) joined with shared ones (B, C2, h, w), by its linearity."""
    if isinstance(conv, nn.Identity):
        return lambda x: torch.cat([x, shared.repeat_interleave(len(x) // len(shared), 0)], 1)
    own, common = conv.weight.split([conv.in_channels - shared.shape[1], shared.shape[1]], 1)
    of_shared = F.conv2d(shared, common, conv.bias, padding=conv.padding)
    return lambda x: add_shared(F.conv2d(x, own, None, padding=conv.padding), of_shared)


def add_shared(x: Tensor, shared: Tensor) -> Tensor:
    """The sum of (B * O, C, h, w) and, for each of its objects, (B, C, h, w)."""
    return (x.unflatten(0, (len(shared), -1)) + shared[:, None]).flatten(0, 1)


def to_positions(x: Tensor) -> Tensor:
    """(..., C, h, w) to (..., h * w, C)."""
    return x.flatten(-2).transpose(-1, -2)


def size_of(x: Tensor) -> tuple[int, int]:
    """(h, w) of a map (..., h, w)."""
    return x.shape[-2], x.shape[-1]


def to_map(x: Tensor, grid: tuple[int, int]) -> Tensor:
    """(..., h * w, C) to (..., C, h, w)."""
    return x.transpose(-1, -2).unflatten(-1, grid)


def average_to(x: Tensor, grid: tuple[int, int]) -> Tensor:
    """The means of a map (N, C, H, W) over the pixels of each position of a grid (h, w), which divides it."""
    return F.avg_pool2d(x, (int(x.shape[-2]) // int(grid[0]), int(x.shape[-1]) // int(grid[1])))


def most_probable(probabilities: Tensor, dim: int = 0, keepdim: bool = False) -> Tensor:
    """The arg-max; on CPUs ten times as fast as ``Tensor.argmax`` along a dimension that is not the last."""
    return probabilities.max(dim, keepdim=keepdim).indices
