"""CVAT's XML "CVAT for video 1.1": one file for all frames.

The elements are those of CVAT's own description of the format (docs.cvat.ai, XML annotation format): a
``track`` is an object, its ``polygon``, ``mask``, ``box`` and ``ellipse`` elements are its outlines in the
frames.
"""

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mmstremn.datasets.conversion.annotation import (
    AnnotatedFrame,
    FrameFolder,
    Region,
    as_points,
    place_mask,
    polygon_region,
    read_label,
    reading,
)
from mmstremn.datasets.conversion.run_lengths import decode_run_lengths

FORM = "an XML file of CVAT ('CVAT for video 1.1', with <track> elements)"
SHAPES = ('polygon', 'mask', 'box', 'ellipse')
MOST_PIXELS = 1 << 28  # of a mask


class Task(NamedTuple):
    """What CVAT says of the frames of a video.

    Attributes:
        name: Of the task, which is that of the video.
        size: (H, W).
        numbers: Of the frames in the video: a task may begin later, and leave frames out.
    """

    name: str | None = None
    size: tuple[int, int] | None = None
    numbers: range = range(0)


def read_cvat(
    path: Path, videos: dict[str, FrameFolder], labels: Sequence[str] | None = None
) -> dict[str, dict[int, AnnotatedFrame]]:
    """The annotated frames of each video, by their places.

    Every track is an object: ``label_id``. Frames in which a track has a shape are annotated; one that is
    ``outside`` is not drawn. Shapes with a higher ``z_order`` lie over others. CVAT counts the frames of the
    whole video: of a task that begins later, or leaves frames out, the pictures may be those of the task or
    all of the video.

    Args:
        path: The XML file; in the export of a project, tasks are called like the folders of the videos.
        videos: The frames.
        labels: Other labels are an error; None: any.

    Raises:
        FileNotFoundError: There is no such file, or a track names a frame that is not there.
        ValueError: The file is of another tool or form, a shape cannot be used, or which pictures are those
            of the task cannot be told.
    """
    root = _parse(path)
    with reading(path, FORM):
        tasks = _tasks(root)
        shapes, task_of, seen = {}, {}, set()
        for track in root.iterfind('track'):
            source = f'{path}: track {track.get("id")}'
            number = track.get('task_id')
            task = tasks.get(number, Task())
            video = _video(None if number is None else task.name, videos, source)
            task_of[video.name] = task
            if (video.name, track.get('id')) in seen:
                raise ValueError(f'{source}: a second track of this id, expected an id of its own for each')
            seen.add((video.name, track.get('id')))
            label = read_label(track.get('label'), labels, source)
            for shape in track:
                if shape.tag not in SHAPES:
                    raise ValueError(f'{source}: a {shape.tag} has no area, expected {", ".join(SHAPES)}')
                index = int(shape.get('frame'))
                entry = shapes.setdefault(video.name, {}).setdefault(index, [])
                if shape.get('outside') != '1':
                    order, where = int(shape.get('z_order') or 0), f'{source}, frame {index}'
                    entry.append((order, _region(shape, label, track.get('id'), where)))
        return {name: _frames(path, videos[name], frames, task_of[name]) for name, frames in shapes.items()}


def _parse(path: Path) -> ElementTree.Element:
    if not path.is_file():
        raise FileNotFoundError(f'{path}: no such file, expected {FORM}')
    text = path.read_bytes()
    plain = text.replace(b'\0', b'')  # UTF-16 too
    if b'<!DOCTYPE' in plain or b'<!ENTITY' in plain:
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


def _tasks(root: ElementTree.Element) -> dict[str | None, Task]:
    """The tasks, or the job, by their ids; None: the only one."""
    found = {
        task.findtext('id'): _task(task)
        for kind in ('task', 'job')
        for task in root.iterfind(f'meta//{kind}')
    }
    return found | ({None: next(iter(found.values()))} if len(found) == 1 else {})


def _task(task: ElementTree.Element) -> Task:
    first, last = int(task.findtext('start_frame') or 0), int(task.findtext('stop_frame') or 0)
    step = re.fullmatch(r'step=([1-9]\d*)', (task.findtext('frame_filter') or '').replace(' ', ''))
    size = task.find('original_size')
    return Task(
        task.findtext('name'),
        None if size is None else (int(size.findtext('height')), int(size.findtext('width'))),
        range(first, last + 1, int(step[1]) if step else 1),
    )


def _video(task: str | None, videos: dict[str, FrameFolder], source: str) -> FrameFolder:
    """The video of a task: the only one, or that of its name (of which CVAT may have kept the suffix)."""
    if len(videos) == 1 and task is None:
        return next(iter(videos.values()))
    for video in videos.values():
        if task is not None and video.path.resolve().name in (task, Path(task).stem):
            return video
    raise FileNotFoundError(f"{source}: task '{task}', expected one of the videos {', '.join(videos)}")


def _frames(path: Path, video: FrameFolder, shapes: dict[int, list], task: Task) -> dict[int, AnnotatedFrame]:
    numbers = _numbers(path, video, task)
    for number in shapes:
        if number not in numbers:
            raise FileNotFoundError(
                f'{path}: frame {number}, expected one of {_told(numbers)} in {video.path}'
            )
    return {
        numbers.index(number): AnnotatedFrame(
            f'{path}, frame {number}', task.size, [region for _, region in _by_order(entries)]
        )
        for number, entries in shapes.items()
    }


def _numbers(path: Path, video: FrameFolder, task: Task) -> range:
    """The number of each picture in the video of which the task was made."""
    pictures = len(video.frames)
    is_whole = task.numbers.start == 0 and task.numbers.step == 1
    if is_whole or pictures >= task.numbers.stop:
        return range(pictures)
    if pictures == len(task.numbers):
        return task.numbers
    raise ValueError(
        f'{path}: the task has the frames {_told(task.numbers)} of its video, {video.path} has {pictures} '
        f'pictures: expected those {len(task.numbers)} of the task, or all of the video'
    )


def _told(numbers: range) -> str:
    step = '' if numbers.step == 1 else f' in steps of {numbers.step}'
    return f'{numbers.start}..{numbers[-1]}{step}'


def _by_order(entries: list[tuple[int, Region]]) -> list[tuple[int, Region]]:
    return sorted(entries, key=lambda entry: entry[0])


def _region(shape: ElementTree.Element, label: str, group: str | None, source: str) -> Region:
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
