"""Hung blocks, and workers that are unusable after a device error: in both cases the worker is restarted.

A hung thread cannot be stopped from within its process, and a hung C function may hold the
interpreter's lock. So the client asks the scheduler how long each worker has been executing its
blocks; a worker that does not report counts as working.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from typing import Any

from tim3d.errors import DeviceError, Tim3dError
from tim3d.grid import Triple

log = logging.getLogger(__name__)

# Once a CUDA kernel has failed, every later call in that process fails too; out of memory is not of
# this kind.
SPOILT = ("CUDA error", "CUBLAS_STATUS_EXECUTION_FAILED", "CUDNN_STATUS_EXECUTION_FAILED")
SLOWEST_LOOK_SECONDS = 2.0
END_SECONDS = 20.0


class UnstoppedError(TimeoutError):
    """A block hangs in a worker that could not be ended: no other worker may write its shards."""


class SpoiltWorkerError(RuntimeError):
    """A device error that persists until the process ends; `worker` is its address."""

    def __init__(self, worker: str, reason: str) -> None:
        super().__init__(worker, reason)
        self.worker, self.reason = worker, reason

    def __str__(self) -> str:
        return f"{self.reason} (the worker was started again)"


@dataclass(frozen=True)
class Overdue:
    """A block over its time limit, and its worker; `ended` resolves to whether the worker's process is gone."""

    worker: str
    seconds: float
    ended: Future[bool] = field(default_factory=Future)


class Watch:
    """Monitor of the blocks in flight on dask: finds those that run longer than `limit` seconds.

    No limit if it is None. Time is counted from the moment at which a thread of the worker took the
    block.
    """

    def __init__(self, client: Any, limit: float | None) -> None:
        self._client, self._limit = client, limit
        self._flight: dict[str, tuple[Triple, Any]] = {}
        self._overdue: dict[str, Overdue] = {}
        self._stop = threading.Event()

    def add(self, index: Triple, future: Any) -> None:
        """Watch this block."""
        self._flight[future.key] = (index, future)

    def ended(self, future: Any) -> Triple:
        """Stop watching the block of a future, and return it."""
        return self._flight.pop(future.key)[0]

    def is_overdue(self, future: Any) -> bool:
        """Whether a block was cancelled for being over its time limit."""
        return future.key in self._overdue

    def outcome(self, index: Triple, future: Any) -> Any:
        """Result or exception of a block; a worker that must not go on has been ended on return."""
        if future.key in self._overdue:
            return self._too_long(index, self._overdue.pop(future.key))
        try:
            if future.status == "finished":
                return future.result()
            error = (
                future.exception()
                if future.status == "error"
                else OSError(f"{future.key} was {future.status}")
            )
        except (OSError, CancelledError) as lost:  # worker or scheduler is gone
            error = lost if isinstance(lost, OSError) else OSError(str(lost))
        if isinstance(error, OSError) and not isinstance(error, Tim3dError):
            refuse_silence(self._client)
        if isinstance(error, SpoiltWorkerError) and not end_worker(self._client, error.worker):
            log.warning("worker %s could not be started again", error.worker)
        return error

    def _too_long(self, index: Triple, late: Overdue) -> BaseException:
        seen = f"block {index} was not done after {late.seconds:.0f} s on {late.worker}"
        seen += f", its time limit is {self._limit:g} s"
        if late.ended.result():
            log.warning("%s; its worker was started again", seen)
            return TimeoutError(f"{seen}; its worker was started again")
        return UnstoppedError(
            f"{seen}; its worker could not be ended: end it by hand, or start workers with a nanny"
        )

    @contextlib.contextmanager
    def looking(self) -> Iterator[None]:
        """Watch the blocks in flight inside the ``with`` block."""
        if self._limit is None:
            yield
            return
        looker = threading.Thread(target=self._look, name="tim3d-watch", daemon=True)
        looker.start()
        try:
            yield
        finally:
            self._stop.set()
            looker.join()

    def _look(self) -> None:
        assert self._limit is not None
        while not self._stop.wait(min(self._limit / 4, SLOWEST_LOOK_SECONDS)):
            with contextlib.suppress(OSError, RuntimeError):  # a lost scheduler: the run reports it
                for key, worker, seconds in self._client.run_on_scheduler(_executing):
                    self._give_up(key, worker, seconds)

    def _give_up(self, key: str, worker: str, seconds: float) -> None:
        """Cancel an overdue block, then end its worker; `outcome` waits for that before a retry.

        This thread does it, because the client's own may wait for a result that the hung worker
        holds.
        """
        if self._limit is None or seconds <= self._limit or key in self._overdue:
            return
        _, future = self._flight.get(key, (None, None))
        if future is None:
            return
        late = self._overdue[key] = Overdue(worker, seconds)
        gone = False
        try:
            self._client.cancel([future], force=True)
            gone = end_worker(self._client, worker)
        finally:
            late.ended.set_result(gone)


