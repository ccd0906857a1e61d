"""Predicted frames under and beside the true ones."""

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from mmstremn.utils.atomic import written_aside
from mmstremn.visualization.video_writer import VideoWriter, video_writer

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
    with prediction_writer(path, len(predicted), fps) as writer:
        for frame in observed:
            writer.add_observed(frame)
        for place, frame in enumerate(predicted):
            writer.add_predicted(frame, true[place] if place < len(true) else None)


@contextmanager
def prediction_writer(
    path: Path, length: int, fps: int | Fraction = 5, columns: int = 10
) -> Iterator['PredictionWriter']:
    """What :func:`write_prediction` writes, frame by frame; a few of them are held.

    Args:
        path, fps: As there.
        length: How many frames are predicted.
        columns: Frames of the strip.
    """
    picture, video = (path.with_name(path.name + suffix) for suffix in ('.png', '.mp4'))
    with video_writer(video, fps) as frames, written_aside(picture) as partial:
        writer = PredictionWriter(frames, _evenly(length, columns))
        yield writer
        Image.fromarray(_strip(writer.pairs)).save(partial, 'png')


class PredictionWriter:
    """Takes the frames of a clip in their order, (C, H, W) each, see :func:`prediction_writer`.

    In the video the input and then the prediction are on the left, the truth is on the right. The border says
    what is given (green) and what is predicted (red); where the truth has ended, the right side is white.
    """

    def __init__(self, frames: VideoWriter, places: list[int]):
        self.pairs: list[tuple[np.ndarray | None, np.ndarray]] = []
        self._frames, self._places, self._predicted = frames, places, 0

    def add_observed(self, frame) -> None:
        """A frame that the model was given, uint8."""
        picture = as_picture(frame)
        self._frames.add(beside(picture, picture, OBSERVED))

    def add_predicted(self, frame, true=None) -> None:
        """A frame that it predicted, uint8 or floats of 0..1, which are clipped, and the true one."""
        picture, truth = as_picture(frame), None if true is None else as_picture(true)
        self._frames.add(beside(picture, truth, PREDICTED))
        if self._predicted in self._places:
            self.pairs.append((truth, picture))
        self._predicted += 1


def draw_prediction_strip(true, predicted, columns: int = 10) -> np.ndarray:
    """True frames above the predicted ones, evenly spaced over the horizon from its first frame to its last.

    Args:
        true: (T'', C, H, W) uint8; places without a true frame stay white.
        predicted: (T, C, H, W), uint8 or floats of 0..1, which are clipped.
        columns: Frames shown at most.

    Returns:
        (H', W', 3) uint8 RGB.
    """
    return _strip(
        [
            (as_picture(true[place]) if place < len(true) else None, as_picture(predicted[place]))
            for place in _evenly(len(predicted), columns)
        ]
    )


def _evenly(length: int, columns: int) -> list[int]:
    return np.linspace(0, length - 1, min(columns, length)).round().astype(int).tolist()


def _strip(pairs: list[tuple[np.ndarray | None, np.ndarray]]) -> np.ndarray:
    rows = [[_or_white(true, picture) for true, picture in pairs], [picture for _, picture in pairs]]
    pad = ((GAP, GAP), (GAP, GAP), (0, 0))
    strips = [np.concatenate([np.pad(frame, pad, constant_values=255) for frame in row], 1) for row in rows]
    return np.concatenate(strips)


def _or_white(picture: np.ndarray | None, like: np.ndarray) -> np.ndarray:
    return np.full_like(like, 255) if picture is None else picture


def beside(picture: np.ndarray, truth: np.ndarray | None, colour: tuple[int, int, int]) -> np.ndarray:
    """A picture (H', W', 3) of a frame with a border of a colour, and the true one, or white, beside it."""
    return np.concatenate([bordered(picture, colour), bordered(_or_white(truth, picture), OBSERVED)], 1)


def bordered(frame: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """A frame (H, W, 3) with a border of a colour around it."""
    return cv2.copyMakeBorder(frame, *(2 * GAP,) * 4, cv2.BORDER_CONSTANT, value=colour)


def as_picture(frame) -> np.ndarray:
    """(H', W', 3) uint8 RGB of a grey or RGB frame (C, H, W), tensor or array, enlarged by a whole number."""
    frame = frame.detach().cpu().numpy() if hasattr(frame, 'detach') else np.asarray(frame)
    if frame.dtype.kind == 'f':
        frame = (frame.clip(0, 1) * 255).round().astype(np.uint8)
    picture = np.broadcast_to(frame.transpose(1, 2, 0), (*frame.shape[1:], 3))
    factor = -(-SIDE // frame.shape[1])
    return np.ascontiguousarray(picture.repeat(factor, 0).repeat(factor, 1))
