"""The mask of an object from a box around it."""

import cv2
import numpy as np

MOST_PIXELS = 150_000  # at which GrabCut is computed: about a second on one core


def mask_in_box(frame: np.ndarray, box: tuple[int, int, int, int], iterations: int = 5) -> np.ndarray:
    """Separate an object from what is around it by OpenCV's GrabCut.

    Rother et al., "GrabCut: interactive foreground extraction using iterated graph cuts", SIGGRAPH 2004.

    Args:
        frame: (H, W, 3) uint8 RGB.
        box: x and y of two opposite corners, in any order; what lies outside of the frame is cut off.
        iterations: Of GrabCut.

    Returns:
        (H, W) bool. The whole box where there is nothing beside it to compare with, or nothing is found.

    Raises:
        ValueError: The box holds less than 2 x 2 pixels of the frame.
    """
    height, width = frame.shape[:2]
    (left, right), (top, bottom) = sorted(box[::2]), sorted(box[1::2])
    left, top, right, bottom = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
    if right - left < 2 or bottom - top < 2:
        raise ValueError(f'box {box}: expected at least 2 x 2 pixels of the frame ({width} x {height})')
    whole = np.zeros((height, width), bool)
    whole[top:bottom, left:right] = True
    scale = min(1.0, (MOST_PIXELS / (height * width)) ** 0.5)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
    inside = cv2.resize(whole.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    if inside.all() or inside.sum() < 4:
        return whole
    marks = np.where(inside, cv2.GC_PR_FGD, cv2.GC_BGD).astype(np.uint8)
    cv2.setRNGSeed(0)
    cv2.grabCut(
        np.ascontiguousarray(small[..., ::-1]),
        marks,
        None,
        np.zeros((1, 65)),
        np.zeros((1, 65)),
        iterations,
        cv2.GC_INIT_WITH_MASK,
    )
    found = np.isin(marks, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.float32)
    found = (cv2.resize(found, (width, height), interpolation=cv2.INTER_LINEAR) >= 0.5) & whole
    return found if found.any() else whole
