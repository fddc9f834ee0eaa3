"""Speed and memory of connected components, in one run.

    python -m benchmarks.components [--edge 256] [--block 128]

Volume: smoothed noise, 42 % inside, as in benchmarks/descriptors.py. Whole-volume labelling by
scipy and by cc3d alone, tim3d in memory and through a sample on disk. Best of 3; every memory
figure comes from a process of its own.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cc3d
import numpy as np
import scipy.ndimage as ndi
from numpy.typing import NDArray

import tim3d
from benchmarks.descriptors import blobs
from tim3d.kernels.morphology.components import STEPS, label_block, label_volume, tabulate

PHASES = tim3d.Phases(solid=0, pore=1)
MEMORY = """
import sys, numpy as np
from tim3d.kernels.morphology.components import label_block, tabulate
volume = np.load(sys.argv[1]); codes = [int(c) for c in sys.argv[2].split(",")]
def memory(key):
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith(key))
small = np.ones((2, 2, 2), np.uint8)
tabulate(label_block(small, [1]), small, (0, 0, 0), small.shape)
open("/proc/self/clear_refs", "w").write("5")
before = memory("VmRSS")
table = tabulate(label_block(volume, codes, int(sys.argv[3])), volume, (0, 0, 0), volume.shape)
print((memory("VmHWM") - before) / volume.size, len(table))
"""


def best(work: Callable[[], object], runs: int) -> float:
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def speed(
    volume: NDArray[np.uint8], connectivity: Any, block: int, runs: int
) -> Iterator[tuple[str, float]]:
    """Seconds of each way to label, one core."""
    near = ndi.generate_binary_structure(3, STEPS[connectivity])
    cut = (block, block, block)
    yield "scipy.ndimage.label, pore", best(lambda: ndi.label(volume, near), runs)
    yield (
        "cc3d alone, pore",
        best(lambda: cc3d.connected_components(volume, connectivity=connectivity), runs),
    )
    yield "label_block, pore", best(lambda: label_block(volume, [1], connectivity), runs)
    yield (
        "label_block, pore and solid",
        best(lambda: label_block(volume, [0, 1], connectivity), runs),
    )
    ids = label_block(volume, [0, 1], connectivity)
    yield "tabulate", best(lambda: tabulate(ids, volume, (0, 0, 0), volume.shape), runs)
    name = f"label_volume, pore and solid, blocks of {block}^3"
    yield name, best(lambda: label_volume(volume, [0, 1], connectivity, cut), runs)
    with tempfile.TemporaryDirectory() as folder:
        url = ingested(Path(folder), volume, block)
        for keep in (False, True):
            options = tim3d.Options(block=cut, overwrite=True, progress=False)

            def through(keep: bool = keep, options: tim3d.Options = options) -> None:
                tim3d.label(url, connectivity=connectivity, keep=keep, options=options)

            yield (
                f"tim3d.label, blocks of {block}^3{', field kept' if keep else ''}",
                best(through, runs),
            )


def ingested(folder: Path, volume: NDArray[np.uint8], block: int) -> str:
    np.save(folder / "phase.npy", volume)
    url = str(folder / "a.zarr")
    shard = (min(64, block), block, block)
    size = {"z": 1, "y": 1, "x": 1}
    options = tim3d.Options(progress=False)
    tim3d.ingest(
        folder / "phase.npy",
        url,
        voxel_size=size,
        field="phase",
        phases=PHASES,
        shard=shard,
        options=options,
    )
    return url


def memory(volume: NDArray[np.uint8], connectivity: int) -> tuple[float, int]:
    """Peak bytes per voxel beside the codes, and components."""
    codes = ",".join(map(str, np.unique(volume)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "volume.npy"
        np.save(path, volume)
        command = [sys.executable, "-c", MEMORY, str(path), codes, str(connectivity)]
        peak, count = subprocess.run(
            command, check=True, capture_output=True, text=True
        ).stdout.split()
    return float(peak), int(count)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--edge", type=int, default=256)
    parser.add_argument("--block", type=int, default=128)
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args(arguments)
    volume = blobs(given.edge)
    found = {c: list(speed(volume, c, given.block, given.runs)) for c in STEPS}
    print(f"| blobs_{given.edge}, one core, s | 6 | 18 | 26 |\n|---|---|---|---|")
    for row in zip(*found.values(), strict=True):
        print(f"| {row[0][0]} | {' | '.join(f'{seconds:.3f}' for _, seconds in row)} |")
    noise = np.random.default_rng(0).integers(0, 3, volume.shape, dtype=np.uint8)
    print(
        "\n| label_block and tabulate, all phases | connectivity | bytes per voxel | components |\n|---|---|---|---|"
    )
    for name, labels in ((f"blobs_{given.edge}", volume), ("3 phases drawn voxel by voxel", noise)):
        for connectivity in (6, 26):
            peak, count = memory(labels, connectivity)
            print(f"| {name} | {connectivity} | {peak:.1f} | {count} |")


if __name__ == "__main__":
    main()
