"""Real handwritten digits that move and bounce, without any download."""

from functools import cache
from typing import Any, NamedTuple

import cv2
import numpy as np

from mmstremn.datasets.prediction.base import PredictionDataset
from mmstremn.datasets.prediction.clips import Clips, resize
from mmstremn.datasets.synthetic.short_videos import scene_seed
from mmstremn.registry import DATASETS

DIGIT_SIDE = 28 / 64
SPEED = 0.1
"""How far a digit moves a frame, as a share of the room it has."""
SHARES = {'train': 0.7, 'dev': 0.1, 'test': 0.2}
"""Shares of scikit-learn's 1,797 digits."""
NUM_CLIPS = {'train': 10000, 'dev': 100, 'test': 500}


@DATASETS.register_module()
class MovingDigitsDataset(PredictionDataset):
    """Handwritten digits of scikit-learn (8 x 8 pixels, enlarged smoothly) on the trajectories of Moving
    MNIST.

    No two splits share the picture of a digit. A training clip is made from ``request.seed``, so training
    never sees a clip twice, and the length is nominal; the clips of 'dev' and 'test' are fixed, and a longer
    one begins like the shorter. Frames are grey.

    Args:
        split: 'train', 'dev' or 'test'.
        num_clips: Length; by default 10,000, 100 and 500 for the three splits.
        num_digits: Digits in a clip.
        seed: Another seed gives other clips.
        version: Of the recipe for seeds, for data sets that must not share clips.
        **kwargs: See ``PredictionDataset``.
    """

    def __init__(
        self,
        split: str = 'train',
        num_clips: int | None = None,
        num_digits: int = 2,
        seed: int = 0,
        version: int = 1,
        **kwargs: Any,
    ):
        for name, value in dict(num_clips=num_clips, num_digits=num_digits).items():
            if value is not None and value < 1:
                raise ValueError(f'{name} must be 1 or more, got {value}')
        self.num_clips = num_clips
        self.num_digits = num_digits
        self.seed = seed
        self.version = version
        super().__init__(split=split, **kwargs)

    def load_clips(self) -> Clips:
        """Clips of the digits of the split."""
        num_clips = NUM_CLIPS[self.split] if self.num_clips is None else self.num_clips
        seeds = ClipSeeds(self.split, self.version, self.seed)
        images = load_digit_images(self.split)
        return self.make_clips(images, num_clips, self.num_frames, self.size, self.num_digits, seeds)

    def make_clips(self, *args: Any) -> Clips:
        """The clips of these arguments of :class:`DigitClips`."""
        return DigitClips(*args)


class ClipSeeds(NamedTuple):
    """Names and seeds of generated clips: by the seed of the request in training, by the place elsewhere."""

    split: str
    version: int
    seed: int

    def of(self, place: int, request_seed: int) -> tuple[str, int]:
        """The name and the seed of one clip."""
        if self.split == 'train':
            return f'train_seed{request_seed}', scene_seed(*self, request_seed)
        return f'{self.split}_{place:05d}', scene_seed(*self, place)


class DigitClips(Clips):
    """Clips that are drawn when they are read: digits which move at a constant speed and bounce off the
    frame's borders.

    Source of the trajectories: Srivastava et al., "Unsupervised Learning of Video Representations using
    LSTMs" (ICML 2015).

    Args:
        images: (N, h, w) uint8, the digits to choose from, white on black.
        num_clips: Length.
        num_frames: T.
        size: (H, W) of the frames.
        num_digits: Digits in a clip.
        seeds: The clips' names and seeds.

    Attributes:
        digit_side: Side of a digit's picture as a share of the frame's smaller one.
    """

    digit_side = DIGIT_SIDE

    def __init__(
        self,
        images: np.ndarray,
        num_clips: int,
        num_frames: int,
        size: tuple[int, int],
        num_digits: int,
        seeds: ClipSeeds,
    ):
        side = round(self.digit_side * min(size))
        self.images = np.stack([resize(image, (side, side)) for image in images])
        self.num_clips = num_clips
        self.num_frames = num_frames
        self.size = size
        self.num_digits = num_digits
        self.seeds = seeds

    def __len__(self) -> int:
        return self.num_clips

    def read(self, place: int, seed: int) -> tuple[str, np.ndarray]:
        name, clip_seed = self.seeds.of(place, seed)
        return name, self.draw(np.random.default_rng(clip_seed))

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """The frames (T, H, W) uint8 of a clip."""
        images = self.images[rng.integers(len(self.images), size=self.num_digits)]
        starts, angles = rng.random((self.num_digits, 2)), rng.random(self.num_digits) * 2 * np.pi
        room = np.array(self.size) - images.shape[-1]
        frames = np.zeros((self.num_frames, *self.size), dtype=np.uint8)
        for image, start, angle in zip(images, starts, angles, strict=True):
            paint(frames, image, (bounce(start, angle, self.num_frames) * room).astype(int))
        return frames


def paint(frames: np.ndarray, image: np.ndarray, corners: np.ndarray) -> None:
    """Paint a digit into frames, over what is darker.

    Args:
        frames: (T, H, W) uint8, changed.
        image: (h, w) uint8.
        corners: (T, 2) whole numbers, the row and column of the image's upper left corner; what lies
            outside of the frame is cut off.
    """
    for frame, (top, left) in zip(frames, corners.tolist(), strict=True):
        part = frame[max(top, 0) : max(top + len(image), 0), max(left, 0) : max(left + image.shape[1], 0)]
        above, before = max(-top, 0), max(-left, 0)
        seen = image[above : above + part.shape[0], before : before + part.shape[1]]
        np.maximum(part, seen, out=part)


def bounce(start: np.ndarray, angle: float, num_frames: int) -> np.ndarray:
    """(T, 2) positions in the unit square of a point that moves by ``SPEED`` a frame; at a border it stops
    and turns round.

    Args:
        start: (2,) its first position.
        angle: Its first direction, in radians.
        num_frames: T.
    """
    position, velocity = np.array(start), SPEED * np.array([np.sin(angle), np.cos(angle)])
    way = [position]
    for _ in range(num_frames - 1):
        position = position + velocity
        velocity = np.where((position <= 0) | (position >= 1), -velocity, velocity)
        position = position.clip(0, 1)
        way.append(position)
    return np.stack(way)


@cache
def load_digit_images(split: str) -> np.ndarray:
    """(N, 28, 28) uint8, scikit-learn's digits of one split, white on black."""
    from sklearn.datasets import load_digits  # takes a second

    images = load_digits().images
    order = np.random.default_rng(0).permutation(len(images))
    ends = np.round(np.cumsum(list(SHARES.values())) * len(images)).astype(int)
    mine = np.split(order, ends[:-1])[list(SHARES).index(split)]
    return np.stack([enlarge(image) for image in images[np.sort(mine)]])


def enlarge(image: np.ndarray) -> np.ndarray:
    """A digit of 8 x 8 pixels 0..16 as 28 x 28 pixels 0..255, with a dark border as wide as half of
    MNIST's."""
    bordered = np.pad(image.astype(np.float32) * (255 / 16), 1)
    large = cv2.resize(bordered, (28, 28), interpolation=cv2.INTER_CUBIC)
    return large.clip(0, 255).round().astype(np.uint8)
