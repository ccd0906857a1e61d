"""Files that are either the old or the new version, whatever happens while they are written."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmengine.fileio import LocalBackend, register_backend

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


@contextmanager
def written_aside(path: str | Path) -> Iterator[Path]:
    """A path beside ``path`` to write a file to, which is flushed and renamed when the block ends.

    Where the block raises, ``path`` stays as it was and nothing is left beside it.

    Args:
        path: The folder is made if it does not exist.
    """
    path = Path(path)
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
    ``path`` stays as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial, old = (path.with_name(f'{path.name}{suffix}') for suffix in (PARTIAL, f'.old{PARTIAL}'))
    for folder in (partial, old):
        shutil.rmtree(folder, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
        suffixes = {file.suffix for file in partial.iterdir()}
        for file in partial.rglob('*'):
            _sync(file, os.O_RDONLY)
        if path.exists():
            _move_others(path, partial, suffixes)
            os.replace(path, old)
        _sync(partial, os.O_RDONLY)
        os.replace(partial, path)
        _sync(path.parent, os.O_RDONLY)
    finally:
        for folder in (partial, old):
            shutil.rmtree(folder, ignore_errors=True)


def _move_others(source: Path, target: Path, suffixes: set[str]) -> None:
    for file in source.iterdir():
        if file.suffix not in suffixes:
            os.replace(file, target / file.name)


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
