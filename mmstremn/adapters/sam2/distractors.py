"""How much the masks of a frame disagree, by which DAM4SAM finds distractors."""

import cv2
import numpy as np


def least_overlap(masks: np.ndarray, taken: int) -> float:
    """The least IoU of the box of a mask with that of its union with a piece of another; 1 if there is none.

    The piece of a mask is the largest connected part (of 8 neighbours) of what the mask taken does not cover.

    Args:
        masks: (M, H, W) bool.
        taken: Which of them was taken.
    """
    own, overlaps = masks[taken], [1.0]
    for index, other in enumerate(masks):
        rest = (other & ~own).astype(np.uint8)
        if index == taken or not own.any() or not rest.any():
            continue
        _, labels, stats, _ = cv2.connectedComponentsWithStats(rest, connectivity=8)
        piece = labels == 1 + stats[1:, cv2.CC_STAT_AREA].argmax()
        overlaps.append(_area(own) / _area(own | piece))  # the box of the union contains the other
    return min(overlaps)


def _area(mask: np.ndarray) -> int:
    """Of the box around what is true, pixels."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int((rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1))
