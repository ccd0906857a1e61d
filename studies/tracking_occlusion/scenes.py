"""Generated videos for studies of trackers: objects that turn, hide and return in an earlier look, and their
detections."""

from dataclasses import dataclass

import cv2
import numpy as np

SIZE = (96, 160)
SIDE = 24  # pixels of an object
LOOKS = 3
TURN = 8  # frames in which one look fades into the next
MISSED = 0.05  # share of visible objects that are not detected
JITTER = 0.05  # standard deviation of a box's borders, in shares of its sides
VISIBLE = 0.3  # share of an object that must be visible to be detected
FALSE = 0.2  # false detections a frame


@dataclass
class Seen:
    """One frame.

    Attributes:
        image: (H, W, 3) uint8.
        ids: (N,) of the objects that are visible enough.
        boxes: (N, 4) around what is visible of them.
        looks: (N,) the look that each mostly shows.
        found: (D, 5) detections made from the truth: a box with noise, and a score.
    """

    image: np.ndarray
    ids: np.ndarray
    boxes: np.ndarray
    looks: np.ndarray
    found: np.ndarray


@dataclass
class Life:
    """What an object does: (T, 2) its centre in pixels, (T, LOOKS) what it looks like, (T,) whether it is
    there."""

    centre: np.ndarray
    shares: np.ndarray
    there: np.ndarray


def make_video(seed: int, length: int = 80, objects: int = 5, returns: str = 'earlier') -> list[Seen]:
    """A video of squares that move in front of noise and behind a bar.

    Every object has three looks (coloured patterns). It begins another every 12 to 20 frames and fades into
    it within 8. After 15 to 39 frames it leaves for 8 to 20, and so on; it returns at another place. Nearer
    objects and a grey bar in the middle hide others.

    Args:
        seed: Everything is a function of it.
        length: T.
        objects: At most 5 fit well.
        returns: The look in which an object returns: 'earlier', one that it had before but not when it left,
            or 'last'.
    """
    rng = np.random.default_rng((seed, 7))
    patterns = [[_pattern(rng) for _ in range(LOOKS)] for _ in range(objects)]
    lives = [_life(rng, length, returns) for _ in range(objects)]
    background = rng.integers(60, 150, (SIZE[0] // 8, SIZE[1] // 8, 3)).astype(np.float32)
    background = cv2.resize(background, SIZE[::-1], interpolation=cv2.INTER_CUBIC)
    return [_render(rng, background, patterns, lives, time) for time in range(length)]


def _pattern(rng) -> np.ndarray:
    """(SIDE, SIDE, 3): two colours in cells of 8 pixels."""
    colours = rng.uniform(20, 235, (2, 3))
    cells = colours[rng.integers(0, 2, (3, 3))].astype(np.float32)
    return cv2.resize(cells, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST)


def _life(rng, length: int, returns: str) -> Life:
    time = np.arange(length)
    half = np.array([SIZE[1], SIZE[0]]) / 2
    centre = np.empty((length, 2))
    shares, there = np.zeros((length, LOOKS)), np.ones(length, bool)
    path, look, previous, since, until = _path(rng), 0, 0, 0, int(rng.integers(12, 21))
    away = _absences(rng, length)
    left_with, seen = 0, [0]
    for now in time:
        gone = any(first <= now < last for first, last in away)
        if gone and (now == 0 or there[now - 1]):
            left_with = look
        if not gone and now and not there[now - 1]:
            path = _path(rng)
            earlier = [one for one in seen if one != left_with]
            look = previous = int(rng.choice(earlier)) if returns == 'earlier' and earlier else left_with
            since, until = now, now + int(rng.integers(12, 21))
        if now >= until and not gone:
            previous, look = look, int(rng.choice([one for one in range(LOOKS) if one != look]))
            since, until = now, now + int(rng.integers(12, 21))
            seen = seen if look in seen else [*seen, look]
        share = min((now - since + 1) / TURN, 1)
        shares[now, previous] += 1 - share
        shares[now, look] += share
        there[now] = not gone
        centre[now] = half + (half - SIDE / 2) * np.sin(2 * np.pi * now / path[0] + path[1])
    return Life(centre, shares, there)


def _path(rng) -> tuple[np.ndarray, np.ndarray]:
    """Periods in frames and phases of a closed curve through the picture."""
    return rng.uniform(50, 110, 2), rng.uniform(0, 2 * np.pi, 2)


def _absences(rng, length: int) -> list[tuple[int, int]]:
    spans, now = [], int(rng.integers(15, 40))
    while now < length - 10:
        spans.append((now, now + int(rng.integers(8, 21))))
        now = spans[-1][1] + int(rng.integers(15, 40))
    return spans


def _render(rng, background, patterns, lives, time: int) -> Seen:
    image, owner = background + rng.normal(0, 6, background.shape), np.full(SIZE, -1)
    for number, (looks, life) in enumerate(zip(patterns, lives, strict=True)):
        if life.there[time]:
            window = _window(life.centre[time])
            image[window] = np.tensordot(life.shares[time], np.stack(looks), 1) + rng.normal(
                0, 6, (SIDE, SIDE, 3)
            )
            owner[window] = number
    bar = slice(SIZE[1] // 2 - 9, SIZE[1] // 2 + 9)
    image[:, bar], owner[:, bar] = 110, -1
    shares = [(owner == number).mean() * owner.size / SIDE**2 for number in range(len(lives))]
    ids = np.array([number for number, share in enumerate(shares) if share >= VISIBLE], int)
    boxes = np.array([_box(owner == number) for number in ids], np.float32).reshape(-1, 4)
    looks = np.array([lives[number].shares[time].argmax() for number in ids], int)
    found = _detections(rng, boxes, np.array(shares)[ids])
    return Seen(image.clip(0, 255).astype(np.uint8), ids, boxes, looks, found)


def _window(centre: np.ndarray) -> tuple[slice, slice]:
    left, top = (centre - SIDE / 2).round().astype(int)
    left, top = np.clip([left, top], 0, [SIZE[1] - SIDE, SIZE[0] - SIDE])
    return slice(top, top + SIDE), slice(left, left + SIDE)


def _box(mask: np.ndarray) -> list[int]:
    rows, columns = np.nonzero(mask)
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def _detections(rng, boxes: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """(D, 5): the boxes less those missed, with noise; the more is visible the higher the score. Then false
    ones."""
    hit = rng.random(len(boxes)) >= MISSED
    sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    noisy = boxes + JITTER * sides * rng.normal(size=boxes.shape)
    scores = np.clip(0.5 + 0.48 * shares + 0.03 * rng.normal(size=len(boxes)), 0.05, 0.99)
    true = np.concatenate([noisy, scores[:, None]], 1)[hit]
    number = rng.poisson(FALSE)
    corner = rng.uniform(0, [SIZE[1] - SIDE, SIZE[0] - SIDE], (number, 2))
    false = np.concatenate([corner, corner + SIDE, rng.uniform(0.3, 0.6, (number, 1))], 1)
    return np.concatenate([true, false]).astype(np.float32)
