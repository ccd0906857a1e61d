"""The layers of a synthetic scene: their shape, place and colours are closed-form functions of time."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import cv2
import numpy as np

ANGLES = 2048
THETA = np.arange(ANGLES) * (2 * np.pi / ANGLES)
DIRECTIONS = np.stack([np.cos(THETA), np.sin(THETA)])
HARMONICS = np.array([2, 3, 4, 5])
HARMONIC_SIZES = np.array([0.14, 0.1, 0.07, 0.05])

TRACKS = {
    'x': (0.25, 45, 100),
    'y': (0.25, 45, 100),
    'log_scale': (0.3, 40, 90),
    'angle': (0.9, 40, 100),
    'bend': (0.2, 25, 60),
    'harmonic2': (HARMONIC_SIZES[0], 15, 40),
    'harmonic3': (HARMONIC_SIZES[1], 15, 40),
    'harmonic4': (HARMONIC_SIZES[2], 15, 40),
    'harmonic5': (HARMONIC_SIZES[3], 15, 40),
    'blend': (0.0, 70, 140),
    'brightness': (0.12, 30, 90),
    'contrast': (0.2, 30, 90),
    'tint_i': (0.05, 40, 120),
    'tint_q': (0.05, 40, 120),
}
"""Everything of a layer that moves: the largest amplitude, the shortest and the longest period in frames."""
ROW = {name: row for row, name in enumerate(TRACKS)}


@dataclass(eq=False)
class Waves:
    """Smooth tracks: each a centre plus two sinusoids, so any frame is computed without the ones before it.

    Attributes:
        centre: (N,) mean of each track.
        amplitude, period, phase: (N, 2) of its sinusoids; periods in frames, phases in radians.
    """

    centre: np.ndarray
    amplitude: np.ndarray
    period: np.ndarray
    phase: np.ndarray

    def __call__(self, time: float) -> np.ndarray:
        """(N,) values at a time in frames."""
        return self.centre + (self.amplitude * np.sin(2 * np.pi * time / self.period + self.phase)).sum(1)

    @classmethod
    def sample(cls, rng: np.random.Generator, strength: float = 1.0) -> 'Waves':
        """Random waves for ``TRACKS``, around (0.5, 0.5) and no change; ``strength`` scales all amplitudes.

        Some layers are slower than others, by a factor of up to 2.
        """
        largest, shortest, longest = np.array(list(TRACKS.values())).T
        amplitude = strength * largest * rng.uniform(0.5, 1, len(TRACKS))
        period = rng.uniform(shortest, longest) * np.exp(rng.uniform(0, 0.7))
        share = rng.uniform(0.6, 0.85, len(TRACKS))
        centre = np.zeros(len(TRACKS))
        centre[[ROW['x'], ROW['y']]] = 0.5
        return cls(
            centre=centre,
            amplitude=np.stack([amplitude * share, amplitude * (1 - share)], 1),
            period=np.stack([period, period * rng.uniform(0.4, 0.6, len(TRACKS))], 1),
            phase=rng.uniform(0, 2 * np.pi, (len(TRACKS), 2)),
        )

    def set(
        self, name: str, centre: float, amplitude: float, period: float = 60.0, phase: float = 0.0
    ) -> None:
        """Make one track a single sinusoid."""
        row = ROW[name]
        self.centre[row] = centre
        self.amplitude[row] = amplitude, 0
        self.period[row] = period
        self.phase[row] = phase


class Geometry(NamedTuple):
    """Where a layer covers the picture at one time.

    Attributes:
        window: Two slices (rows, columns) of the picture.
        alpha: (h, w) float32 coverage in 0..1 of the window's pixels; the object is where it is above .5.
        x, y: (h, w) float32, the layer's own coordinates that each pixel shows: they move with the material.
    """

    window: tuple[slice, slice]
    alpha: np.ndarray
    x: np.ndarray
    y: np.ndarray


@dataclass(eq=False)
class Layer:
    """A deformable shape: a closed contour r(theta, t) around a moving, turning, growing and bending frame of
    reference.

    r(theta, t) = rest(theta) * (1 + sum_k a_k(t) cos(k theta + q_k)), and the material point at (r, theta)
    was at r * rest(theta) / r(theta, t) at rest: the texture stretches with the contour.

    Attributes:
        object_id: 1.. for objects, 0 for what is background in the masks.
        rest: (ANGLES,) contour at rest, of mean square 1.
        angles: (4,) phases q_k of the harmonics.
        radius: Of the circle of equal area, as a share of sqrt(H * W).
        aspect: Length over width.
        waves: The tracks of ``TRACKS``: from a time in frames to their values.
        first_labelled: Frame before which the object is not in the masks.
        textures: K (h, w, 3) uint8 pictures on a ring, at the blend positions 0..K - 1; look-alikes share the
            list.
        blur: From a time to the Gaussian blur of the layer, as a share of sqrt(H * W).
    """

    object_id: int
    rest: np.ndarray
    angles: np.ndarray
    radius: float
    aspect: float
    waves: Callable[[float], np.ndarray]
    first_labelled: int = 0
    textures: list[np.ndarray] = field(default_factory=list)
    blur: Callable[[float], float] | None = None

    @property
    def reach(self) -> float:
        """The largest coordinate of the texture's square."""
        return float(self.rest.max()) * 1.05

    @cached_property
    def harmonics(self) -> np.ndarray:
        """(4, ANGLES): cos(k theta + q_k)."""
        return np.cos(HARMONICS[:, None] * THETA + self.angles[:, None])

    def axes(self, size: tuple[int, int]) -> tuple[float, float]:
        """Pixels of one unit of the layer's own x and y, at scale 1, in a picture of (H, W)."""
        unit = self.radius * np.sqrt(size[0] * size[1])
        return unit * np.sqrt(self.aspect), unit / np.sqrt(self.aspect)

    def geometry(self, values: np.ndarray, size: tuple[int, int]) -> Geometry | None:
        """The layer in a picture of ``size`` (H, W), given its waves' values; None where it is outside."""
        deformation = values[ROW['harmonic2'] : ROW['harmonic2'] + len(HARMONICS)]
        stretch = 1 + deformation @ self.harmonics
        contour = self.rest * stretch
        bend = values[ROW['bend']]
        centre = values[:2] * (size[1], size[0]) - 0.5
        cos, sin = np.cos(values[ROW['angle']]), np.sin(values[ROW['angle']])
        scale = np.exp(values[ROW['log_scale']])
        to_pixels = np.array([[cos, -sin], [sin, cos]]) * (np.array(self.axes(size)) * scale)
        window = self._window(contour, bend, centre, to_pixels, size)
        if window is None:
            return None
        local_x, local_y = _own_coordinates(window, centre, np.linalg.inv(to_pixels).astype(np.float32))
        local_x -= np.float32(bend) * local_y * local_y
        distance, theta = cv2.cartToPolar(local_x, local_y)
        bins = (theta * np.float32(ANGLES / (2 * np.pi))).astype(np.int32) % ANGLES
        alpha = _coverage(distance / contour.astype(np.float32)[bins])
        shrink = (1 / stretch).astype(np.float32)[bins]
        return Geometry(window, alpha, local_x * shrink, local_y * shrink)

    def _window(
        self,
        contour: np.ndarray,
        bend: float,
        centre: np.ndarray,
        to_pixels: np.ndarray,
        size: tuple[int, int],
    ):
        points = contour * DIRECTIONS
        points[0] += bend * points[1] ** 2
        points = to_pixels @ points + centre[:, None]
        left, top = np.maximum(np.floor(points.min(1)).astype(int) - 2, 0)
        right, bottom = np.minimum(np.ceil(points.max(1)).astype(int) + 3, (size[1], size[0]))
        if right - left < 2 or bottom - top < 2:
            return None
        return slice(top, bottom), slice(left, right)


