"""Summary of a pass and record of an attempt at a block: times, bytes, attempts, memory, rates."""

from __future__ import annotations

import time
import traceback
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from tim3d.engine.passes.metrics import STEPS
from tim3d.grid import Triple

_SUMS = (*(f"{step}_seconds" for step in STEPS), "voxels", "read_bytes", "write_bytes")


@dataclass
class Summary:
    """Totals of a run. Times are seconds summed over blocks, `wall_seconds` is the run's own.

    `gpu_busy_share` is the mean utilisation of the workers' GPUs by NVML, sampled every two
    seconds; None without NVML.
    """

    name: str
    blocks: int
    computed: int = 0
    skipped: int = 0
    failed: int = 0
    wall_seconds: float = 0.0
    read_seconds: float = 0.0
    wait_seconds: float = 0.0
    compute_seconds: float = 0.0
    write_seconds: float = 0.0
    voxels: int = 0
    read_bytes: int = 0
    write_bytes: int = 0
    retries: int = 0
    peak_bytes: int = 0
    planned_peak_bytes: int = 0
    cluster: str = ""
    processes: int = 1
    gpu_busy_share: float | None = None
    workers: set[str] = field(default_factory=set)

    def add(self, record: dict[str, Any]) -> None:
        """Count one finished block."""
        self.computed += 1
        for name in _SUMS:
            setattr(self, name, getattr(self, name) + record[name])
        self.peak_bytes = max(self.peak_bytes, record["peak_bytes"])
        self.workers.add(worker_name(record))

    @property
    def rates(self) -> dict[str, float]:
        """Blocks and voxels per second of the run, and shares of its time.

        `computing_share` is the share of the processes' time in which they computed; in the rest
        they waited for reading, writing, tasks or their own start. `read_share`, `wait_share` and
        `write_share` are shares of the blocks' own time: large shares of reading or writing mean
        that the disk is too slow.
        """
        wall = max(self.wall_seconds, 1e-9)
        own = max(
            self.read_seconds + self.wait_seconds + self.compute_seconds + self.write_seconds, 1e-9
        )
        return {
            "blocks_per_second": self.computed / wall,
            "voxels_per_second": self.voxels / wall,
            "computing_share": min(1.0, self.compute_seconds / (wall * self.processes)),
            **{
                f"{step}_share": getattr(self, f"{step}_seconds") / own
                for step in ("read", "wait", "write")
            },
        }

    def as_json(self) -> dict[str, Any]:
        """The summary as stored beside the markers, without values that are None."""
        known = {name: value for name, value in asdict(self).items() if value is not None}
        return known | self.rates | {"workers": sorted(self.workers)}

    def __str__(self) -> str:
        megabytes = (
            f"peak {self.peak_bytes / 2**20:.0f} MiB, planned {self.planned_peak_bytes / 2**20:.0f}"
        )
        rates = self.rates
        gpu = "" if self.gpu_busy_share is None else f", GPUs busy {self.gpu_busy_share:.0%}"
        return (
            f"{self.name}: {self.computed} blocks computed, {self.skipped} were done, {self.failed} failed, "
            f"{self.retries} tried again in {self.wall_seconds:.1f} s (read {self.read_seconds:.1f}, compute "
            f"{self.compute_seconds:.1f}, write {self.write_seconds:.1f} s); {rates['blocks_per_second']:.3g} "
            f"blocks/s, {rates['voxels_per_second'] / 1e6:.3g} Mvoxel/s, computing "
            f"{rates['computing_share']:.0%} of the time{gpu}; {megabytes}"
        )


@dataclass(frozen=True)
class Attempt:
    """Result or exception of an attempt at a block, counted from 1; the `last` is not repeated."""

    index: Triple
    number: int
    outcome: Any
    last: bool

    @property
    def state(self) -> str:
        """``done``, ``failed``, or ``again`` if another attempt follows."""
        if not isinstance(self.outcome, BaseException):
            return "done"
        return "failed" if self.last else "again"


def as_record(one: Attempt) -> dict[str, Any]:
    """Convert an attempt to a line of the journal."""
    line: dict[str, Any] = {"block": one.index, "state": one.state, "attempt": one.number}
    if one.state != "done":
        return line | {"reason": reason(one.outcome).strip().splitlines()[-1]}
    measured: dict[str, Any] = one.outcome
    return line | measured | {"worker": worker_name(measured)}


def reason(error: BaseException) -> str:
    """End of the traceback, recorded with a block that is set aside."""
    return "".join(traceback.format_exception(error))[-4000:]


def elapsed(since: float) -> float:
    """Seconds since a reading of the monotonic clock, rounded for a record."""
    return round(time.perf_counter() - since, 4)


def worker_name(record: Mapping[str, Any]) -> str:
    """Name of the process that computed a block, as ``host:pid``."""
    return f"{record['host']}:{record['pid']}"
