"""Errors and speed of the surface descriptors, in one run.

    python benchmarks/descriptors.py errors        # the tables of docs/descriptors.md
    python benchmarks/descriptors.py speed [--edge 256] [--quantimpy-python PATH]

`--quantimpy-python` is an interpreter with quantimpy 0.2.6 and NumPy 1.26.4; the package does not
load beside NumPy 2.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import scipy.ndimage as ndi
from numpy.typing import NDArray
from skimage.measure import marching_cubes, mesh_surface_area

from tim3d.grid import Box, triple
from tim3d.kernels.morphology.gradient_area import gradient_area, gradient_quantum
from tim3d.kernels.morphology.phase_mask import plane_counts
from tim3d.kernels.morphology.surface import (
    Spacing,
    crofton_weights,
    face_weights,
    marching_cubes_weights,
    mean_curvature_weights,
)
from tim3d.kernels.morphology.voxel_configurations import configuration_histogram, octant_histogram

SPACINGS: tuple[Spacing, ...] = ((1, 1, 1), (2, 1, 1), (3, 1, 1), (5, 1, 1))
AREAS = ("Crofton", "gradient", "marching cubes", "faces")
GYROID_AREA = 3.09165  # per cubic cell of edge 1, by extrapolation of smooth meshes

QUANTIMPY = """
import sys, time, numpy as np
from quantimpy import minkowski
mask = np.load(sys.argv[1]).astype(bool)
times = []
for _ in range(int(sys.argv[2])):
    start = time.perf_counter(); minkowski.functionals(mask); times.append(time.perf_counter() - start)
