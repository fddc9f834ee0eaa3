"""Run a pass: one task a block, read -> compute -> write -> mark done; resume, retry, set aside.

A pass travels to the workers as a few kilobytes of pickle with every task, so that a worker that joins late or restarts
needs nothing but the task. Voxels never travel.
"""

from __future__ import annotations

import functools
import itertools
import os
import socket
import threading
import time
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import cloudpickle
from tqdm import tqdm

from tim3d.engine.cluster import Cluster, current_cluster
from tim3d.engine.ledger import Ledger, elapsed
from tim3d.engine.memory import forget_peak, peak_memory
from tim3d.engine.parts import ShareError, current_part
from tim3d.engine.plan import Plan, smaller_block
from tim3d.engine.watch import SpoiltWorkerError, UnstoppedError, Watch, arriving, spoils, warning_if_slow
from tim3d.errors import FailedBlocksError, Tim3dError
from tim3d.grid import Block, Grid, Triple, triple

RETRIES = 2
# Interpreter and libraries of a worker, measured on Linux with and without torch (docs/architecture.md, "Memory").
BASE_BYTES = 352 * 2**20
TORCH_BASE_BYTES = 800 * 2**20
# What a process that is at work already may still load for a pass that it has not run before.
LOADED_LATER_BYTES = 64 * 2**20


class Work(Protocol):
    """What is done with a block. It must pickle; it may cache what is costly to load, once per process."""

    def read(self, block: Block) -> Any:
        """Fetch what the block needs from the store."""

    def compute(self, block: Block, inputs: Any) -> Any:
        """Turn inputs into outputs; at most one block at a time computes in a process."""

    def write(self, block: Block, outputs: Any) -> dict[str, Any]:
        """Write the block's shards and return a small JSON record."""

    def block_bytes(self, core: Triple, read: Triple) -> int:
        """Bytes of all buffers that a block with these shapes holds at its peak."""


@dataclass(frozen=True)
class Pass:
    """One sweep of `work` over the blocks of `grid`, remembered in `ledger`.

    Parameters
    ----------
    shard : (z, y, x)
        Edges of the output's shards: no block may be smaller.
    read_bytes, write_bytes : int
        Bytes per voxel read and written, for the plan.
    time_limit : float, optional
        Seconds after which a block counts as hung: its worker is started again, and the block retried.
    """

    work: Work
    grid: Grid
    ledger: Ledger
    shard: Triple
    read_bytes: float
    write_bytes: float
    base_bytes: int = BASE_BYTES
    durable: bool = False
    time_limit: float | None = None

    @property
    def layout(self) -> dict[str, Any]:
        """How the pass is cut: it must not change while a pass is unfinished."""
        return {"shape": self.grid.shape, "block": self.grid.block, "shard": self.shard}

    def left(self) -> list[Triple]:
        """Blocks that are not done, in the order in which they are run."""
        done = self.ledger.done()
        return [index for index in self.grid.indices() if index not in done]

    def plan(self, on: Cluster | None = None) -> Plan:
        """What running it now would cost on the current cluster."""
        on = on or current_cluster()
        left = self.left()
        written, taken = self.grid.voxels(left)
        base = max(self.base_bytes, on.resident_bytes() + LOADED_LATER_BYTES)
        fits = smaller_block(self.grid.block, self.shard, lambda b: base + self._buffers(b, on) <= on.memory_bytes)
        return Plan(
            name=self.ledger.name,
            blocks=len(self.grid),
            left=len(left),
            block=self.grid.block,
            halo=self.grid.halo,
            read_bytes=int(taken * self.read_bytes),
            write_bytes=int(written * self.write_bytes),
            peak_bytes=base + self._buffers(self.grid.block, on),
            limit_bytes=on.memory_bytes,
            workers=on.workers,
            threads=on.threads,
            cure=f"Use --block {','.join(map(str, fits))}"
            if fits
            else "Use fewer --threads, or ingest with a smaller --shard",
        )

    def _buffers(self, block: Triple, on: Cluster) -> int:
        """Bytes that the blocks of one worker hold at their peak, one block per thread."""
        largest = Grid(self.grid.shape, block, self.grid.halo).block_at((0, 0, 0))
        grown = largest.core.grow(self.grid.halo)
        read = triple(min(a, b) for a, b in zip(grown.shape, self.grid.shape, strict=True))
        return on.threads * self.work.block_bytes(largest.core.shape, read)


