"""Predictions without a model, to read the figures of a model against."""

import numpy as np

from mmstremn.structures.video import VOID, Video
from mmstremn.utils.palette import encode_palette_png


def copy_first_mask(video: Video) -> list[bytes]:
    """The baseline that copies every prompt forward, unchanged, from the frame on which it is given.

    Args:
        video: The video with its prompts; a later prompt lies over the earlier ones.

    Returns:
        One palette PNG of (H, W) object ids per frame.
    """
    current = np.zeros(video.size, dtype=np.uint8)
    png, predictions = encode_palette_png(current), []
    for index in range(video.num_frames):
        if index in video.prompts:
            current = _overlay(current, video.prompts[index])
            png = encode_palette_png(current)
        predictions.append(png)
    return predictions


def _overlay(current: np.ndarray, prompt: np.ndarray):
    prompt = np.where(prompt == VOID, 0, prompt)
    kept = np.where(np.isin(current, np.unique(prompt)), 0, current)
    return np.where(prompt > 0, prompt, kept).astype(np.uint8)
