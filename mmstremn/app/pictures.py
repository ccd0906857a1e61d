"""Pictures for the page."""

import cv2
import numpy as np

from mmstremn.structures.prompts import CORNERS

LONGER_SIDES = 960, 1280  # least and most pixels of pictures that are shown
WHITE, GREEN, RED = (255, 255, 255), (0, 160, 0), (220, 0, 0)


def scale_of(size: tuple[int, int]) -> float:
    """Pixels of a video of a size (H, W) in a pixel of its pictures, whose longer side is in LONGER_SIDES."""
    longer = max(size)
    return longer / min(max(longer, LONGER_SIDES[0]), LONGER_SIDES[1])


def fitted(picture: np.ndarray) -> np.ndarray:
    """A picture in the size in which it is shown: browsers do not enlarge pictures that can be clicked."""
    height, width = picture.shape[:2]
    scale = scale_of((height, width))
    size = max(1, round(width / scale)), max(1, round(height / scale))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale > 1 else cv2.INTER_LINEAR)


def draw_prompts(picture: np.ndarray, rows: np.ndarray) -> None:
    """Draw points and a box, rows (x, y, label) as in :class:`GivenPrompts`, into a picture: green on the
    object, red beside it."""
    radius = max(4, max(picture.shape) // 120)
    corners = rows[np.isin(rows[:, 2], CORNERS), :2].astype(int)
    if len(corners):
        cv2.rectangle(picture, tuple(corners[0]), tuple(corners[1]), WHITE, 2)
    for x, y, label in rows[~np.isin(rows[:, 2], CORNERS)].astype(int):
        cv2.circle(picture, (x, y), radius, WHITE, -1, cv2.LINE_AA)
        cv2.circle(picture, (x, y), radius - 2, GREEN if label else RED, -1, cv2.LINE_AA)
