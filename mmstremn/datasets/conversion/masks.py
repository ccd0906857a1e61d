"""Palette or grey PNGs of object ids, one a frame."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from mmstremn.datasets.conversion.annotation import (
    AnnotatedFrame,
    FrameFolder,
    Region,
    annotation_folders,
    check_label,
)
from mmstremn.datasets.io.images import as_single_object, read_ids
from mmstremn.structures.video import VOID, mask_ids


def read_masks(
    path: Path, videos: dict[str, FrameFolder], labels: Sequence[str] | None = None
) -> dict[str, dict[int, AnnotatedFrame]]:
    """The annotated frames of each video, by their places; an object's label is its id.

    255 is void. A black and white mask (0 and 255 alone) shows object 1.

    Args:
        path: The folder of the PNGs, named like the frames (for several videos, of a folder each).
        videos: The frames.
        labels: Other ids are an error; None: any.

    Raises:
        FileNotFoundError: A mask has no frame.
        ValueError: A file is no picture of ids.
    """
    found = {}
    for name, folder in annotation_folders(path, videos).items():
        if folder.resolve() == videos[name].path.resolve():
            raise ValueError(f'{folder}: expected masks in a folder of their own, these are the frames')
        files = sorted(folder.glob('*.png'))
        found[name] = {videos[name].place(file.stem, str(file)): _read(file, labels) for file in files}
    return found


def _read(path: Path, labels: Sequence[str] | None) -> AnnotatedFrame:
    ids = _load(path)
    regions = []
    for k in sorted(mask_ids(ids) - {0}):
        if k != VOID:
            check_label(str(k), labels, str(path))
        regions.append(Region(None if k == VOID else str(k), partial(_draw, path, k)))
    return AnnotatedFrame(str(path), ids.shape, regions)


def _draw(path: Path, k: int, size: tuple[int, int]) -> np.ndarray:
    return _load(path) == k


def _load(path: Path) -> np.ndarray:
    ids = read_ids(path)
    return as_single_object(ids) if mask_ids(ids) <= {0, VOID} and VOID in mask_ids(ids) else ids
