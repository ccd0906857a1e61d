"""The loss of video prediction."""

import torch.nn.functional as F
from torch import Tensor, nn

from mmstremn.registry import MODELS


@MODELS.register_module()
class PredictionLoss(nn.Module):
    """Weighted L1, L2 and 1 - SSIM of frames in 0..1, means over everything.

    Args:
        l1: Weight.
        l2: Weight.
        ssim: Weight; needs torchmetrics.

    Raises:
        ValueError: A weight is negative, or all are 0.
        ImportError: ``ssim`` without torchmetrics.
    """

    def __init__(self, l1: float = 0.0, l2: float = 1.0, ssim: float = 0.0):
        super().__init__()
        if min(l1, l2, ssim) < 0 or max(l1, l2, ssim) == 0:
            raise ValueError(
                f'PredictionLoss: expected weights >= 0, one of them > 0, got l1={l1}, l2={l2}, ssim={ssim}'
            )
        self.l1, self.l2, self.ssim = l1, l2, ssim
        if ssim:
            try:
                from torchmetrics.functional.image import structural_similarity_index_measure
            except ImportError as error:
                raise ImportError(
                    'PredictionLoss.ssim needs torchmetrics: pip install "mmstremn[prediction]"'
                ) from error
            self._similarity = structural_similarity_index_measure

    def forward(self, predicted: Tensor, target: Tensor) -> dict[str, Tensor]:
        """The terms whose weight is not 0.

        Args:
            predicted: (B, T, C, H, W).
            target: (B, T, C, H, W) in 0..1.
        """
        losses = {}
        if self.l1:
            losses['loss_l1'] = self.l1 * F.l1_loss(predicted, target)
        if self.l2:
            losses['loss_l2'] = self.l2 * F.mse_loss(predicted, target)
        if self.ssim:
            similarity = self._similarity(predicted.flatten(0, 1), target.flatten(0, 1), data_range=1.0)
            losses['loss_ssim'] = self.ssim * (1 - similarity)
        return losses
