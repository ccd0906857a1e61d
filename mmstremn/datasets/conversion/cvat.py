"""CVAT's XML "CVAT for video 1.1": one file for all frames.

The elements are those of CVAT's own description of the format (docs.cvat.ai, XML annotation format): a
``track`` is an object, its ``polygon``, ``mask``, ``box`` and ``ellipse`` elements are its outlines in the
frames.
"""

import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from mmstremn.datasets.conversion.annotation import (
    AnnotatedFrame,
    FrameFolder,
    Region,
    as_points,
    check_label,
    place_mask,
    polygon_region,
    reading,
)
from mmstremn.datasets.conversion.run_lengths import decode_run_lengths

FORM = "an XML file of CVAT ('CVAT for video 1.1', with <track> elements)"
SHAPES = ('polygon', 'mask', 'box', 'ellipse')
MOST_PIXELS = 1 << 28  # of a mask


def read_cvat(
    path: Path, videos: dict[str, FrameFolder], labels: Sequence[str] | None = None
) -> dict[str, dict[int, AnnotatedFrame]]:
    """The annotated frames of each video, by their places.

    Every track is an object: ``label_id``. Frames in which a track has a shape are annotated; one that is
    ``outside`` is not drawn. Shapes with a higher ``z_order`` lie over others.

    Args:
        path: The XML file; in the export of a project, tasks are called like the folders of the videos.
        videos: The frames.
        labels: Other labels are an error; None: any.

    Raises:
        FileNotFoundError: There is no such file, or a track names a frame that is not there.
        ValueError: The file is of another tool or form, or a shape cannot be used.
    """
    root = _parse(path)
    with reading(path, FORM):
        sizes, names = _tasks(root)
        shapes, seen = {}, set()
        for track in root.iterfind('track'):
            source = f'{path}: track {track.get("id")}'
            video = _video(names.get(track.get('task_id')), videos, source)
            if (video.name, track.get('id')) in seen:
                raise ValueError(f'{source}: a second track of this id, expected an id of its own for each')
            seen.add((video.name, track.get('id')))
            check_label(track.get('label'), labels, source)
            for shape in track:
                if shape.tag not in SHAPES:
                    raise ValueError(f'{source}: a {shape.tag} has no area, expected {", ".join(SHAPES)}')
                index = int(shape.get('frame'))
                entry = shapes.setdefault(video.name, {}).setdefault(index, [])
                if shape.get('outside') != '1':
                    order, where = int(shape.get('z_order') or 0), f'{source}, frame {index}'
                    entry.append((order, _region(shape, track, where)))
        return {
            name: _frames(path, videos[name], frames, sizes.get(name, sizes.get(None)))
            for name, frames in shapes.items()
        }


def _parse(path: Path) -> ElementTree.Element:
    if not path.is_file():
        raise FileNotFoundError(f'{path}: no such file, expected {FORM}')
    text = path.read_bytes()
    if b'<!DOCTYPE' in text or b'<!ENTITY' in text:
        raise ValueError(
            f'{path}: expected {FORM}, found a document type with entities, which CVAT never writes'
        )
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise ValueError(f'{path}: expected {FORM}, it is no XML ({error})') from error
    if root.tag != 'annotations':
        raise ValueError(f'{path}: expected {FORM}, found <{root.tag}>: a file of another tool?')
    if root.find('track') is None:
        found = 'images: export as CVAT for video' if root.find('image') is not None else 'no track'
        raise ValueError(f'{path}: expected {FORM}, found {found}')
    return root


def _tasks(root: ElementTree.Element) -> tuple[dict, dict]:
    """(H, W) by the name of a task (None: of the only one), and the names of tasks by their ids."""
    sizes, names = {}, {}
    for task in root.iterfind('meta//task'):
        size = task.find('original_size')
        name = task.findtext('name')
        names[task.findtext('id')] = name
        if size is not None:
            sizes[name] = int(size.findtext('height')), int(size.findtext('width'))
    return sizes | ({None: next(iter(sizes.values()))} if len(sizes) == 1 else {}), names


def _video(task: str | None, videos: dict[str, FrameFolder], source: str) -> FrameFolder:
    """The video of a task: the only one, or that of its name (of which CVAT may have kept the suffix)."""
    if len(videos) == 1 and task is None:
        return next(iter(videos.values()))
    for video in videos.values():
        if task is not None and video.path.resolve().name in (task, Path(task).stem):
            return video
    raise FileNotFoundError(f"{source}: task '{task}', expected one of the videos {', '.join(videos)}")


def _frames(
    path: Path, video: FrameFolder, shapes: dict[int, list], size: tuple[int, int] | None
) -> dict[int, AnnotatedFrame]:
    last = max(shapes)
    if min(shapes) < 0 or last >= len(video.frames):
        raise FileNotFoundError(
            f'{path}: frame {last if last >= len(video.frames) else min(shapes)}, expected one of '
            f'0..{len(video.frames) - 1} in {video.path}'
        )
    return {
        index: AnnotatedFrame(f'{path}, frame {index}', size, [region for _, region in _by_order(entries)])
        for index, entries in shapes.items()
    }


def _by_order(entries: list[tuple[int, Region]]) -> list[tuple[int, Region]]:
    return sorted(entries, key=lambda entry: entry[0])


def _region(shape: ElementTree.Element, track: ElementTree.Element, source: str) -> Region:
    label, group = track.get('label'), track.get('id')
    if shape.tag == 'mask':
        left, top, width, height = (int(shape.get(key)) for key in ('left', 'top', 'width', 'height'))
        if not (width > 0 and height > 0 and width * height <= MOST_PIXELS):
            raise ValueError(f'{source}: a mask of {width} x {height} pixels')
        try:
            counts = [int(count) for count in shape.get('rle').split(',')]
        except ValueError as error:
            raise ValueError(
                f"{source}: expected 'rle', run lengths with commas between ({error})"
            ) from error
        mask = decode_run_lengths(counts, (height, width), source, order='C')
        return Region(label, partial(place_mask, mask, (left, top)), group)
    return Region(label, partial(polygon_region, _outline(shape, source)), group)


def _outline(shape: ElementTree.Element, source: str) -> np.ndarray:
    """The shape as a polygon of (x, y)."""
    if shape.tag == 'polygon':
        return as_points([point.split(',') for point in shape.get('points').split(';')], source, 3)
    turn = np.deg2rad(as_points([[shape.get('rotation') or 0, 0]], source, 1)[0, 0])
    if shape.tag == 'box':
        left, top, right, bottom = as_points(
            [[shape.get(a), shape.get(b)] for a, b in (('xtl', 'ytl'), ('xbr', 'ybr'))], source, 2
        ).ravel()
        centre = np.array([left + right, top + bottom]) / 2
        points = np.array([(left, top), (right, top), (right, bottom), (left, bottom)]) - centre
    else:
        centre, radii = as_points(
            [[shape.get(a), shape.get(b)] for a, b in (('cx', 'cy'), ('rx', 'ry'))], source, 2
        )
        angles = np.linspace(0, 2 * np.pi, 65)[:-1]
        points = radii * np.stack([np.cos(angles), np.sin(angles)], 1)
    cos, sin = np.cos(turn), np.sin(turn)
    return points @ np.array([[cos, sin], [-sin, cos]]) + centre
