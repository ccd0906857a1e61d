"""Masks that are known of a frame, and how they replace a prediction."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mmstremn.models.layers import most_probable
from mmstremn.models.segmentation.decoders import aggregate
from mmstremn.structures import GivenIds


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
        predicted = most_probable(logits, 1, keepdim=True)
        known = self.masks[:, self.objects].any(1, keepdim=True)
        for index in self.objects:
            known = known | (predicted == index + 1)
        return torch.where(known, truth, logits)


def impose(probabilities: Tensor, given: GivenIds, object_ids: list[int]) -> Tensor:
    """Probabilities (1 + O, H, W) in which the objects spoken of are exactly where the masks say.

    Where such an object is, or is the most probable although it is not there, the masks decide; elsewhere
    nothing changes. It is done at the size of the frame and to the probabilities whose arg-max is taken, as
    neither resizing nor two logits whose softmax is equal leaves masks as they were given.
    """
    places = torch.zeros(1 + max(object_ids), dtype=torch.long)
    places[object_ids] = torch.arange(1, 1 + len(object_ids))
    spoken = torch.zeros(1 + len(object_ids), dtype=torch.bool)
    spoken[places[given.objects]] = True
    device = probabilities.device
    truth = places[torch.as_tensor(given.ids, dtype=torch.long)].to(device, non_blocking=True)
    known = (truth > 0) | spoken.to(device, non_blocking=True)[most_probable(probabilities)]
    planes = torch.arange(1 + len(object_ids), device=device).view(-1, 1, 1)
    return torch.where(known, (truth == planes).to(probabilities.dtype), probabilities)
