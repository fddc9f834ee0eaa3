"""CPU time of looking at a stack beside that of the ingest which does so: ``python benchmarks/looking.py``."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

import tim3d
from tim3d.kernels.image.fibsem_simulation import simulate_fibsem
from tim3d.sources import open_source
from tim3d.stages.inspection.checks import CHECKS
from tim3d.stages.inspection.seen import look

SIZE = {"z": 10, "y": 5, "x": 5}
CASES = ((1024, 64, "tif"), (1024, 64, "png"), (2048, 24, "tif"))


def cpu_seconds(call: Callable[[], object]) -> float:
    """CPU time of a call in this process."""
    start = time.process_time()
    call()
    return time.process_time() - start


def write_stack(folder: Path, edge: int, slices: int, kind: str) -> None:
    """Write tiles of a simulated slice, each with noise of its own."""
    base = simulate_fibsem((16, 512, 512), (10.0, 5.0, 5.0), 0.65, 80.0, seed=0)[0]
    for z in range(slices):
        noise = np.random.default_rng(z).integers(0, 8, (edge, edge)).astype(np.uint8)
        picture = np.tile(base[z % 16], (edge // 512, edge // 512)) + noise
        path = folder / f"s_{z:04d}.{kind}"
        if kind == "png":
            Image.fromarray(picture).save(path, compress_level=1)
        else:
            tifffile.imwrite(path, picture)


def main() -> None:
    """Print a line for each case."""
    for edge, slices, kind in CASES:
        with tempfile.TemporaryDirectory() as folder:
            stack = Path(folder, "s")
            stack.mkdir()
            write_stack(stack, edge, slices, kind)
            source, sample = open_source(stack), str(Path(folder, "a.zarr"))
            quick = cpu_seconds(lambda s=source: look(s, progress=False))  # type: ignore[misc]
            options = tim3d.Options(progress=False)
            start = time.process_time()
            tim3d.ingest(stack, sample, voxel_size=SIZE, accept=list(CHECKS), options=options)
            whole = time.process_time() - start
            print(
                f"{slices} x {edge}^2 {kind}: look {quick:.2f} s, ingest with it {whole:.2f} s, "
                f"share {quick / whole:.2f}"
            )


if __name__ == "__main__":
    main()
