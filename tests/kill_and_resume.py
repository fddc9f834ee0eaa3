"""Kill workers and whole runs at random moments, resume until done, and compare with a run that nobody killed.

    python -m tests.kill_and_resume FOLDER --kills 60

A run is a process group of its own: a client and two workers on a pass of small, slow blocks. Every computation of a
block appends a line to a journal, so that what was computed twice can be counted.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import psutil

from tests.works import NumberWork, number_pass, truth
from tim3d import store
from tim3d.engine import cluster, lock_sample, run
from tim3d.grid import Block

WORKERS = 2
# The engine keeps two blocks per thread in flight; a thread is computing one of them.
IN_FLIGHT = {"worker": 2, "group": 2 * WORKERS}
SLOW = 0.12


@dataclass(frozen=True)
class JournalWork(NumberWork):
    """`NumberWork` that notes every computation of a block."""

    def compute(self, block: Block, inputs: np.ndarray) -> np.ndarray:
        line = ",".join(map(str, block.index)) + "\n"
        journal = os.open(f"{self.sample}.journal", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(journal, line.encode())
        os.close(journal)
        return super().compute(block, inputs)


@dataclass
class Count:
    """What was killed and what it cost."""

    worker: int = 0
    group: int = 0
    runs: int = 0
    blocks: int = 0
    recomputed: int = 0

    @property
    def kills(self) -> int:
        return self.worker + self.group

    @property
    def allowed(self) -> int:
        """Blocks that were in flight at the kills."""
        return self.worker * IN_FLIGHT["worker"] + self.group * IN_FLIGHT["group"]


def child(sample: str, slow: float) -> None:
    """One run, as it is started and started again."""
    with lock_sample(sample), cluster("local", workers=WORKERS):
        work_pass = number_pass(sample, slow=slow)
        run(replace(work_pass, work=JournalWork(sample, slow=slow)), progress=False)


def start(sample: str, slow: float) -> subprocess.Popen[bytes]:
    """A run in a process group of its own."""
    code = f"from tests.kill_and_resume import child; child({sample!r}, {slow})"
    root = Path(__file__).parents[1]
    with Path(f"{sample}.log").open("ab") as log:
        return subprocess.Popen([sys.executable, "-c", code], cwd=root, start_new_session=True, stdout=log, stderr=log)


def journal(sample: str) -> list[str]:
    """Computations so far, one block's place each."""
    path = Path(f"{sample}.journal")
    return path.read_text().split() if path.exists() else []


def workers_of(pid: int) -> list[int]:
    """Worker processes of a run."""
    try:
        children = psutil.Process(pid).children(recursive=True)
        return [c.pid for c in children if "spawn_main" in " ".join(c.cmdline())]
    except psutil.NoSuchProcess:
        return []


def moments(rng: random.Random, sample: str, process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Random moments at which some block is being computed, until the run ends."""
    while process.poll() is None:
        seen, until = len(journal(sample)), time.monotonic() + rng.uniform(0, 0.8)
        while process.poll() is None and (time.monotonic() < until or len(journal(sample)) == seen):
            time.sleep(0.01)
        if process.poll() is None:
            yield


def kill_something(rng: random.Random, process: subprocess.Popen[bytes], count: Count) -> None:
    """SIGKILL a random worker, or one time in three the whole group."""
    victims = workers_of(process.pid)
    if rng.random() < 1 / 3:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        count.group += 1
    elif victims:
        os.kill(rng.choice(victims), signal.SIGKILL)
        count.worker += 1


def kill_and_resume(sample: str, kills: int, rng: random.Random, slow: float = SLOW) -> Count:
    """Start, kill and start again until the sample is whole."""
    count = Count()
    while True:
        process = start(sample, slow)
        count.runs += 1
        for _ in moments(rng, sample, process):
            if count.kills < kills:
                kill_something(rng, process, count)
        if process.wait() == 0:
            break
        assert process.returncode == -signal.SIGKILL, Path(f"{sample}.log").read_text()[-2000:]
    computed = Counter(journal(sample))
    count.blocks, count.recomputed = len(computed), computed.total() - len(computed)
    return count


def shards(sample: str) -> dict[str, bytes]:
    """Every file of the array, with its bytes."""
    folder = Path(sample) / "raw" / "s0"
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def check(folder: Path, kills: int, seed: int, slow: float = SLOW) -> Count:
    """Kill until `kills` are used up, on one sample after another; every one must equal the untouched one.

    Raises
    ------
    AssertionError
        If a store differs, or more was computed twice than was in flight.
    """
    rng, total, untouched = random.Random(seed), Count(), str(folder / "untouched.zarr")
    run(number_pass(untouched), progress=False)
    while total.kills < kills:
        sample = str(folder / f"{total.runs}.zarr")
        count = kill_and_resume(sample, kills - total.kills, rng, slow)
        assert shards(sample) == shards(untouched)
        np.testing.assert_array_equal(store.field_array(sample, "raw")[:], truth())
        assert count.blocks == len(number_pass(sample).grid)
        assert count.recomputed <= count.allowed, count
        total = Count(**{key: value + asdict(count)[key] for key, value in asdict(total).items()})
    return total


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    given.folder.mkdir(parents=True)
    found = check(given.folder, given.kills, given.seed)
    print(f"{found}; in flight at the kills: {found.allowed}; every store equals the untouched one")
