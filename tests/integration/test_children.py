"""Worker processes of this machine: how they start, fail to start, and end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

import tim3d
from tests.recipes import until
from tim3d import Options
from tim3d.engine.clusters.children import starting
from tim3d.errors import ArgumentError, DeviceError

STARTED = "with tim3d.cluster('local', workers=1):\n    print('in')\n"
INDENTED = "    with tim3d.cluster('local', workers=1):\n        print('in')\n"
# A script, and the line of it that starts the cluster.
UNGUARDED = {
    "at the top": (f"import tim3d\n{STARTED}", 2),
    "in a function": (f"import tim3d\ndef main():\n{INDENTED}main()\n", 5),
    "in another if": (f"import sys, tim3d\nif sys.argv:\n{INDENTED}", 3),
}


OTHERS = [
    pytest.param(kind, marks=pytest.mark.slow) for kind in UNGUARDED if kind != "in a function"
]


@pytest.mark.parametrize("kind", ["in a function", *OTHERS])
def test_a_script_that_its_workers_would_run_again_is_refused_at_once(
    tmp_path: Path, kind: str
) -> None:
    script = tmp_path / "analysis.py"
    text, line = UNGUARDED[kind]
    script.write_text(text)
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 1
    assert "in\n" not in done.stdout
    last = done.stderr.strip().splitlines()[-1]
    assert f"{script}, line {line}, asks for worker processes" in last
    assert last.endswith('put that line and what follows below  if __name__ == "__main__":')
    assert done.stderr.count("Traceback") == 1


@pytest.mark.long
def test_a_guarded_script_gets_its_workers(tmp_path: Path) -> None:
    script = tmp_path / "analysis.py"
    script.write_text(f"import tim3d\nif __name__ == '__main__':\n{INDENTED}")
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=False, timeout=120
    )
    assert (done.returncode, done.stdout) == (0, "in\n"), done.stderr


@pytest.mark.parametrize(
    "error", [RuntimeError("Nanny failed to start."), OSError(24, "too many files"), TimeoutError()]
)
def test_processes_that_do_not_start_are_one_line(error: Exception) -> None:
    with (
        pytest.raises(DeviceError, match="cluster 'local' did not start") as caught,
        starting("local"),
    ):
        raise error
    assert "run the same command again" in str(caught.value)
    assert caught.value.exit_code == 7
    assert "\n" not in str(caught.value)


def test_an_error_of_ours_stays_what_it_is() -> None:
    with pytest.raises(ArgumentError, match="ours"), starting("local"):
        raise ArgumentError("ours")


@pytest.fixture
def sample(tmp_path: Path) -> str:
    """64 blocks of labels."""
    labels = np.random.default_rng(0).integers(0, 2, (16, 64, 256)).astype(np.uint8)
    np.save(tmp_path / "labels.npy", labels)
    where = str(tmp_path / "s.zarr")
    tim3d.ingest(
        tmp_path / "labels.npy", where, voxel_size={"z": 1, "y": 1, "x": 1}, field="phase",
        phases=tim3d.Phases(pore=0, solid=1), shard=(8, 16, 32), options=Options(progress=False),
    )  # fmt: skip
    return where


class Command:
    """``tim3d label`` on two workers of this machine."""

    def __init__(self, sample: str) -> None:
        command = ["label", sample, "--block", "8,16,32", "--cluster", "local", "--workers", "2"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tim3d", *command],
            stdout=-1,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.markers = Path(f"{sample}.runs")

    def workers(self) -> list[int]:
        """Process numbers of workers, also of those that only begin to start."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        return [child.pid for child in children if "spawn_main" in " ".join(child.cmdline())]

    def done(self) -> int:
        """Blocks done."""
        return sum(1 for _ in self.markers.rglob("done/*/*/*.json"))


@pytest.fixture
def command(sample: str) -> Iterator[Command]:
    running = Command(sample)
    try:
        yield running
    finally:
        for pid in running.workers() if running.process.poll() is None else ():
            os.kill(pid, signal.SIGKILL)
        running.process.kill()
        running.process.wait()


@pytest.mark.long
def test_a_worker_that_is_killed_while_it_starts_is_one_line(command: Command) -> None:
    until(command.workers, "a worker", 60)
    os.kill(command.workers()[0], signal.SIGKILL)
    said = command.process.communicate(timeout=120)[0]
    assert command.process.returncode == 7
    assert re.fullmatch(r"tim3d: cluster 'local' did not start: .*\n", said)


@pytest.mark.slow
@pytest.mark.parametrize("which", [0, 1, "both"])
def test_a_run_ends_after_a_worker_was_stopped_and_continued(
    command: Command, which: int | str
) -> None:
    until(lambda: command.done() > 20, "a block", 120)
    stopped = command.workers() if which == "both" else [command.workers()[int(which)]]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(20)
    for pid in stopped:
        os.kill(pid, signal.SIGCONT)
    said = command.process.communicate(timeout=120)[0]
    assert command.process.returncode == 0, said
    assert "still alive" not in said
