"""Pictures of masks, one a frame: ids, black and white, or a colour per object."""

from collections.abc import Sequence
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
from mmstremn.datasets.io.folders import list_files
from mmstremn.datasets.io.masks import MaskFiles
from mmstremn.structures.video import VOID, mask_ids


def read_masks(
    path: Path, videos: dict[str, FrameFolder], labels: Sequence[str] | None = None
) -> dict[str, dict[int, AnnotatedFrame]]:
    """The annotated frames of each video, by their places.

    An object's label is its id, or its name in CVAT's ``labelmap.txt``. What the files mean is decided by
    :class:`~mmstremn.datasets.io.masks.MaskFiles`.

    Args:
        path: The folder of the pictures, named like the frames (for several videos, of a folder each).
        videos: The frames.
        labels: Other labels are an error; None: any.

    Raises:
        FileNotFoundError: A mask has no frame.
        ValueError: A file is no mask, or what it means cannot be told.
    """
    found = {}
    for name, folder in annotation_folders(path, videos).items():
        if folder.resolve() == videos[name].path.resolve():
            raise ValueError(f'{folder}: expected masks in a folder of their own, these are the frames')
        files = {videos[name].place(file.stem, str(file)): file for file in list_files(folder)}
        masks = MaskFiles([file for _, file in sorted(files.items())])
        found[name] = {place: _read(masks, file, labels) for place, file in sorted(files.items())}
    return found


def _read(masks: MaskFiles, path: Path, labels: Sequence[str] | None) -> AnnotatedFrame:
    ids = masks.read(path)
    regions = []
    for k in sorted(mask_ids(ids) - {0}):
        label = None if k == VOID else read_label(masks.labels.get(k, str(k)), labels, str(path))
        regions.append(Region(label, partial(_draw, masks, path, k)))
    return AnnotatedFrame(str(path), ids.shape, regions)


def _draw(masks: MaskFiles, path: Path, k: int, size: tuple[int, int]) -> np.ndarray:
    return masks.read(path) == k
