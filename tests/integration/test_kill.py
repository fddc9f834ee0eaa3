"""SIGKILL at random moments costs the blocks in flight and nothing else."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests import kill_and_resume
from tests.contents import content
from tim3d.maintenance.validation import validate


@pytest.mark.long
def test_kills_of_each_kind_leave_the_bytes_of_an_untouched_run(tmp_path: Path) -> None:
    count = kill_and_resume.check(tmp_path, ["worker", "group", "scheduler", "client"], seed=3)
    assert count.kills == {"worker": 1, "client": 1, "group": 1, "scheduler": 1}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_sixty_kills_leave_the_bytes_of_an_untouched_run(tmp_path: Path) -> None:
    count = kill_and_resume.check(tmp_path, kill_and_resume.victims(60, seed=0), seed=0)
    assert count.kills.total() == 60
    assert min(count.kills[kind] for kind in kill_and_resume.IN_FLIGHT) >= 3


def until_done(rng: random.Random, command: list[str], kills: int) -> int:
    """Run a command of the shell, kill it `kills` times, and let it finish; how often it was really killed."""
    killed = 0
    while True:
        process = subprocess.Popen(command, start_new_session=True, stdout=-3, stderr=-3)
        if killed == kills:
            assert process.wait() == 0
            return killed
        time.sleep(rng.uniform(0.3, 1.3))
        if process.poll() is not None:
            assert process.returncode == 0
            return killed
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        killed += 1


@pytest.mark.slow
def test_verbs_that_are_killed_make_the_sample_of_an_untouched_run(tmp_path: Path) -> None:
    volume = (np.indices((60, 140, 130)).sum(axis=0) % 3).astype(np.uint8)
    np.save(tmp_path / "in.npy", volume)
    rng, killed = random.Random(5), 0
    for name, kills in (("untouched", 0), ("killed", 3)):
        sample = str(tmp_path / f"{name}.zarr")
        verb = [sys.executable, "-m", "tim3d"]
        ingest = [
            "ingest",
            str(tmp_path / "in.npy"),
            sample,
            "--voxel-size",
            "4,2,2",
            "--shard",
            "2,64,64",
        ]
        killed += until_done(
            rng, [*verb, *ingest, "--field", "phase", "--phases", "a=0,b=1,c=2"], kills
        )
        killed += until_done(rng, [*verb, "measure", sample, "--block", "8,64,64"], kills)
    assert killed >= 2
    assert validate(str(tmp_path / "killed.zarr"), deep=True) == []
    assert content(tmp_path / "killed.zarr") == content(tmp_path / "untouched.zarr")
