"""COCO's and YouTube-VIS's JSON: one file for all frames.

The fields are those of the COCO data format page (cocodataset.org) and of YouTube-VIS 2019. Polygons are
drawn here; run lengths need pycocotools.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path, PurePath

import numpy as np

from mmstremn.datasets.conversion.annotation import (
    AnnotatedFrame,
    FrameFolder,
    Region,
    check_label,
    keys_of,
    polygon_region,
    read_json,
)

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
    one object of each category. ``iscrowd`` is void. Frames without annotations are not annotated.

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
    try:
        return _read(path, data, videos, labels)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f'{path}: expected {FORM}; a field is missing or of another kind ({error!r})'
        ) from error


def _read(path, data, videos, labels):
    categories = {entry['id']: entry['name'] for entry in data['categories']}
    if 'videos' in data:
        frames = _vis_frames(path, data, videos)
        regions = _vis_regions(path, data, frames)
    elif 'images' in data:
        frames = {
            image['id']: (*_find(path, image['file_name'], videos), _size(image)) for image in data['images']
        }
        regions = _coco_regions(path, data, frames)
    else:
        raise ValueError(f'{path}: expected {FORM}, found {keys_of(data)}')
    found = {}
    for frame, annotation, source, segmentation in regions:
        video, place, size = frames[frame]
        region = _region(annotation, segmentation, categories, source, labels)
        entry = found.setdefault(video, {}).setdefault(place, AnnotatedFrame(f'{path}, {source}', size, []))
        _check_single(region, annotation, entry, source)
        entry.regions.append(region)
    return found


def _coco_regions(path, data, frames):
    """(frame, annotation, where, segmentation) of each."""
    for annotation in data['annotations']:
        source = f'{path}: annotation {annotation.get("id")}'
        if annotation.get('image_id') not in frames:
            raise ValueError(
                f"{source}: image_id {annotation.get('image_id')}, expected the id of one of 'images'"
            )
        yield annotation['image_id'], annotation, source, annotation.get('segmentation')


def _vis_frames(path, data, videos):
    """(video, place, size) by (video_id, number of the frame)."""
    frames = {}
    for video in data['videos']:
        for index, name in enumerate(video['file_names']):
            frames[video['id'], index] = (*_find(path, name, videos), _size(video))
    return frames


def _vis_regions(path, data, frames):
    """(frame, annotation, where, segmentation) of each frame in which an annotation shows its object."""
    for annotation in data['annotations']:
        source = f'{path}: annotation {annotation.get("id")}'
        annotation = annotation | dict(track_id=annotation.get('id'))
        for index, segmentation in enumerate(annotation.get('segmentations', [])):
            if segmentation:
                if (annotation['video_id'], index) not in frames:
                    raise ValueError(
                        f'{source}: frame {index} of video_id {annotation["video_id"]}, expected one of its '
                        'file_names'
                    )
                yield (annotation['video_id'], index), annotation, source, segmentation


def _find(path: Path, file_name: str, videos: dict[str, FrameFolder]) -> tuple[str, int]:
    """The video and the place of a frame."""
    name = PurePath(file_name.replace('\\', '/'))
    folders = {video.path.name: video for video in videos.values()}
    video = next(iter(videos.values())) if len(videos) == 1 else folders.get(name.parent.name)
    if video is None:
        raise FileNotFoundError(
            f"{path}: file_name '{file_name}', expected <video>/<frame> of one of {', '.join(folders)}"
        )
    return video.name, video.place(name.stem, f"{path}: file_name '{file_name}'")


def _size(entry: dict) -> tuple[int, int] | None:
    return (entry['height'], entry['width']) if entry.get('height') and entry.get('width') else None


def _region(annotation, segmentation, categories, source, labels) -> Region:
    if annotation.get('category_id') not in categories:
        known = ', '.join(map(str, categories))
        raise ValueError(
            f'{source}: unknown category_id {annotation.get("category_id")}, expected one of {known}'
        )
    category = categories[annotation['category_id']]
    check_label(category, labels, source)
    track = _track(annotation)
    label = None if annotation.get('iscrowd') else category if track is None else f'{category}_{track}'
    if not segmentation:
        raise ValueError(
            f'{source}: no segmentation, expected polygons or run lengths (a box alone is no mask)'
        )
    if isinstance(segmentation, dict):
        return Region(label, partial(_draw_rle, segmentation, source))
    if not all(
        isinstance(polygon, list) and len(polygon) >= 6 and len(polygon) % 2 == 0 for polygon in segmentation
    ):
        raise ValueError(f'{source}: expected polygons [[x1, y1, x2, y2, x3, y3, ...], ...] as segmentation')
    return Region(label, partial(_draw_polygons, segmentation))


def _track(annotation: dict):
    for key in ('track_id', 'instance_id'):
        if annotation.get(key) is not None:
            return annotation[key]
    return (annotation.get('attributes') or {}).get('track_id')


def _check_single(region: Region, annotation: dict, frame: AnnotatedFrame, source: str) -> None:
    if _track(annotation) is None and region.label in {other.label for other in frame.regions} - {None}:
        raise ValueError(
            f"{source}: a second '{region.label}' in one frame, expected a track_id on each to tell which "
            'object is which'
        )


def _draw_polygons(polygons: list, size: tuple[int, int]) -> np.ndarray:
    return np.logical_or.reduce([polygon_region(np.reshape(polygon, (-1, 2)), size) for polygon in polygons])


def _draw_rle(rle: dict, source: str, size: tuple[int, int]) -> np.ndarray:
    try:
        from pycocotools import mask
    except ImportError as error:
        raise ImportError(f'{source}: run lengths need pycocotools: pip install pycocotools') from error
    if tuple(rle.get('size', ())) != tuple(size):
        raise ValueError(
            f'{source}: run lengths of size {rle.get("size")}, expected {list(size)} (H, W) like the frame'
        )
    coded = mask.frPyObjects(rle, *size) if isinstance(rle['counts'], list) else rle
    return mask.decode(coded).astype(bool)
