"""Frames and annotations written in the DAVIS layout."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmstremn.datasets.conversion.annotation import AnnotatedFrame, FrameFolder, Region
from mmstremn.datasets.io.images import check_frames, describe_size, read_header
from mmstremn.structures.video import VOID, mask_ids
from mmstremn.utils.atomic import folder_written_aside
from mmstremn.utils.palette import encode_palette_png

RESOLUTION = '480p'  # only the folder's name: frames keep their size


def write_davis(
    out: Path,
    videos: dict[str, FrameFolder],
    annotations: dict[str, dict[int, AnnotatedFrame]],
    val: Sequence[str] | None = None,
) -> dict[str, dict[str, int]]:
    """Write ``JPEGImages``, ``Annotations``, ``ImageSets/2017/{train,val}.txt``, ``ids.json`` and
    ``frames.json``.

    Frames are copied as they are, numbered from 0, beginning with the first that shows an object. Objects are
    1..n in the order in which they appear. ``ids.json`` gives the id of each label of each video,
    ``frames.json`` the former name of each frame. All is written, or nothing.

    Args:
        out: A folder that does not exist or is empty.
        videos: The frames by the video's name.
        annotations: Annotated frames by the video's name and the frame's place. Videos without are left out.
        val: Names for val.txt, the others go to train.txt; None: all videos are in both.

    Returns:
        The content of ``ids.json``.

    Raises:
        FileExistsError: ``out`` is not empty.
        ValueError: No frame shows an object, frames and annotations differ in size, or ``val`` is wrong.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FileExistsError(f'{out}: exists and is not empty, expected a new folder')
    annotated = {name: frames for name, frames in annotations.items() if frames}
    if not annotated:
        raise ValueError(f'no annotation of any of the videos {", ".join(videos)}, expected at least one')
    lists = _lists(list(annotated), val)
    for name in annotated:
        _check_sizes(videos[name], annotated[name])
    with folder_written_aside(out) as root:
        ids, names = {}, {}
        for name, frames in annotated.items():
            ids[name], names[name] = _write_video(root, videos[name], frames)
        for split, members in lists.items():
            _write(root / 'ImageSets/2017' / f'{split}.txt', '\n'.join(members) + '\n')
        _write(root / 'ids.json', json.dumps(ids, indent=2, ensure_ascii=False) + '\n')
        _write(root / 'frames.json', json.dumps(names, indent=2, ensure_ascii=False) + '\n')
    return ids


def _write_video(root: Path, video: FrameFolder, frames: dict[int, AnnotatedFrame]) -> tuple[dict, dict]:
    """Write one video; the ids of its labels and the former names of its frames."""
    ids, masks = {}, {}
    for place in sorted(frames):
        masks[place] = _draw(frames[place], read_header(video.frames[place]).size, ids)
    shown = set().union(*map(mask_ids, masks.values())) - {0, VOID}
    if not shown:
        raise ValueError(
            f"video '{video.name}': none of its {len(masks)} masks shows an object "
            f'({frames[min(frames)].source}){_hint(frames)}'
        )
    hidden = [label for label, k in ids.items() if k not in shown]
    if hidden:
        source = next(
            frame.source for frame in frames.values() if hidden[0] in map(_object_of, frame.regions)
        )
        raise ValueError(
            f"{source}: no pixel of '{_names(ids)[hidden[0]]}' is to be seen: it lies outside the picture or "
            'is covered'
        )
    begin = next(place for place in sorted(masks) if mask_ids(masks[place]) - {0, VOID})
    names = {}
    for index, frame in enumerate(video.frames[begin:]):
        target = root / 'JPEGImages' / RESOLUTION / video.name / f'{index:05d}{frame.suffix.lower()}'
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(frame, target)
        names[target.stem] = frame.name
        if begin + index in masks:
            path = root / 'Annotations' / RESOLUTION / video.name / f'{index:05d}.png'
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode_palette_png(masks[begin + index]))
    called = _names(ids)
    return {called[key]: k for key, k in ids.items()}, names


def _object_of(region: Region) -> tuple[str, str | None]:
    return region.label, region.group


def _names(ids: dict[tuple[str, str | None], int]) -> dict[tuple[str, str | None], str]:
    """``label``, or ``label_group``; the group is repeated where that is the name of another object."""
    names = {key: key[0] for key in ids if key[1] is None}
    for key in ids:
        if key[1] is not None:
            name = f'{key[0]}_{key[1]}'
            while name in names.values():
                name = f'{name}_{key[1]}'
            names[key] = name
    return names


def _hint(frames: dict[int, AnnotatedFrame]) -> str:
    has_void = any(region.label is None for frame in frames.values() for region in frame.regions)
    return (
        ': all that is annotated is void (iscrowd=1 in COCO, 10000 in MOTS, 255 in masks)' if has_void else ''
    )


def _draw(frame: AnnotatedFrame, size: tuple[int, int], ids: dict) -> np.ndarray:
    """(H, W) uint8 ids; objects that are new get the next id."""
    mask = np.zeros(size, np.uint8)
    for region in frame.regions:
        k = VOID if region.label is None else ids.setdefault(_object_of(region), len(ids) + 1)
        if region.label is not None and k >= VOID:
            raise ValueError(
                f'{frame.source}: more than {VOID - 1} objects in a video, an id must fit 8 bits'
            )
        mask[region.draw(size)] = k
    return mask


def _check_sizes(video: FrameFolder, frames: dict[int, AnnotatedFrame]) -> None:
    size = check_frames(video.frames)
    for place, frame in frames.items():
        if frame.size not in (None, size):
            raise ValueError(
                f'{frame.source}: {frame.size[1]} x {frame.size[0]} pixels, expected '
                f'{describe_size(read_header(video.frames[place]))} like {video.frames[place]}'
            )


def _lists(names: list[str], val: Sequence[str] | None) -> dict[str, list[str]]:
    if val is None:
        return dict(train=names, val=names)
    unknown = [name for name in val if name not in names]
    if unknown:
        raise ValueError(f'val: {", ".join(unknown)}: expected annotated videos: {", ".join(names)}')
    train = [name for name in names if name not in val]
    if not train:
        raise ValueError('val: all annotated videos, expected at least one left for training')
    return dict(train=train, val=list(val))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding='utf-8')