def _own_coordinates(window: tuple[slice, slice], centre: np.ndarray, inverse: np.ndarray):
    """Layer coordinates of a window's pixels: two (h, w) float32 arrays."""
    rows = (np.arange(window[0].start, window[0].stop) - centre[1]).astype(np.float32)[:, None]
    columns = (np.arange(window[1].start, window[1].stop) - centre[0]).astype(np.float32)
    return inverse[0, 0] * columns + inverse[0, 1] * rows, inverse[1, 0] * columns + inverse[1, 1] * rows


def _coverage(level: np.ndarray) -> np.ndarray:
    """Coverage of pixels by the region ``level`` < 1, from the level's distance to 1 in pixels, to first
    order."""
    slope = cv2.magnitude(
        cv2.Sobel(level, cv2.CV_32F, 1, 0, scale=0.125), cv2.Sobel(level, cv2.CV_32F, 0, 1, scale=0.125)
    )
    return np.clip(0.5 + (1 - level) / np.maximum(slope, 1e-6), 0, 1)


def blob(rng: np.random.Generator) -> np.ndarray:
    """A random contour at rest, (ANGLES,) of mean square 1: a smooth blob, a flower or a rounded polygon."""
    kind = rng.integers(3)
    if kind == 0:
        sizes = rng.normal(0, 1, 5) * np.array([0.14, 0.12, 0.1, 0.06, 0.05])
        phases = rng.uniform(0, 2 * np.pi, 5)
        contour = 1 + sizes @ np.cos(np.arange(2, 7)[:, None] * THETA + phases[:, None])
    elif kind == 1:
        contour = 1 + rng.uniform(0.12, 0.3) * np.cos(rng.integers(3, 7) * THETA)
    else:
        contour = rounded_polygon(rng.integers(3, 7))
    contour = np.maximum(contour, 0.4)
    return contour / np.sqrt(np.mean(contour**2))