@dataclass
class Summary:
    """What a run did. Times are seconds summed over blocks, `wall_seconds` is the run's own."""

    name: str
    blocks: int
    computed: int = 0
    skipped: int = 0
    failed: int = 0
    wall_seconds: float = 0.0
    read_seconds: float = 0.0
    compute_seconds: float = 0.0
    write_seconds: float = 0.0
    peak_bytes: int = 0
    planned_peak_bytes: int = 0
    cluster: str = ""
    workers: set[str] = field(default_factory=set)

    def add(self, record: dict[str, Any]) -> None:
        """Count one finished block."""
        self.computed += 1
        self.read_seconds += record["read_seconds"]
        self.compute_seconds += record["compute_seconds"]
        self.write_seconds += record["write_seconds"]
        self.peak_bytes = max(self.peak_bytes, record["peak_bytes"])
        self.workers.add(f"{record['host']}:{record['pid']}")

    def as_json(self) -> dict[str, Any]:
        """The summary as it is kept beside the markers."""
        return asdict(self) | {"workers": sorted(self.workers)}

    def __str__(self) -> str:
        megabytes = f"peak {self.peak_bytes / 2**20:.0f} MiB, planned {self.planned_peak_bytes / 2**20:.0f}"
        return (
            f"{self.name}: {self.computed} blocks computed, {self.skipped} were done, {self.failed} failed in "
            f"{self.wall_seconds:.1f} s (read {self.read_seconds:.1f}, compute {self.compute_seconds:.1f}, write "
            f"{self.write_seconds:.1f} s); {megabytes}"
        )


def run(work_pass: Pass, *, progress: bool = True) -> Summary:
    """Do the blocks that are not done; a block that fails three times is set aside and the others go on.

    Raises
    ------
    MemoryPlanError
        Before any work, if a block does not fit into a worker.
    MixedRunError
        Before any work, if the pass was begun with other blocks.
    FailedBlocksError
        After all other blocks are done.
    Tim3dError
        Any other of our own, at once: an unreadable slice or a full disk would stop every block, or stays as it is.
    """
    on = current_cluster()
    plan = work_pass.plan(on)
    plan.check()
    work_pass.ledger.claim_layout(work_pass.layout)
    left = work_pass.left()
    part = current_part()
    if part is not None and left:
        mine = part.share(work_pass.grid.indices(), left)
        raise ShareError(work_pass, mine, functools.partial(_sweep, work_pass, mine, plan, on, progress))
    return _sweep(work_pass, left, plan, on, progress)


def _sweep(work_pass: Pass, left: list[Triple], plan: Plan, on: Cluster, progress: bool) -> Summary:
    """Do these blocks; what failed is set aside."""
    summary = Summary(
        plan.name, plan.blocks, skipped=plan.blocks - len(left), planned_peak_bytes=plan.peak_bytes, cluster=str(on)
    )
    start = time.perf_counter()
    outcomes = _serially(work_pass, left) if on.client is None else _on_dask(work_pass, left, on)
    bar = tqdm(outcomes, total=len(left), desc=plan.name, unit="block", disable=not progress or not left, leave=False)
    failures: dict[Triple, str] = {}
    for index, outcome in bar:
        if isinstance(outcome, BaseException):
            failures[index] = _reason(outcome)
            work_pass.ledger.mark_failed(index, failures[index])
        else:
            summary.add(outcome)
    summary.failed, summary.wall_seconds = len(failures), elapsed(start)
    if left:
        work_pass.ledger.note(f"summary-{time.time_ns()}", summary.as_json())
    _raise_failures(plan.name, failures)
    return summary


def _raise_failures(name: str, failures: dict[Triple, str]) -> None:
    if failures:
        index, reason = next(iter(failures.items()))
        raise FailedBlocksError(
            f"{len(failures)} block(s) of {name} failed {RETRIES + 1} times and were set aside, the others are done. "
            f"First: block {index}: {reason.strip().splitlines()[-1]}. Mend the cause and run the same command again."
        )


