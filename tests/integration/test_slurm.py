"""The same recipe on a real Slurm: jobs as workers, one cancelled in the middle, and a job array."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import ROOT
from tests.contents import content
from tests.recipes import done_blocks, finish, start, until, write_recipe
from tests.slurm import jobs, launcher
from tests.works import number_pass, truth
from tim3d.engine import cluster, run
from tim3d.errors import DeviceError
from tim3d.storage import store

pytestmark = pytest.mark.timeout(240)
# Enough blocks that a run outlasts the start of a new job.
SHAPE, BLOCKS = (96, 192, 192), 24 * 6 * 6
DEPLOY = ROOT / "deploy" / "slurm"


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recipe, with a sample beside it that one process made."""
    path = write_recipe(tmp_path_factory.mktemp("slurm"), SHAPE)
    finish(start(path, path.parent / "alone.zarr"))
    (path.parent / "site.toml").write_text(
        'partition = "debug"\ninterface = "lo"\ncores = 1\nmemory = "1GiB"\nwalltime = "00:20:00"\n'
        'prologue = ["export NUMBA_NUM_THREADS=1"]\n'
    )
    return path


@pytest.mark.slow
@pytest.mark.usefixtures("slurm")
def test_a_cancelled_job_is_replaced_and_costs_nothing(recipe: Path) -> None:
    sample, known = recipe.parent / "jobs.zarr", set(jobs())
    process = start(recipe, sample, "--cluster", "slurm", "--site", "site.toml", "--workers", "2")
    until(lambda: len(set(jobs("R")) - known) == 2, "two jobs")
    until(lambda: len(done_blocks(sample, "phase/s0")) >= 10, "the tenth block")
    victim = sorted(set(jobs("R")) - known)[0]
    subprocess.run(["scancel", victim], check=True)
    assert len(done_blocks(sample, "phase/s0")) < BLOCKS
    until(
        lambda: len(set(jobs()) - known) == 3 or process.poll() is not None,
        "a job in place of the lost one",
    )
    finish(process)
    assert content(sample) == content(recipe.parent / "alone.zarr")
    assert len(set(jobs()) - known) == 3
    until(lambda: not set(jobs("PD,R")) - known, "the end of all jobs")


@pytest.mark.slow
@pytest.mark.usefixtures("slurm")
def test_a_recipe_as_a_job_array_makes_the_bytes_of_one_process(
    recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = recipe.parent / "array.zarr"
    monkeypatch.setenv("TIM3D", launcher(recipe.parent))
    sized = ["--array=1-3", "--cpus-per-task=1", "--mem=1200M", "--time=10"]
    line = [
        "sbatch",
        "--wait",
        *sized,
        str(DEPLOY / "array.sbatch"),
        str(recipe),
        "--set",
        f"sample={sample}",
    ]
    done = subprocess.run(line, cwd=recipe.parent, capture_output=True, text=True, check=False)
    outputs = "\n".join(p.read_text()[-1000:] for p in recipe.parent.glob("tim3d-part-*.out"))
    assert done.returncode == 0, done.stderr + outputs
    assert content(sample) == content(recipe.parent / "alone.zarr")
    markers = done_blocks(sample, "phase/s0").values()
    counts = [sum(m["pid"] == pid for m in markers) for pid in {m["pid"] for m in markers}]
    assert counts == [BLOCKS // 3] * 3


@pytest.mark.slow
@pytest.mark.usefixtures("slurm")
def test_a_job_that_asks_for_jobs(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sample = recipe.parent / "inner.zarr"
    monkeypatch.setenv("TIM3D", launcher(recipe.parent))
    line = [
        "sbatch",
        "--wait",
        "--mem=1200M",
        str(DEPLOY / "recipe.sbatch"),
        str(recipe),
        "site.toml",
        "2",
    ]
    line += ["--set", f"sample={sample}"]
    done = subprocess.run(line, cwd=recipe.parent, capture_output=True, text=True, check=False)
    outputs = "\n".join(p.read_text()[-1000:] for p in recipe.parent.glob("tim3d-run-*.out"))
    assert done.returncode == 0, done.stderr + outputs
    assert content(sample) == content(recipe.parent / "alone.zarr")


@pytest.mark.usefixtures("slurm")
@pytest.mark.parametrize(
    ("change", "said"),
    [({"partition": "gone"}, "invalid partition"), ({"cores": 64}, "not available")],
)
def test_a_job_that_slurm_does_not_take_is_an_error_at_once(
    change: dict[str, Any], said: str, tmp_path: Path
) -> None:
    wanted: dict[str, Any] = {"interface": "lo", "logs": str(tmp_path), **change}
    with (
        pytest.raises(DeviceError, match=rf"(?i){said}.*Change the site file"),
        cluster("slurm", **wanted),
    ):
        pass


@pytest.mark.slow
@pytest.mark.usefixtures("slurm")
def test_a_worker_ends_before_its_walltime_and_the_next_job_goes_on(tmp_path: Path) -> None:
    sample = str(tmp_path / "a.zarr")
    site = {"interface": "lo", "walltime": "00:01:00", "memory": "1GiB", "logs": str(tmp_path)}
    known = set(jobs())
    with cluster("slurm", **site, prologue=f"export PYTHONPATH={ROOT}"):  # type: ignore[arg-type]
        run(number_pass(sample, slow=2.5), progress=False)
    assert len(set(jobs()) - known) >= 2
    np.testing.assert_array_equal(np.asarray(store.field_array(sample, "raw")[:]), truth())


@pytest.mark.slow
@pytest.mark.usefixtures("slurm")
def test_encrypted_jobs_make_the_same_bits(tmp_path: Path) -> None:
    sample = str(tmp_path / "a.zarr")
    site = {
        "interface": "lo",
        "memory": "1GiB",
        "logs": str(tmp_path),
        "prologue": f"export PYTHONPATH={ROOT}",
    }
    with cluster("slurm", tls=tmp_path / "tls", **site) as on:  # type: ignore[arg-type]
        workers = on.client.scheduler_info(n_workers=-1)["workers"]
        assert {one.partition("://")[0] for one in (on.client.scheduler.address, *workers)} == {
            "tls"
        }
        run(number_pass(sample), progress=False)
    np.testing.assert_array_equal(np.asarray(store.field_array(sample, "raw")[:]), truth())
