"""Predicted frames under and beside the true ones."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from mmstremn.utils.atomic import written_aside
from mmstremn.visualization.video_writer import write_video

SIDE = 96
"""Smaller frames are enlarged to at least this height, in pixels."""
GAP = 2
"""White pixels around a frame."""
PREDICTED, OBSERVED = (220, 50, 47), (133, 153, 0)
"""The border's colour around frames that are predicted, and around frames that the model was given."""


def write_prediction(path: Path, observed, true, predicted, fps: int = 5) -> None:
    """Write the strip of a clip to ``path`` with the suffix .png, and its video with .mp4.

    Args:
        path: Without a suffix; the folder is made if it does not exist.
        observed: (T', C, H, W) uint8, what the model was given.
        true: (T'', C, H, W) uint8, what really followed; it may end before the prediction does, or be empty.
        predicted: (T, C, H, W), uint8 or floats of 0..1, which are clipped.
        fps: Frames a second.
    """
    picture, video = (path.with_name(path.name + suffix) for suffix in ('.png', '.mp4'))
    with written_aside(picture) as partial:
        Image.fromarray(draw_prediction_strip(true, predicted)).save(partial, 'png')
    write_video(video, side_by_side(observed, true, predicted), fps)


def draw_prediction_strip(true, predicted, columns: int = 10) -> np.ndarray:
    """True frames above the predicted ones, evenly spaced over the horizon from its first frame to its last.

    Args:
        true: (T'', C, H, W) uint8; places without a true frame stay white.
        predicted: (T, C, H, W), uint8 or floats of 0..1, which are clipped.
        columns: Frames shown at most.

    Returns:
        (H', W', 3) uint8 RGB.
    """
    true, predicted = as_pictures(true), as_pictures(predicted)
    places = np.linspace(0, len(predicted) - 1, min(columns, len(predicted))).round().astype(int)
    white = np.full(predicted.shape[1:], 255, np.uint8)
    rows = [
        [true[place] if place < len(true) else white for place in places],
        [predicted[place] for place in places],
    ]
    pad = ((GAP, GAP), (GAP, GAP), (0, 0))
    strips = [np.concatenate([np.pad(frame, pad, constant_values=255) for frame in row], 1) for row in rows]
    return np.concatenate(strips)


def side_by_side(observed, true, predicted) -> Iterator[np.ndarray]:
    """Pictures (H', W', 3) of a video: the input and then the prediction on the left, the truth on the right.

    The border says what is given (green) and what is predicted (red); where the truth has ended, the right
    side is white.
    """
    observed, true, predicted = as_pictures(observed), as_pictures(true), as_pictures(predicted)
    for frame in observed:
        yield np.concatenate([bordered(frame, OBSERVED), bordered(frame, OBSERVED)], 1)
    for place, frame in enumerate(predicted):
        truth = true[place] if place < len(true) else np.full_like(frame, 255)
        yield np.concatenate([bordered(frame, PREDICTED), bordered(truth, OBSERVED)], 1)


def bordered(frame: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """A frame (H, W, 3) with a border of a colour around it."""
    return cv2.copyMakeBorder(frame, *(2 * GAP,) * 4, cv2.BORDER_CONSTANT, value=colour)


def as_pictures(frames) -> np.ndarray:
    """(T, H', W', 3) uint8 RGB of grey or RGB frames (T, C, H, W), tensors or arrays, enlarged by a whole
    number."""
    frames = frames.detach().cpu().numpy() if hasattr(frames, 'detach') else np.asarray(frames)
    if frames.dtype.kind == 'f':
        frames = (frames.clip(0, 1) * 255).round().astype(np.uint8)
    pictures = np.broadcast_to(frames.transpose(0, 2, 3, 1), (len(frames), *frames.shape[2:], 3))
    factor = -(-SIDE // frames.shape[2])
    return np.ascontiguousarray(pictures.repeat(factor, 1).repeat(factor, 2))
