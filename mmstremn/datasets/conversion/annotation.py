"""What the readers of annotation formats share: folders of frames, regions of objects, polygons, JSON."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mmengine.logging import print_log
from skimage.draw import polygon2mask

from mmstremn.datasets.io.folders import PICTURES, composed, existing, list_files, list_folders


class Region(NamedTuple):
    """A part of a frame that belongs to an object.

    Attributes:
        label: The object's name, in all frames of its video; None where the part is void.
        draw: Gives the part as (H, W) bool from (H, W).
        group: Distinguishes objects of the same label; None: there is one.
    """

    label: str | None
    draw: Callable[[tuple[int, int]], np.ndarray]
    group: str | None = None


class AnnotatedFrame(NamedTuple):
    """A frame all of whose objects are given.

    Attributes:
        source: Where it was read, for messages.
        size: (H, W) for which it was drawn; None: not known.
        regions: Later ones lie over earlier ones.
    """

    source: str
    size: tuple[int, int] | None
    regions: list[Region]


class FrameFolder:
    """The frames of one video in natural order (2 before 10).

    Args:
        path: The folder.

    Raises:
        ValueError: Two frames differ in their suffix alone; the message names both.
    """

    def __init__(self, path: Path):
        self.path = path
        self.name = path.resolve().name
        self.frames = list_files(path)

    @cached_property
    def places(self) -> dict[str, int]:
        """The place of each frame by its name without suffix, as :func:`composed` writes it."""
        return {composed(frame.stem): index for index, frame in enumerate(self.frames)}

    @cached_property
    def folder(self) -> str:
        """The name of its folder, without symbolic links, as :func:`composed` writes it."""
        return composed(self.path.resolve().name)

    def place(self, stem: str, source: str) -> int:
        """The place of a frame that ``source`` names.

        Raises:
            FileNotFoundError: There is no such frame.
        """
        place = self.places.get(composed(stem))
        if place is None:
            raise FileNotFoundError(
                f"{source}: no frame '{stem}' in {self.path}, expected e.g. {self.frames[0].name}"
            )
        return place


def find_videos(root: Path) -> dict[str, FrameFolder]:
    """The videos of a folder by name: itself where it holds pictures, else its subfolders that do.

    A single picture beside such subfolders is a cover: it is left out, and a line says so.

    Raises:
        FileNotFoundError: There is no such folder.
        ValueError: Neither it nor a subfolder holds pictures.
    """
    if not root.is_dir():
        raise FileNotFoundError(f'{root}: no such folder, expected the frames of a video, or folders of them')
    pictures = list_files(root)
    inside = [folder for folder in list_folders(root) if len(pictures) < 2 and list_files(folder)]
    if pictures and inside:
        print_log(f'{pictures[0]}: beside folders of frames, taken for a cover and left out', 'current')
    folders = inside or [root] * bool(pictures)
    if not folders:
        raise ValueError(f'{root}: no pictures, expected {" or ".join(PICTURES)} files, or folders of them')
    return {folder.name: FrameFolder(folder) for folder in folders}


def annotation_folders(root: Path, videos: dict[str, FrameFolder]) -> dict[str, Path]:
    """For each video the folder of its annotation files: ``root`` itself for a single video, ``root/<video>``
    for several.

    Raises:
        FileNotFoundError: There is no such folder.
    """
    if not root.is_dir():
        raise FileNotFoundError(f'{root}: no such folder, expected annotation files')
    folders = {name: existing(root / video.path.name) for name, video in videos.items()}
    if len(videos) == 1:
        folders = {name: folder if folder.is_dir() else root for name, folder in folders.items()}
    return {name: folder for name, folder in folders.items() if folder.is_dir()}


def read_json(path: Path, expected: str):
    """A JSON file.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no JSON, or nested too deeply.
    """
    if not path.is_file():
        raise FileNotFoundError(f'{path}: no such file, expected {expected}')
    try:
        return json.loads(path.read_text(encoding='utf-8-sig'))
    except (ValueError, RecursionError) as error:
        raise ValueError(f'{path}: expected {expected}, it is no JSON ({error})') from error


@contextmanager
def reading(path: Path, expected: str) -> Iterator[None]:
    """What goes wrong because a field is missing or of another kind becomes a ValueError that names the
    file."""
    try:
        yield
    except (LookupError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError(
            f'{path}: expected {expected}; a field is missing or of another kind ({error!r})'
        ) from error
    except ValueError as error:
        if str(path) in str(error):
            raise
        raise ValueError(f'{path}: expected {expected} ({error})') from error


def as_points(points: Any, source: str, least: int) -> np.ndarray:
    """(N, 2) float64 (x, y) of a list of pairs of numbers.

    Raises:
        ValueError: There are fewer than ``least``, or they are no pairs of finite numbers; names ``source``.
    """
    try:
        array = np.array(points, float)
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f'{source}: expected points [x, y] of numbers ({error})') from error
    if array.size and (array.ndim != 2 or array.shape[1] != 2):
        raise ValueError(f'{source}: expected points [x, y], found an array of shape {array.shape}')
    if len(array) < least:
        raise ValueError(f'{source}: expected at least {least} points, found {len(array)}')
    if not np.isfinite(array).all():
        raise ValueError(f'{source}: expected points [x, y] of finite numbers')
    return array


def keys_of(data: Any) -> str:
    """What is at the top of a JSON file, for messages."""
    return f'the keys {sorted(data)[:8]}' if isinstance(data, dict) else f'a {type(data).__name__}'


def read_label(label: Any, allowed: Sequence[str] | None, source: str) -> str:
    """A label as it is compared with others: composed, without white space around it.

    Raises:
        ValueError: It is no text, or labels are prescribed and it is none of them; names ``source``.
    """
    name = composed(label).strip() if isinstance(label, str) else ''
    if not name:
        raise ValueError(f'{source}: expected a label, found {label!r}')
    if allowed is not None and name not in map(composed, allowed):
        raise ValueError(f"{source}: unknown label '{name}', expected one of {', '.join(allowed)}")
    return name


def whole(number: Any) -> Any:
    """A float without a fraction as an int (tables write 3 as 3.0); anything else as it is."""
    return int(number) if isinstance(number, float) and number.is_integer() else number


def read_group(group: Any, field: str, source: str) -> str | None:
    """What tells objects of one label apart, None where there is nothing.

    Raises:
        ValueError: It is neither a whole number nor a text; names ``source`` and the ``field``.
    """
    group = whole(group)
    if not (group is None or type(group) in (int, str)):
        raise ValueError(f'{source}: expected a number or a text as {field}, found {group!r}')
    return None if group is None else str(group)


def polygon_region(points: Sequence[Sequence[float]], size: tuple[int, int]) -> np.ndarray:
    """(H, W) bool: the pixels whose centre is inside the polygon; ``points`` are (x, y), (0, 0) the picture's
    corner."""
    return polygon2mask(size, np.asarray(points, float)[:, ::-1] - 0.5)


def place_mask(mask: np.ndarray, corner: Sequence[float], size: tuple[int, int]) -> np.ndarray:
    """(H, W) bool of ``size`` with ``mask`` at its upper left ``corner`` (x, y); what leaves the picture is
    cut off."""
    placed = np.zeros(size, bool)
    left, top = (round(value) for value in corner)
    bottom, right = min(size[0], top + mask.shape[0]), min(size[1], left + mask.shape[1])
    y, x = max(0, top), max(0, left)
    if y < bottom and x < right:
        placed[y:bottom, x:right] = mask[y - top : bottom - top, x - left : right - left]
    return placed
