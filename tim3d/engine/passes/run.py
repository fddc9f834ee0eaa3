"""Run a pass: one task per block, read -> compute -> write -> mark done; resume, retry, set aside.

Every task carries the pass as a few kilobytes of pickle, so that a worker that joins late or
restarts needs nothing else. Voxels are never sent. docs/architecture.md draws the states of an
attempt at a block.
"""

from __future__ import annotations

import functools
import itertools
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import cloudpickle

from tim3d.engine.clusters.cluster import Cluster, current_cluster
from tim3d.engine.clusters.memory import forget_peak, peak_memory
from tim3d.engine.clusters.timeouts import SpoiltWorkerError, arriving, spoils, warning_if_slow
from tim3d.engine.job_array import ShareError, current_part
from tim3d.engine.passes.backpressure import GpuLoad, Window
from tim3d.engine.passes.cost import current_pilot
from tim3d.engine.passes.in_flight import RETRIES, Flight, sendable
from tim3d.engine.passes.metrics import count, count_failure
from tim3d.engine.passes.parcels import Parcels
from tim3d.engine.passes.plan import Plan, smaller_block
from tim3d.engine.passes.progress import progress_bar
from tim3d.engine.passes.summary import Attempt, Summary, as_record, elapsed, reason
from tim3d.engine.state.journal import note
from tim3d.engine.state.ledger import CARRIED_BYTES, Ledger, shards_below
from tim3d.errors import FailedBlocksError, Tim3dError
from tim3d.grid import Block, Grid, Triple, triple
from tim3d.storage.array_cache import one_moment
from tim3d.storage.files import reaching

log = logging.getLogger(__name__)
# Interpreter and libraries of a worker, measured on Linux with and without torch
# (docs/architecture.md, "Memory").
BASE_BYTES = 352 * 2**20
TORCH_BASE_BYTES = 800 * 2**20
# Memory that a running process may still load for a pass that it has not run before (40 MiB of SciPy, which
# is imported on first use), or take to compile it: 90 MiB for the flux solver in a fresh installation.
LOADED_LATER_BYTES = 152 * 2**20
# Blocks of a pass from which on its markers become one file when it has ended: fewer cost little, and
# stay files that one can look at.
GATHERED_FROM = 4096


class Work(Protocol):
    """Work on one block. It must pickle, and may cache what is costly to load, once per process.

    Its `blocks_at_once`, 1 where it has none, are how many blocks compute at a time in a process: 2
    where a device computes, so that it does not wait for the host between two blocks.
    """

    def read(self, block: Block) -> Any:
        """Read the inputs of the block from the store."""

    def compute(self, block: Block, inputs: Any) -> Any:
        """Compute outputs from inputs; one block at a time in a process, or `blocks_at_once`."""

    def write(self, block: Block, outputs: Any) -> dict[str, Any]:
        """Write the block's shards and return a small JSON record."""

    def block_bytes(self, core: Triple, read: Triple) -> int:
        """Bytes of all buffers that a block with these shapes holds at its peak."""


