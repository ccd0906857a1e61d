"""One run a folder."""

import os
import warnings
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

NAME = '.lock'
_held: dict[Path, int] = {}  # open files: closing one would release its lock


def hold_folder(folder: str | Path, option: str = '--work-dir') -> None:
    """Hold a folder for this process until it ends, however it ends; again is allowed.

    The lock is the operating system's own and belongs to the process alone, not to its workers: nothing has
    to be cleaned up after a kill. Where there are no such locks (Windows, some network drives) a warning says
    so.

    Args:
        folder: Made if it does not exist.
        option: With which a command is given another folder, for the message.

    Raises:
        RuntimeError: Another process holds it.
    """
    path = Path(folder).resolve() / NAME
    if path in _held:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if fcntl is None:
            raise OSError('no locks on this system')
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError) as error:
        owner = os.read(handle, 20).decode(errors='replace').strip()
        os.close(handle)
        raise RuntimeError(
            f'{folder}: process {owner or "unknown"} writes to this folder: wait for it, or give this run '
            f'another {option}'
        ) from error
    except OSError as error:
        os.close(handle)
        warnings.warn(f'{folder}: cannot be locked ({error}); let no second run write to it', stacklevel=2)
        return
    os.ftruncate(handle, 0)
    os.write(handle, f'{os.getpid()}\n'.encode())
    _held[path] = handle
