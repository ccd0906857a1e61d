"""Whether a frame shows an object at all, as SAM 2's object score says it (arXiv 2408.00714)."""

import torch
from torch import Tensor, nn

from mmstremn.models.layers import average_to
from mmstremn.registry import MODELS

LEAST_AREA = 0.1  # positions: the distance of an empty mask is that of the frame


@MODELS.register_module()
class PresenceHead(nn.Module):
    """One score per object and frame: is any of the object visible?

    Softmax attention reads something however little it fits, so a readout does not say whether the object is
    in the frame. How far the frame's keys are from the nearest ones in the memory does: the mean distances
    over the predicted mask and over the whole frame are scored by one small network. It sees nothing of what
    an object looks like, so it can be learned from few videos.

    Args:
        channels: Width of the network.
        threshold: Probability below which an object counts as absent in evaluation: its mask is then empty.

    Raises:
        ValueError: ``threshold`` is outside 0..1.
    """

    def __init__(self, channels: int = 16, threshold: float = 0.5):
        super().__init__()
        if not 0 <= threshold <= 1:
            raise ValueError(f'PresenceHead.threshold must be in 0..1, got {threshold}')
        self.threshold = threshold
        self.score = nn.Sequential(nn.Linear(2, channels), nn.ReLU(), nn.Linear(channels, 1))

    def forward(self, distance: Tensor, masks: Tensor, grid: tuple[int, int]) -> Tensor:
        """Score the objects of a frame.

        Args:
            distance: (B, 1 or O, P) of each position to the nearest in the memory, see ``Memory.distance``.
            masks: (B, O, H, W) probabilities; no gradient flows into them.
            grid: (h, w) with h * w = P.

        Returns:
            Logits (B, O).
        """
        inside = average_to(masks.detach().float(), grid).flatten(2)  # (B, O, P)
        distance = (1 + distance.detach()).log().expand_as(inside)
        of_frame = distance.mean(-1)
        of_mask = ((inside * distance).sum(-1) + LEAST_AREA * of_frame) / (inside.sum(-1) + LEAST_AREA)
        return self.score(torch.stack([of_mask, of_frame], -1)).squeeze(-1)

    def gate(self, masks: Tensor, presence: Tensor) -> Tensor:
        """``masks`` (B, O, H, W), empty where ``presence`` (B, O) says that the object is absent."""
        return masks * (presence.sigmoid() >= self.threshold)[:, :, None, None]
