"""The folder layout of DAVIS: sequence lists, the files of a sequence, and the checks that need no decoding.

ImageSets/<year>/<split>.txt    JPEGImages/<resolution>/<sequence>/00000.jpg    Annotations/.../00000.png

Long-time Video and LVOS have neither lists nor a folder of a resolution.
"""

from itertools import pairwise
from pathlib import Path

from mmstremn.datasets.io.images import read_header
from mmstremn.datasets.io.masks import read_mask_header

FRAME_SUFFIXES = ('.jpg', '.jpeg', '.png')
MASK_SUFFIXES = ('.png',)


def read_sequence_names(root: Path, year: int, split: str | None, resolution: str) -> list[str]:
    """The sequences of a split, in the order of its list; without a split all that have frames, by name.

    A line is a sequence's name (2017), or the paths of a frame and its mask (2016's own lists, which lie in
    ``ImageSets/<resolution>``).

    Raises:
        FileNotFoundError: No such root, resolution or list; the message names those that exist.
        ValueError: The list is empty.
    """
    if not root.is_dir():
        raise FileNotFoundError(
            f'{root}: no such folder, expected JPEGImages, Annotations and ImageSets in it'
        )
    pictures = root / 'JPEGImages'
    if not (pictures / resolution).is_dir():
        found = ', '.join(sorted(path.name for path in pictures.glob('*'))) or 'none'
        raise FileNotFoundError(
            f'{pictures / resolution}: no such folder, expected one of the resolutions: {found}'
        )
    if split is None:
        names = sorted(path.name for path in (pictures / resolution).iterdir() if path.is_dir())
        if not names:
            raise ValueError(f'{pictures / resolution}: expected at least one folder of frames')
        return names
    folders = [root / 'ImageSets' / str(year), root / 'ImageSets' / resolution]
    lists = {path.stem: path for folder in reversed(folders) for path in folder.glob('*.txt')}
    if split not in lists:
        raise FileNotFoundError(
            f'{folders[0] / split}.txt: no such list; splits of {year}: {", ".join(sorted(lists)) or "none"}'
        )
    lines = [line.split()[0] for line in lists[split].read_text().splitlines() if line.strip()]
    names = dict.fromkeys(Path(line).parent.name if '/' in line else line for line in lines)
    if not names:
        raise ValueError(f'{lists[split]}: expected at least one sequence')
    return list(names)


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
    frames, masks = _list_images(frame_dir, FRAME_SUFFIXES), _list_images(mask_dir, MASK_SUFFIXES)
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


def _list_images(folder: Path, suffixes: tuple[str, ...]) -> dict[str, str]:
    if not folder.is_dir():
        raise FileNotFoundError(
            f'{folder}: no such folder, expected the {" or ".join(suffixes)} files of a sequence'
        )
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in suffixes)
    if not paths:
        raise FileNotFoundError(f'{folder}: no files, expected {" or ".join(suffixes)} files')
    return {path.stem: str(path) for path in paths if not path.name.startswith('.')}


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
    first = next(iter(frames.values()))
    height, width = read_header(first)
    sizes = [(path, read_header(path)) for path in frames.values()]
    sizes += [(path, read_mask_header(path)) for path in masks.values()]
    for path, size in sizes:
        if size != (height, width):
            raise ValueError(
                f'{path}: {size[1]} x {size[0]} pixels, expected {width} x {height} like the first frame '
                f'{first}'
            )
    return height, width
