"""Kill workers, schedulers, clients and all at once at random moments, resume until done, and compare with a calm run.

    python -m tests.kill_and_resume FOLDER --kills 300

A client works on a pass of small, slow blocks through a scheduler and two workers, all processes of
their own. What is left of them after a kill goes on as it would in life: a new client meets blocks
of the dead one that are still being computed, and the workers of a dead scheduler are left to
themselves beside those of the next. Whoever begins a block appends a line to a journal, so that
what was begun twice can be counted; it is laid to the kill before it.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import numpy as np
import psutil

from tests.servers import cluster_when_ready, free_port
from tests.works import NumberWork, number_pass, truth
from tim3d.engine import lock_sample, run
from tim3d.errors import DeviceError
from tim3d.grid import Block
from tim3d.storage import store

ROOT = Path(__file__).parents[1]
WORKERS = 2
# The engine keeps two blocks per thread in flight: so many may be lost with a worker, and with
# anything else.
IN_FLIGHT = {"worker": 2, "scheduler": 2 * WORKERS, "client": 2 * WORKERS, "group": 2 * WORKERS}
SLOW = 0.12


@dataclass(frozen=True)
class JournalWork(NumberWork):
    """`NumberWork` that notes whenever a block is begun."""

    def read(self, block: Block) -> np.ndarray:
        line = ",".join(map(str, block.index)) + "\n"
        journal = os.open(f"{self.sample}.journal", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(journal, line.encode())
        os.close(journal)
        return super().read(block)


@dataclass
class Count:
    """What was killed, what that cost, and what was wrong in the end."""

    kills: Counter[str] = field(default_factory=Counter)
    recomputed: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    blocks: int = 0
    lost: int = 0
    doubled: int = 0
    corrupt: int = 0

    @property
    def allowed(self) -> int:
        """Blocks that may have been in flight at the kills."""
        return sum(number * IN_FLIGHT[kind] for kind, number in self.kills.items())

    def table(self) -> str:
        """The kills, and the blocks that were computed again, as Markdown."""
        lines = [
            "| killed | times | blocks in flight, at most | blocks computed again |",
            "|---|---|---|---|",
        ]
        for kind, number in IN_FLIGHT.items():
            lines += [
                f"| {kind} | {self.kills[kind]} | {self.kills[kind] * number} | {self.recomputed[kind]} |"
            ]
        lines += [f"| all | {self.kills.total()} | {self.allowed} | {self.recomputed.total()} |"]
        wrong = f"{self.lost} lost, {self.doubled} doubled, {self.corrupt} corrupt"
        return "\n".join([*lines, "", f"{self.runs} runs, {self.blocks} blocks: {wrong}"])


def child(sample: str, slow: float, address: str) -> None:
    """One client, as it is started and started again."""
    log = os.open(f"{sample}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    try:
        with lock_sample(sample), cluster_when_ready(address, 30):
            work_pass = number_pass(sample, slow=slow)
            run(replace(work_pass, work=JournalWork(sample, slow=slow)), progress=False)
    except DeviceError as error:
        raise SystemExit(error.exit_code) from error


def start(sample: str, slow: float, address: str) -> ForkServerProcess:
    """A client in a process of its own; libraries are loaded once for all of them."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([child.__module__, "distributed"])
    client = context.Process(target=child, args=(sample, slow, address))
    client.start()
    return client


def spawn(log: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """A Python process that writes into a log."""
    settings = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "10"}
    with log.open("ab") as out:
        command = [sys.executable, *arguments]
        return subprocess.Popen(
            command, cwd=ROOT, env=os.environ | settings, stdout=out, stderr=out
        )


