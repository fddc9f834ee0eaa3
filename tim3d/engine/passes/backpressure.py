"""Number of blocks in flight: enough for all workers, few enough for the scheduler's memory.

The request that counts the workers also reads the utilisation of their GPUs.
"""

from __future__ import annotations

import contextlib
import logging
import time
from dataclasses import dataclass
from typing import Any

log = logging.getLogger(__name__)
PER_THREAD = 2
# Time between two requests for the number of workers.
LOOK_SECONDS = 2.0
# A nanny restarts a worker in seconds; a queue may take hours, and the user should know what the
# run waits for.
ALONE_SECONDS = 30.0


@dataclass
class GpuLoad:
    """GPU utilisations in percent, as reported by the workers.

    >>> load = GpuLoad()
    >>> load.share
    >>> load.add([50, 100])
    >>> load.share
    0.75
    """

    total: float = 0.0
    count: int = 0

    def add(self, percentages: list[float]) -> None:
        """Add the utilisations of one request."""
        self.total, self.count = self.total + sum(percentages), self.count + len(percentages)

    @property
    def share(self) -> float | None:
        """Mean utilisation from 0 to 1; None without any report."""
        return self.total / self.count / 100 if self.count else None


class Window:
    """Two blocks per thread of the requested workers, or of the connected ones if more."""

    def __init__(self, client: Any, threads: int, load: GpuLoad) -> None:
        self._load = load
        self._client, self._least, self._size = client, PER_THREAD * threads, PER_THREAD * threads
        self._looked = self._met = time.monotonic()
        self._has_warned = False

    def size(self) -> int:
        """Blocks that may be in flight now."""
        if time.monotonic() - self._looked > LOOK_SECONDS:
            with contextlib.suppress(
                OSError, RuntimeError
            ):  # a scheduler that is gone is noticed elsewhere
                threads, percentages = self._client.run_on_scheduler(_seen)
                self._size = max(self._least, PER_THREAD * threads)
                self._load.add(percentages)
                self._warn_if_alone(threads)
            self._looked = time.monotonic()
        return self._size

    def _warn_if_alone(self, threads: int) -> None:
        """Warn once when no worker has been connected for `ALONE_SECONDS`."""
        alone = time.monotonic() - self._met
        if threads:
            self._met, self._has_warned = time.monotonic(), False
        elif alone > ALONE_SECONDS and not self._has_warned:
            self._has_warned = True
            log.warning(
                "no worker has been connected for %.0f s, the run waits for one. Start one: dask worker %s, or look at "
                "the queue of the cluster; or interrupt: finished blocks are kept",
                alone,
                self._client.scheduler.address,
            )


def _seen(dask_scheduler: Any) -> tuple[int, list[float]]:
    """Threads of all workers, and GPU utilisations in percent of the workers that report one."""
    workers = dask_scheduler.workers.values()
    reported = [worker.metrics.get("gpu_utilization") for worker in workers]
    return sum(worker.nthreads for worker in workers), [
        value for value in reported if isinstance(value, int | float)
    ]
