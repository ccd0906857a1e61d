"""COCO's and YouTube-VIS's JSON: one file for all frames.

The fields are those of the COCO data format page (cocodataset.org) and of YouTube-VIS 2019. pycocotools draws
the polygons.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from mmstremn.datasets.conversion.annotation import (
    AnnotatedFrame,
    FrameFolder,
    Region,
    as_points,
    keys_of,
    read_group,
    read_json,
    read_label,
    reading,
    whole,
)
from mmstremn.datasets.conversion.run_lengths import decode_run_lengths
from mmstremn.datasets.io.folders import composed

LONGEST = 10_000_000  # pixels around a polygon; pycocotools' memory grows with them
FORM = (
    "a file of COCO (with 'images', 'annotations', 'categories') or of YouTube-VIS (with 'videos' instead of "
    "'images')"
)


def read_coco(
    path: Path, videos: dict[str, FrameFolder], labels: Sequence[str] | None = None
) -> dict[str, dict[int, AnnotatedFrame]]:
    """The annotated frames of each video, by their places.

    In YouTube-VIS every annotation is an object. In COCO those of a video with the same category and the same
    ``track_id`` (or ``instance_id``, or ``attributes.track_id``) are; without such a field a frame may show
    one object of each category. ``iscrowd`` is void, unless the annotation has a track or ``attributes``:
    CVAT marks every mask that was drawn with a brush by it. Frames without annotations are not annotated;
    categories and videos that no annotation names are left out.

    Args:
        path: The JSON file; it names frames as ``<video>/<frame>``, or ``<frame>`` where there is one video.
        videos: The frames.
        labels: Other categories are an error; None: any.

    Raises:
        FileNotFoundError: The file names a frame that is not there.
        ValueError: The file is of another tool, or an annotation cannot be used.
    """
    data = read_json(path, FORM)
    parts = ('annotations', 'categories')
    if not (isinstance(data, dict) and all(isinstance(data.get(part), list) for part in parts)):
        raise ValueError(f'{path}: expected {FORM}, found {keys_of(data)}: a file of another tool?')
    with reading(path, FORM):
        return _read(path, data, videos, labels)


def _read(path: Path, data: dict, videos: dict[str, FrameFolder], labels: Sequence[str] | None):
    annotations = [_checked(annotation, path) for annotation in data['annotations']]
    used = {annotation.get('category_id') for annotation in annotations}
    categories = _unique(
        ((entry['id'], entry['name']) for entry in data['categories'] if entry['id'] in used),
        f'{path}: categories',
    )
    if 'videos' in data:
        frames = _vis_frames(path, data, videos)
        regions = _vis_regions(path, annotations, frames)
    elif 'images' in data:
        frames = _coco_frames(path, data, videos)
        regions = _coco_regions(path, annotations, frames)
    else:
        raise ValueError(f'{path}: expected {FORM}, found {keys_of(data)}')
    found = {}
    for frame, annotation, source, segmentation in regions:
        video, place, size = frames[frame]
        region = _region(annotation, segmentation, categories, source, labels)
        entry = found.setdefault(video, {}).setdefault(place, AnnotatedFrame(f'{path}, {source}', size, []))
        _check_single(region, entry, source)
        entry.regions.append(region)
    return found


def _coco_frames(path: Path, data: dict, videos: dict[str, FrameFolder]) -> dict:
    """(video, place, size) by the image's id; those of other videos must not be annotated."""
    used = {annotation.get('image_id') for annotation in data['annotations']}
    entries = (
        (image['id'], (*_find(path, image, videos), _size(image)))
        for image in data['images']
        if image['id'] in used or _video_of(path, image, videos) is not None
    )
    return _unique(entries, f'{path}: images')


def _coco_regions(path: Path, annotations: list[dict], frames: dict):
    """(frame, annotation, where, segmentation) of each."""
    for annotation in annotations:
        source = f'{path}: annotation {annotation.get("id")}'
        if annotation.get('image_id') not in frames:
            raise ValueError(
                f"{source}: image_id {annotation.get('image_id')}, expected the id of one of 'images'"
            )
        yield annotation['image_id'], annotation, source, annotation.get('segmentation')


def _vis_frames(path: Path, data: dict, videos: dict[str, FrameFolder]) -> dict:
    """(video, place, size) by (video_id, number of the frame), of the videos that are annotated."""
    used = {annotation.get('video_id') for annotation in data['annotations']}
    frames = []
    for video in (video for video in data['videos'] if video['id'] in used):
        for index, name in enumerate(video['file_names']):
            entry = (*_find(path, dict(file_name=name), videos), _size(video))
            frames.append(((video['id'], index), entry))
    return _unique(frames, f'{path}: videos')


def _vis_regions(path: Path, annotations: list[dict], frames: dict):
    """(frame, annotation, where, segmentation) of each frame in which an annotation shows its object."""
    for annotation in annotations:
        source = f'{path}: annotation {annotation.get("id")}'
        annotation = annotation | _vis_track(annotation)
        for index, segmentation in enumerate(annotation.get('segmentations') or []):
            if segmentation:
                if (annotation['video_id'], index) not in frames:
                    raise ValueError(
                        f'{source}: frame {index} of video_id {annotation["video_id"]}, expected one of its '
                        'file_names'
                    )
                yield (annotation['video_id'], index), annotation, source, segmentation


def _vis_track(annotation: dict) -> dict:
    """Every annotation is an object, but a crowd."""
    track = None if annotation.get('iscrowd') else annotation.get('id')
    return dict(track_id=track, instance_id=None, attributes=None)