print(min(times))
"""


def blobs(edge: int) -> NDArray[np.uint8]:
    white = np.random.default_rng(20240).standard_normal((edge, edge, edge), dtype=np.float32)
    smooth = ndi.gaussian_filter(white, 4.0, mode="wrap")
    return (smooth < np.quantile(smooth, 0.42)).astype(np.uint8)


def centres(
    shape: Sequence[int], spacing: Spacing, offset: Iterable[float] = (0, 0, 0)
) -> list[NDArray[np.float64]]:
    axes = [
        (np.arange(n) - (n - 1) / 2 - o) * d for n, d, o in zip(shape, spacing, offset, strict=True)
    ]
    return list(np.meshgrid(*axes, indexing="ij", sparse=True))


def areas(labels: NDArray[np.uint8], spacing: Spacing, margin: int = 0) -> list[float]:
    """Area by the four estimators, leaving out a shell of `margin` voxels."""
    core = Box.whole(triple(labels.shape)).grow((-margin,) * 3)
    hist = octant_histogram(labels, [1], core)
    local = [
        float(hist @ w(spacing)) / 8
        for w in (crofton_weights, marching_cubes_weights, face_weights)
    ]
    gradient = gradient_area(labels, [1], core, spacing) * gradient_quantum(spacing)
    return [local[0], gradient, local[1], local[2]]


def ball_errors(radius: int, spacing: Spacing) -> list[float]:
    """Mean error in % over five centres: the four areas and the integral of mean curvature."""
    shape = [2 * math.ceil(radius / d) + 12 for d in spacing]
    rows = []
    for offset in np.random.default_rng(1).random((5, 3)) - 0.5:
        z, y, x = centres(shape, spacing, offset)
        labels = (z * z + y * y + x * x <= radius**2).astype(np.uint8)
        area, curvature = 4 * math.pi * radius**2, 4 * math.pi * radius
        mean = float(octant_histogram(labels, [1]) @ mean_curvature_weights(spacing)) / 8
        rows.append([a / area for a in areas(labels, spacing)] + [mean / curvature])
    return percent(np.mean(rows, axis=0))


def plane_error(normal: NDArray[np.float64], spacing: Spacing) -> list[float]:
    """Error in % on a plane through a box, counted away from its border."""
    unit = normal / np.linalg.norm(normal)
    z, y, x = centres((96, 96, 96), spacing)
    labels = (unit[0] * z + unit[1] * y + unit[2] * x > 0.37).astype(np.uint8)
    return percent(np.array(areas(labels, spacing, margin=16)) / plane_area(unit, spacing))


def plane_area(unit: NDArray[np.float64], spacing: Spacing) -> float:
    """Area of the plane in the middle 64 voxels, by exact height lines along the axis of its largest component."""
    edges = 64 * np.array(spacing)
    axis = int(np.argmax(np.abs(unit)))
    others = [a for a in range(3) if a != axis]
    lines = [(np.arange(2000) + 0.5) / 2000 * edges[a] - edges[a] / 2 for a in others]
    u, v = np.meshgrid(*lines, indexing="ij", sparse=True)
    height = (0.37 - unit[others[0]] * u - unit[others[1]] * v) / unit[axis]
    share = np.mean(np.abs(height) <= edges[axis] / 2)
    return float(share * edges[others[0]] * edges[others[1]] / abs(unit[axis]))


def gyroid_errors(period: int) -> list[float]:
    angle = [(np.arange(2 * period) + 0.5) * 2 * np.pi / period] * 3
    z, y, x = np.meshgrid(*angle, indexing="ij", sparse=True)
    labels = (np.sin(x) * np.cos(y) + np.sin(y) * np.cos(z) + np.sin(z) * np.cos(x) > 0).astype(
        np.uint8
    )
    weights = (crofton_weights(), marching_cubes_weights(), face_weights())
    local = [float(configuration_histogram(labels, [1], "periodic") @ w) for w in weights]
    wrapped = np.pad(labels, 16, mode="wrap")
    exact = 8 * GYROID_AREA * period**2
    return percent(
        np.array([local[0], areas(wrapped, (1, 1, 1), margin=16)[1], *local[1:]]) / exact
    )


def percent(ratios: NDArray[np.float64]) -> list[float]:
    return [100 * (float(r) - 1) for r in ratios]


def row(name: str, values: Iterable[float]) -> None:
    print(f"| {name} | " + " | ".join(f"{v:+.1f}" for v in values) + " |")


def header(first: str, names: Iterable[str]) -> None:
    columns = [first, *names]
    print("\n| " + " | ".join(columns) + " |\n|" + "---|" * len(columns))


def print_errors() -> None:
    header("ball, error in %", (*AREAS, "mean curvature"))
    for spacing in SPACINGS:
        for radius in (5, 10, 20, 40):
            row(f"{spacing}, R = {radius}", ball_errors(radius, spacing))
    header("plane, error in %", AREAS)
    for spacing in SPACINGS:
        for normal in ((1, 0, 0), (0, 0, 1), (1, 1, 0), (0, 1, 1), (1, 1, 1), (2, 1, 0)):
            row(f"{spacing}, normal {normal}", plane_error(np.array(normal, float), spacing))
        random = np.array(
            [plane_error(n, spacing) for n in np.random.default_rng(3).normal(size=(25, 3))]
        )
        for name, values in (
            ("mean", random.mean(0)),
            ("lowest", random.min(0)),
            ("highest", random.max(0)),
        ):
            row(f"{spacing}, 25 random normals, {name}", values)
    header("gyroid, error in %", AREAS)
    for period in (16, 32, 64):
        row(f"period {period} voxels", gyroid_errors(period))


def best(call: Callable[[], object], repeats: int) -> float:
    """Shortest of several runs, in seconds, after one to warm up."""
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def quantimpy_seconds(python: str, labels: NDArray[np.uint8], repeats: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "labels.npy"
        np.save(path, labels)
        command = [python, "-c", QUANTIMPY, str(path), str(repeats)]
        return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def mesh_area(labels: NDArray[np.uint8]) -> float:
    vertices, faces, _, _ = marching_cubes(labels, 0.5)
    return float(mesh_surface_area(vertices, faces))


def print_speed(edge: int, quantimpy_python: str | None, repeats: int) -> None:
    labels = blobs(edge)
    seconds = {
        "octant_histogram": best(lambda: octant_histogram(labels, [1]), repeats),
        "octant_histogram, region of two codes": best(
            lambda: octant_histogram(labels, [0, 2]), repeats
        ),
        "plane_counts, one axis": best(lambda: plane_counts(labels, [1], 0), repeats),
        "gradient_area": best(lambda: gradient_area(labels, [1]), repeats),
        "skimage marching_cubes + mesh_surface_area": best(
            lambda: mesh_area(labels), max(1, repeats // 3)
        ),
    }
    if quantimpy_python:
        seconds["quantimpy, four functionals"] = quantimpy_seconds(
            quantimpy_python, labels, repeats
        )
    unit = seconds["octant_histogram"]
    print(f"\n| blobs_{edge}, one core | ns per voxel | times octant_histogram |\n|---|---|---|")
    for name, value in seconds.items():
        print(f"| {name} | {value / labels.size * 1e9:.2f} | {value / unit:.1f} |")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("errors", "speed"))
    parser.add_argument("--edge", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--quantimpy-python")
    options = parser.parse_args(arguments)
    if options.what == "errors":
        print_errors()
    else:
        print_speed(options.edge, options.quantimpy_python, options.repeats)


if __name__ == "__main__":
    main()
