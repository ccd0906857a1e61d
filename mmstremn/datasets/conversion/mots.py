"""MOTS and KITTI MOTS: run lengths in text files, or 16-bit PNGs.

Voigtlaender et al., MOTS: Multi-Object Tracking and Segmentation, CVPR 2019; the formats are those of the
page of its data (vision.rwth-aachen.de/page/mots). A line is ``frame id class height width rle``; a pixel of
a PNG is the id of its object, which is 1000 times the class plus a number; 10000 is to be ignored.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from mmstremn.datasets.conversion.annotation import (
    AnnotatedFrame,
    FrameFolder,
    Region,
    annotation_folders,
    read_label,
)
from mmstremn.datasets.conversion.run_lengths import decode_run_lengths
from mmstremn.datasets.io.folders import list_files
from mmstremn.datasets.io.masks import load_mask

FORM = 'lines of MOTS (frame id class height width rle)'
CLASSES = {1: 'car', 2: 'pedestrian'}
PER_CLASS = 1000
IGNORED = 10000


def read_mots(
    path: Path, videos: dict[str, FrameFolder], labels: Sequence[str] | None = None
) -> dict[str, dict[int, AnnotatedFrame]]:
    """The annotated frames of each video, by their places; an object's label is ``class_id``.

    Args:
        path: The text file of a single video; or a folder of text files called like the videos, or of the
            folders of their PNGs (of a single video, of its PNGs).
        videos: The frames; their names are numbers, those of the annotations.
        labels: Other classes are an error; None: any.

    Raises:
        FileNotFoundError: There is no such file or folder, or a frame is missing.
        ValueError: A line or a PNG is of another form; the message names the file.
    """
    if path.is_file():
        if len(videos) > 1:
            raise ValueError(
                f'{path}: one file for {len(videos)} videos, expected a folder with one for each'
            )
        return {name: _read_text(path, video, labels) for name, video in videos.items()}
    found = {}
    for name, video in videos.items():
        text = path / f'{video.path.resolve().name}.txt'
        if text.is_file():
            found[name] = _read_text(text, video, labels)
    for name, folder in annotation_folders(path, videos).items():
        pngs = list_files(folder, ('.png',))
        if pngs and name not in found:
            found[name] = {_place(videos[name], png.stem, str(png)): _read_png(png, labels) for png in pngs}
    return found


def _place(video: FrameFolder, number: str, source: str) -> int:
    """The place of the frame whose name is the same number, whatever zeros it begins with."""
    if not number.isdecimal():
        raise ValueError(f"{source}: expected the number of a frame, found '{number}'")
    places = {int(stem): place for stem, place in video.places.items() if stem.isdecimal()}
    if int(number) not in places:
        raise FileNotFoundError(
            f"{source}: no frame '{number}' in {video.path}, expected e.g. {video.frames[0].name}"
        )
    return places[int(number)]


def _read_text(path: Path, video: FrameFolder, labels: Sequence[str] | None) -> dict[int, AnnotatedFrame]:
    frames = {}
    for number, line in enumerate(path.read_text(encoding='utf-8-sig', errors='replace').splitlines(), 1):
        source = f'{path}: line {number}'
        parts = line.split()
        if not parts:
            continue
        if len(parts) != 6 or not all(part.isdecimal() and len(part) < 10 for part in parts[:5]):
            raise ValueError(f'{source}: expected {FORM}, found {line[:60]!r}')
        frame, identity, kind, height, width = map(int, parts[:5])
        size, place = (height, width), _place(video, parts[0], source)
        entry = frames.setdefault(place, AnnotatedFrame(f'{path}, frame {frame}', size, []))
        if entry.size != size:
            raise ValueError(
                f'{source}: size {size}, expected {entry.size} like the other lines of the frame'
            )
        draw = partial(_draw_text, parts[5], size, source)
        entry.regions.append(_region(identity, kind, draw, labels, source))
    for frame in frames.values():
        frame.regions.sort(key=lambda region: region.label is not None)
    return frames


def _draw_text(text: str, coded: tuple[int, int], source: str, size: tuple[int, int]) -> np.ndarray:
    return decode_run_lengths(text, coded, source)


def _read_png(path: Path, labels: Sequence[str] | None) -> AnnotatedFrame:
    stored = load_mask(path)
    if stored.kind != 'deep':
        raise ValueError(
            f'{path}: expected a PNG of 16 bits, 1000 * class + number at each pixel of an object'
        )
    ids = stored.values
    regions = [
        _region(k, k // PER_CLASS, partial(_draw_png, path, k), labels, str(path))
        for k in np.unique(ids[ids > 0]).tolist()
    ]
    return AnnotatedFrame(str(path), ids.shape, regions)


def _draw_png(path: Path, k: int, size: tuple[int, int]) -> np.ndarray:
    return load_mask(path).values == k


def _region(
    identity: int,
    kind: int,
    draw: Callable[[tuple[int, int]], np.ndarray],
    labels: Sequence[str] | None,
    source: str,
) -> Region:
    if identity == IGNORED:
        return Region(None, draw)
    label = read_label(CLASSES.get(kind, f'class{kind}'), labels, source)
    return Region(label, draw, str(identity))
