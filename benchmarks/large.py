"""A gigavoxel through ingest, Otsu and measure on two workers: memory against the plan, speed against a copy.

python -m benchmarks.large FOLDER [--shape 1000,1024,1024] [--memory 2.0]
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from scipy import ndimage

import tim3d
from tim3d.grid import Box, Grid, Triple, triple
from tim3d.storage import store

TILE = 128


def make_volume(path: Path, shape: Triple) -> None:
    """A noisy grey volume of blobs, slab by slab: one periodic tile, and noise that never repeats."""
    noise = np.random.default_rng(20240).standard_normal((TILE,) * 3, dtype=np.float32)
    smooth = ndimage.gaussian_filter(noise, 4.0, mode="wrap")
    tile = np.where(smooth < np.quantile(smooth, 0.42), 70, 160).astype(np.float32)
    out = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    ny, nx = -(-shape[1] // TILE), -(-shape[2] // TILE)
    for z in range(shape[0]):
        plane = np.tile(tile[z % TILE], (ny, nx))[: shape[1], : shape[2]]
        grain = np.random.default_rng(z).normal(0, 18, plane.shape).astype(np.float32)
        out[z] = np.clip(plane + grain, 0, 255).astype(np.uint8)
    out.flush()


def copy_shards(arguments: tuple[str, str, int, int]) -> None:
    """Every `n`-th slab of shards, read and written again: what no stage can beat."""
    source, target, part, parts = arguments
    read = zarr.open_array(source, mode="r")
    write = zarr.open_array(target, mode="r+")
    shape = triple(read.shape)
    slab = ((read.shards or read.chunks)[0], shape[1], shape[2])
    for block in list(Grid(shape, slab))[part::parts]:
        write[block.core.slices] = read[block.core.slices]


def plain_copy(sample: str, target: Path, workers: int, field: str = "raw") -> float:
    """Seconds to copy an array shard by shard with zarr alone, in as many processes."""
    source = f"{sample}/{field}/s0/{field}"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    shutil.copy(f"{source}/zarr.json", target)
    start = time.perf_counter()
    with ProcessPoolExecutor(workers) as pool:
        list(pool.map(copy_shards, [(source, str(target), n, workers) for n in range(workers)]))
    return time.perf_counter() - start


def timed(action: Callable[[], Any]) -> float:
    """Seconds of wall time."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def peaks(sample: str) -> list[tuple[str, float, float]]:
    """Name, measured and planned peak in MiB of every pass."""
    notes = [json.loads(p.read_text()) for p in Path(f"{sample}.runs").rglob("summary-*.json")]
    return [(n["name"], n["peak_bytes"] / 2**20, n["planned_peak_bytes"] / 2**20) for n in notes]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--shape", default="1000,1024,1024")
    parser.add_argument("--memory", type=float, default=2.0, help="GiB per worker")
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    shape = triple(given.shape.split(","))
    given.folder.mkdir(parents=True, exist_ok=True)
    source, sample = given.folder / "grey.npy", str(given.folder / "large.zarr")
    if not source.exists():
        make_volume(source, shape)
    shutil.rmtree(sample, ignore_errors=True)
    shutil.rmtree(sample + ".runs", ignore_errors=True)
    size = {"z": 10.0, "y": 5.0, "x": 5.0}
    phases = tim3d.Phases(pore=0, solid=1)
    quiet = tim3d.Options(progress=False)
    megabytes = np.prod(shape) / 1e6
    with tim3d.cluster("local", workers=given.workers, memory_bytes=int(given.memory * 2**30)):
        seconds = {
            "ingest (with pyramid)": timed(
                lambda: tim3d.ingest(source, sample, voxel_size=size, options=quiet)
            ),
            "segment otsu (histogram, labels, pyramid)": timed(
                lambda: tim3d.segment(sample, method="otsu", phases=phases, options=quiet)
            ),
            "measure (all descriptors)": timed(lambda: tim3d.measure(sample, options=quiet)),
        }
    seconds["plain copy of raw, zarr alone"] = plain_copy(
        sample, given.folder / "copy", given.workers
    )
    print(
        f"| stage, {'x'.join(map(str, shape))} uint8, {given.workers} workers | wall s | MB/s | share of a plain copy |"
    )
    print("|---|---|---|---|")
    copy = seconds["plain copy of raw, zarr alone"]
    for name, wall in seconds.items():
        print(f"| {name} | {wall:.1f} | {megabytes / wall:.0f} | {copy / wall:.2f} |")
    print("\n| pass | measured peak MiB | planned peak MiB |\n|---|---|---|")
    for name, measured, planned in sorted(peaks(sample)):
        print(f"| {name} | {measured:.0f} | {planned:.0f} |")
    array = store.field_array(sample, "phase")
    print(
        f"\nlast voxel of phase: {store.read_box(array, Box(triple(n - 1 for n in shape), shape)).item()}"
    )


if __name__ == "__main__":
    main()
