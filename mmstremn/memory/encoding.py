"""Codes of places."""

import torch
from torch import Tensor


def encode_places(
    grid: tuple[int, int],
    channels: int,
    scale: float = 32.0,
    temperature: float = 128.0,
    device: torch.device | None = None,
) -> Tensor:
    """Sines and cosines of the column (first half of the channels) and the row of each position, (P, C).

    A coordinate runs from 0 to ``scale`` across the grid; channels 2 i and 2 i + 1 of a half hold sine and
    cosine of coordinate / ``temperature`` ** (4 i / C), as in DETR (ECCV 2020) and Cutie.

    Args:
        grid: (h, w).
        channels: C, a multiple of 4.
        scale: Of the last row and column.
        temperature: Of the lowest frequency.
        device: Of the result.
    """
    frequency = inverse_frequencies(channels, temperature).to(device)
    halves = []
    for length in reversed(grid):
        place = torch.arange(length, device=device, dtype=frequency.dtype)
        angle = (place / (length - 1 + 1e-6) * scale)[:, None] * frequency
        halves.append(torch.stack([angle.sin(), angle.cos()], -1).flatten(1))
    column, row = halves
    height, width = grid
    return torch.cat([column.expand(height, -1, -1), row[:, None].expand(-1, width, -1)], -1).flatten(0, 1)


def inverse_frequencies(channels: int, temperature: float = 128.0) -> Tensor:
    """(C / 4,) angles of a coordinate of 1."""
    half = channels // 2
    return 1.0 / (temperature ** (torch.arange(0, half, 2).float() / half))
