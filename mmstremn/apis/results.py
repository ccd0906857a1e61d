"""The result of a frame, and how sure the model is of it."""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor


@dataclass
class FrameResult:
    """What is found in a frame.

    Attributes:
        video: Name of the video.
        index: Of the frame in it.
        frame: (H, W, 3) uint8 RGB.
        ids: (H, W) uint8 object ids, 0 where there is none.
        confidence: For each object in 0..1, see :func:`confidences`.
        slots: (S,) the frame that each slot of the memory holds, -1 where empty; None for memories without
            fixed slots, and where no object is known yet.
        visualization: (H, W, 3) uint8 RGB, the frame with its masks, where it was asked for.
    """

    video: str
    index: int
    frame: np.ndarray
    ids: np.ndarray
    confidence: dict[int, float] = field(default_factory=dict)
    slots: np.ndarray | None = None
    visualization: np.ndarray | None = None


def confidences(probabilities: Tensor, object_ids: list[int]) -> dict[int, float]:
    """How well each mask agrees with the probabilities it was made of, in 0..1.

    For an object with a mask: sum of min(p, m) / sum of max(p, m) over all pixels, the overlap of the mask m
    (0 or 1) with the probabilities p; for one without: 1 - the greatest probability. It falls where borders
    are blurred or objects compete, and knows nothing of errors that the model is sure of.

    Args:
        probabilities: (1 + O, H, W), the background first.
        object_ids: The id of each object.
    """
    if not object_ids:
        return {}
    objects = probabilities[1:]
    greatest, best = (part.flatten() for part in probabilities.max(0))
    number = len(probabilities)
    area = best.bincount(minlength=number)[1:]
    inside = best.bincount(greatest.double(), minlength=number)[1:]
    overlap = inside / (area + objects.sum((1, 2)) - inside).clamp_min(1e-9)
    found = torch.where(area > 0, overlap, 1 - objects.amax((1, 2))).clamp(0, 1)
    return {k: round(value, 4) for k, value in zip(object_ids, found.tolist(), strict=True)}
