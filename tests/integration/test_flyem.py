"""The recipe for a real FIB-SEM stack: on Slurm with a job cancelled, as a job array, on a bucket: the same bytes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.contents import content
from tests.recipes import done_blocks, until
from tests.slurm import jobs, launcher

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
RECIPE, SAMPLE = ROOT / "pipelines" / "flyem.toml", Path("demo") / "flyem.zarr"
BLOCKS = 32
SITE = """
partition = "debug"
interface = "lo"
cores = 1
memory = "3GiB"
prologue = ["export OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1"]
"""


@pytest.fixture(scope="module")
def changes(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What differs from the recipe as it stands: paths, small blocks, and one epoch, for any weights will do."""
    data, truth = data_dir / "flyem-fibsem", tmp_path_factory.mktemp("truth") / "truth.npy"
    subprocess.run(
        [sys.executable, str(ROOT / "pipelines" / "flyem_truth.py"), str(data), str(truth)],
        check=True,
    )
    shard = "[8, 256, 256]"
    values = {
        "ingest.source": data / "slices",
        "ingest-truth.source": truth,
        "train.epochs": 1,
        "train.steps": 10,
    }
    values |= {"ingest.shard": shard, "ingest-truth.shard": shard, "segment.block": shard}
    return [word for name, value in values.items() for word in ("--set", f"{name}={value}")]


def begin(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start the recipe in a folder of its own."""
    folder.mkdir(exist_ok=True)
    line = [sys.executable, "-m", "tim3d", "run", str(RECIPE), "--quiet", *arguments]
    return subprocess.Popen(
        line, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def end(process: subprocess.Popen[str]) -> None:
    _, err = process.communicate(timeout=1500)
    assert process.returncode == 0, err


@pytest.fixture(scope="module")
def alone(changes: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What one process makes."""
    folder = tmp_path_factory.mktemp("flyem") / "alone"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        end(begin(folder, *changes, "--cluster", "serial"))
    return content(folder / SAMPLE)


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """A training repeats itself with the same number of threads."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.mark.usefixtures("slurm")
def test_a_job_is_cancelled_in_the_middle(
    alone: dict[str, Any], changes: list[str], tmp_path: Path
) -> None:
    known, sample = set(jobs()), tmp_path / "jobs" / SAMPLE
    (tmp_path / "site.toml").write_text(SITE)
    site = ("--cluster", "slurm", "--site", str(tmp_path / "site.toml"), "--workers", "2")
    process = begin(sample.parents[1], *changes, *site)
    until(
        lambda: len(done_blocks(sample, "phase/s0")) >= BLOCKS // 4, "a quarter of the blocks", 900
    )
    victims = set(jobs("R")) - known
    subprocess.run(["scancel", min(victims, key=int)], check=True)
    assert len(victims) == 2
    assert len(done_blocks(sample, "phase/s0")) < BLOCKS
    end(process)
    assert content(sample) == alone
    assert len(set(jobs()) - known) == 3


@pytest.mark.usefixtures("slurm")
def test_as_a_job_array(
    alone: dict[str, Any], changes: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIM3D", launcher(tmp_path))
    sized = ["--array=1-2", "--cpus-per-task=1", "--mem=3900M", "--time=30"]
    line = [
        "sbatch",
        "--wait",
        *sized,
        str(ROOT / "deploy" / "slurm" / "array.sbatch"),
        str(RECIPE),
        *changes,
    ]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False)
    outputs = "\n".join(p.read_text()[-1000:] for p in tmp_path.glob("tim3d-part-*.out"))
    assert done.returncode == 0, done.stderr + outputs
    assert content(tmp_path / SAMPLE) == alone
    makers = {marker["pid"] for marker in done_blocks(tmp_path / SAMPLE, "phase/s0").values()}
    assert len(makers) == 2


def test_on_a_bucket(
    alone: dict[str, Any], changes: list[str], tmp_path: Path, bucket: str
) -> None:
    sample = f"{bucket}/flyem.zarr"
    end(
        begin(
            tmp_path / "bucket",
            *changes,
            "--set",
            f"sample={sample}",
            "--cluster",
            "local",
            "--workers",
            "2",
        )
    )
    assert content(sample) == alone