def _reason(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))[-4000:]


def _serially(work_pass: Pass, left: Iterable[Triple]) -> Iterator[tuple[Triple, Any]]:
    pickled = cloudpickle.dumps(work_pass)
    for index in left:
        with warning_if_slow(index, work_pass.time_limit):
            outcome = _attempt(pickled, index)
        yield index, outcome


def _attempt(pickled: bytes, index: Triple) -> Any:
    for attempt in range(RETRIES + 1):
        try:
            return process_block(pickled, index)
        except Tim3dError:
            raise
        except Exception as error:  # any other failure of a block is counted, not fatal
            if attempt == RETRIES:
                return error
    return None


def _on_dask(work_pass: Pass, left: Iterable[Triple], on: Cluster) -> Iterator[tuple[Triple, Any]]:
    """Keep two blocks per thread in flight, so that the scheduler's memory does not grow with the volume."""
    from distributed import as_completed

    pickled, waiting = cloudpickle.dumps(work_pass), iter(left)
    flight: dict[str, tuple[Triple, int]] = {}
    watch = Watch(on.client, work_pass.time_limit)
    stop: Tim3dError | None = None

    def submit(index: Triple, attempt: int) -> Any:
        # A failed key stays known to the scheduler: every attempt gets its own.
        key = f"{work_pass.ledger.name}-{index}-{attempt}-{time.time_ns()}"
        flight[key] = (index, attempt)
        future = on.client.submit(_on_worker, pickled, index, key=key, pure=False)
        watch.add(index, future)
        return future

    window = 2 * on.workers * on.threads
    with watch.looking():
        futures = as_completed([submit(index, 0) for index in itertools.islice(waiting, window)])
        for future in arriving(futures, on.client):
            index, attempt = flight.pop(future.key)
            outcome = watch.outcome(future)
            future.release()
            if isinstance(outcome, Tim3dError):
                stop = stop or outcome
            if stop:  # nothing may write any more when this raises: what is in flight ends first
                continue
            if _may_be_tried_again(outcome, attempt):
                futures.add(submit(index, attempt + 1))
                continue
            following = next(waiting, None)
            if following is not None:
                futures.add(submit(following, 0))
            yield index, outcome
    if stop:
        raise stop


def _may_be_tried_again(outcome: Any, attempt: int) -> bool:
    return isinstance(outcome, BaseException) and attempt < RETRIES and not isinstance(outcome, UnstoppedError)


def _on_worker(pickled: bytes, index: Triple) -> dict[str, Any]:
    """A block on dask; an error that spoils the process names its worker, so that the client can end it."""
    try:
        return process_block(pickled, index)
    except Tim3dError:
        raise
    except Exception as error:
        if not spoils(error):
            raise
        from distributed import get_worker

        raise SpoiltWorkerError(get_worker().address, f"{type(error).__name__}: {error}") from error


_computing = threading.Semaphore(1)


@functools.lru_cache(maxsize=4)
def _unpickle(pickled: bytes) -> Pass:
    forget_peak()
    return cloudpickle.loads(pickled)  # type: ignore[no-any-return]


def process_block(pickled: bytes, index: Triple) -> dict[str, Any]:
    """Read, compute, write and mark one block; the same function in this process and on any worker."""
    work_pass = _unpickle(pickled)
    block = work_pass.grid.block_at(index)
    start = time.perf_counter()
    inputs = work_pass.work.read(block)
    read = elapsed(start)
    with _computing:
        start = time.perf_counter()
        outputs = work_pass.work.compute(block, inputs)
        compute = elapsed(start)
    del inputs
    start = time.perf_counter()
    record = work_pass.work.write(block, outputs)
    timing = {
        "read_seconds": read,
        "compute_seconds": compute,
        "write_seconds": elapsed(start),
        "peak_bytes": peak_memory(),
        "host": socket.gethostname(),
        "pid": os.getpid(),
    }
    work_pass.ledger.mark_done(index, record | timing, durable=work_pass.durable)
    return timing