def arriving(futures: Any, client: Any, on_the_way: Callable[[], bool]) -> Iterator[list[Any]]:
    """Yield futures as they end, in batches, even if the scheduler dies.

    `as_completed` would wait for ever then. The batch is empty if none has ended in 0.1 s; batches
    continue after the last future as long as something is `on_the_way`.

    Raises
    ------
    DeviceError
        If the client has given up reconnecting to its scheduler.
    """
    while not futures.is_empty() or on_the_way():
        if not futures.has_ready():
            if client.status in ("closing", "closed"):
                raise _gone(client)
            with futures.thread_condition:
                futures.thread_condition.wait(timeout=0.1)
        yield futures.next_batch(block=False)


def refuse_silence(client: Any) -> None:
    """Raise `DeviceError` if the scheduler no longer replies."""
    try:
        client.run_on_scheduler(os.getpid)
    except (OSError, TimeoutError, RuntimeError) as error:
        raise _gone(client) from error


def _gone(client: Any) -> DeviceError:
    where = getattr(client.scheduler, "address", "")
    return DeviceError(
        f"the scheduler {where} is gone. Finished blocks are kept: start a scheduler and workers, "
        "then run the same command again"
    )


def _executing(dask_scheduler: Any) -> list[tuple[str, str, float]]:
    """Task, worker and seconds of everything that is executing, by the scheduler's clock only."""
    from distributed.metrics import time

    now = time()
    return [
        (task.key, worker.address, seconds)
        for worker in dask_scheduler.workers.values()
        for task, seconds in _of_worker(worker, now - worker.last_seen).items()
        if task in worker.processing
    ]


def _of_worker(worker: Any, silence: float) -> dict[Any, float]:
    """Seconds of each task, as last reported, plus those that a silent worker has started since.

    A worker takes up tasks in the order in which they arrived, one for each thread.
    """
    taken = list(worker.processing)[: worker.nthreads]
    return dict.fromkeys(taken, silence) | {
        task: s + silence for task, s in worker.executing.items()
    }


def end_worker(client: Any, address: str) -> bool:
    """Kill a worker's process so that its nanny restarts it; return whether the process is gone."""
    known = client.scheduler_info(n_workers=-1)["workers"]
    if address not in known:
        return True
    if not known[address].get("nanny"):
        return False
    try:
        ended = client.run(_kill, workers=[address], nanny=True, on_error="return")
    except (OSError, TimeoutError, RuntimeError, ValueError):
        return False
    return ended.get(address) is True


async def _kill(dask_worker: Any) -> bool:
    """Kill the worker from its nanny: a process that hangs does not close when it is asked to."""
    process = dask_worker.process
    if process is None or process.pid is None:
        return True
    pid = process.pid
    os.kill(pid, signal.SIGKILL)
    for _ in range(int(END_SECONDS / 0.05)):
        now = dask_worker.process
        if now is None or now.pid != pid or not now.is_alive():
            return True
        await asyncio.sleep(0.05)
    return False


def spoils(error: BaseException) -> bool:
    """Whether an error of a device makes its process unusable.

    >>> spoils(RuntimeError("CUDA error: device-side assert triggered")), spoils(RuntimeError("CUDA out of memory"))
    (True, False)
    """
    return any(sign in str(error) for sign in SPOILT)


@contextlib.contextmanager
def warning_if_slow(index: Triple, limit: float | None) -> Iterator[None]:
    """Warn once about a block of this process that exceeds its time limit.

    Only the whole run can be ended.
    """
    if limit is None:
        yield
        return
    message = (
        "block %s is not done after %g s. This process cannot end it: interrupt, and run again with "
        "--cluster local"
    )
    timer = threading.Timer(limit, log.warning, (message, index, limit))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
