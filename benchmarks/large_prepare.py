"""A gigavoxel through `prepare`: each correction alone against a plain copy, then all in one pass, killed and resumed.

    python -m benchmarks.large_prepare FOLDER [--shape 1000,1024,1024] [--kills 2] [--only align,fill]

The volume is that of `benchmarks.large` with known defects: slices displaced by up to a pixel, a blank
slice in every hundred, grey values that rise and fall along z. Two local workers.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

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
    "background": "background:scale_nm=1000",
    "curtain": "curtain:width_nm=100",
    "median": "median",
    "nonlocal": "nonlocal",
    "variation": "variation",
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


def command(sample: str, out: str, words: list[str]) -> list[str]:
    """The command that a user would type."""
    typed = ["prepare", sample, *words, "--out", out, "--cluster", "local", "--workers", "2"]
    return [sys.executable, "-m", "tim3d", *typed]


def run(sample: str, out: str, words: list[str]) -> tuple[float, float]:
    """Seconds of wall and of processor time that a run takes."""
    start, before = time.perf_counter(), os.times()
    subprocess.run(command(sample, out, words), check=True, capture_output=True)
    after = os.times()
    used = after.children_user + after.children_system
    used -= before.children_user + before.children_system
    return time.perf_counter() - start, used


def killed(sample: str, out: str, words: list[str], waits: list[float]) -> None:
    """Start a run and kill its process group, once for each wait in seconds; then let it end."""
    for wait in waits:
        process = subprocess.Popen(
            command(sample, out, words),
            start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            process.wait(wait)
            print(f"ended within {wait:.0f} s, before its kill", flush=True)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    run(sample, out, words)


def equal(sample: str, one: str, two: str) -> bool:
    """Whether two fields have the same voxels."""
    a, b = (zarr.open_array(f"{sample}/{name}/s0/{name}", mode="r") for name in (one, two))
    slabs: Iterator[slice] = (slice(z, z + 32) for z in range(0, a.shape[0], 32))
    return a.shape == b.shape and all(np.array_equal(a[slab], b[slab]) for slab in slabs)


def report(sample: str, name: str, wall: float, used: float, copy: float) -> None:
    """Print one row: times, and the measured and planned peak of the largest pass."""
    notes = [row for row in peaks(sample) if row[0].startswith(name)]
    peak, planned = max(((m, p) for _, m, p in notes), default=(0.0, 0.0))
    print(
        f"| {name} | {wall:.0f} | {used:.0f} | {wall / copy:.1f} | {peak:.0f} | {planned:.0f} |",
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
    copy = plain_copy(sample, given.folder / "copy", 2)
    shutil.rmtree(given.folder / "copy")
    print(
        f"plain copy: {copy:.1f} s\n| step | s | CPU s | times a copy | MiB | planned MiB |",
        flush=True,
    )
    chosen = given.only.split(",")
    for name in chosen:
        report(sample, name, *run(sample, name, [STEPS[name]]), copy)
    words = [STEPS[name] for name in chosen]
    wall, used = run(sample, "all", words)
    report(sample, "all", wall, used, copy)
    waits = [wall * (n + 1) / (given.kills + 2) for n in range(given.kills)]
    killed(sample, "again", words, waits)
    print(
        f"killed {given.kills} times: {'equal' if equal(sample, 'all', 'again') else 'NOT EQUAL'}"
    )


if __name__ == "__main__":
    main()
