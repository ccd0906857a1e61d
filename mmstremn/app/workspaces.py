"""The workspaces of all users, each known by the key of its session."""

import time
from collections.abc import Callable
from threading import Lock

from mmstremn.app.workspace import Workspace

STAYS = 600.0  # seconds that a workspace stays after its page was closed: the connection may come back
IDLE = 6 * 3600.0  # seconds without use after which it goes in any case


class Workspaces:
    """Gives every user a workspace of their own, and closes those that are left.

    Args:
        make: Makes a workspace.
        most: How many there may be at a time.
        clock: Seconds.
    """

    def __init__(
        self, make: Callable[[], Workspace], most: int = 50, clock: Callable[[], float] = time.monotonic
    ):
        self._make, self._most, self._clock = make, most, clock
        self._known: dict[str, Workspace] = {}
        self._ends: dict[str, float] = {}
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._known)

    def get(self, key: str) -> Workspace:
        """The workspace of a user, made when it is asked for first.

        Raises:
            ValueError: There are too many users.
        """
        self.sweep()
        with self._lock:
            if key not in self._known:
                if len(self._known) >= self._most:
                    raise ValueError(f'{self._most} users are at work, expected fewer: try again later')
                self._known[key] = self._make()
            self._ends[key] = self._clock() + IDLE
            return self._known[key]

    def leave(self, key: str) -> None:
        """A user's page was closed: a run ends, and the workspace goes unless the user comes back soon."""
        with self._lock:
            if key in self._known:
                self._known[key].cancel()
                self._ends[key] = self._clock() + STAYS

    def sweep(self) -> None:
        """Close what was left."""
        now = self._clock()
        with self._lock:
            gone = [key for key, end in self._ends.items() if end <= now]
            closed = [self._known.pop(key) for key in gone if self._ends.pop(key) is not None]
        for workspace in closed:
            workspace.close()

    def close(self) -> None:
        """Close all."""
        with self._lock:
            closed = list(self._known.values())
            self._known.clear()
            self._ends.clear()
        for workspace in closed:
            workspace.close()
