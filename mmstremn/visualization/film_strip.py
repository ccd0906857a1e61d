"""A few frames of a video in one picture."""

import cv2
import numpy as np

from mmstremn.structures.video import Video
from mmstremn.visualization.overlay import overlay


def draw_film_strip(
    video: Video, rows: list[list[np.ndarray]], columns: int = 6, width: int = 900, gap: int = 3
) -> np.ndarray:
    """Evenly spaced frames with masks drawn over them, a row for each list of masks.

    Args:
        video: T frames (H, W).
        rows: Lists of T masks (H, W) uint8 ids: the ground truth, a prediction, ...
        columns: Frames shown.
        width: Of the picture in pixels.
        gap: White pixels between frames.

    Returns:
        (H', width, 3) uint8 RGB.
    """
    indices = np.linspace(0, video.num_frames - 1, columns).round().astype(int)
    strips = []
    for masks in rows:
        pictures = [overlay(video.frame(index), masks[index]) for index in indices]
        padded = [
            np.pad(picture, ((gap, gap), (gap, gap), (0, 0)), constant_values=255) for picture in pictures
        ]
        strips.append(np.concatenate(padded, 1))
    strip = np.concatenate(strips)
    height = round(strip.shape[0] * width / strip.shape[1])
    return cv2.resize(
        strip, (width, height), interpolation=cv2.INTER_AREA if width < strip.shape[1] else cv2.INTER_LINEAR
    )
