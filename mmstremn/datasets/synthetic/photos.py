"""Textures for synthetic videos: crops of the real photographs that scikit-image and scikit-learn install."""

from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

PHOTOGRAPHS = {
    'train': (
        'skimage/data/astronaut.png',
        'skimage/data/brick.png',
        'skimage/data/camera.png',
        'skimage/data/coffee.png',
        'skimage/data/gravel.png',
        'skimage/data/hubble_deep_field.jpg',
        'skimage/data/motorcycle_left.png',
        'skimage/data/page.png',
        'skimage/data/retina.jpg',
        'sklearn/datasets/images/flower.jpg',
    ),
    'dev': (
        'skimage/data/coins.png',
        'skimage/data/ihc.png',
        'skimage/data/rocket.jpg',
        'skimage/data/text.png',
    ),
    'test': (
        'skimage/data/chelsea.png',
        'skimage/data/grass.png',
        'skimage/data/moon.png',
        'sklearn/datasets/images/china.jpg',
    ),
}
"""Whole photographs, each in one split only, as package/path. All are files of wheels."""

MAX_SIDE = 640
FAR = 80.0
"""Distance in RGB from which two mean colours are told apart easily."""
RICH = 25.0
"""Standard deviation in RGB from which a crop has structure enough."""
YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
"""RGB to luma and two chroma axes (NTSC 1953)."""
RGB = np.linalg.inv(YIQ)


@cache
def load_photograph(name: str) -> np.ndarray:
    """A photograph as (h, w, 3) uint8 RGB, at most ``MAX_SIDE`` on a side, without the black rim of round
    ones.

    Raises:
        FileNotFoundError: The package or its file is missing; the message names both.
    """
    package, _, inner = name.partition('/')
    spec = find_spec(package)
    if spec is None:
        raise FileNotFoundError(
            f"Synthetic videos need the photograph '{name}', but '{package}' is not installed."
        )
    path = Path(spec.submodule_search_locations[0]) / inner
    if not path.is_file():
        raise FileNotFoundError(
            f"Synthetic videos need the photograph '{path}', which this '{package}' does not ship."
        )
    image = Image.open(path).convert('RGB')
    if inner.endswith('retina.jpg'):
        image = image.crop([round(side * share) for share in (0.16, 0.84) for side in image.size])
    image.thumbnail((MAX_SIDE, MAX_SIDE), Image.Resampling.LANCZOS)
    return np.asarray(image)


def colour_matrix(
    contrast: float = 1.0,
    brightness: float = 0.0,
    saturation: float = 1.0,
    hue: float = 0.0,
    tint: tuple[float, float] = (0.0, 0.0),
) -> np.ndarray:
    """A linear change of colour on RGB in 0..255, for ``cv2.transform``.

    Args:
        contrast: Factor on the luma's distance from mid grey.
        brightness: Added to the luma, in shares of 255.
        saturation: Factor on the chroma.
        hue: Rotation of the chroma in radians.
        tint: Added to the chroma (I, Q), in shares of 255.

    Returns:
        (3, 4) float64: a matrix and an offset.
    """
    cos, sin = saturation * np.cos(hue), saturation * np.sin(hue)
    change = np.array([[contrast, 0, 0], [0, cos, -sin], [0, sin, cos]])
    offset = np.array([127.5 * (1 - contrast) + 255 * brightness, 255 * tint[0], 255 * tint[1]])
    return np.column_stack([RGB @ change @ YIQ, RGB @ offset])


def random_colours(rng: np.random.Generator) -> np.ndarray:
    """A (3, 4) colour matrix that repaints a photograph: another hue, a tint (so grey ones get a colour), a
    contrast."""
    direction, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.17)
    hue = rng.uniform(-np.pi, np.pi) if rng.random() < 0.5 else rng.normal(0, 0.3)
    return colour_matrix(
        contrast=rng.uniform(0.8, 1.2),
        brightness=rng.uniform(-0.15, 0.15),
        saturation=rng.uniform(0.5, 1.2),
        hue=hue,
        tint=(strength * np.cos(direction), strength * np.sin(direction)),
    )


def sample_texture(
    rng: np.random.Generator,
    names: Sequence[str],
    size: tuple[int, int],
    avoid: Sequence[np.ndarray],
    share: tuple[float, float] = (0.25, 0.6),
    candidates: int = 5,
):
    """The repainted crop, of a few random ones, that is richest in contrast and tells itself from the colours
    ``avoid``.

    Args:
        rng: numpy's Generator.
        names: Photographs to choose from.
        size: (h, w) of the texture in pixels.
        avoid: Mean colours, a list of (3,) arrays.
        share: Range of the crop's side as a share of the largest crop of that shape.
        candidates: How many crops are compared.

    Returns:
        The texture, (h, w, 3) uint8, its mean colour, (3,), and the name of its photograph.
    """
    best = max(
        (_candidate(rng, names, size, avoid, share) for _ in range(candidates)), key=lambda item: item[0]
    )
    _, name, crop, colours, mean = best
    shrink = crop.shape[0] > size[0]
    texture = cv2.resize(
        crop, (size[1], size[0]), interpolation=cv2.INTER_AREA if shrink else cv2.INTER_CUBIC
    )
    if rng.random() < 0.5:
        texture = np.ascontiguousarray(texture[:, ::-1])
    return cv2.transform(texture, colours), mean, name


def _candidate(
    rng: np.random.Generator,
    names: Sequence[str],
    size: tuple[int, int],
    avoid: Sequence[np.ndarray],
    share: tuple[float, float],
):
    name = names[rng.integers(len(names))]
    photograph = load_photograph(name)
    largest = min(photograph.shape[0] / size[0], photograph.shape[1] / size[1])
    scale = largest * rng.uniform(*share)
    height, width = (max(4, int(side * scale)) for side in size)
    top = rng.integers(photograph.shape[0] - height + 1)
    left = rng.integers(photograph.shape[1] - width + 1)
    crop = photograph[top : top + height, left : left + width]
    colours = random_colours(rng)
    step = max(1, height // 16)
    mean, deviation = cv2.meanStdDev(np.ascontiguousarray(crop[::step, ::step]))
    mean = np.clip(colours[:, :3] @ mean[:, 0] + colours[:, 3], 0, 255)
    distance = min((np.linalg.norm(mean - other) for other in avoid), default=0.0)
    return min(distance, FAR) + min(deviation.mean(), RICH), name, crop, colours, mean
