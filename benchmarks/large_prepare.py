"""A gigavoxel through `prepare`: step by step from field to field, then in one pass that is killed and resumed.

    python -m benchmarks.large_prepare FOLDER [--shape 1000,1024,1024] [--kills 2] [--only align,fill]

Both must give the same voxels. The volume is that of `benchmarks.large` with known defects: slices
displaced by up to a pixel, a blank slice in every hundred, grey values that rise and fall along z. Two
local workers. Denoising stands before the background, so that no table is measured through slow steps.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import zarr

import tim3d
from benchmarks.large import make_volume, peaks, plain_copy
from tim3d.grid import Triple

OPTIONS = tim3d.Options(progress=False)
STEPS = {
    "crop": "crop:bar=24",
    "align": "align",
    "fill": "fill",
    "tilt": "tilt:angle=52,resample=true",
    "brightness": "brightness",
    "variation": "variation",
    "nonlocal": "nonlocal:slices=0",
    "background": "background:scale_nm=1000",
    "curtain": "curtain:width_nm=100",
    "median": "median:planar=true",
}
FINDINGS = "blank,saturated,duplicates,jumps,drift"


def spoil(path: Path) -> None:
    """Displace the slices, blank one in a hundred, and let brightness rise and fall."""
    volume = np.lib.format.open_memmap(path, mode="r+")
    rng = np.random.default_rng(1)
    for z, (y, x) in enumerate(rng.integers(-1, 2, (len(volume), 2))):
        gain = 0.9 + 0.08 * np.sin(z / 40)
        moved = np.roll(volume[z], (y, x), (0, 1)) * gain
        volume[z] = 0 if z % 100 == 57 else moved.astype(np.uint8)
    volume.flush()


def command(sample: str, field: str, out: str, words: list[str]) -> list[str]:
    """The command that a user would type."""
    typed = ["prepare", sample, *words, "--field", field, "--out", out]
    return [sys.executable, "-m", "tim3d", *typed, "--cluster", "local", "--workers", "2"]


def timed(task: Callable[[], Any]) -> tuple[float, float]:
    """Seconds of wall, and of the processor in child processes that ended."""
    start, before = time.perf_counter(), os.times()
    task()
    after = os.times()
    used = after.children_user + after.children_system
    return time.perf_counter() - start, used - before.children_user - before.children_system


def run(typed: list[str]) -> None:
    """Run a command to its end."""
    subprocess.run(typed, check=True, capture_output=True)


def killed(typed: list[str], waits: list[float]) -> None:
    """Start a command and kill its process group, once for each wait in seconds; then let it end."""
    for wait in waits:
        process = subprocess.Popen(typed, process_group=0, stdout=subprocess.DEVNULL)
        try:
            code = process.wait(wait)
            print(f"ended with {code} within {wait:.0f} s, before its kill", flush=True)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            print(f"killed after {wait:.0f} s", flush=True)
    run(typed)


def equal(sample: str, one: str, two: str) -> bool:
    """Whether two fields have the same voxels."""
    a, b = (zarr.open_array(f"{sample}/{name}/s0/{name}", mode="r") for name in (one, two))
    slabs: Iterator[slice] = (slice(z, z + 32) for z in range(0, a.shape[0], 32))
    return a.shape == b.shape and all(np.array_equal(a[slab], b[slab]) for slab in slabs)


def report(sample: str, name: str, seconds: tuple[float, float], copy: float) -> None:
    """Print one row: times, and the measured and planned peak of the largest pass."""
    notes = [row for row in peaks(sample) if row[0].startswith(name)]
    peak, planned = max(((m, p) for _, m, p in notes), default=(0.0, 0.0))
    wall, used = seconds
    print(
        f"| {name} | {wall:.0f} | {used:.0f} | {used / copy:.1f} | {peak:.0f} | {planned:.0f} |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--shape", default="1000,1024,1024")
    parser.add_argument("--kills", type=int, default=2)
    parser.add_argument("--only", default=",".join(STEPS))
    given = parser.parse_args()
    shape: Triple = tuple(int(n) for n in given.shape.split(","))  # type: ignore[assignment]
    given.folder.mkdir(parents=True, exist_ok=True)
    source, sample = given.folder / "source.npy", str(given.folder / "large.zarr")
    if not Path(sample).exists():
        make_volume(source, shape)
        spoil(source)
        size = {"z": 10, "y": 10, "x": 10}
        tim3d.ingest(source, sample, voxel_size=size, accept=FINDINGS.split(","), options=OPTIONS)
        source.unlink()
    wall, copy = timed(lambda: plain_copy(sample, given.folder / "copy", 2))
    shutil.rmtree(given.folder / "copy")
    print(
        f"plain copy: {wall:.1f} s, {copy:.1f} s of CPU\n| step | s | CPU s | times a copy | MiB | planned MiB |",
        flush=True,
    )
    field, total = "raw", 0.0
    for name in given.only.split(","):
        step = command(sample, field, name, [STEPS[name]])
        seconds = timed(lambda step=step: run(step))  # type: ignore[misc]
        report(sample, name, seconds, copy)
        field, total = name, total + seconds[0]
    whole = command(sample, "raw", "together", [STEPS[name] for name in given.only.split(",")])
    waits = [total * (n + 1) / (given.kills + 2) for n in range(given.kills)]
    report(sample, "together", timed(lambda: killed(whole, waits)), copy)
    print(
        f"killed {given.kills} times: {'equal' if equal(sample, field, 'together') else 'NOT EQUAL'}"
    )


if __name__ == "__main__":
    main()
