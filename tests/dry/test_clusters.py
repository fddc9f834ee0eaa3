"""Workers of 1, 4 and 8 GPUs that only a stand-in for the driver's library knows: pins, start lines, utilisation."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("dask_cuda", reason="workers of GPUs need dask-cuda: pip install 'tim3d[gpu]'")
COMPILER = shutil.which("cc")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(COMPILER is None, reason="the stand-in needs a C compiler, cc"),
    pytest.mark.skipif(Path("/proc/driver/nvidia").exists(), reason="a driver is here"),
]
HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the stand-in, for the dynamic linker."""
    folder = tmp_path_factory.mktemp("nvml")
    made = [str(COMPILER), "-shared", "-fPIC", "-Wall", "-Werror", "-o"]
    subprocess.run([*made, folder / "libnvidia-ml.so.1", HERE / "nvml.c"], check=True)
    return folder


def started(
    library: Path, gpus: int, *arguments: Any, **environment: str
) -> subprocess.CompletedProcess[str]:
    """A process of tests.dry.workers on a machine of so many GPUs."""
    known = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    there = {"LD_LIBRARY_PATH": str(library), "STAND_IN_GPUS": str(gpus)}
    return subprocess.run(
        [sys.executable, "-m", "tests.dry.workers", *map(str, arguments)],
        cwd=REPOSITORY, env=known | there | environment, capture_output=True, text=True,
    )  # fmt: skip


def seen(*arguments: Any, **environment: str) -> dict[str, Any]:
    """What such a process saw."""
    done = started(*arguments, **environment)
    lines = [line for line in done.stdout.splitlines() if line.startswith("seen ")]
    assert lines, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(lines[-1].removeprefix("seen "))
    return found


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """64 slices of 1024 x 1024 pixels, and a network whose layers take 1.07 GiB for a slice."""
    import tim3d
    from tim3d.models.segmentation.checkpoint import Description, Normalisation, save
    from tim3d.models.segmentation.unet import UNetSpec, build

    folder = tmp_path_factory.mktemp("planned")
    noise = np.random.default_rng(0).integers(0, 256, (64, 1024, 1024), np.uint8)
    np.save(folder / "grey.npy", noise)
    size, quiet = dict.fromkeys("zyx", 10.0), tim3d.Options(progress=False)
    tim3d.ingest(folder / "grey.npy", str(folder / "s.zarr"), voxel_size=size, options=quiet)
    spec, known = UNetSpec(("pore", "solid")), Normalisation("volume", (120.0,), (40.0,))
    save(folder / "net.safetensors", build(spec), Description(spec, known, (10.0,) * 3))
    return folder / "s.zarr", folder / "net.safetensors"


def note(library: Path, gpus: int, network: tuple[Path, Path], **environment: str) -> str:
    """The last line of the plan of a segmentation."""
    return str(seen(library, gpus, "plan", *network, **environment)["lines"][-1])


@pytest.mark.parametrize(("gib", "batch"), [(16, 4), (80, 16), (141, 32)])
def test_a_plan_tells_the_batch_that_fits_into_the_free_memory(
    library: Path, network: tuple[Path, Path], gib: int, batch: int
) -> None:
    said = note(library, 1, network, STAND_IN_GIB=str(gib))
    assert said.startswith(f"phase: {batch} window(s) at a time on the GPU, by {gib - 1}.00 GiB")


def test_the_least_free_of_the_visible_gpus_counts(
    library: Path, network: tuple[Path, Path]
) -> None:
    assert "by 8.00 GiB" in note(library, 8, network, STAND_IN_GIB="16")
    visible = "GPU-00000000-0000-0000-0000-000000000002,1"
    assert "by 13.00 GiB" in note(
        library, 8, network, STAND_IN_GIB="16", CUDA_VISIBLE_DEVICES=visible
    )


def test_one_window_that_may_not_fit_is_said(library: Path, network: tuple[Path, Path]) -> None:
    said = note(library, 1, network, STAND_IN_GIB="2")
    assert said.startswith("phase: 1 window(s)")
    assert said.endswith("give a smaller --window")


def first_devices(found: dict[str, Any]) -> list[str]:
    """Device on which each worker computes: the first that it sees, torch's "cuda"."""
    return [worker["visible"].split(",")[0] for worker in found["workers"]]


@pytest.mark.parametrize("gpus", [1, 4, 8])
def test_each_gpu_has_one_worker_beside_its_cpus(library: Path, tmp_path: Path, gpus: int) -> None:
    found = seen(library, gpus, "local", tmp_path)
    assert first_devices(found) == [str(n) for n in range(gpus)]
    cpus = os.sched_getaffinity(0)
    for n, worker in enumerate(found["workers"]):
        beside = [cpu for cpu in cpus if cpu % 2 == n % 2]
        assert worker["cpus"] == sorted(beside or cpus)
        assert worker["threads"] == max(3, min(8, len(cpus) // gpus))
        assert worker["used"] == (n + 1) * 2**30
        # Blocks go through the store: between workers there is nothing for UCX to carry.
        assert worker["address"].startswith("tcp://")
        assert worker["ucx"] == {}
    assert found["cluster"][:2] == [gpus, found["workers"][0]["threads"]]
    assert found["computed"] == 64
    # Utilisation is 40, 45, 50, ... %: read by the workers, averaged over them and over time.
    assert found["busy"] == pytest.approx(0.40 + 0.025 * (gpus - 1), abs=0.005)
    assert f"GPUs busy {found['busy']:.0%}" in found["said"]


@pytest.mark.parametrize("named", [False, True])
def test_only_visible_devices_are_used_by_number_or_name(
    library: Path, tmp_path: Path, named: bool
) -> None:
    visible = [f"GPU-00000000-0000-0000-0000-00000000000{n}" if named else str(n) for n in (3, 6)]
    found = seen(library, 8, "local", tmp_path, CUDA_VISIBLE_DEVICES=",".join(visible))
    assert first_devices(found) == visible
    assert [worker["used"] // 2**30 for worker in found["workers"]] == [4, 7]


def test_fewer_workers_than_gpus(library: Path, tmp_path: Path) -> None:
    assert first_devices(seen(library, 4, "local", tmp_path, 2)) == ["0", "1"]


@pytest.mark.parametrize(("gpus", "workers"), [(2, 3), (0, 1)])
def test_more_workers_than_gpus_are_refused(
    library: Path, tmp_path: Path, gpus: int, workers: int
) -> None:
    done = started(library, gpus, "local", tmp_path, workers)
    assert done.returncode
    last = done.stderr.strip().splitlines()[-1]
    assert "DeviceError" in last
    assert "Give fewer --workers, or use --cluster local" in last


def test_the_start_line_of_a_slurm_job_starts_a_worker_for_each_gpu(
    library: Path, tmp_path: Path
) -> None:
    found = seen(library, 4, "job", tmp_path, 4)
    assert first_devices(found) == ["0", "1", "2", "3"]
    assert [worker["name"] for worker in found["workers"]] == [f"job-{n}" for n in range(4)]
    assert [worker["threads"] for worker in found["workers"]] == [3] * 4
    assert [worker["busy"] for worker in found["workers"]] == [40, 45, 50, 55]
    assert " -m dask cuda worker tcp://" in found["line"]