@dataclass(frozen=True)
class Pass:
    """One sweep of `work` over the blocks of `grid`, recorded in `ledger`.

    Parameters
    ----------
    work : Work
        Work on one block.
    grid : Grid
        Blocks of the volume, with their halo.
    ledger : Ledger
        Markers of the blocks that are done or set aside.
    shard : (z, y, x)
        Edges of the output's shards: a block must not be smaller.
    read_bytes, write_bytes : int
        Bytes per voxel read and written, for the plan.
    base_bytes : int
        Memory of a worker's interpreter and libraries, for the plan.
    durable : bool
        Whether shards and markers are flushed to disk.
    arrays : tuple of str
        Paths of the arrays in the sample whose shards each block writes.
    time_limit : float, optional
        Seconds after which a block counts as hung: its worker is restarted, and the block retried.
    moment : str
        Identifier of the run, set by `run`: arrays are opened once per run.
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
    arrays: tuple[str, ...] = ()
    moment: str = ""

    @property
    def layout(self) -> dict[str, Any]:
        """Shape, block and shard, which must not change while a pass is unfinished."""
        return {**self.grid.layout, "shard": self.shard}

    def records(self) -> Iterator[tuple[Block, dict[str, Any]]]:
        """Yield every block of a finished pass with its record, in the order of the grid."""
        yield from zip(self.grid, self.ledger.records(self.grid.indices()), strict=True)

    def left(self) -> list[Triple]:
        """Blocks that are not done, in the order in which they are run."""
        done = self.ledger.done()
        return [index for index in self.grid.indices() if index not in done]

    def forget_lost(self) -> set[Triple]:
        """Drop the markers of done blocks of which a shard is missing, as after a disk check.

        Lists each array once: a request for each shard would cost as much as writing it. Returns
        the blocks that are done.
        """
        done = self.ledger.done()
        for path in self.arrays if done else ():
            stored = shards_below(f"{self.ledger.sample}/{path}")
            lost = {block for block in done if not stored.issuperset(self._shards(block))}
            self.ledger.drop(lost)
            done -= lost
        return done

    def _shards(self, index: Triple) -> Iterator[Triple]:
        core = self.grid.block_at(index).core
        edges = zip(core.start, core.stop, self.shard, strict=True)
        return map(
            triple, itertools.product(*(range(a // edge, -(-b // edge)) for a, b, edge in edges))
        )

    def plan(
        self,
        on: Cluster | None = None,
        *,
        afresh: bool = False,
        left: Sequence[Triple] | None = None,
    ) -> Plan:
        """Estimate the cost of running the pass now; with `afresh` for all blocks, done or not.

        `left` are the blocks that are not done, where they are known.
        """
        on = on or current_cluster()
        if left is None:
            left = list(self.grid.indices()) if afresh else self.left()
        written, taken = self.grid.voxels(left)
        base = max(self.base_bytes, on.resident_bytes() + LOADED_LATER_BYTES)
        fits = smaller_block(
            self.grid.block, self.shard, lambda b: base + self._buffers(b, on) <= on.memory_bytes
        )
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
            cost=pilot.of(self.ledger.name, written, on.workers)
            if (pilot := current_pilot())
            else None,
        )

    def _buffers(self, block: Triple, on: Cluster) -> int:
        """Peak bytes of the blocks of one worker, one block per thread."""
        largest = Grid(self.grid.shape, block, self.grid.halo).block_at((0, 0, 0))
        grown = largest.core.grow(self.grid.halo)
        read = triple(min(a, b) for a, b in zip(grown.shape, self.grid.shape, strict=True))
        return on.threads * self.work.block_bytes(largest.core.shape, read)


def run(work_pass: Pass, *, progress: bool = True) -> Summary:
    """Compute the blocks that are not done; a block that fails three times is set aside.

    The other blocks are computed anyway.

    Raises
    ------
    MemoryPlanError
        Before any work, if a block does not fit into a worker.
    MixedRunError
        Before any work, if the pass was begun with other blocks.
    FailedBlocksError
        After all other blocks are done.
    Tim3dError
        Any other, at once: an unreadable slice or a full disk would fail at every attempt.
    """
    on = current_cluster()
    done = work_pass.forget_lost()
    left = [index for index in work_pass.grid.indices() if index not in done]
    plan = work_pass.plan(on, left=left)
    plan.check()
    work_pass.ledger.claim_layout(work_pass.layout)
    part = current_part()
    if part is not None and left:
        mine = part.share(work_pass.grid.indices(), left)
        raise ShareError(
            work_pass, mine, functools.partial(_sweep, work_pass, mine, plan, on, progress)
        )
    summary = _sweep(work_pass, left, plan, on, progress)
    # Processes of a job array write markers at the same time.
    if left and part is None and plan.blocks >= GATHERED_FROM:
        work_pass.ledger.gather()
    return summary


def _sweep(work_pass: Pass, left: list[Triple], plan: Plan, on: Cluster, progress: bool) -> Summary:
    """Compute these blocks; set failing ones aside."""
    work_pass = replace(work_pass, moment=uuid.uuid4().hex)
    summary = Summary(
        name=plan.name,
        blocks=plan.blocks,
        skipped=plan.blocks - len(left),
        planned_peak_bytes=plan.peak_bytes,
        cluster=str(on),
        processes=on.workers,
    )
    about = {
        "sample": work_pass.ledger.sample,
        "pass": plan.name,
        "fingerprint": work_pass.ledger.fingerprint[:16],
    }
    if left:
        note("begin", about | {"blocks": plan.blocks, "left": len(left), "cluster": str(on)})
    start = time.perf_counter()
    failures: dict[Triple, str] = {}
    load = GpuLoad()
    with progress_bar(
        total=len(left), desc=plan.name, unit="block", shown=progress and bool(left)
    ) as bar:
        for one in (
            _serially(work_pass, left) if on.client is None else _on_dask(work_pass, left, on, load)
        ):
            _keep(one, summary, failures, work_pass.ledger)
            note("block", about | as_record(one))
            bar.update(one.last)
    summary.failed, summary.wall_seconds, summary.gpu_busy_share = (
        len(failures),
        elapsed(start),
        load.share,
    )
    if left:
        work_pass.ledger.note(f"summary-{time.time_ns()}", summary.as_json())
        note("end", about | summary.as_json())
        log.info("%s", summary)
    _raise_failures(plan.name, failures)
    return summary


def _keep(one: Attempt, summary: Summary, failures: dict[Triple, str], ledger: Ledger) -> None:
    """Count an attempt, and set its block aside if it was the last."""
    if one.state == "done":
        if (record := one.outcome.pop("record")) is not None:
            ledger.hold(one.index, record)
        summary.add(one.outcome)
    elif one.state == "again":
        summary.retries += 1
    else:
        failures[one.index] = reason(one.outcome)
        ledger.mark_failed(one.index, failures[one.index])


def _raise_failures(name: str, failures: dict[Triple, str]) -> None:
    if failures:
        index, reason = next(iter(failures.items()))
        raise FailedBlocksError(
            f"{len(failures)} block(s) of {name} failed {RETRIES + 1} times and were set aside, the others are done. "
            f"First: block {index}: {reason.strip().splitlines()[-1]}. Fix the cause and run the same command again."
        )


def _serially(work_pass: Pass, left: Sequence[Triple]) -> Iterator[Attempt]:
    pickled = cloudpickle.dumps(work_pass)
    for index in left:
        with warning_if_slow(index, work_pass.time_limit):
            yield from _attempts(pickled, index)


def _attempts(pickled: bytes, index: Triple) -> Iterator[Attempt]:
    for number in range(1, RETRIES + 2):
        try:
            yield Attempt(index, number, process_block(pickled, index), last=True)
            return
        except Tim3dError:
            raise
        except Exception as error:  # any other failure of a block is counted, not fatal
            yield Attempt(index, number, error, last=number > RETRIES)


def _on_dask(
    work_pass: Pass, left: Sequence[Triple], on: Cluster, load: GpuLoad
) -> Iterator[Attempt]:
    """Keep two blocks per thread in flight, so that the scheduler's memory does not grow with the volume.

    Ready results are fetched in one request and as many blocks are submitted in another, as the
    number of requests determines the scheduler's load.
    """
    from distributed import as_completed

    waiting = iter(left)
    do = functools.partial(_on_worker, cloudpickle.dumps(work_pass))
    flight = Flight(on.client, work_pass.ledger.name, do, work_pass.time_limit)
    window = Window(on.client, on.workers * on.threads, load)
    parcels = Parcels(len(left), work_pass.time_limit)
    stop: Tim3dError | None = None
    with flight.watch.looking():
        futures = as_completed(flight.submit(parcels.take(waiting, window.size(), window.size())))
        for ended in arriving(futures, on.client, flight.is_landing):
            attempts = flight.landed(ended)
            stop = stop or next(
                (one.outcome for one in attempts if isinstance(one.outcome, Tim3dError)), None
            )
            if stop:  # no block may still write when this raises: those in flight end first
                continue
            parcels.learn(attempts)
            # A block is tried again alone: of those that share a task one may end its worker.
            following = [[(one.index, one.number + 1)] for one in attempts if not one.last]
            room = window.size() - len(flight) - len(following)
            following += parcels.take(waiting, room, window.size())
            futures.update(flight.submit(following))
            yield from attempts
    if stop:
        raise stop


def _on_worker(pickled: bytes, parcel: Sequence[Triple]) -> list[Any]:
    """Process blocks on dask, one after the other: the result of each, or what it raised.

    The error of a block that is alone is raised, and so is one that makes the process unusable,
    with its worker. After an error of ours no other block is begun.
    """
    outcomes: list[Any] = []
    for index in parcel:
        try:
            outcomes.append(process_block(pickled, index))
        except Exception as error:
            if not isinstance(error, Tim3dError) and spoils(error):
                from distributed import get_worker

                address, said = get_worker().address, f"{type(error).__name__}: {error}"
                raise SpoiltWorkerError(address, said) from error
            if len(parcel) == 1:
                raise
            outcomes.append(sendable(error))
            if isinstance(error, Tim3dError):
                break
    return outcomes


_turns = {count: threading.Semaphore(count) for count in (1, 2)}


@functools.lru_cache(maxsize=4)
def _unpickle(pickled: bytes) -> Pass:
    forget_peak()
    return cloudpickle.loads(pickled)  # type: ignore[no-any-return]


def process_block(pickled: bytes, index: Triple) -> dict[str, Any]:
    """Read, compute, write and mark one block, in this process or on any worker."""
    work_pass = _unpickle(pickled)
    try:
        with reaching(), one_moment(work_pass.moment):
            measured = _process(work_pass, index)
    except Exception:
        count_failure(work_pass.ledger.name)
        raise
    count(work_pass.ledger.name, measured)
    return measured


def _process(work_pass: Pass, index: Triple) -> dict[str, Any]:
    block = work_pass.grid.block_at(index)
    start = time.perf_counter()
    inputs = work_pass.work.read(block)
    read, start = elapsed(start), time.perf_counter()
    with _turns[getattr(work_pass.work, "blocks_at_once", 1)]:
        wait, start = elapsed(start), time.perf_counter()
        outputs = work_pass.work.compute(block, inputs)
        compute = elapsed(start)
    del inputs
    start = time.perf_counter()
    record = work_pass.work.write(block, outputs)
    measured = {
        "read_seconds": read,
        "wait_seconds": wait,
        "compute_seconds": compute,
        "write_seconds": elapsed(start),
        "voxels": block.core.size,
        "read_bytes": int(block.read.size * work_pass.read_bytes),
        "write_bytes": int(block.core.size * work_pass.write_bytes),
        "peak_bytes": peak_memory(),
        "host": socket.gethostname(),
        "pid": os.getpid(),
    }
    # The work may count voxels itself: its record overrides the figures of the engine.
    marker = work_pass.ledger.mark_done(index, measured | record, durable=work_pass.durable)
    return measured | {"record": marker if len(marker) <= CARRIED_BYTES else None}
