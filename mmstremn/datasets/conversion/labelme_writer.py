"""Masks as Labelme's and X-AnyLabeling's JSON: polygons, which both open and edit.

The fields are those of labelme's own files (wkentaro/labelme docs).
"""

from collections.abc import Mapping

import numpy as np
from skimage.measure import approximate_polygon, find_contours

TOLERANCE = 0.34  # pixels; the border passes no pixel's centre nearer than sqrt(2) / 4 = 0.354
VERSION = '5.5.0'


def labelme_file(
    ids: np.ndarray, picture: str, labels: Mapping[int, str], tolerance: float = TOLERANCE
) -> dict:
    """The content of the JSON file of a frame.

    Args:
        ids: (H, W) uint8 object ids.
        picture: Path of the frame, relative to the JSON file.
        labels: Names of objects; others are called ``object``. Each object has its id as ``group_id``.
        tolerance: See :func:`polygons`.
    """
    shapes = [
        dict(
            label=labels.get(k, 'object'),
            points=[[float(x), float(y)] for x, y in points],
            group_id=k,
            description='',
            shape_type='polygon',
            flags={},
            mask=None,
        )
        for k in np.unique(ids[(ids > 0) & (ids < 255)]).tolist()
        for points in polygons(ids == k, tolerance)
    ]
    height, width = ids.shape
    return dict(
        version=VERSION,
        flags={},
        shapes=shapes,
        imagePath=picture,
        imageData=None,
        imageHeight=height,
        imageWidth=width,
    )


def polygons(mask: np.ndarray, tolerance: float = TOLERANCE) -> list[np.ndarray]:
    """The parts of a mask as polygons; each hole is joined to the border around it by a cut of no width.

    Args:
        mask: (H, W) bool.
        tolerance: Pixels by which a polygon may leave the border to have fewer points. Up to ``TOLERANCE`` it
            holds the centres of the mask's pixels and no other.

    Returns:
        (N, 2) of (x, y) each, (0, 0) the picture's upper left corner.
    """
    padded = np.pad(mask.astype(np.float32), 1)
    borders, holes = [], []
    for contour in find_contours(padded, 0.5, positive_orientation='high'):
        points = approximate_polygon(contour, tolerance)[:-1, ::-1] - 0.5  # (x, y), and without the padding
        if len(points) >= 3:
            (borders if _area(contour) < 0 else holes).append(points)
    outer = [points for points in borders]
    for hole in sorted(holes, key=lambda points: points[:, 0].min()):
        place = _around(hole, borders)
        outer[place] = _joined(outer[place], hole)
    return outer


def _area(contour: np.ndarray) -> float:
    """Twice the signed area of (row, column) points."""
    y, x = contour[:, 0], contour[:, 1]
    return float(np.dot(x[:-1], y[1:]) - np.dot(x[1:], y[:-1]))


def _around(hole: np.ndarray, borders: list[np.ndarray]) -> int:
    """The number of the smallest border around a hole."""
    inside = [k for k, border in enumerate(borders) if _contains(border, hole)]
    return min(inside, key=lambda k: np.prod(np.ptp(borders[k], axis=0)))


def _contains(border: np.ndarray, hole: np.ndarray) -> bool:
    low, high = hole.min(0), hole.max(0)
    return bool((border.min(0) <= low).all() and (border.max(0) >= high).all())


def _joined(border: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """One polygon of both, cut open where they are nearest."""
    distance = ((border[:, None] - hole[None]) ** 2).sum(-1)
    i, j = np.unravel_index(distance.argmin(), distance.shape)
    opened = np.concatenate([hole[j:], hole[: j + 1]])
    return np.concatenate([border[: i + 1], opened, border[i:]])