class Site:
    """A scheduler and its workers, which outlive clients; started again at another port where the scheduler is gone."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, folder / "site.log"
        self.scheduler: subprocess.Popen[bytes] | None = None
        self.nannies: list[subprocess.Popen[bytes]] = []
        self.forsaken: list[subprocess.Popen[bytes]] = []
        self.address = ""

    def up(self) -> str:
        """Address of a scheduler that lives."""
        if self.scheduler is None or self.scheduler.poll() is not None:
            stop(
                self.forsaken
            )  # of the scheduler before the last: what they had begun is long over
            self.forsaken = self.nannies
            port = str(free_port())
            self.address = f"tcp://127.0.0.1:{port}"
            there = ["--host", "127.0.0.1", "--port", port, "--no-dashboard"]
            self.scheduler = spawn(self.log, "-m", "dask", "scheduler", *there)
            like = [
                "--nthreads",
                "1",
                "--no-dashboard",
                "--local-directory",
                str(self.folder / "scratch"),
            ]
            self.nannies = [
                spawn(self.log, "-m", "dask", "worker", self.address, *like) for _ in range(WORKERS)
            ]
        return self.address

    def workers(self) -> list[psutil.Process]:
        """The processes in which blocks are computed."""
        return [one for nanny in self.nannies for one in offspring(nanny)]

    def kill_scheduler(self) -> None:
        assert self.scheduler is not None
        stop([self.scheduler])

    def kill(self) -> None:
        """Everything of this site, at once."""
        stop([*([self.scheduler] if self.scheduler else []), *self.nannies])

    def close(self) -> None:
        """End what is left, also of those that lost their scheduler."""
        self.nannies += self.forsaken
        self.kill()


def offspring(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """Worker processes of a nanny."""
    try:
        children = psutil.Process(process.pid).children(recursive=True)
        return [c for c in children if "spawn_main" in " ".join(c.cmdline())]
    except psutil.Error:
        return []


def stop(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """SIGKILL them and their workers, all before the first is waited for."""
    workers = [one for process in processes for one in offspring(process)]
    for process in processes:
        process.send_signal(signal.SIGKILL)
    end(workers)
    for process in processes:
        process.wait()


def end(processes: Sequence[psutil.Process]) -> None:
    for process in processes:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue


def journal(sample: str) -> list[str]:
    """Blocks begun so far, one place each."""
    path = Path(f"{sample}.journal")
    return path.read_text().split() if path.exists() else []


def repeated(sample: str) -> int:
    """Beginnings so far of blocks that had been begun before."""
    lines = journal(sample)
    return len(lines) - len(set(lines))


def moments(rng: random.Random, sample: str, process: ForkServerProcess) -> Iterator[None]:
    """Random moments at which some block is being computed, until the client ends."""
    while process.is_alive():
        seen, until = len(journal(sample)), time.monotonic() + rng.uniform(0, 0.8)
        while process.is_alive() and (time.monotonic() < until or len(journal(sample)) == seen):
            time.sleep(0.01)
        if process.is_alive():
            yield


def strike(kind: str, rng: random.Random, site: Site, client: ForkServerProcess) -> bool:
    """SIGKILL one thing, and wait for the client where it cannot go on; whether there was such a thing."""
    if kind == "worker":
        victims = site.workers()
        end([rng.choice(victims)] if victims else [])
        return bool(victims)
    if kind == "scheduler":
        site.kill_scheduler()
        client.join(timeout=120)
        assert client.exitcode == DeviceError.exit_code
    if kind == "group":
        site.kill()
    if kind in ("client", "group"):
        client.kill()
        client.join()
    return True


def kill_and_resume(
    sample: str,
    kinds: Sequence[str],
    rng: random.Random,
    site: Site,
    count: Count,
    slow: float = SLOW,
) -> None:
    """Start, kill what `kinds` says one after another, and start again until the sample is whole."""
    to_kill, last, laid = list(reversed(kinds)), "", 0
    while True:
        client = start(sample, slow, site.up())
        count.runs += 1
        for _ in moments(rng, sample, client):
            since = repeated(sample)
            if to_kill and strike(to_kill[-1], rng, site, client):
                count.recomputed[last] += since - laid
                last, laid = to_kill.pop(), since
                count.kills[last] += 1
        client.join()
        if client.exitcode == 0:
            break
        assert client.exitcode in (-signal.SIGKILL, DeviceError.exit_code), Path(
            f"{sample}.log"
        ).read_text()[-2000:]
    count.recomputed[last] += repeated(sample) - laid


def shards(sample: str) -> dict[str, bytes]:
    """Every file of the array, with its bytes."""
    folder = Path(sample) / "raw" / "s0"
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def compare(sample: str, untouched: str, count: Count) -> None:
    """Blocks without shard or marker, blocks that the sums hold twice, and files that differ."""
    work_pass, found, wanted = number_pass(sample), shards(sample), shards(untouched)
    done = work_pass.ledger.done()
    sums = {
        index: int(truth()[work_pass.grid.block_at(index).core.slices].sum())
        for index in work_pass.grid.indices()
    }
    count.blocks += len(work_pass.grid)
    count.lost += len(set(sums) - done) + len(set(wanted) - set(found))
    count.doubled += sum(work_pass.ledger.record(index)["sum"] != sums[index] for index in done)
    count.corrupt += sum(found[name] != wanted[name] for name in set(found) & set(wanted))
    count.corrupt += not np.array_equal(store.field_array(sample, "raw")[:], truth())


def check(folder: Path, kinds: Sequence[str], seed: int, slow: float = SLOW) -> Count:
    """Kill what `kinds` names, on one sample after another; every one must equal the untouched one.

    Raises
    ------
    AssertionError
        If a block is lost, doubled or corrupt, or more was computed twice than was in flight.
    """
    rng, count, untouched, site = (
        random.Random(seed),
        Count(),
        str(folder / "untouched.zarr"),
        Site(folder),
    )
    run(number_pass(untouched), progress=False)
    try:
        while (begun := count.kills.total()) < len(kinds):
            sample = str(folder / f"{count.runs}.zarr")
            kill_and_resume(sample, kinds[begun:], rng, site, count, slow)
            compare(sample, untouched, count)
            assert count.lost + count.doubled + count.corrupt == 0, f"{sample}\n{count.table()}"
            shutil.rmtree(sample)
            print(
                f"{count.kills.total()} kills, {count.recomputed.total()} blocks computed again",
                flush=True,
            )
    finally:
        site.close()
    assert all(
        count.recomputed[kind] <= count.kills[kind] * IN_FLIGHT.get(kind, 0)
        for kind in count.recomputed
    ), count
    return count


def victims(number: int, seed: int) -> list[str]:
    """What to kill, by chance: workers most often, schedulers least, for a client takes its time to give one up.

    >>> Counter(victims(300, 0)).total()
    300
    """
    return random.Random(f"victims {seed}").choices(list(IN_FLIGHT), weights=[4, 1, 2, 2], k=number)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    given.folder.mkdir(parents=True)
    from tests.kill_and_resume import (
        check,
    )  # by its name, so that it can be found where clients are made

    print(check(given.folder, victims(given.kills, given.seed), given.seed).table())
