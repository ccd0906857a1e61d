"""Labelme's and X-AnyLabeling's JSON, one file a frame.

The fields are those of labelme's own files (wkentaro/labelme docs) and of X-AnyLabeling, which writes the
same and adds rectangles of four points and turned ones.
"""

import base64
import io
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from mmstremn.datasets.conversion.annotation import (
    AnnotatedFrame,
    FrameFolder,
    Region,
    annotation_folders,
    as_points,
    keys_of,
    place_mask,
    polygon_region,
    read_group,
    read_json,
    read_label,
    reading,
    whole,
)
from mmstremn.datasets.io.folders import list_files

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
        files = list_files(folder, ('.json',))
        found[name] = {videos[name].place(file.stem, str(file)): _read(file, labels) for file in files}
    return found


def _read(path: Path, labels: Sequence[str] | None) -> AnnotatedFrame:
    data = read_json(path, FORM)
    if not (isinstance(data, dict) and isinstance(data.get('shapes'), list)):
        raise ValueError(f'{path}: expected {FORM}, found {keys_of(data)}: a file of another tool?')
    height, width = whole(data.get('imageHeight')), whole(data.get('imageWidth'))
    if not (type(height) is int and type(width) is int):
        raise ValueError(
            f'{path}: expected imageHeight and imageWidth in pixels, found {height!r} and {width!r}'
        )
    with reading(path, FORM):
        shapes = enumerate(data['shapes'])
        regions = [_region(shape, f'{path}: shape {index}', labels) for index, shape in shapes]
    return AnnotatedFrame(str(path), (height, width), regions)


def _region(shape: dict, source: str, labels: Sequence[str] | None) -> Region:
    if not isinstance(shape, dict):
        raise ValueError(f'{source}: expected a dict with label and points, found a {type(shape).__name__}')
    label, kind, points = shape.get('label'), shape.get('shape_type', 'polygon'), shape.get('points') or []
    source = f"{source} ('{read_label(label, None, source)}')"
    label = read_label(label, labels, source)
    if kind not in LEAST_POINTS:
        raise ValueError(f'{source}: a {kind} has no area, expected one of {", ".join(LEAST_POINTS)}')
    points = as_points(points, f'{source}: a {kind}', LEAST_POINTS[kind])
    group = read_group(shape.get('group_id'), 'group_id', source)
    if kind == 'mask':
        return Region(label, partial(place_mask, _decode_mask(shape.get('mask'), source), points[0]), group)
    return Region(label, partial(polygon_region, _outline(kind, points)), group)


def _outline(kind: str, points: np.ndarray) -> np.ndarray:
    """The shape as a polygon of (x, y)."""
    if kind == 'circle':
        (x, y), edge = points[:2]
        radius = np.hypot(edge[0] - x, edge[1] - y)
        angles = np.linspace(0, 2 * np.pi, 65)[:-1]
        return np.stack([x + radius * np.cos(angles), y + radius * np.sin(angles)], 1)
    if kind == 'rectangle' and len(points) == 2:
        (left, top), (right, bottom) = points
        return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
    return points


def _decode_mask(text: str | None, source: str) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(base64.b64decode(text or '', validate=True))) as image:
            return np.array(image.convert('L')) > 0
    except (ValueError, TypeError, OSError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise ValueError(f"{source}: expected 'mask', a PNG in base64 ({error})") from error
