"""The loss of VOS training: bootstrapped cross-entropy and dice, per sample, then averaged."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmstremn.registry import MODELS
from mmstremn.structures import VOID


@MODELS.register_module()
class BootstrappedCEDiceLoss(nn.Module):
    """Cross-entropy over the hardest pixels plus dice of every object.

    The share of pixels falls linearly from 1 to ``top_share`` between two iterations (hkchengrex/STCN
    model/losses.py: .15, 20k, 70k); dice as in hkchengrex/XMem model/losses.py. Each sample's loss depends on
    that sample alone, so the mean over a batch equals the mean over the ranks that share it.

    Args:
        begin_iter: Last iteration with all pixels.
        end_iter: First iteration with ``top_share``.
        top_share: Final share, 0..1; 1: all pixels count throughout.
        dice_weight: Of the dice term.

    Raises:
        ValueError: ``top_share`` is not in 0..1 or 0, ``dice_weight`` is negative, or ``end_iter`` is before
            ``begin_iter``.
    """

    def __init__(
        self,
        begin_iter: int = 20000,
        end_iter: int = 70000,
        top_share: float = 0.15,
        dice_weight: float = 1.0,
    ):
        super().__init__()
        if not 0 < top_share <= 1:
            raise ValueError(f'top_share must be above 0 and at most 1, got {top_share}')
        if dice_weight < 0:
            raise ValueError(f'dice_weight must be at least 0, got {dice_weight}')
        if end_iter < begin_iter:
            raise ValueError(f'end_iter must be at least begin_iter={begin_iter}, got {end_iter}')
        self.begin_iter, self.end_iter = begin_iter, end_iter
        self.top_share, self.dice_weight = top_share, dice_weight

    def forward(
        self, logits: Tensor, target: Tensor, present: Tensor, iteration: int = 0
    ) -> dict[str, Tensor]:
        """The two terms.

        Args:
            logits: (B, T, 1 + O, H, W).
            target: (B, T, H, W) ids 0..O, 255 void.
            present: (B, O) bool; False for objects that only pad the batch.
            iteration: Of the training.

        Returns:
            ``loss_ce`` and ``loss_dice``.
        """
        target = target.long()
        ce = F.cross_entropy(logits.flatten(0, 1), target.flatten(0, 1), ignore_index=VOID, reduction='none')
        ce = self._bootstrap(ce.flatten(1), target.flatten(0, 1).flatten(1) != VOID, iteration)
        return dict(
            loss_ce=ce.mean(),
            loss_dice=self.dice_weight * dice_loss(logits.softmax(2), target, present).mean(),
        )

    def share(self, iteration: int) -> float:
        """The share of pixels that count at an iteration."""
        progress = (iteration - self.begin_iter) / max(self.end_iter - self.begin_iter, 1)
        return 1 - (1 - self.top_share) * min(max(progress, 0.0), 1.0)

    def _bootstrap(self, loss: Tensor, known: Tensor, iteration: int) -> Tensor:
        """(N, pixels) to the mean over the hardest pixels of each frame, (N,)."""
        share = self.share(iteration)
        if share >= 1:
            return loss.sum(1) / known.sum(1).clamp(min=1)
        return loss.topk(max(int(loss.shape[1] * share), 1), 1).values.mean(1)


def presence_loss(logits: Tensor, target: Tensor, present: Tensor, least_pixels: int = 16) -> Tensor:
    """Binary cross-entropy of the presence scores, averaged over frames and objects.

    Frames that show fewer than ``least_pixels`` of an object, but some, do not count: nobody can tell.

    Args:
        logits: (B, T, O).
        target: (B, T, H, W) ids 0..O, 255 void.
        present: (B, O) bool; False for objects that only pad the batch.
        least_pixels: Of an object that must be found.
    """
    ids = torch.arange(1, logits.shape[2] + 1, device=target.device).view(1, 1, -1, 1, 1)
    pixels = (target.unsqueeze(2) == ids).sum((-1, -2))  # (B, T, O)
    counts = present[:, None] & ((pixels == 0) | (pixels >= least_pixels))
    loss = F.binary_cross_entropy_with_logits(logits, (pixels > 0).float(), reduction='none')
    return (loss * counts).sum() / counts.sum().clamp(min=1)


def dice_loss(probabilities: Tensor, target: Tensor, present: Tensor) -> Tensor:
    """1 - (2 sum p g + 1) / (sum p + sum g + 1), averaged over frames and present objects: (B,).

    Args:
        probabilities: (B, T, 1 + O, H, W), background first.
        target: (B, T, H, W) ids, 255 void.
        present: (B, O) bool.
    """
    known = (target != VOID).unsqueeze(2)
    ids = torch.arange(1, probabilities.shape[2], device=target.device).view(1, 1, -1, 1, 1)
    truth = (target.unsqueeze(2) == ids).float()
    p = probabilities[:, :, 1:] * known
    overlap, total = (p * truth).sum((-1, -2)), (p + truth).sum((-1, -2))  # (B, T, O)
    loss = (1 - (2 * overlap + 1) / (total + 1)).mean(1)
    return (loss * present).sum(1) / present.sum(1).clamp(min=1)
