"""How many blocks are in flight: enough for every worker that is there now, so few that the scheduler stays small.

Whoever asks the scheduler who is there hears at the same time how busy the GPUs are.
"""

from __future__ import annotations

import contextlib
import logging
import time
from dataclasses import dataclass
from typing import Any

log = logging.getLogger(__name__)
PER_THREAD = 2
# How often the scheduler is asked who is there.
LOOK_SECONDS = 2.0
# A nanny takes seconds to start a worker again; a queue may take hours, and whoever waits for it should know.
ALONE_SECONDS = 30.0


@dataclass
class GpuLoad:
    """Percentages that workers reported, each of its own GPU.

    >>> load = GpuLoad()
    >>> load.share
    >>> load.add([50, 100])
    >>> load.share
    0.75
    """

    total: float = 0.0
    count: int = 0

    def add(self, percentages: list[float]) -> None:
        """Count what the workers say now."""
        self.total, self.count = self.total + sum(percentages), self.count + len(percentages)

    @property
    def share(self) -> float | None:
        """Their mean, from 0 to 1; None if nobody reported any."""
        return self.total / self.count / 100 if self.count else None


class Window:
    """Two blocks for each thread: those that were there at the beginning or asked for, and those that came later."""

    def __init__(self, client: Any, threads: int, load: GpuLoad) -> None:
        self._load = load
        self._client, self._least, self._size = client, PER_THREAD * threads, PER_THREAD * threads
        self._looked = self._met = time.monotonic()
        self._said = False

    def size(self) -> int:
        """Blocks that may be in flight now."""
        if time.monotonic() - self._looked > LOOK_SECONDS:
            with contextlib.suppress(OSError, RuntimeError):  # a scheduler that is gone is noticed elsewhere
                threads, percentages = self._client.run_on_scheduler(_seen)
                self._size = max(self._least, PER_THREAD * threads)
                self._load.add(percentages)
                self._say_if_alone(threads)
            self._looked = time.monotonic()
        return self._size

    def _say_if_alone(self, threads: int) -> None:
        """Say once, until a worker comes, that there has been none for a while."""
        alone = time.monotonic() - self._met
        if threads:
            self._met, self._said = time.monotonic(), False
        elif alone > ALONE_SECONDS and not self._said:
            self._said = True
            log.warning(
                "no worker has been there for %.0f s, the run waits for one. Start one: dask worker %s, or look at "
                "the queue of the cluster; or interrupt: finished blocks are kept",
                alone, self._client.scheduler.address,
            )  # fmt: skip


def _seen(dask_scheduler: Any) -> tuple[int, list[float]]:
    """Threads of all workers, and the utilisation of the GPU of each that has one and pynvml, in percent."""
    workers = dask_scheduler.workers.values()
    said = [worker.metrics.get("gpu_utilization") for worker in workers]
    return sum(worker.nthreads for worker in workers), [one for one in said if isinstance(one, int | float)]