def _checked(annotation: Any, path: Path) -> dict:
    if not isinstance(annotation, dict):
        raise ValueError(f'{path}: expected {FORM}, found {annotation!r:.60} among the annotations')
    return annotation


def _unique(entries: Iterable[tuple], source: str) -> dict:
    """A dict of pairs, of which neither keys nor values may come twice."""
    found, values = {}, set()
    for key, value in entries:
        if key in found or value in values:
            raise ValueError(f'{source}: {value if value in values else key} comes twice')
        found[key] = value
        values.add(value)
    return found


def _find(path: Path, entry: dict, videos: dict[str, FrameFolder]) -> tuple[str, int]:
    """The video and the place of a frame."""
    video, source = _video_of(path, entry, videos), f"{path}: file_name '{entry['file_name']}'"
    if video is None:
        raise FileNotFoundError(
            f'{source} is of another video, expected <video>/<frame> of one of '
            f'{", ".join(other.path.resolve().name for other in videos.values())}'
        )
    return video.name, video.place(_name_of(path, entry).stem, source)


def _video_of(path: Path, entry: dict, videos: dict[str, FrameFolder]) -> FrameFolder | None:
    """The video of a frame: the folder in its name, or the only video where it has none."""
    folder = _name_of(path, entry).parent.name
    if not folder and len(videos) == 1:
        return next(iter(videos.values()))
    return {video.folder: video for video in videos.values()}.get(composed(folder))


def _name_of(path: Path, entry: dict) -> PurePath:
    file_name = entry['file_name']
    if not isinstance(file_name, str):
        raise ValueError(f'{path}: expected a text as file_name, found {file_name!r:.60}')
    return PurePath(file_name.replace('\\', '/'))


def _size(entry: dict) -> tuple[int, int] | None:
    height, width = whole(entry.get('height')), whole(entry.get('width'))
    if height is None or width is None:
        return None
    if not (type(height) is int and type(width) is int):
        raise ValueError(f'expected height and width in pixels, found {height!r} and {width!r}')
    return (height, width) if height and width else None


def _region(
    annotation: Any, segmentation: Any, categories: dict, source: str, labels: Sequence[str] | None
) -> Region:
    if annotation.get('category_id') not in categories:
        raise ValueError(
            f"{source}: category_id {annotation.get('category_id')}, expected the id of one of 'categories'"
        )
    category = read_label(categories[annotation['category_id']], labels, source)
    track = _track(annotation, source)
    is_void = annotation.get('iscrowd') and track is None and not annotation.get('attributes')
    return Region(None if is_void else category, _drawing(segmentation, source), None if is_void else track)


def _drawing(segmentation: Any, source: str) -> Callable[[tuple[int, int]], np.ndarray]:
    if not segmentation:
        raise ValueError(
            f'{source}: no segmentation, expected polygons or run lengths (a box alone is no mask)'
        )
    if isinstance(segmentation, dict):
        return partial(_draw_run_lengths, *_checked_run_lengths(segmentation, source))
    if not isinstance(segmentation, list) or not all(
        isinstance(polygon, list) and len(polygon) >= 6 and len(polygon) % 2 == 0 for polygon in segmentation
    ):
        raise ValueError(f'{source}: expected polygons [[x1, y1, x2, y2, x3, y3, ...], ...] as segmentation')
    polygons = [as_points(_pairs(polygon), source, 3) for polygon in segmentation]
    if any(np.abs(np.diff(points, axis=0)).sum() > LONGEST for points in polygons):
        raise ValueError(f'{source}: a polygon of more than {LONGEST} pixels around, far outside any picture')
    return partial(_draw_polygons, polygons, source)


def _pairs(values: list) -> list[tuple]:
    return list(zip(values[::2], values[1::2], strict=True))


def _track(annotation: dict, source: str) -> str | None:
    found = [annotation.get(key) for key in ('track_id', 'instance_id')]
    found.append((annotation.get('attributes') or {}).get('track_id'))
    return read_group(next((value for value in found if value is not None), None), 'track_id', source)


def _check_single(region: Region, frame: AnnotatedFrame, source: str) -> None:
    if region.label is not None and region.group is None and region.label in _ungrouped(frame):
        raise ValueError(
            f"{source}: a second '{region.label}' in one frame, expected a track_id on each to tell which "
            'object is which'
        )


def _ungrouped(frame: AnnotatedFrame) -> set[str | None]:
    return {other.label for other in frame.regions if other.group is None}


def _draw_polygons(polygons: list[np.ndarray], source: str, size: tuple[int, int]) -> np.ndarray:
    try:
        from pycocotools import mask
    except ImportError as error:
        raise ImportError(
            f"{source}: polygons need pycocotools: pip install 'mmstremn[conversion]'"
        ) from error
    coded = mask.frPyObjects([polygon.ravel().tolist() for polygon in polygons], *size)
    return mask.decode(mask.merge(coded)).astype(bool)


def _checked_run_lengths(rle: dict, source: str) -> tuple[str | list, tuple[int, int], str]:
    counts, size = rle.get('counts'), rle.get('size')
    if not (isinstance(size, list) and len(size) == 2 and all(type(side) is int for side in size)):
        raise ValueError(f'{source}: expected the size [H, W] of the run lengths, found {size!r:.60}')
    if not isinstance(counts, (str, list)):
        raise ValueError(f'{source}: expected the counts of the run lengths, found {counts!r:.60}')
    return counts, tuple(size), source


def _draw_run_lengths(counts: Any, coded: tuple[int, int], source: str, size: tuple[int, int]) -> np.ndarray:
    if coded != size:
        raise ValueError(
            f'{source}: run lengths of size {list(coded)}, expected {list(size)} (H, W) like the frame'
        )
    return decode_run_lengths(counts, size, source)
