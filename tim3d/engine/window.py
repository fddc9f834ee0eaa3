"""How many blocks are in flight: enough for every worker that is there now, so few that the scheduler stays small."""

from __future__ import annotations

import contextlib
import time
from typing import Any

PER_THREAD = 2
# How often the scheduler is asked who is there.
LOOK_SECONDS = 2.0


class Window:
    """Two blocks for each thread: those that were there at the beginning or asked for, and those that came later."""

    def __init__(self, client: Any, threads: int) -> None:
        self._client, self._least, self._size = client, PER_THREAD * threads, PER_THREAD * threads
        self._looked = time.monotonic()

    def size(self) -> int:
        """Blocks that may be in flight now."""
        if time.monotonic() - self._looked > LOOK_SECONDS:
            with contextlib.suppress(OSError, RuntimeError):  # a scheduler that is gone is noticed elsewhere
                self._size = max(self._least, PER_THREAD * sum(self._client.nthreads().values()))
            self._looked = time.monotonic()
        return self._size
