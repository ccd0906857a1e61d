"""Frames that are given, and for which samples they replace a prediction."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class GivenFrames:
    """True frames (B, C, H, W), and for which samples they count, (B,) bool; None: for all."""

    frames: Tensor
    counts: Tensor | None = None

    def over(self, predicted: Tensor | None) -> Tensor:
        """The frames that the video goes on from."""
        if self.counts is None or predicted is None:
            return self.frames
        return torch.where(self.counts[:, None, None, None], self.frames, predicted)
