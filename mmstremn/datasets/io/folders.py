"""The one scanner of folders: which files are frames and videos, in which order; lists of names and names of
videos are read and checked here too."""

import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath, PurePosixPath
from typing import TypeGuard

PICTURES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')
VIDEOS = (
    *('.3gp', '.avi', '.flv', '.gif', '.m2ts', '.m4v', '.mkv', '.mov', '.mp4', '.mpeg', '.mpg', '.mts'),
    *('.ogv', '.ts', '.webm', '.wmv'),
)
CLUTTER = ('thumbs.db', 'desktop.ini', '__macosx', '@eadir', '$recycle.bin', 'lost+found')


def natural_key(name: str) -> tuple:
    """The sort key of natural order: numbers count as numbers (2 before 10), upper and lower case alike."""
    parts = re.split(r'(\d+)', name)
    return tuple(int(part) if part.isdecimal() else part.casefold() for part in parts), name


def composed(name: str) -> str:
    """A name as it is compared with others: macOS may write 'é' as two characters (Unicode's NFD), other
    systems write one (NFC)."""
    return unicodedata.normalize('NFC', name)


def existing(folder: Path) -> Path:
    """The folder, or in its place that whose name differs in Unicode's form alone, see :func:`composed`."""
    if folder.exists() or not folder.parent.is_dir():
        return folder
    alike = (other for other in folder.parent.iterdir() if composed(other.name) == composed(folder.name))
    return next(alike, folder)


def check_text(path: Path) -> None:
    """Raises a ValueError where the name of a file is no text: results could not be called like it."""
    try:
        path.name.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f'{str(path)!a}: the name is no UTF-8, rename it (convmv -f latin1 -t utf8 --notest DIR); where '
            'every name with an accent is refused the system uses ASCII: set LC_ALL=C.UTF-8'
        ) from error


def is_hidden(path: Path) -> bool:
    """Whether systems and tools leave such a file or folder behind: ``.*`` (``._a.png``,
    ``.ipynb_checkpoints``), ``Thumbs.db``, ``__MACOSX``, ..."""
    return path.name.startswith('.') or path.name.lower() in CLUTTER


def is_path(value: object) -> TypeGuard[str | Path]:
    """Whether it is the path of a file, not what the file holds."""
    return isinstance(value, (str, PurePath))


def is_picture(path: Path) -> bool:
    """Whether a file's suffix, in upper or lower case, is a picture's. Hidden files are none."""
    return path.suffix.lower() in PICTURES and not is_hidden(path)


def is_video(path: Path) -> bool:
    """Whether a file's suffix, in upper or lower case, is a video's. Hidden files are none."""
    return path.suffix.lower() in VIDEOS and not is_hidden(path)


def list_files(folder: str | Path, suffixes: Sequence[str] = PICTURES) -> list[Path]:
    """The files of a folder with one of ``suffixes`` (lower case), in natural order; symbolic links are
    followed.

    Raises:
        FileNotFoundError: There is no such folder, or a link leads nowhere.
        ValueError: Two files differ in their suffix alone; the message names both. A name is no text.
    """
    check_text(Path(folder))
    if not Path(folder).is_dir():
        raise FileNotFoundError(f'{folder}: no such folder, expected {" or ".join(suffixes)} files in it')
    with os.scandir(folder) as entries:
        paths = [_existing(entry) for entry in entries if _is_wanted(entry, suffixes)]
    paths.sort(key=lambda path: (natural_key(path.stem), path.name))
    _check_stems(paths)
    return paths


def _is_wanted(entry: os.DirEntry, suffixes: Sequence[str]) -> bool:
    path = Path(entry.name)
    if path.suffix.lower() not in suffixes or is_hidden(path):
        return False
    return entry.is_file() or not os.path.exists(entry.path)  # no folder, no pipe


def _existing(entry: os.DirEntry) -> Path:
    if entry.is_symlink() and not os.path.exists(entry.path):
        raise FileNotFoundError(f'{entry.path}: a link to {os.readlink(entry.path)}, which does not exist')
    path = Path(entry.path)
    check_text(path)
    return path


def list_folders(folder: str | Path) -> list[Path]:
    """The folders in a folder, in natural order; symbolic links are followed, hidden ones left out."""
    paths = [path for path in Path(folder).iterdir() if path.is_dir() and not is_hidden(path)]
    return sorted(paths, key=lambda path: natural_key(path.name))


def walk(root: Path) -> Iterator[Path]:
    """``root`` and all folders below it, each before those in it, in natural order.

    Symbolic links are followed; one that leads to a folder above itself is left out.
    """
    return _walk(root, frozenset())


def _walk(folder: Path, above: frozenset[Path]) -> Iterator[Path]:
    place = folder.resolve()
    if place not in above:
        yield folder
        for inside in list_folders(folder):
            yield from _walk(inside, above | {place})


def read_list(path: str | Path, expected: str = 'names, one a line') -> list[str]:
    """The lines of a text file that are not blank, without the white space around them.

    Files of Windows will do (a byte order mark, CR LF). White space within a line belongs to the name.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no text in UTF-8, or all lines are blank; the message names it.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f'{path}: no such file, expected {expected}')
    try:
        text = Path(path).read_text(encoding='utf-8-sig')
    except UnicodeDecodeError as error:
        raise ValueError(f'{path}: expected {expected}, in UTF-8 ({error})') from error
    lines = [line.strip() for line in text.split('\n')]
    if not any(lines):
        raise ValueError(f'{path}: expected at least one line: {expected}')
    return [line for line in lines if line]


def check_name(name: str, source: str | Path) -> str:
    """The name of a video or frame that a file gives, if it stays in the folder to which it is added.

    Args:
        name: A name, or several with '/' between them.
        source: The file that gives it, for messages.

    Raises:
        ValueError: It is empty, begins with '/', has a part that is '.' or '..', a backslash or a control
            character.
    """
    parts = name.split('/') if isinstance(name, str) else ['']
    is_safe = all(part.strip() and part not in ('.', '..') and '\\' not in part for part in parts)
    if not is_safe or not name.isprintable():
        raise ValueError(
            f"{source}: the name {name!r} leads out of its folder or is none, expected one such as 'my_video'"
        )
    return name


def without_suffix(path: PurePosixPath | Path) -> str:
    """A path without the suffix of a picture or a video; another dot belongs to the name (``take.1``)."""
    return (path.with_suffix('') if path.suffix.lower() in PICTURES + VIDEOS else path).as_posix()


def _check_stems(paths: Sequence[Path]) -> None:
    """Raise a ValueError where two files have one name, up to suffix."""
    known: dict[str, Path] = {}
    for path in paths:
        if path.stem in known:
            raise ValueError(
                f'{path}: differs from {known[path.stem].name} in its suffix alone, expected one file of '
                'each name (masks in a folder of their own)'
            )
        known[path.stem] = path
