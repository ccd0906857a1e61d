"""From uint8 frames to what the model computes on."""

import torch
import torch.nn.functional as F
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from mmstremn.models.layers import size_of
from mmstremn.registry import MODELS, build


@MODELS.register_module()
class VOSDataPreprocessor(BaseDataPreprocessor):
    """Stacks training clips, moves, normalises and pads them; whole videos of a test pass through unread.

    Args:
        mean: Of RGB in 0..255 (ImageNet's by default).
        std: Likewise.
        size_divisor: Frames are padded to a multiple of it. ``VOSegmentor`` fills in what its backbones need.
        padding: ``'end'`` pads with the mean colour at the bottom and right. ``'centre'`` pads on all sides,
            an odd pixel at the bottom or right, as the public code of STCN and XMem does. ``'black'`` pads
            black pixels on all sides, in which memory sees no object, as that of STM does.
        blank: With ``'black'``: memory sees no object in the margins, whatever the decoder says of them.
            False: it sees what the decoder says, as in the public code of Cutie.
        non_blocking: Copy from pinned memory without waiting.

    Raises:
        ValueError: Unknown ``padding``.
    """

    def __init__(
        self,
        mean: tuple[float, ...] = (123.675, 116.28, 103.53),
        std: tuple[float, ...] = (58.395, 57.12, 57.375),
        size_divisor: int = 16,
        padding: str = 'end',
        non_blocking: bool = True,
        blank: bool = True,
    ):
        super().__init__(non_blocking)
        if padding not in ('end', 'centre', 'black'):
            raise ValueError(
                f"VOSDataPreprocessor.padding must be 'end', 'centre' or 'black', got '{padding}'"
            )
        self.size_divisor, self.padding, self.blank = size_divisor, padding, blank
        self.register_buffer('mean', torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor(std).view(-1, 1, 1), persistent=False)

    def forward(self, data: dict, training: bool = False) -> dict:
        """Prepare a batch.

        Args:
            data: ``inputs``: a list of (T, 3, H, W) uint8 clips, or of videos; ``data_samples``: a list.
            training: Not used: what arrives decides.

        Returns:
            The same keys, others as they are; clips as one (B, T, 3, H', W') float tensor.
        """
        if not isinstance(data['inputs'][0], Tensor):
            return data
        data = self.cast_data(data)
        return data | dict(inputs=self.normalize(torch.stack(list(data['inputs']))))

    def normalize(self, frames: Tensor) -> Tensor:
        """(..., 3, H, W) in 0..255 to normalised, padded floats."""
        margins = self.margins(size_of(frames))
        if self.padding == 'black':
            return (F.pad(frames.float(), margins) - self.mean) / self.std
        return F.pad((frames.float() - self.mean) / self.std, margins)

    def margins(self, size: tuple[int, int]) -> tuple[int, int, int, int]:
        """(left, right, top, bottom) pixels that a frame of ``size`` (H, W) is padded with."""
        height, width = (-length % self.size_divisor for length in size)
        if self.padding == 'end':
            return 0, width, 0, height
        return width // 2, width - width // 2, height // 2, height - height // 2

    def blank_margins(self, size: tuple[int, int]) -> tuple[int, int, int, int] | None:
        """The margins, if no object is to be seen in them when the frame is stored."""
        return self.margins(size) if self.padding == 'black' and self.blank else None


def build_preprocessor(config: dict | None, divisor: int) -> BaseDataPreprocessor:
    """What pads to multiples of ``divisor``, or of another ``size_divisor`` that the config names.

    Raises:
        ValueError: The other one is no multiple of ``divisor``.
    """
    preprocessor = build(config or dict(type='VOSDataPreprocessor'), size_divisor=divisor)
    named = getattr(preprocessor, 'size_divisor', divisor)
    if named % divisor:
        raise ValueError(
            f'data_preprocessor.size_divisor: expected a multiple of {divisor}, as backbones need, got '
            f'{named}'
        )
    return preprocessor
