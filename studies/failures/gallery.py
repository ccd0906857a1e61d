"""Where a prediction fails: the worst stretch of a video, and a picture of it."""

from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from mmstremn.structures.video import Video
from mmstremn.visualization import draw_film_strip, overlay


class Failure(NamedTuple):
    """A stretch of a video with what was predicted there.

    Attributes:
        video: The whole video.
        memory: Name of the memory.
        frames: (N,) int, the frames shown.
        masks: N predicted masks (H, W) uint8 ids.
        scores: (N, 2) J and F of these frames, NaN where there is no truth.
    """

    video: Video
    memory: str
    frames: np.ndarray
    masks: list[np.ndarray]
    scores: np.ndarray


def worst_stretch(values: np.ndarray, number: int, step: int) -> np.ndarray:
    """The ``number`` frames, ``step`` apart, of the stretch whose mean is lowest.

    Args:
        values: (T,) float, NaN where unknown, with at least one that is known.
        number: Frames shown; fewer where the video is shorter.
        step: Frames from one to the next; less where the video is shorter.

    Returns:
        (N,) int, ascending.
    """
    number = min(number, len(values))
    step = max(min(step, (len(values) - 1) // max(number - 1, 1)), 1)
    length = (number - 1) * step + 1
    windows = np.lib.stride_tricks.sliding_window_view(values, length)
    known = ~np.isnan(windows)
    means = np.where(known, windows, 0).sum(1) / np.maximum(known.sum(1), 1)
    begin = int(np.where(known.any(1), means, np.inf).argmin())
    return begin + step * np.arange(number)


class Stretch(Video):
    """Some frames of a video, with the outline of the truth.

    Args:
        video: The whole video.
        frames: Indices of the frames.
    """

    def __init__(self, video: Video, frames: np.ndarray):
        self.video, self.frames = video, frames
        self.name, self.size, self.num_frames = video.name, video.size, len(frames)

    def frame(self, index: int) -> np.ndarray:
        """(H, W, 3) uint8 RGB."""
        picture, truth = self.video.frame(self.frames[index]), self.mask(index)
        return picture if truth is None else overlay(picture, truth, alpha=0.0)

    def mask(self, index: int) -> np.ndarray | None:
        """(H, W) uint8 ids or None."""
        return self.video.mask(self.frames[index])


def draw_failure(failure: Failure, width: int = 900) -> np.ndarray:
    """Two rows of frames, (H, width, 3) uint8 RGB: the outline of the truth, and the prediction over it."""
    stretch = Stretch(failure.video, failure.frames)
    nothing = [np.zeros_like(mask) for mask in failure.masks]
    return draw_film_strip(stretch, [nothing, failure.masks], columns=len(failure.frames), width=width)


def draw_gallery(failures: list[Failure]) -> Figure:
    """All failures below each other; captions name video, memory, frames and J."""
    strips = [draw_failure(failure) for failure in failures]
    heights = [strip.shape[0] / strip.shape[1] for strip in strips]
    figure = Figure(figsize=(9, 9 * sum(heights) + 0.8 * len(strips)), dpi=100, layout='constrained')
    grid = figure.subplots(len(strips), squeeze=False, height_ratios=heights)[:, 0]
    for axes, strip, failure in zip(grid, strips, failures, strict=True):
        axes.imshow(strip)
        centres = (np.arange(len(failure.frames)) + 0.5) * strip.shape[1] / len(failure.frames)
        pairs = zip(failure.frames, failure.scores[:, 0], strict=True)
        axes.set_xticks(centres, [_caption(frame, j) for frame, j in pairs], fontsize=8)
        axes.set(title=f'{failure.video.name}, {failure.memory}', yticks=[])
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    return figure


def _caption(frame, j):
    return f'frame {frame}' if np.isnan(j) else f'frame {frame}, J {100 * j:.0f}'