def rounded_polygon(corners: int, sharpness: float = 12.0) -> np.ndarray:
    """The contour of a regular polygon with rounded corners: the p-norm of the distances to its sides."""
    sides = np.arange(corners) * (2 * np.pi / corners)
    distances = np.maximum(np.cos(THETA - sides[:, None]), 0)
    contour = (distances**sharpness).sum(0) ** (-1 / sharpness)
    return contour / np.sqrt(np.mean(contour**2))


def sample_object(rng: np.random.Generator, object_id: int) -> Layer:
    """An object that stays in the picture, or nearly."""
    waves = Waves.sample(rng)
    waves.centre[:2] = rng.uniform(0.3, 0.7, 2)
    waves.centre[ROW['angle']] = rng.uniform(0, 2 * np.pi)
    if rng.random() < 0.4:
        waves.set('blend', 0.5, 0.5, rng.uniform(70, 140), rng.uniform(0, 2 * np.pi))
    return Layer(
        object_id,
        blob(rng),
        rng.uniform(0, 2 * np.pi, 4),
        rng.uniform(0.11, 0.21),
        rng.uniform(1, 1.8),
        waves,
    )


def make_leaving(rng: np.random.Generator, layer: Layer, late: bool = False) -> None:
    """Let a layer leave the picture on one side and come back; ``late``: it starts outside and comes in."""
    axis, sign = ('x', 'y')[rng.integers(2)], rng.choice((-1, 1))
    inside = rng.uniform(0, 0.15)
    away = (np.pi / 2 if late else 0) + rng.uniform(-0.3, 0.3)
    amplitude = 0.5 - inside + layer.radius * np.sqrt(layer.aspect) * 1.6 + rng.uniform(0.05, 0.15)
    layer.waves.set(axis, 0.5 + sign * inside, sign * amplitude, rng.uniform(50, 75), away)


def sample_look_alike(rng: np.random.Generator, layer: Layer) -> Layer:
    """A layer with the looks of another on a path of its own that starts elsewhere; background in the
    masks."""
    twin = sample_object(rng, 0)
    while np.linalg.norm(twin.waves(0)[:2] - layer.waves(0)[:2]) < 0.35:
        twin = sample_object(rng, 0)
    waves = replace(layer.waves, **{name: getattr(layer.waves, name).copy() for name in vars(layer.waves)})
    for name in ('x', 'y', 'angle', 'log_scale'):
        for part in vars(waves):
            getattr(waves, part)[ROW[name]] = getattr(twin.waves, part)[ROW[name]]
    return replace(layer, object_id=0, first_labelled=0, waves=waves)


def sample_occluder(rng: np.random.Generator) -> Layer:
    """A bar across the picture or a drifting shape, to be put in front of everything; background in the
    masks."""
    waves = Waves.sample(rng, strength=0.7)
    waves.centre[:2] = rng.uniform(0.25, 0.75, 2)
    waves.centre[ROW['angle']] = rng.uniform(0, np.pi)
    angles = rng.uniform(0, 2 * np.pi, 4)
    if rng.random() < 0.4:
        return Layer(0, blob(rng), angles, rng.uniform(0.1, 0.15), rng.uniform(1, 2), waves)
    waves.amplitude[ROW['angle']] *= 0.3
    waves.amplitude[ROW['bend'] : ROW['blend']] = 0
    aspect = rng.uniform(10, 18)
    return Layer(0, rounded_polygon(4), angles, rng.uniform(0.05, 0.08) * np.sqrt(aspect), aspect, waves)
