"""Collections of clips: fixed windows of longer videos, or windows drawn at random."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from mmstremn.datasets.prediction.sources import FrameSource


class Clips(ABC):
    """A collection of clips, decoded when they are read."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def read(self, place: int, seed: int) -> tuple[str, np.ndarray]:
        """The name and the frames, (T, H, W) or (T, H, W, 3) uint8, of a clip.

        Args:
            place: Which one, 0..length - 1.
            seed: Decides everything random about it.
        """

    def read_with_notes(self, place: int, seed: int) -> tuple[str, np.ndarray, dict]:
        """As :meth:`read`, and what else the data sample of the clip says about it."""
        return *self.read(place, seed), {}


class ClipFormat(NamedTuple):
    """How frames become a clip.

    Attributes:
        length: T.
        size: (H, W) of the clip's frames, whatever those of the source are.
        channels: 1 (grey) or 3 (colour); frames of the other kind are converted.
        step: The difference between the numbers of neighbouring frames.
        crop: Cut the largest centred part of the proportions of ``size`` out, instead of stretching the
            frame.
    """

    length: int
    size: tuple[int, int]
    channels: int = 1
    step: int = 1
    crop: bool = False

    def read(self, source: FrameSource, start: int) -> tuple[str, np.ndarray]:
        """The name and the frames of the clip that begins with the frame numbered ``start``."""
        numbers = range(start, start + self.length * self.step, self.step)
        frames = [self.convert(frame) for frame in source.read(numbers)]
        return f'{source.name}@{start:05d}', np.stack(frames)

    def convert(self, frame: np.ndarray) -> np.ndarray:
        """A frame (H, W) or (H, W, 3) uint8 with the channels and at the size of the clip."""
        if self.channels == 1 and frame.ndim == 3:
            frame = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        elif self.channels == 3 and frame.ndim == 2:
            frame = cv2.cvtColor(frame, cv2.COLOR_GRAY2RGB)
        if self.crop:
            frame = centre_crop(frame, self.size[1] / self.size[0])
        return resize(frame, self.size)


class FixedWindows(Clips):
    """The same clips at every visit.

    Args:
        sources: The videos.
        windows: For each clip the place of its video in ``sources`` and the number of its first frame.
        clip_format: How frames become a clip.
    """

    def __init__(
        self, sources: Sequence[FrameSource], windows: Sequence[tuple[int, int]], clip_format: ClipFormat
    ):
        self.sources = list(sources)
        self.windows = np.array(windows, dtype=np.int64).reshape(-1, 2)
        self.clip_format = clip_format

    def __len__(self) -> int:
        return len(self.windows)

    def read(self, place: int, seed: int) -> tuple[str, np.ndarray]:
        source, start = self.windows[place].tolist()
        return self.clip_format.read(self.sources[source], start)


class RandomWindows(Clips):
    """Clips that begin at a random frame.

    A video stands in the collection once for every full length of a clip that it holds, so all frames count
    alike.

    Args:
        sources: The videos.
        starts: For each video the numbers of the frames with which a clip can begin, at least one.
        clip_format: How frames become a clip.
    """

    def __init__(self, sources: Sequence[FrameSource], starts: Sequence[np.ndarray], clip_format: ClipFormat):
        self.sources = list(sources)
        self.starts = list(starts)
        self.clip_format = clip_format
        span = clip_format.length * clip_format.step
        self.places = np.repeat(np.arange(len(self.sources)), [-(-len(some) // span) for some in self.starts])

    def __len__(self) -> int:
        return len(self.places)

    def read(self, place: int, seed: int) -> tuple[str, np.ndarray]:
        source = self.places[place]
        start = np.random.default_rng(seed).choice(self.starts[source])
        return self.clip_format.read(self.sources[source], int(start))


def centre_crop(frame: np.ndarray, ratio: float) -> np.ndarray:
    """The largest centred part of a frame (H, W) or (H, W, 3) whose width is ``ratio`` times its height."""
    height, width = frame.shape[:2]
    cut = min(height, round(width / ratio)), min(width, round(height * ratio))
    top, left = (height - cut[0]) // 2, (width - cut[1]) // 2
    return frame[top : top + cut[0], left : left + cut[1]]


def resize(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A frame (H, W) or (H, W, 3) at ``size``, by area where it shrinks and bilinearly where it does not."""
    if frame.shape[:2] == size:
        return frame
    shrinks = size[0] <= frame.shape[0] and size[1] <= frame.shape[1]
    return cv2.resize(frame, size[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
