"""Processor time of short commands: help, lists and plans, beside the imports that they cannot do without.

    python -m benchmarks.waiting [--folder FOLDER] [--runs 3]

Each command is a process of its own on a sample of 64^3 voxels. Processor time, user and system, least of the
runs: what else the machine does counts little.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

import tim3d

EDGE = 64
IMPORTS = {
    "an interpreter": "pass",
    "numpy": "import numpy",
    "numpy and zarr": "import numpy, zarr",
    "numpy, zarr and numba": "import numpy, zarr, numba",
    "numpy, zarr, numba and xarray": "import numpy, zarr, numba, xarray",
}
COMMANDS = (
    "--help",
    "solve --help",
    "show SAMPLE",
    "status SAMPLE",
    "segment SAMPLE --method otsu --phases pore=0,solid=1 --overwrite --plan",
    "measure SAMPLE --plan",
    "label SAMPLE --plan",
    "distance SAMPLE --plan",
    "solve SAMPLE --conductivity pore=0.026,solid=400 --plan",
    "geodesic SAMPLE --phases pore --plan",
)


def rows(folder: Path, runs: int) -> Iterator[tuple[str, float]]:
    """Each command with its seconds of processor time."""
    grey = np.random.default_rng(1).integers(0, 256, (EDGE,) * 3, np.uint8)
    sample = folder / "waiting.zarr"
    np.save(folder / "grey.npy", grey)
    voxel = dict.fromkeys("zyx", 10.0)
    tim3d.ingest(folder / "grey.npy", str(sample), voxel_size=voxel)
    tim3d.segment(str(sample), method="otsu", phases={"pore": 0, "solid": 1})
    for name, code in IMPORTS.items():
        yield f"import of {name}" if code != "pass" else name, least(("-c", code), runs)
    for line in COMMANDS:
        words = line.replace("SAMPLE", str(sample)).split()
        yield f"tim3d {line}", least(("-m", "tim3d", *words), runs)


def least(words: Sequence[str], runs: int) -> float:
    """Least processor time of a few processes, seconds."""
    return min(processor_time(words) for _ in range(runs))


def processor_time(words: Sequence[str]) -> float:
    """Processor time of one process, user and system, seconds."""
    before = os.times()
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    after = os.times()
    user = after.children_user - before.children_user
    return user + after.children_system - before.children_system


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", help="folder of the sample; a temporary one if left out")
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args(arguments)
    print("| command | CPU s |\n|---|---|")
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        for name, seconds in rows(Path(folder), given.runs):
            print(
                f"| `{name}` | {seconds:.2f} |"
                if name.startswith("tim3d")
                else f"| {name} | {seconds:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
