"""From uint8 frames to what the model computes on."""

import torch
import torch.nn.functional as F
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from mmstremn.registry import MODELS


@MODELS.register_module()
class VOSDataPreprocessor(BaseDataPreprocessor):
    """Stacks training clips, moves, normalises and pads them; whole videos of a test pass through unread.

    Args:
        mean: Of RGB in 0..255 (ImageNet's by default).
        std: Likewise.
        size_divisor: Frames are padded at the bottom and right to a multiple of it.
        non_blocking: Copy from pinned memory without waiting.
    """

    def __init__(
        self,
        mean: tuple[float, ...] = (123.675, 116.28, 103.53),
        std: tuple[float, ...] = (58.395, 57.12, 57.375),
        size_divisor: int = 16,
        non_blocking: bool = True,
    ):
        super().__init__(non_blocking)
        self.size_divisor = size_divisor
        self.register_buffer('mean', torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor(std).view(-1, 1, 1), persistent=False)

    def forward(self, data: dict, training: bool = False) -> dict:
        """Prepare a batch.

        Args:
            data: ``inputs``: a list of (T, 3, H, W) uint8 clips, or of videos; ``data_samples``: a list.
            training: Not used: what arrives decides.

        Returns:
            The same keys; clips as one (B, T, 3, H', W') float tensor.
        """
        if not isinstance(data['inputs'][0], Tensor):
            return data
        data = self.cast_data(data)
        return dict(inputs=self.normalize(torch.stack(list(data['inputs']))), data_samples=data['data_samples'])

    def normalize(self, frames: Tensor) -> Tensor:
        """(..., 3, H, W) in 0..255 to normalised, padded floats."""
        frames = (frames.float() - self.mean) / self.std
        height, width = frames.shape[-2:]
        return F.pad(frames, (0, -width % self.size_divisor, 0, -height % self.size_divisor))
