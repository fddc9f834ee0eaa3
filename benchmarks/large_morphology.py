"""A gigavoxel of three phases through every verb and descriptor of morphology, some of them killed and run again.

    python -m benchmarks.large_morphology FOLDER [--shape 1000,1024,1024] [--only distance,thickness]
    python -m benchmarks.large_morphology FOLDER --shape 128,256,320 --shard 64,64,64 --kill thickness,particles

The phases are level cuts of two Gaussian fields, each the sum of two periodic ones whose periods have
no common divisor: local thickness is 11 voxels in the mean, and nothing repeats. Every row is the
command that a user would type, on two local workers of one thread, and is printed when it ends. A
command of `--kill` is run once more on a copy of its inputs, killed by SIGKILL when a third of its blocks
stand, and run again: the arrays of both must be the same to the last bit.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import zarr
from scipy import ndimage

import tim3d
from benchmarks.large import peaks, plain_copy
from benchmarks.large_prepare import run, timed
from tim3d.grid import Triple, triple

OPTIONS = tim3d.Options(progress=False)
PHASES = tim3d.Phases(pore=0, active=1, binder=2)
NM = {"z": 10.0, "y": 10.0, "x": 10.0}
WIDTH = 4.0  # of the Gaussian, in voxels
PERIODS = ((111, 128, 137), (139, 109, 101))


def noise(seed: int, period: Triple) -> np.ndarray:
    """A periodic Gaussian field of variance 1."""
    white = np.random.default_rng(seed).standard_normal(period, dtype=np.float32)
    smooth = ndimage.gaussian_filter(white, WIDTH, mode="wrap")
    return np.asarray(smooth / smooth.std(), np.float32)


def plane(tile: np.ndarray, z: int, shape: Triple) -> np.ndarray:
    """A plane of a field that is repeated."""
    rows, columns = (
        np.arange(n) % period for n, period in zip(shape[1:], tile.shape[1:], strict=True)
    )
    return np.asarray(tile[z % len(tile)][np.ix_(rows, columns)])


def make_labels(path: Path, shape: Triple) -> None:
    """Write pores where one field is low, and in the solid a binder where the other one is."""
    fields = [[noise(10 * n + m, period) for m, period in enumerate(PERIODS)] for n in range(2)]
    out = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    for z in range(shape[0]):
        first, second = (sum(plane(tile, z, shape) for tile in pair) for pair in fields)
        out[z] = np.where(first < -0.285, 0, np.where(second < -0.7, 2, 1))  # 42, 40 and 18 %
    out.flush()


COMMANDS = {
    "distance": "distance",
    "phase_fraction": "measure --descriptors phase_fraction",
    "specific_surface": "measure --descriptors specific_surface",
    "interface_orientation": "measure --descriptors interface_orientation",
    "correlation": "measure --descriptors correlation:lags=32",
    "label": "label --keep",
    "chord_length": "measure --descriptors chord_length:lags=32",
    "triple_phase_boundary": "measure --descriptors triple_phase_boundary",
    "thickness": "thickness",
    "particles": "particles --phase active",
    "slice_shape": "measure --descriptors slice_shape",
    "thickness_distribution": "measure --descriptors thickness",
    "active_boundary": "measure --descriptors triple_phase_boundary:components=component",
    "skeleton": "skeleton",
    "struts": "struts",
    "curvature": "measure --descriptors curvature",
    "distance_distribution": "measure --descriptors distance",
    "cluster_correlation": "measure --descriptors cluster_correlation:lags=32",
    "porosimetry": "porosimetry --phase pore --directions=+z",
}
HEADER = "| command | wall s | CPU s | times a copy | peak MiB | planned MiB |\n|---|---|---|---|---|---|"


def command(sample: str, words: str, given: argparse.Namespace) -> list[str]:
    """The command that a user would type."""
    verb, *rest = words.split()
    where = ["--cluster", "local", "--workers", "2", "--memory", str(given.memory)]
    where += ["--block", given.shard] if given.shard else []
    return [sys.executable, "-m", "tim3d", verb, sample, *rest, *where]


def row(sample: str, typed: list[str], copy: float) -> str:
    """A line of the table: times, and of the largest pass the measured and the planned peak of a process."""
    before = Counter(peaks(sample))
    wall, used = timed(lambda: run(typed))
    _, peak, planned = max((Counter(peaks(sample)) - before), key=lambda note: note[1])
    words = " ".join([typed[3], *typed[5 : typed.index("--cluster")]])
    return f"| {words} | {wall:.0f} | {used:.0f} | {used / copy:.1f} | {peak:.0f} | {planned:.0f} |"


def over_plan(sample: str) -> Iterator[str]:
    """Lines of passes whose measured peak was above the plan."""
    for name, peak, planned in sorted(peaks(sample)):
        if peak > planned:
            yield f"ABOVE ITS PLAN: {name}, {peak:.0f} of {planned:.0f} MiB"


def digests(sample: str) -> dict[str, str]:
    """SHA-256 of the values of every array of a sample, read in slabs."""
    found = {}
    for path in sorted(Path(sample).rglob("zarr.json")):
        if json.loads(path.read_text())["node_type"] != "array":
            continue
        array, digest = zarr.open_array(path.parent, mode="r"), hashlib.sha256()
        for z in range(0, array.shape[0] if array.ndim else 1, 32):
            values = np.asarray(array[z : z + 32] if array.ndim else array[()])
            digest.update(
                values.tobytes() if values.dtype.kind in "biufc" else repr(values.tolist()).encode()
            )
        found[str(path.parent.relative_to(sample))] = digest.hexdigest()
    return found


def kill(sample: str, typed: list[str], most: int) -> int:
    """Start a command, and kill its processes by SIGKILL when so many of its blocks stand; returns how many stood."""
    before = markers(sample)
    process = subprocess.Popen(
        typed, process_group=0, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while process.poll() is None and len(markers(sample) - before) < most:
        time.sleep(0.05)
    if process.returncode is not None:
        raise SystemExit(f"{' '.join(typed)} ended with {process.returncode} before its kill")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return len(markers(sample) - before)


def markers(sample: str) -> set[Path]:
    """Markers of blocks that are done."""
    return {one for one in Path(f"{sample}.runs").rglob("*.json") if "done" in one.parts}


def killed_line(sample: str, words: str, given: argparse.Namespace, copy: float) -> str:
    """Run a command whole and, on a copy of the sample, killed and run again; compare all arrays."""
    twin = sample.replace(".zarr", "_killed.zarr")
    for one, other in ((sample, twin), (sample + ".runs", twin + ".runs")):
        shutil.rmtree(other, ignore_errors=True)
        shutil.copytree(one, other)
    before = markers(sample)
    line = row(sample, command(sample, words, given), copy)
    blocks = len(markers(sample) - before)
    typed = command(twin, words, given)
    stood = kill(twin, typed, blocks // 3)
    run(typed)
    whole, resumed = digests(sample), digests(twin)
    unlike = sorted(
        name for name in whole.keys() | resumed.keys() if whole.get(name) != resumed.get(name)
    )
    said = f"NOT EQUAL: {', '.join(unlike)}" if unlike else f"all {len(whole)} arrays are equal"
    return f"{line}\nkilled when {stood} of the {blocks} blocks of its passes stood, and run again: {said}"


def prepared(folder: Path, shape: Triple, shard: Triple | None) -> str:
    """The sample, made if it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    source, sample = folder / "labels.npy", str(folder / "large.zarr")
    if not Path(sample).exists():
        make_labels(source, shape)
        tim3d.ingest(
            source,
            sample,
            voxel_size=NM,
            field="phase",
            phases=PHASES,
            shard=shard,
            options=OPTIONS,
        )
        source.unlink()
    return sample


def main(arguments: list[str] | None = None) -> None:
    """Print a row for each command, and what came of those that were killed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--shape", default="1000,1024,1024")
    parser.add_argument("--only", default=",".join(COMMANDS))
    parser.add_argument("--kill", default="", help="those that are killed too")
    parser.add_argument(
        "--shard", default="", help="Z,Y,X of a shard and a block, of a small volume"
    )
    parser.add_argument("--memory", type=float, default=2.5, help="GiB of a worker")
    given = parser.parse_args(arguments)
    shard = triple(given.shard.split(",")) if given.shard else None
    sample = prepared(given.folder, triple(given.shape.split(",")), shard)
    wall, copy = timed(lambda: plain_copy(sample, given.folder / "copy", 2, "phase"))
    shutil.rmtree(given.folder / "copy")
    print(f"{given.shape}: plain copy in {wall:.1f} s, {copy:.1f} s of CPU\n{HEADER}", flush=True)
    for name in given.only.split(","):
        words = COMMANDS[name]
        if name in given.kill.split(","):
            print(killed_line(sample, words, given, copy), flush=True)
        else:
            print(row(sample, command(sample, words, given), copy), flush=True)
    print("\n".join(over_plan(sample)))


if __name__ == "__main__":
    main()
