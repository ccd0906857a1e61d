"""The folder layout of DAVIS: sequence lists, the files of a sequence, and the checks that need no decoding.

ImageSets/<year>/<split>.txt    JPEGImages/<resolution>/<sequence>/00000.jpg    Annotations/.../00000.png

Long-time Video and LVOS have neither lists nor a folder of a resolution.
"""

import re
from itertools import pairwise
from pathlib import Path

from mmstremn.datasets.io.folders import (
    PICTURES,
    check_name,
    composed,
    existing,
    list_files,
    list_folders,
    read_list,
)
from mmstremn.datasets.io.images import check_frames, describe_size, read_header
from mmstremn.datasets.io.masks import read_mask_header

FRAME_AND_MASK = re.compile(r'(?:.*?/)?([^/]+)/[^/]+?\.(?:jpe?g|png)(?:\s.*)?', re.IGNORECASE)
"""A line of DAVIS 2016's lists: the paths of a frame and its mask; the group is the sequence."""


def read_sequence_names(root: Path, year: int, split: str | None, resolution: str) -> list[str]:
    """The sequences of a split, in the order of its list; without a split all that have frames, by name.

    A line is a sequence's name (2017), which may hold spaces, or the paths of a frame and its mask (2016's
    own lists, which lie in ``ImageSets/<resolution>``).

    Raises:
        FileNotFoundError: No such root, resolution or list; the message names those that exist.
        ValueError: The list is empty, or a name leads out of the data set.
    """
    if not root.is_dir():
        raise FileNotFoundError(
            f'{root}: no such folder, expected JPEGImages, Annotations and ImageSets in it'
        )
    pictures = root / 'JPEGImages'
    if not (pictures / resolution).is_dir():
        found = ', '.join(path.name for path in list_folders(pictures)) if pictures.is_dir() else ''
        raise FileNotFoundError(
            f'{pictures / resolution}: no such folder, expected one of the resolutions: {found or "none"}'
        )
    if split is None:
        names = [path.name for path in list_folders(pictures / resolution)]
        if not names:
            raise ValueError(f'{pictures / resolution}: expected at least one folder of frames')
        return names
    folders = [root / 'ImageSets' / str(year), root / 'ImageSets' / resolution]
    present = [folder for folder in reversed(folders) if folder.is_dir()]
    lists = {path.stem: path for folder in present for path in list_files(folder, ('.txt',))}
    if split not in lists:
        raise FileNotFoundError(
            f'{folders[0] / split}.txt: no such list of sequences: write one, a name a line, or set another '
            f'split; splits of {year}: {", ".join(sorted(lists)) or "none"}'
        )
    return read_sequence_list(lists[split])


def read_sequence_list(path: str | Path) -> list[str]:
    """The sequences that a list names, see :func:`read_sequence_names`.

    Raises:
        FileNotFoundError: There is no such list.
        ValueError: It is empty, or a name leads out of the data set.
    """
    lines = read_list(path, 'the names of sequences, one a line')
    return list(dict.fromkeys(check_name(_sequence_of(line), path) for line in lines))


def _sequence_of(line: str) -> str:
    paths = FRAME_AND_MASK.fullmatch(line)
    return paths[1] if paths else line


def read_sequence(
    frame_dir: Path, mask_dir: Path, consecutive: bool = True
) -> tuple[list[str], dict[int, str], tuple[int, int]]:
    """The files of one sequence, checked by their names and headers.

    Args:
        frame_dir, mask_dir: Folders of its frames and masks.
        consecutive: The numbers of the frames must go up by one constant step.

    Returns:
        The paths of the frames, the path of the mask of each annotated frame, and (H, W).

    Raises:
        FileNotFoundError: A folder or a frame is missing.
        ValueError: A mask has no frame; a file has another size or mode than expected.
    """
    frames, masks = _list_images(existing(frame_dir)), _list_images(existing(mask_dir))
    if consecutive:
        _check_numbers(frame_dir, frames)
    place = {stem: index for index, stem in enumerate(frames)}
    for stem, path in masks.items():
        if stem not in place:
            raise ValueError(f"{path}: a mask without a frame, expected frame '{stem}' in {frame_dir}")
    return (
        list(frames.values()),
        {place[stem]: path for stem, path in masks.items()},
        _check_sizes(frames, masks),
    )


def _list_images(folder: Path) -> dict[str, str]:
    paths = list_files(folder)
    if not paths:
        raise FileNotFoundError(f'{folder}: no files, expected {" or ".join(PICTURES)} files')
    return {composed(path.stem): str(path) for path in paths}


def _check_numbers(folder: Path, frames: dict[str, str]) -> None:
    """Frame numbers must go up by one constant step (1 in DAVIS, 5 in YouTube-VOS)."""
    if len(frames) < 3 or not all(stem.isdecimal() for stem in frames):
        return
    numbers = [int(stem) for stem in frames]
    steps = [after - before for before, after in pairwise(numbers)]
    for number, step in zip(numbers, steps, strict=False):
        if step != min(steps):
            raise FileNotFoundError(
                f'{folder}: missing frames, expected frame {number + min(steps)} after {number}, found '
                f'{number + step}'
            )


def _check_sizes(frames: dict[str, str], masks: dict[str, str]) -> tuple[int, int]:
    size = check_frames(list(frames.values()))
    for stem, path in masks.items():
        mask_size = read_mask_header(path)
        if mask_size != size:
            raise ValueError(
                f'{path}: {mask_size[1]} x {mask_size[0]} pixels, expected '
                f'{describe_size(read_header(frames[stem]))} like its frame {frames[stem]}'
            )
    return size
