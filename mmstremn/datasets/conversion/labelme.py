"""Labelme's and X-AnyLabeling's JSON, one file a frame.

The fields are those of labelme's own files (wkentaro/labelme docs) and of X-AnyLabeling, which writes the
same and adds rectangles of four points and turned ones.
"""

import base64
import binascii
import io
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from mmstremn.datasets.conversion.annotation import (
    AnnotatedFrame,
    FrameFolder,
    Region,
    annotation_folders,
    check_label,
    keys_of,
    polygon_region,
    read_json,
)

FORM = 'a file of Labelme or X-AnyLabeling (with shapes, imageHeight and imageWidth)'
LEAST_POINTS = dict(polygon=3, rectangle=2, rotation=4, circle=2, mask=2)


def read_labelme(
    path: Path, videos: dict[str, FrameFolder], labels: Sequence[str] | None = None
) -> dict[str, dict[int, AnnotatedFrame]]:
    """The annotated frames of each video, by their places.

    Shapes of a video with the same label and the same ``group_id`` are one object: ``label``, or
    ``label_group``. A file without shapes says that the frame shows no object.

    Args:
        path: The folder of the JSON files, named like the frames (for several videos, of a folder each).
        videos: The frames.
        labels: Other labels are an error; None: any.

    Raises:
        FileNotFoundError: A file has no frame.
        ValueError: A file is of another tool, or a shape cannot be used.
    """
    found = {}
    for name, folder in annotation_folders(path, videos).items():
        files = sorted(folder.glob('*.json'))
        found[name] = {videos[name].place(file.stem, str(file)): _read(file, labels) for file in files}
    return found


def _read(path: Path, labels: Sequence[str] | None) -> AnnotatedFrame:
    data = read_json(path, FORM)
    if not (isinstance(data, dict) and isinstance(data.get('shapes'), list)):
        raise ValueError(f'{path}: expected {FORM}, found {keys_of(data)}: a file of another tool?')
    height, width = data.get('imageHeight'), data.get('imageWidth')
    if not (isinstance(height, int) and isinstance(width, int)):
        raise ValueError(f'{path}: expected imageHeight and imageWidth in pixels, found {height} and {width}')
    regions = [_region(shape, f'{path}: shape {index}', labels) for index, shape in enumerate(data['shapes'])]
    return AnnotatedFrame(str(path), (height, width), regions)


def _region(shape: dict, source: str, labels: Sequence[str] | None) -> Region:
    label, kind, points = shape.get('label'), shape.get('shape_type', 'polygon'), shape.get('points') or []
    if not label:
        raise ValueError(f'{source}: expected a label, found none')
    source = f"{source} ('{label}')"
    check_label(label, labels, source)
    if kind not in LEAST_POINTS:
        raise ValueError(f'{source}: a {kind} has no area, expected one of {", ".join(LEAST_POINTS)}')
    if len(points) < LEAST_POINTS[kind]:
        raise ValueError(
            f'{source}: expected at least {LEAST_POINTS[kind]} points of a {kind}, found {len(points)}'
        )
    group = shape.get('group_id')
    name = label if group is None else f'{label}_{group}'
    if kind == 'mask':
        return Region(name, partial(_place_mask, _decode_mask(shape.get('mask'), source), points[0]))
    return Region(name, partial(polygon_region, _outline(kind, points)))


def _outline(kind: str, points: list) -> list:
    """The shape as a polygon of (x, y)."""
    if kind == 'circle':
        (x, y), edge = points[:2]
        radius = np.hypot(edge[0] - x, edge[1] - y)
        angles = np.linspace(0, 2 * np.pi, 65)[:-1]
        return np.stack([x + radius * np.cos(angles), y + radius * np.sin(angles)], 1).tolist()
    if kind == 'rectangle' and len(points) == 2:
        (left, top), (right, bottom) = points
        return [(left, top), (right, top), (right, bottom), (left, bottom)]
    return points


def _decode_mask(text: str | None, source: str) -> np.ndarray:
    try:
        return np.array(Image.open(io.BytesIO(base64.b64decode(text or '', validate=True)))) > 0
    except (binascii.Error, UnidentifiedImageError, OSError) as error:
        raise ValueError(f"{source}: expected 'mask', a PNG in base64 ({error})") from error


def _place_mask(mask: np.ndarray, corner: Sequence[float], size: tuple[int, int]) -> np.ndarray:
    """(H, W) bool of ``size`` with ``mask`` at its upper left ``corner`` (x, y); what leaves the picture is
    cut off."""
    placed = np.zeros(size, bool)
    left, top = (max(0, round(value)) for value in corner)
    part = mask[: size[0] - top, : size[1] - left]
    placed[top : top + part.shape[0], left : left + part.shape[1]] = part
    return placed
