"""The engine alone: blocks that do nothing, from a thousand to a million; its time, its memory and its markers.

    python -m benchmarks.scale FOLDER                                       # the table of docs/scale.md
    python -m benchmarks.scale FOLDER --cluster serial --blocks 1000000

Every row is a process of its own. The time is that of a run without its preparation (start of
workers), divided by the blocks. Memory is what the process of client and scheduler held at its peak
beyond what it held before the run. Resuming is a second run, which finds every block done: what it
takes is reading the ledger and planning.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tim3d.engine import Ledger, Pass, cluster, current_cluster, run
from tim3d.engine.clusters.memory import forget_peak, peak_memory, resident_memory
from tim3d.grid import Block, Grid, Triple

EDGE = 64
COLUMNS = [
    "blocks",
    "on",
    "ms per block",
    "CPU ms of the client",
    "memory, MiB",
    "MiB per 10⁵ blocks",
]
COLUMNS += ["markers", "on disk, MiB", "plan, s", "resume, s"]


def line(cells: Sequence[str]) -> str:
    """A row of a table."""
    return f"| {' | '.join(cells)} |"


@dataclass(frozen=True)
class NoWork:
    """A block of which nothing is read, computed or written."""

    def read(self, block: Block) -> None:
        pass

    def compute(self, block: Block, inputs: None) -> None:
        pass

    def write(self, block: Block, outputs: None) -> dict[str, Any]:
        return {}

    def block_bytes(self, core: Triple, read: Triple) -> int:
        return 0


@dataclass(frozen=True)
class Cost:
    """What a run of blocks without work cost."""

    blocks: int
    on: str
    seconds: float
    cpu_seconds: float
    memory_bytes: int
    files: int
    disk_bytes: int
    plan_seconds: float
    resume_seconds: float

    @property
    def milliseconds(self) -> float:
        """Wall time of the run per block."""
        return self.seconds / self.blocks * 1e3

    @property
    def cpu_milliseconds(self) -> float:
        """Processor time of this process per block: the same on a busy machine."""
        return self.cpu_seconds / self.blocks * 1e3

    def row(self) -> str:
        mib, disk = self.memory_bytes / 2**20, self.disk_bytes / 2**20
        cells = [
            f"{self.blocks}",
            self.on,
            f"{self.milliseconds:.2f}",
            f"{self.cpu_milliseconds:.2f}",
        ]
        cells += [f"{mib:.0f}", f"{mib / self.blocks * 1e5:.0f}", f"{self.files}", f"{disk:.0f}"]
        return line([*cells, f"{self.plan_seconds:.2f}", f"{self.resume_seconds:.2f}"])


def empty_pass(folder: Path, blocks: int) -> Pass:
    """A pass over `blocks` blocks, which lie as those of a volume do."""
    side = round(blocks ** (1 / 3))
    while blocks % side:
        side -= 1
    rest = blocks // side
    width = next(n for n in range(round(rest**0.5), 0, -1) if rest % n == 0)
    shape = (side * EDGE, width * EDGE, rest // width * EDGE)
    ledger = Ledger(str(folder / f"{blocks}.zarr"), "raw/s0", "0" * 64)
    return Pass(NoWork(), Grid(shape, (EDGE,) * 3, (8, 8, 8)), ledger, (EDGE,) * 3, 1, 1)


def measure(folder: Path, blocks: int) -> Cost:
    """Run blocks without work on the current cluster, then resume when all are done."""
    work_pass, on = empty_pass(folder, blocks), current_cluster()
    forget_peak()
    before = resident_memory()
    plan = seconds(work_pass.plan)
    processor = time.process_time()
    wall = seconds(lambda: run(work_pass, progress=False))
    processor = time.process_time() - processor
    memory = peak_memory() - before
    resume = seconds(lambda: run(work_pass, progress=False))
    assert len(work_pass.ledger.done()) == blocks
    folder = Path(work_pass.ledger.folder)
    markers = [*folder.glob("done/*/*/*.json"), *folder.glob("gathered.jsonl")]
    disk = sum(path.stat().st_blocks * 512 for path in markers)
    name = on.kind if on.client is None else f"{on.kind}, {on.workers} x {on.threads}"
    return Cost(blocks, name, wall, processor, memory, len(markers), disk, plan, resume)


def seconds(work: Any) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def alone(folder: Path, blocks: int, kind: str, workers: int, threads: int) -> Cost:
    """`measure` in a process of its own."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.scale",
        str(folder),
        "--one",
        "--blocks",
        str(blocks),
    ]
    command += ["--cluster", kind, "--workers", str(workers), "--threads", str(threads)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1]
    )
    return Cost(**json.loads(done.stdout.splitlines()[-1]))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--blocks", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--cluster", nargs="+", default=["serial", "local"])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 8], help="of each worker")
    parser.add_argument("--one", action="store_true", help="one row, in this process, as JSON")
    given = parser.parse_args(arguments)
    if given.one:
        kind = given.cluster[0]
        size = {} if kind == "serial" else {"workers": given.workers, "threads": given.threads[0]}
        with cluster(kind, **size):
            print(json.dumps(asdict(measure(given.folder, given.blocks[0]))))
        return
    print(line(COLUMNS) + "\n|" + "---|" * len(COLUMNS))
    kinds = [
        (kind, threads)
        for kind in given.cluster
        for threads in (given.threads if kind == "local" else [1])
    ]
    for (kind, threads), blocks in itertools.product(kinds, given.blocks):
        folder = given.folder.resolve() / f"{kind}-{threads}-{blocks}"
        print(alone(folder, blocks, kind, given.workers, threads).row(), flush=True)
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
