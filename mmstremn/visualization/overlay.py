"""Masks drawn over the frames they belong to."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from mmstremn.structures import VOID
from mmstremn.utils.palette import DAVIS_PALETTE
from mmstremn.visualization.video_writer import write_video


def overlay(frame: np.ndarray, ids: np.ndarray, alpha: float = 0.5) -> np.ndarray:
    """Blend the colours of the objects into a frame and draw their contours.

    Args:
        frame: (H, W, 3) uint8 RGB.
        ids: (H, W) uint8 object ids; background (0) and void (255) are left as they are.
        alpha: Opacity of the colours; contours are opaque.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ValueError: Frame and mask differ in size.
    """
    if frame.shape[:2] != ids.shape:
        raise ValueError(f'expected a mask of the size of the frame, {frame.shape[:2]}, got {ids.shape}')
    ids = np.where(ids == VOID, 0, ids).astype(np.uint8)
    colours = DAVIS_PALETTE[ids]
    blended = cv2.addWeighted(frame, 1 - alpha, colours, alpha, 0)
    drawn = np.where((ids > 0)[..., None], blended, frame)
    kernel = np.ones((3, 3), np.uint8)
    outer = cv2.dilate(ids, kernel)
    contour = outer != cv2.erode(ids, kernel)
    drawn[contour] = DAVIS_PALETTE[outer[contour]]
    return drawn


def write_overlay_video(
    path: str | Path,
    frames: Iterable[np.ndarray],
    masks: Iterable[np.ndarray],
    fps: int | Fraction = 15,
    alpha: float = 0.5,
) -> None:
    """Write an mp4 of a video with its masks; one frame at a time is in memory.

    Args:
        path: The folder is made if it does not exist; the file appears when it is complete.
        frames: (H, W, 3) uint8 RGB each, all of one size.
        masks: (H, W) uint8 object ids each, as many as frames.
        fps: Frames a second.
        alpha: Opacity of the masks.
    """
    write_video(path, (overlay(frame, ids, alpha) for frame, ids in zip(frames, masks, strict=True)), fps)
