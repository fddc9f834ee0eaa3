"""Export of large volumes and surfaces: time and peak memory against the plan, and what comes back.

python -m benchmarks.export volume FOLDER [EDGE]     a TIFF and a VTK-HDF of EDGE^3 voxels, out and in again
python -m benchmarks.export big FOLDER [DEPTH]       the same of DEPTH slices of 2048^2: 4.1 GiB, a BigTIFF
python -m benchmarks.export surface FOLDER [EDGE]    STL of a phase of EDGE^3 voxels in 1, 8 and more blocks
"""

from __future__ import annotations

import hashlib
import math
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import tim3d
from tim3d import Options
from tim3d.cli.parsing import call
from tim3d.engine.clusters.memory import forget_peak, peak_memory
from tim3d.kernels.morphology import mesh
from tim3d.storage import store

GIB = 2**30
QUIET = Options(progress=False)
SIZE = {"z": 10.0, "y": 10.0, "x": 10.0}
TILE = 97
# What the audit may find suspicious of numbers that no microscope wrote.
ACCEPTED = ("blank", "saturated", "duplicates", "jumps", "drift")


@dataclass(frozen=True, kw_only=True)
class Noise(tim3d.Source):
    """A plane of noise that all slices share, and noise of each slice: cheap, and hard to compress."""

    def load(self, z0: int, z1: int) -> np.ndarray:
        common = np.random.default_rng(0).integers(0, 160, self.shape[1:], np.uint8)
        return np.stack([common + self._own(z) for z in range(z0, z1)])

    def _own(self, z: int) -> np.ndarray:
        tile = np.random.default_rng(z + 1).integers(0, 90, (TILE, TILE), np.uint8)
        repeats = [-(-n // TILE) for n in self.shape[1:]]
        return np.tile(tile, repeats)[: self.shape[1], : self.shape[2]]

    def parts(self) -> tuple[object, ...]:
        return (TILE,)

    @property
    def label(self) -> str:
        return "noise"


@dataclass(frozen=True, kw_only=True)
class Ramp(tim3d.Source):
    """Grey values that tell the place of a voxel, and compress to nothing: the store costs little."""

    def load(self, z0: int, z1: int) -> np.ndarray:
        _, ny, nx = self.shape
        plane = (np.arange(ny)[:, None] // 16 * 7 + np.arange(nx)[None] // 16).astype(np.uint8)
        return np.stack([plane + np.uint8(z % 256) for z in range(z0, z1)])

    def parts(self) -> tuple[object, ...]:
        return ()

    @property
    def label(self) -> str:
        return "ramp"


def measured(what: str, task: Callable[[], Any], planned: int | None = None) -> Any:
    """Result of a call; its time, the time of all its threads and its peak memory are printed."""
    forget_peak()
    start, busy = time.perf_counter(), time.process_time()
    result = task()
    seconds, busy = time.perf_counter() - start, time.process_time() - busy
    plan = f", planned {planned / GIB:.2f}" if planned else ""
    print(
        f"{what}: {seconds:.1f} s, {busy:.1f} s of CPU, peak {peak_memory() / GIB:.2f} GiB{plan}",
        flush=True,
    )
    return result


def digest(sample: str) -> str:
    """Hash of all voxels of the field raw, slab by slab."""
    array, hashed = store.field_array(sample, "raw"), hashlib.sha256()
    for z in range(0, array.shape[0], 64):
        hashed.update(np.asarray(array[z : z + 64]).tobytes())
    return hashed.hexdigest()


def volume(folder: Path, edge: int) -> None:
    """Noise of `edge` cubed."""
    there_and_back(folder, Noise(shape=(edge, edge, edge), dtype=np.dtype("uint8")))


def big(folder: Path, depth: int) -> None:
    """More than a classic TIFF holds."""
    there_and_back(folder, Ramp(shape=(depth, 2048, 2048), dtype=np.dtype("uint8")))


def there_and_back(folder: Path, source: tim3d.Source) -> None:
    """A TIFF and a VTK-HDF out of a sample and into another one."""
    sample = str(folder / f"{source.label}.zarr")
    measured(
        "ingest",
        lambda: tim3d.ingest(source, sample, voxel_size=SIZE, accept=ACCEPTED, options=QUIET),
    )
    before = digest(sample)
    for name, dataset in (("out.tif", None), ("out.vtkhdf", "VTKHDF/CellData/raw")):
        out = folder / name
        (plan,) = tim3d.plan("export", sample, "raw", out)
        measured(
            f"export {name}",
            lambda out=out: tim3d.export(sample, "raw", out, options=QUIET),
            plan.peak_bytes,
        )
        with out.open("rb") as file:
            print(
                f"  {out.stat().st_size} bytes, {plan.write_bytes} planned, slabs of {plan.block[0]}, "
                f"begins with {file.read(4)!r}"
            )
        again = str(folder / "again.zarr")
        measured(
            "  ingest again",
            lambda out=out, again=again, dataset=dataset: tim3d.ingest(
                out, again, voxel_size=SIZE, dataset=dataset, accept=ACCEPTED, options=QUIET
            ),
        )
        print(f"  equal: {digest(again) == before}", flush=True)
        for path in (again, f"{again}.runs"):
            shutil.rmtree(path, ignore_errors=True)
        out.unlink()


def read_stl(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and faces of a binary STL, equal corners joined."""
    kind = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
    corners = np.fromfile(path, kind, offset=84)["corners"].reshape(-1, 3)
    packed = corners.view(np.dtype((np.void, 12))).ravel()
    _, first, which = np.unique(packed, return_index=True, return_inverse=True)
    return corners[first].astype(np.float64), which.reshape(-1, 3)


def surface(folder: Path, edge: int) -> None:
    """STL of one phase in several divisions into blocks, against the voxels and scikit-image."""
    sample = str(folder / f"field{edge}.zarr")
    if not store.is_sample(sample):
        call(
            "generate",
            {
                "sample": sample, "kind": "field", "shape": (edge,) * 3, "voxel_size": SIZE,
                "fractions": {"pore": 0.4, "solid": 0.6}, "correlation_nm": 120.0 * edge / 128, "out": "phase",
                "progress": False,
            },
        )  # fmt: skip
    code = store.read_field(sample, "phase").phases["solid"]
    array = store.field_array(sample, "phase")
    voxels = sum(int((array[z : z + 64] == code).sum()) for z in range(0, edge, 64))
    half = -(-(edge + 1) // 2)
    divisions = {"8 blocks": (half,) * 3, "slabs": None, "odd": (100, 177, 311)}
    out, target = folder / "solid.stl", voxels * math.prod(SIZE.values())
    for smoothing, keep in ((0, 1.0), (20, 1.0), (20, 0.2)):
        seen = set()
        for name, block in divisions.items():
            options = Options(progress=False, block=block, overwrite=True)
            measured(
                f"{edge}^3 in {name}, smoothing {smoothing}, keep {keep}",
                lambda smoothing=smoothing, keep=keep, options=options: tim3d.export(
                    sample, "phase", out, phases=["solid"], smoothing=smoothing, keep=keep, options=options
                ),
            )  # fmt: skip
            seen.add(hashlib.sha256(out.read_bytes()).hexdigest())
        vertices, faces = read_stl(out)
        error = 100 * (mesh.volume(vertices, faces) / target - 1)
        print(
            f"  {len(faces)} triangles, closed: {mesh.is_closed(faces)}, volume {error:+.4f} %, "
            f"same file: {len(seen) == 1}",
            flush=True,
        )
    if edge <= 256:
        from skimage.measure import marching_cubes

        inside = np.pad(np.asarray(array[:]) == code, 1).astype(np.float32)
        _, other, *_ = measured("scikit-image", lambda: marching_cubes(inside, 0.5))
        print(f"  {len(other)} triangles of scikit-image")
    out.unlink()


if __name__ == "__main__":
    what, folder = sys.argv[1], Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    run, usual = {"volume": (volume, 1000), "big": (big, 1050), "surface": (surface, 512)}[what]
    run(folder, int(sys.argv[3]) if len(sys.argv) > 3 else usual)
