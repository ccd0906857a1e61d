"""Digits that hide and come back: only a model that remembers them can draw them again."""

from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from mmstremn.datasets.prediction.clips import Clips, resize
from mmstremn.datasets.prediction.moving_digits import (
    DigitClips,
    MovingDigitsDataset,
    paint,
)
from mmstremn.registry import DATASETS

SPEED = 0.07
"""How far a digit moves a frame, as a share of the room it has."""
MARGIN = 1.5
"""How far a digit's picture goes beyond the frame before it turns round, in its sides."""
WIDTHS = 1.2, 1.5
"""Least and largest width of an occluder, in sides of a digit's picture."""
CLEAR = 0.9
"""The share of a digit's ink that is seen where the digit shows clearly."""
MIN_CLEAR = 4
"""Input frames, at least, that show a digit clearly."""
MIN_INPUT = 8
RETURN = 10
"""Within so many frames after the input the first digit shows clearly again."""
BEGINS = 100
"""A digit's way is so much longer than the clip, which takes a part of it that fits."""


@DATASETS.register_module()
class OccludedDigitsDataset(MovingDigitsDataset):
    """Digits of scikit-learn that pass behind an occluder, leave the frame and come back.

    Every digit goes straight at one speed. Along one axis, drawn for each, it leaves the frame wholly, turns
    round outside and comes back; along the other it bounces off the frame's borders. A grey or textured bar
    or block stands still in front. In at least four input frames each digit shows clearly (90 % of its ink,
    other digits aside). At the last input frame one digit is hidden wholly, and a second one shows clearly:
    copying that frame is wrong in all that follow. Within the next ten frames the hidden digit shows clearly
    again. The pictures of digits, splits and seeds are those of ``MovingDigitsDataset``.

    The data sample's ``returned_frames`` lists the frames to predict that clearly show a digit which the last
    input frame hid; ``VideoPredictionMetric`` reports their PSNR.

    Args:
        *args: See ``MovingDigitsDataset``.
        **kwargs: See ``MovingDigitsDataset``; ``input_frames`` is at least 8.

    Raises:
        ValueError: An argument is out of range; the message names it.
    """

    def make_clips(self, *args: Any) -> Clips:
        """The clips of these arguments of :class:`OccludedClips`."""
        if self.input_frames < MIN_INPUT:
            raise ValueError(
                f'input_frames must be {MIN_INPUT} or more, to show digits and then to hide them, got '
                f'{self.input_frames}'
            )
        return OccludedClips(*args, input_frames=self.input_frames)


class Occluder(NamedTuple):
    """What stands in front: its upper left corner and its picture (h, w) uint8."""

    top: int
    left: int
    picture: np.ndarray

    def cover(self, frames: np.ndarray, picture: np.ndarray | int) -> None:
        """Put a picture (h, w) or a grey level in the place of what is behind, in frames (T, H, W)."""
        height, width = self.picture.shape
        frames[:, self.top : self.top + height, self.left : self.left + width] = picture


class Digit(NamedTuple):
    """A digit that moves.

    Attributes:
        image: (h, w) uint8, its picture.
        corners: (T, 2) the row and column of the picture's upper left corner.
        inside: (T,) bool, whether some of it is in the frame, in front of or behind the occluder.
        seen: (T,) the share of its ink that is seen.
    """

    image: np.ndarray
    corners: np.ndarray
    inside: np.ndarray
    seen: np.ndarray


