"""Masks that are known of a frame, and how they replace a prediction."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mmstremn.models.segmentation.decoder import aggregate


@dataclass
class GivenMasks:
    """Masks that the user (or the ground truth of a clip's first frame) gives.

    Attributes:
        masks: (B, O, H, W) bool, of all objects.
        objects: Indices of the objects they speak of; None: of all, and of the background too.
    """

    masks: Tensor
    objects: list[int] | None = None

    def replace(self, logits: Tensor | None) -> Tensor:
        """Logits (B, 1 + O, H, W) in which the masks replace a prediction.

        A pixel changes where an object spoken of is, or was predicted to be; elsewhere the prediction stays.

        Args:
            logits: (B, 1 + O', H, W) of the O' <= O objects known before; None where there is no prediction.
        """
        truth = aggregate(self.masks.float())
        if logits is None or self.objects is None:
            return truth
        missing = truth.shape[1] - logits.shape[1]
        if missing:
            absent = aggregate(torch.zeros_like(truth[:, :1]))[:, 1:]
            logits = torch.cat([logits, absent.expand(-1, missing, -1, -1)], 1)
        predicted = logits.argmax(1, keepdim=True)
        known = self.masks[:, self.objects].any(1, keepdim=True)
        for index in self.objects:
            known = known | (predicted == index + 1)
        return torch.where(known, truth, logits)
