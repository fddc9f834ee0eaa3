"""A private Slurm of this machine for tests."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

STARTER = Path(__file__).parents[2] / "shared" / "tools" / "mini_slurm.sh"
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel")


def need_jobqueue() -> None:
    """Skip where dask-jobqueue is not installed; it is not imported, since that changes what Ctrl-C does."""
    if importlib.util.find_spec("dask_jobqueue") is None:
        pytest.skip("dask-jobqueue is not installed: pip install 'tim3d[hpc]'")


@contextmanager
def private_slurm() -> Iterator[None]:
    """Two nodes with four cores each, until the block ends; skips where there is none."""
    need_jobqueue()
    starter = Path(os.environ.get("TIM3D_MINI_SLURM", STARTER))
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        pytest.skip(f"no {', '.join(missing)} here; install slurmctld slurmd slurm-client munge")
    if not starter.is_file():
        pytest.skip(f"no script that starts a Slurm at {starter}; set TIM3D_MINI_SLURM to it")
    with tempfile.TemporaryDirectory(prefix="ts") as folder, pytest.MonkeyPatch.context() as patch:
        begun = subprocess.run(
            ["bash", str(starter), "start", folder], capture_output=True, text=True, check=False
        )
        try:
            if begun.returncode:
                pytest.skip(f"Slurm does not start here: {begun.stderr.strip()[-300:]}")
            patch.setenv("SLURM_CONF", begun.stdout.strip().partition("=")[2])
            yield
        finally:
            subprocess.run(["bash", str(starter), "stop", folder], capture_output=True, check=False)


def jobs(state: str = "all") -> list[str]:
    """Numbers of the jobs that Slurm knows, also of those that are over."""
    asked = ["squeue", "--noheader", "--format=%i", f"--states={state}"]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()


def launcher(folder: Path) -> str:
    """The tim3d of this Python, as one command."""
    path = folder / "tim3d"
    path.write_text(f'#!/bin/sh\nexec {sys.executable} -m tim3d "$@"\n')
    path.chmod(0o755)
    return str(path)