class OccludedClips(DigitClips):
    """Clips that are drawn when they are read: digits that go behind an occluder and out of the frame.

    Args:
        *args: See ``DigitClips``.
        input_frames: The frames that are given.
    """

    digit_side = 20 / 64

    def __init__(self, *args: Any, input_frames: int):
        super().__init__(*args)
        self.input_frames = input_frames
        self._last = slice(input_frames - 1, input_frames - 1 + BEGINS)  # last input frames of possible clips

    def read_with_notes(self, place: int, seed: int) -> tuple[str, np.ndarray, dict]:
        """As in :class:`Clips`; the notes are ``returned_frames``."""
        name, clip_seed = self.seeds.of(place, seed)
        occluder, digits = self._scene(np.random.default_rng(clip_seed))
        return name, self._paint(occluder, digits), dict(returned_frames=self._returned(digits))

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """The frames (T, H, W) uint8 of a clip."""
        return self._paint(*self._scene(rng))

    def _paint(self, occluder: Occluder, digits: list[Digit]) -> np.ndarray:
        frames = np.zeros((self.num_frames, *self.size), dtype=np.uint8)
        for digit in digits:
            paint(frames, digit.image, digit.corners[: self.num_frames])
        occluder.cover(frames, occluder.picture)
        return frames

    def _returned(self, digits: list[Digit]) -> list[int]:
        """The frames to predict that clearly show a digit which the last input frame hid."""
        seen = np.stack([digit.seen[: self.num_frames] for digit in digits])
        given, later = np.split(seen, [self.input_frames], axis=1)
        returned = (later >= CLEAR)[given[:, -1] == 0].any(axis=0)
        return np.flatnonzero(returned).tolist()

    def _scene(self, rng: np.random.Generator) -> tuple[Occluder, list[Digit]]:
        """The occluder and the digits of a clip; at the last input frame the first is hidden, to return, and
        the second is shown."""
        behind = bool(rng.integers(2))  # the occluder, or outside of the frame
        digits: list[Digit] = []
        while len(digits) < self.num_digits:
            if not digits:
                occluder = draw_occluder(rng, self.size, self.images.shape[-1])
            digit = self._draw_digit(rng, occluder)
            fit = self._is_shown(digit)
            if not digits:
                fit &= self._returns(digit, behind)
            elif len(digits) == 1:
                fit &= digit.seen[self._last] >= CLEAR
            if fit.any():
                begin = rng.choice(np.flatnonzero(fit))
                digits.append(Digit(digit.image, *(values[begin:] for values in digit[1:])))
        return occluder, digits

    def _draw_digit(self, rng: np.random.Generator, occluder: Occluder) -> Digit:
        """A digit on a way that is longer than the clip by ``BEGINS``."""
        image = self.images[rng.integers(len(self.images))]
        start, angle, leaves = rng.random(2), rng.random() * 2 * np.pi, np.arange(2) == rng.integers(2)
        margin = leaves * round(MARGIN * len(image))
        room = np.array(self.size) - len(image) + 2 * margin
        num_frames = BEGINS + max(self.num_frames, self.input_frames + RETURN)
        corners = np.floor(reflect(start, angle, num_frames) * room).astype(int) - margin
        inside = ink_within(image, corners, (0, 0), self.size)
        covered = ink_within(image, corners, (occluder.top, occluder.left), occluder.picture.shape)
        return Digit(image, corners, inside > 0, (inside - covered) / image.sum())

    def _is_shown(self, digit: Digit) -> np.ndarray:
        """(``BEGINS``,) for each frame whether a clip that begins there shows the digit often enough."""
        clear = sliding_window_view(digit.seen >= CLEAR, self.input_frames)[:BEGINS]
        return clear.sum(axis=1) >= MIN_CLEAR

    def _returns(self, digit: Digit, behind: bool) -> np.ndarray:
        """(``BEGINS``,) for each frame whether a clip that begins there hides the digit, behind the occluder
        or outside of the frame, at its last input frame and shows it again soon."""
        hidden = (digit.seen[self._last] == 0) & (digit.inside[self._last] == behind)
        later = sliding_window_view(digit.seen[self.input_frames :] >= CLEAR, RETURN)[:BEGINS]
        return hidden & later.any(axis=1)


def reflect(start: np.ndarray, angle: float, num_frames: int) -> np.ndarray:
    """(T, 2) positions in the unit square of a point that moves by ``SPEED`` a frame and is reflected by the
    borders.

    Args:
        start: (2,) its first position.
        angle: Its first direction, in radians.
        num_frames: T.
    """
    velocity = SPEED * np.array([np.sin(angle), np.cos(angle)])
    straight = start + velocity * np.arange(num_frames)[:, None]
    return 1 - np.abs(straight % 2 - 1)


def ink_within(
    image: np.ndarray, corners: np.ndarray, corner: tuple[int, int], size: tuple[int, ...]
) -> np.ndarray:
    """(T,) whole numbers, the sum of what a rectangle shows of a picture that moves.

    Args:
        image: (h, w) uint8.
        corners: (T, 2) the row and column of its upper left corner.
        corner: The row and column of the rectangle's upper left corner.
        size: (H, W) of the rectangle.
    """
    table = np.pad(image.astype(int).cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    low = (np.array(corner) - corners).clip(0, image.shape)
    high = (np.array(corner) + size - corners).clip(0, image.shape)
    (top, left), (bottom, right) = low.T, high.T
    return table[bottom, right] - table[top, right] - table[bottom, left] + table[top, left]


def draw_occluder(rng: np.random.Generator, size: tuple[int, int], side: int) -> Occluder:
    """A bar from border to border or a block, grey or textured.

    Args:
        rng: Draws it.
        size: (H, W) of the frames.
        side: Of a digit's picture.
    """
    shape = np.round(rng.uniform(*WIDTHS, size=2) * side).astype(int)
    along = rng.integers(3)  # a bar along this axis, or a block
    if along < 2:
        shape[along] = size[along]
    top, left = rng.integers(np.array(size) - shape + 1).tolist()
    level, contrast = rng.integers(70, 150), rng.integers(2) * 60
    grain = rng.uniform(-1, 1, (max(shape) // 3, max(shape) // 3)).astype(np.float32)
    picture = resize(grain, (max(shape), max(shape)))[: shape[0], : shape[1]] * contrast + level
    return Occluder(top, left, picture.round().astype(np.uint8))
