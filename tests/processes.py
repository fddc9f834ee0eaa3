"""Other processes of a test: one that holds a lock, and commands that are killed again and again."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

LOCKING = """
import sys
from tim3d.engine import lock_sample
with lock_sample(sys.argv[1]):
    print("held", flush=True)
    input()
"""


@contextmanager
def holder_of(path: str | Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock of a path; to be killed, or ended on leaving."""
    with subprocess.Popen(
        [sys.executable, "-c", LOCKING, str(path)], stdin=-1, stdout=-1, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        yield other


def killed_until_done(
    command: Sequence[str], node: Path, victims: Sequence[str], rng: random.Random
) -> int:
    """Kill a command of the shell, or one of its workers, each after some more blocks; how often it was really killed.

    A block whose marker below `node` was there at a kill of the client is never done again.
    """
    killed, done = 0, dict[Path, int]()
    process = subprocess.Popen(command, start_new_session=True, stdout=-3, stderr=-3)
    for victim in victims:
        until = len(_markers(node)) + rng.randint(2, 8)
        while process.poll() is None and len(_markers(node)) < until:
            time.sleep(0.02)
        if process.poll() is not None:
            break
        killed += 1
        if victim == "client":
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            done |= _markers(node)
            process = subprocess.Popen(command, start_new_session=True, stdout=-3, stderr=-3)
        else:
            _kill_a_worker(process.pid, rng)
    assert process.wait() == 0
    assert done.items() <= _markers(node).items()
    return killed


def _markers(node: Path) -> dict[Path, int]:
    """Markers of blocks, with the time at which each was written."""
    return {
        p: p.stat().st_mtime_ns
        for p in node.rglob("*.json")
        if "done" in p.parts and p.name[0] != "."
    }


def _kill_a_worker(client: int, rng: random.Random) -> None:
    children = psutil.Process(client).children(recursive=True)
    workers = [c.pid for c in children if "spawn_main" in " ".join(c.cmdline())]
    os.kill(rng.choice(workers), signal.SIGKILL)
