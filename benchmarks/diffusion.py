"""Volumes by diffusion: CPU time of a voxel and pass, memory beside its plan, and runs that are killed twice.

    python -m benchmarks.diffusion measure --edge 128 --steps 4 --network sections
    python -m benchmarks.diffusion killed --edge 128 --steps 4

Weights are random: neither time nor memory depends on them. Each run is a process of its own.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

import tim3d
from tim3d.engine.clusters.memory import peak_memory
from tim3d.generators import Diffusion
from tim3d.models.diffusion.local_network import LocalNetwork
from tim3d.models.diffusion.network_file import LocalNetworkDescription, save_network
from tim3d.models.diffusion.network_spec import LocalNetworkSpec
from tim3d.models.diffusion.reverse_field import DiffusionField
from tim3d.storage import store

# The network of sections that train-diffusion makes by default, and a small one of volumes.
SPECS = {
    "sections": LocalNetworkSpec(2, 1, (32, 48)),
    "volumes": LocalNetworkSpec(3, 1, (16, 24)),
}
# Of a second run: seconds until the first and the second kill, as shares of the time of the first run.
KILLS = (0.3, 0.5)


def file_of(folder: Path, name: str) -> Path:
    """File of a network of random weights."""
    torch.manual_seed(0)
    path = folder / f"{name}.safetensors"
    about = LocalNetworkDescription(SPECS[name], (1.0, 1.0, 1.0), tim3d.Phases(pore=0, solid=1))
    save_network(path, LocalNetwork(SPECS[name]), about)
    return path


def generator(path: Path, asked: argparse.Namespace) -> Diffusion:
    """The generator that is measured."""
    return Diffusion(
        path, steps=asked.steps, planes=asked.planes, seed=1, tile=asked.tile, stored=asked.stored, device="cpu"
    )  # fmt: skip


def generate(sample: str, path: Path, asked: argparse.Namespace) -> dict[str, Any]:
    """Generate a volume in this process, and return its cost."""
    shape, options = (asked.edge,) * 3, tim3d.Options(progress=False)
    made = generator(path, asked)
    plans = tim3d.plan("generate", sample, made, shape=shape, shard=(64,) * 3, options=options)
    begun, before = time.perf_counter(), time.process_time()
    tim3d.generate(sample, made, shape=shape, shard=(64,) * 3, options=options)
    field = made.of_shape(shape)
    assert isinstance(field, DiffusionField)
    return {
        "cpu": time.process_time() - before,
        "wall": time.perf_counter() - begun,
        "voxels": int(np.prod(field.domain.shape)) * field.passes,
        "peak": peak_memory(),
        "planned": max(plan.peak_bytes for plan in plans if hasattr(plan, "peak_bytes")),
    }


@contextmanager
def child(sample: str, path: Path, arguments: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process that generates the volume."""
    command = [sys.executable, "-m", "benchmarks.diffusion", "child", *arguments]
    with subprocess.Popen([*command, "--sample", sample, "--file", str(path)]) as process:
        yield process


def killed(folder: Path, path: Path, arguments: list[str]) -> None:
    """Compare a calm run with one that is killed twice, and print what that cost."""
    begun = time.perf_counter()
    with child(calm := str(folder / "calm.zarr"), path, arguments) as process:
        assert process.wait() == 0
    whole = time.perf_counter() - begun
    torn, spent = str(folder / "torn.zarr"), 0.0
    for share in (*KILLS, None):
        begun = time.perf_counter()
        with child(torn, path, arguments) as process:
            if share is not None:
                time.sleep(share * whole)
                os.kill(process.pid, signal.SIGKILL)
            process.wait()
        spent += time.perf_counter() - begun
    first, second = (np.asarray(store.open_field(one, "phase")) for one in (calm, torn))
    print(f"calm {whole:.0f} s, killed twice {spent:.0f} s; equal: {np.array_equal(first, second)}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the figures of one run, or of two."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["measure", "killed", "child"])
    parser.add_argument("--network", choices=list(SPECS), default="sections")
    parser.add_argument("--planes", default="mean")
    parser.add_argument("--stored", default="float32")
    parser.add_argument("--sample")
    parser.add_argument("--file", type=Path)
    for name, value in (("edge", 64), ("steps", 2), ("tile", 128)):
        parser.add_argument(f"--{name}", type=int, default=value)
    asked = parser.parse_args(words)
    if asked.what == "child":
        generate(asked.sample, asked.file, asked)
        return
    with tempfile.TemporaryDirectory() as kept:
        folder = Path(kept)
        path = file_of(folder, asked.network)
        if asked.what == "killed":
            killed(folder, path, words[1:])
            return
        found = generate(str(folder / "a.zarr"), path, asked)
        print(
            f"{asked.network} {asked.planes}, {asked.edge}^3, {found['voxels'] / 1e6:.1f} million voxels and passes: "
            f"{found['cpu']:.0f} CPU s, {1e6 * found['cpu'] / found['voxels']:.1f} us a voxel and pass; "
            f"peak {found['peak'] / 2**20:.0f} MiB of {found['planned'] / 2**20:.0f} planned"
        )


if __name__ == "__main__":
    main()
