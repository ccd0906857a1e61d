"""Files that are either the old or the new version, whatever happens while they are written."""

import json
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmengine.fileio import LocalBackend, register_backend
from mmengine.logging import print_log

PARTIAL = '.partial'


def write_atomically(path: str | Path, data: bytes) -> None:
    """Write next to ``path``, flush to the disk, then rename: a reader never sees half a file.

    Args:
        path: The folder is made if it does not exist.
        data: The whole content.
    """
    with written_aside(path) as partial:
        partial.write_bytes(data)


def write_json(path: str | Path, content) -> None:
    """Write ``content`` as indented JSON, numbers of numpy and torch as floats; half of it is never seen."""
    write_atomically(path, (json.dumps(content, indent=2, default=float) + '\n').encode())


def check_place(path: str | Path) -> None:
    """Raise before the work what a file written to ``path`` would meet after it.

    Raises:
        OSError: ``path`` is a folder, or lies below a file or in a folder that cannot be written to.
    """
    path = Path(path).absolute()
    if path.is_dir():
        raise IsADirectoryError(f"'{path}' is a folder, expected the path of a file in it")
    check_folder(path.parent)


def check_folder(path: str | Path) -> None:
    """Raise before the work what files written to the folder ``path``, which may not exist yet, would meet.

    Raises:
        NotADirectoryError: ``path`` is, or lies below, a file or a folder that cannot be written to.
    """
    path = Path(path).absolute()
    there = next(place for place in (path, *path.parents) if place.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise NotADirectoryError(f"'{there}' is no folder that can be written to")


@contextmanager
def written_aside(path: str | Path) -> Iterator[Path]:
    """A path beside ``path`` to write a file to, which is flushed and renamed when the block ends.

    Where the block raises, ``path`` stays as it was and nothing is left beside it.

    Args:
        path: The folder is made if it does not exist.

    Raises:
        IsADirectoryError: ``path`` is a folder.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"'{path}' is a folder, expected the path of a file in it")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + PARTIAL)
    try:
        yield partial
        _sync(partial, os.O_RDWR)
        os.replace(partial, path)
        _sync(path.parent, os.O_RDONLY)  # the rename itself
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def folder_written_aside(path: str | Path) -> Iterator[Path]:
    """An empty folder beside ``path`` to write to, which takes its place when the block ends.

    Of what ``path`` held, files with a suffix of the new ones go; all else is kept. Where the block raises,
    ``path`` stays as it was. What a run that was killed left beside ``path`` is removed, and the log says so;
    where it was killed between the two renames, ``path`` is what it was before that run. A symbolic link
    stays, and what it leads to is replaced.
    """
    path = Path(path).resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial, old = (path.with_name(f'{path.name}{suffix}') for suffix in (PARTIAL, f'.old{PARTIAL}'))
    if old.exists() and not path.exists():
        os.replace(old, path)
    if partial.exists():
        print_log(f'{partial}: left by a run that was stopped, removed', 'current', logging.WARNING)
    for folder in (partial, old):
        shutil.rmtree(folder, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
        if path.exists():
            _link_others(path, partial)
        for file in partial.rglob('*'):
            _sync(file, os.O_RDONLY)
        if path.exists():
            os.replace(path, old)
        _sync(partial, os.O_RDONLY)
        os.replace(partial, path)
        _sync(path.parent, os.O_RDONLY)
    finally:
        if old.exists() and not path.exists():
            os.replace(old, path)
        for folder in (partial, old):
            shutil.rmtree(folder, ignore_errors=True)


def _link_others(source: Path, target: Path) -> None:
    """Let ``target`` have what ``source`` holds beside files with suffixes of its own; both are whole."""
    suffixes = {file.suffix for file in target.iterdir()}
    for file in source.iterdir():
        if file.suffix in suffixes:
            continue
        if file.is_dir() and not file.is_symlink():
            shutil.copytree(file, target / file.name, symlinks=True, copy_function=_link)
        else:
            _link(file, target / file.name)


def _link(source: str | Path, target: str | Path) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:  # a file system without links
        shutil.copy2(source, target, follow_symlinks=False)


def _sync(path: Path, flags: int) -> None:
    """Flush a file or folder to the disk, so that it survives a power failure too."""
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_partial_files(folder: str | Path) -> None:
    """Remove what a run that was killed while it wrote left behind."""
    for path in Path(folder).glob(f'*{PARTIAL}'):
        path.unlink(missing_ok=True)


class AtomicLocalBackend(LocalBackend):
    """mmengine's local file backend with an atomic ``put``; ``backend_args=dict(backend='atomic')`` selects
    it."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        write_atomically(filepath, obj)

    def put_text(self, obj: str, filepath: str | Path, encoding: str = 'utf-8') -> None:
        write_atomically(filepath, obj.encode(encoding))


register_backend('atomic', AtomicLocalBackend, force=True)
