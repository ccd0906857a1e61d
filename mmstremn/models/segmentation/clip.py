"""A training clip of video object segmentation: frames, their masks and what the model makes of them."""

from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from mmstremn.models.key_encoder import FrameFeatures
from mmstremn.models.segmentation.decoders import Segmentation
from mmstremn.models.segmentation.given_masks import GivenMasks
from mmstremn.structures import VOID, VOSDataSample


@dataclass
class MaskClip:
    """T frames, of which the first one's masks are given.

    Attributes:
        features: Of all frames, as one batch (B * T, ...).
        target: (B, T, H, W) ids 0..O, 255 void.
        present: (B, O) bool; False for objects that only pad the batch.
        outputs: The segmentation of each frame so far.
    """

    features: FrameFeatures
    target: Tensor
    present: Tensor
    outputs: list[Segmentation] = field(default_factory=list)

    @property
    def length(self) -> int:
        """T."""
        return self.target.shape[1]

    def frame(self, index: int) -> tuple[FrameFeatures, GivenMasks | None]:
        """The features of a frame, and the masks of the first."""
        ids = torch.arange(1, self.present.shape[1] + 1, device=self.target.device).view(1, -1, 1, 1)
        masks = self.target[:, index : index + 1] == ids
        visible = masks.flatten(2).any(-1)
        features = replace(self.features.frame(index, self.length), visible=visible)
        return features, None if index else GivenMasks(masks)

    def take(self, output: Segmentation) -> None:
        """Keep the segmentation of a frame."""
        self.outputs.append(output)


def stack_masks(
    data_samples: list[VOSDataSample], size: tuple[int, int], margins: tuple[int, int, int, int] | None = None
) -> tuple[Tensor, Tensor]:
    """The masks of a batch of clips.

    Args:
        data_samples: With ``masks`` (T, H, W) of ids 0..O and 255.
        size: (H', W') of the padded frames.
        margins: (left, right, top, bottom) of that padding; None: it is at the bottom and right.

    Returns:
        Ids (B, T, H', W'), void where padded, and which objects are present, (B, O) with the largest O of the
        batch.
    """
    masks = torch.stack([sample.masks for sample in data_samples])
    height, width = masks.shape[-2:]
    masks = F.pad(masks, margins or (0, size[1] - width, 0, size[0] - height), value=VOID)
    numbers = [len(sample.object_ids) for sample in data_samples]
    present = torch.tensor([[index < number for index in range(max(numbers))] for number in numbers])
    return masks, present.to(masks.device, non_blocking=True)
