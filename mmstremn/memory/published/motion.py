"""A Kalman filter of boxes that move at a constant velocity, for several boxes at once.

Boxes are (n, 4): column and row of the centre, aspect ratio and height. The mean (n, 8) has their velocities
too. The noise is that of SORT's filter, relative to the height (Wojke et al., 2017).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

POSITION, VELOCITY = 1 / 20, 1 / 160


def _diagonal(height: Tensor, scales: list[tuple[float, bool]]) -> Tensor:
    """Covariances (n, k, k) of k deviations: numbers, times the height where it is True."""
    one = torch.ones_like(height)
    return torch.diag_embed(torch.stack([s * (height if scaled else one) for s, scaled in scales], -1) ** 2)


def begin(box: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (n, 8) and covariance (n, 8, 8) of boxes (n, 4) seen for the first time."""
    place, speed = (2 * POSITION, True), (10 * VELOCITY, True)
    scales = [place, place, (1e-2, False), place, speed, speed, (1e-5, False), speed]
    return F.pad(box, (0, 4)), _diagonal(box[:, 3], scales)


def predict(mean: Tensor, covariance: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and covariance a frame later."""
    step = torch.eye(8).to(mean)
    step[range(4), range(4, 8)] = 1
    place, speed = (POSITION, True), (VELOCITY, True)
    scales = [place, place, (1e-2, False), place, speed, speed, (1e-5, False), speed]
    return mean @ step.T, step @ covariance @ step.T + _diagonal(mean[:, 3], scales)


def update(mean: Tensor, covariance: Tensor, box: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and covariance after boxes (n, 4) were seen."""
    place = (POSITION, True)
    seen = covariance[:, :4, :4] + _diagonal(mean[:, 3], [place, place, (1e-1, False), place])
    # A filter that has not begun has a covariance of 0: no error, its result is not used.
    gain = torch.linalg.solve_ex(seen, covariance[:, :4])[0].mT  # (n, 8, 4)
    return mean + (gain @ (box - mean[:, :4])[..., None])[..., 0], covariance - gain @ seen @ gain.mT


def boxes_of(masks: Tensor) -> Tensor:
    """First and last column and row (..., 4), x1, y1, x2, y2, of masks (..., H, W) bool; 0 where empty."""
    spans = []
    for line in (masks.any(-2), masks.any(-1)):
        length = line.shape[-1]
        first = line.int().argmax(-1)
        last = length - 1 - line.flip(-1).int().argmax(-1)
        spans.append((first, last))
    (left, right), (top, bottom) = spans
    return torch.stack([left, top, right, bottom], -1) * masks.flatten(-2).any(-1)[..., None]


def centred(box: Tensor) -> Tensor:
    """(..., 4) of x1, y1, x2, y2; a height of 0 becomes 1."""
    size = box[..., 2:] - box[..., :2]
    height = torch.where(size[..., 1] == 0, 1, size[..., 1])
    centre = (box[..., :2] + box[..., 2:]) / 2
    return torch.stack([centre[..., 0], centre[..., 1], size[..., 0] / height, height], -1)


def overlap(box: Tensor, others: Tensor) -> Tensor:
    """IoU (n, M) of a box (n, 4) and others (n, M, 4) given as x1, y1, x2, y2; 0 with empty ones."""
    half = torch.stack([box[:, 2] * box[:, 3], box[:, 3]], -1) / 2
    low, high = (box[:, :2] - half)[:, None], (box[:, :2] + half)[:, None]
    across = torch.minimum(high, others[..., 2:]) - torch.maximum(low, others[..., :2])
    shared = across.clamp(min=0).prod(-1)
    union = (high - low).prod(-1) + (others[..., 2:] - others[..., :2]).prod(-1) - shared
    return torch.where(shared > 0, shared / union, 0)
