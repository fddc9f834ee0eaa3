"""The commands of the manifests, run here: scheduler, workers and run find each other and finish the recipe."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tim3d
from tests.servers import free_port

yaml = pytest.importorskip("yaml", reason="manifests are YAML: pip install pyyaml")

ROOT = Path(__file__).parents[2]
BINARIES = Path(sys.executable).parent
MEMORY = 2 * 2**30


def rendered(overlay: str) -> dict[tuple[str, str], Any]:
    """Manifests of an overlay by kind and name."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not here: it renders the overlays")
    text = subprocess.run(
        [kubectl, "kustomize", str(ROOT / "deploy/kubernetes/overlays" / overlay)],
        capture_output=True, text=True, check=True, timeout=240,
    ).stdout  # fmt: skip
    return {(m["kind"], m["metadata"]["name"]): m for m in yaml.safe_load_all(text)}


def command(container: dict[str, Any], here: dict[str, str]) -> list[str]:
    """What the container would run, with what a pod is told replaced by what is here."""
    any_of = re.compile(
        "|".join(map(re.escape, here))
    )  # in one go: a free port may hold the digits of another
    words = [*container.get("command", ["tim3d"]), *container.get("args", [])]
    words = [any_of.sub(lambda found: here[found[0]], str(word)) for word in words]
    return [str(BINARIES / words[0]), *words[1:]]


def variables(container: dict[str, Any]) -> dict[str, str]:
    """The plain variables of a container; those of the downward API are of a pod of one core."""
    fixed = {
        entry["name"]: entry["value"] for entry in container.get("env", []) if "value" in entry
    }
    return os.environ | fixed | {"NUMBA_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


@contextmanager
def started(words: list[str], env: dict[str, str], log: Path) -> Iterator[None]:
    with log.open("w") as out, subprocess.Popen(words, stdout=out, stderr=out, env=env) as process:
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def wait_for_health(port: int) -> None:
    """What the probes ask."""
    for _ in range(300):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
                assert answer.status == 200
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"nothing answers at port {port}")


def deploy(overlay: str, folder: Path, changes: dict[str, str]) -> str:
    """Do on this machine what the pods of an overlay do; the scheduler's address."""
    manifests = rendered(overlay)
    comm, dashboard, probe = free_port(), free_port(), free_port()
    address = f"tcp://127.0.0.1:{comm}"
    here = {
        "tcp://tim3d-scheduler:8786": address,
        "0.0.0.0": "127.0.0.1",
        "8786": str(comm),
        "8787": str(dashboard),
        "8788": str(probe),
        "$(POD_NAME)": "pod",
        "$(MEMORY_LIMIT)": str(MEMORY),
        "/tmp/dask": str(folder / "dask"),
        "/recipe/recipe.toml": str(folder / "recipe.toml"),
    }
    kinds = {"tim3d-scheduler": "Deployment", "tim3d-cpu": "Deployment", "tim3d-run": "Job"}
    pod = {name: manifests[kind, name]["spec"]["template"]["spec"] for name, kind in kinds.items()}
    recipe = manifests["ConfigMap", "tim3d-recipe"]["data"]["recipe.toml"]
    for there, local in changes.items():
        recipe = recipe.replace(there, local)
    (folder / "recipe.toml").write_text(recipe)
    (wait,), (run,) = pod["tim3d-run"]["initContainers"], pod["tim3d-run"]["containers"]
    with ExitStack() as stack:
        for name in ("tim3d-scheduler", "tim3d-cpu"):
            (container,) = pod[name]["containers"]
            stack.enter_context(
                started(command(container, here), variables(container), folder / f"{name}.log")
            )
        wait_for_health(dashboard)
        wait_for_health(probe)
        env = variables(wait) | {"SCHEDULER": address, "WORKERS": "1"}
        subprocess.run(command(wait, here), env=env, check=True, timeout=200)
        subprocess.run(command(run, here), env=variables(run), check=True, timeout=200)
    return address


@pytest.mark.long
def test_the_commands_of_the_manifests_finish_the_recipe(tmp_path: Path) -> None:
    address = deploy("cpu", tmp_path, {"/data": str(tmp_path), "96, 256, 256": "32, 64, 64"})
    assert not tim3d.validate(str(tmp_path / "demo/sample.zarr"), deep=True)
    assert (tmp_path / "demo/report.html").stat().st_size > 0
    (summary,) = (tmp_path / "demo/sample.zarr.runs").glob("phase/s0/*/summary-*.json")
    said = json.loads(summary.read_text())["cluster"]
    assert said == f"{address}, 1 worker(s) x 1 thread(s), {MEMORY / 2**30:.1f} GiB each"


@pytest.mark.slow
def test_the_commands_of_the_manifests_finish_a_sample_in_a_bucket(
    tmp_path: Path, bucket: str
) -> None:
    grey = np.random.default_rng(0).integers(0, 255, (24, 40, 40)).astype(np.uint8)
    np.save(tmp_path / "grey.npy", grey)
    quiet = tim3d.Options(progress=False)
    sample = f"{bucket}/sample.zarr"
    tim3d.ingest(
        tmp_path / "grey.npy", sample, voxel_size={"z": 20, "y": 10, "x": 10}, options=quiet
    )
    deploy("s3", tmp_path, {})
    assert not tim3d.validate(sample, deep=True)
    assert float(tim3d.describe(sample).phase_fraction.sum()) == pytest.approx(1)


def docker() -> str:
    """A docker client whose daemon answers, or a skip that says what is missing."""
    client = shutil.which("docker")
    if client is None:
        pytest.skip("docker is not here")
    answer = subprocess.run(
        [client, "version", "--format", "{{.Server.Version}}"], capture_output=True, text=True
    )
    if answer.returncode:
        pytest.skip(f"no docker daemon answers: {answer.stderr.strip()}")
    return client


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_image_builds_and_runs() -> None:
    client, tag = docker(), f"tim3d:test-{os.getpid()}"
    built = [
        client,
        "build",
        "-f",
        str(ROOT / "deploy/docker/Dockerfile"),
        "--build-arg",
        "VARIANT=cpu",
        "-t",
        tag,
    ]
    subprocess.run([*built, str(ROOT)], check=True, timeout=1500)
    try:
        locked = [client, "run", "--rm", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL"]
        said = subprocess.run(
            [*locked, tag, "--version"], capture_output=True, text=True, check=True, timeout=60
        )
        assert said.stdout.strip() == f"tim3d {tim3d.__version__}"
        user = subprocess.run(
            [*locked, "--entrypoint", "id", tag, "-u"],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert user.stdout.strip() == "10001"
        subprocess.run([*locked, tag, "doctor", "/tmp"], check=True, timeout=300)
        scheduler = [*locked, "--entrypoint", "dask", tag, "scheduler", "--version"]
        subprocess.run(scheduler, check=True, timeout=60)
    finally:
        subprocess.run([client, "image", "rm", "--force", tag], capture_output=True, timeout=60)
