"""Places reached in files that can only be read forward, kept so that the next slices go on there."""

from __future__ import annotations

import threading
from collections.abc import Hashable
from pathlib import Path
from typing import Any

# Files whose place is kept at one time.
_MOST = 4


class Places:
    """Latest place in each file of this process: where it is, and what is needed to go on.

    A place is taken out while it is used, so that two threads never share it.

    Examples
    --------
    >>> places = Places()
    >>> places.put("a", 10, "state")
    >>> places.take("a", 5), places.take("a", 12), places.take("a", 12)
    (None, (10, 'state'), None)
    """

    def __init__(self) -> None:
        self._held: dict[Hashable, tuple[int, Any]] = {}
        self._lock = threading.Lock()

    def take(self, key: Hashable, start: int) -> tuple[int, Any] | None:
        """Place at or before `start`, or None if there is none."""
        with self._lock:
            if key not in self._held or self._held[key][0] > start:
                return None
            return self._held.pop(key)

    def put(self, key: Hashable, place: int, state: Any) -> None:
        """Keep a place; the oldest one is dropped if there are too many."""
        with self._lock:
            self._held.pop(key, None)
            self._held[key] = (place, state)
            while len(self._held) > _MOST:
                self._held.pop(next(iter(self._held)))


def version_of(path: str) -> tuple[str, int, int]:
    """Name, size and time of a file: a key that changes with its content."""
    held = Path(path).stat()
    return (path, held.st_size, held.st_mtime_ns)
