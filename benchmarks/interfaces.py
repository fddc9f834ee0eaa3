"""Error and cost of interface conductances on voxel faces and on the true area.

Run as ``python -m benchmarks.interfaces --sizes 24 48 96``.

Exact or known: six spheres of the neutral size (k of the matrix), one sphere in a cube at three Biot
numbers (Hasselman and Johnson, at the fraction of the voxels), layers slanted by 45 degrees
(along their normal), and a disc that joins two half spaces (less what the sides of the box take
away). Bands: packed spheres between the closed forms for few spheres and for spheres of all sizes,
and spheroids along one axis beside those of Nan et al.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import scipy.ndimage as ndi
from scipy.optimize import brentq

from tim3d.generators import Grains, Packed
from tim3d.grid import Box
from tim3d.kernels.conduction.conduction import conduct
from tim3d.kernels.generation.particles import draw

CENTRES = (
    (0.276, 0.337, 0.696), (0.567, 0.262, 0.458), (0.230, 0.667, 0.393),
    (0.696, 0.702, 0.263), (0.749, 0.620, 0.719), (0.363, 0.757, 0.786),
)  # fmt: skip
RADIUS = 0.15
MATRIX, FILLER = 1.0, 100.0
AREAS = ("faces", "normal")


def spheres(edge: int, centres: Any, radius: float) -> np.ndarray:
    """Spheres in a unit cube: 1 in 0."""
    places = (np.indices((edge,) * 3) + 0.5) / edge
    near = [((places - np.reshape(c, (3, 1, 1, 1))) ** 2).sum(0) < radius**2 for c in centres]
    return np.any(near, axis=0).astype(np.uint8)


def solved(labels: np.ndarray, conductance: float, area: Any, **more: Any) -> float:
    """Effective conductivity of a unit cube."""
    return conduct(
        labels, {0: MATRIX, 1: FILLER}, spacing=(1 / len(labels),) * 3, interface={(0, 1): conductance},
        interface_area=area, tolerance=1e-4, **more,
    ).conductivity  # fmt: skip


def neutral(edge: int, area: str) -> float:
    """Relative error of six spheres of the neutral size."""
    conductance = 1 / (RADIUS * (1 / MATRIX - 1 / FILLER))
    return solved(spheres(edge, CENTRES, RADIUS), conductance, area) / MATRIX - 1


def hasselman_johnson(edge: int, area: str, biot: float) -> float:
    """Relative error of one sphere that fills a tenth of a cube."""
    radius, x = (0.3 / (4 * math.pi)) ** (1 / 3), 1 / biot
    labels = spheres(edge, [(0.5, 0.5, 0.5)], radius)
    exact = few_spheres(float(labels.mean()), x)
    return solved(labels, biot * MATRIX / radius, area) / exact - 1


def few_spheres(fraction: float, x: float) -> float:
    """Hasselman and Johnson (doi:10.1177/002199838702100602); x is the Kapitza length over the radius."""
    inner = FILLER * (1 + 2 * x) + 2 * MATRIX
    away = fraction * (FILLER * (1 - x) - MATRIX)
    return MATRIX * (inner + 2 * away) / (inner - away)


def spheres_of_all_sizes(fraction: float, x: float) -> float:
    """Bruggeman with Kapitza (Every et al., doi:10.1016/0956-7151(92)90205-S), x below 1.

    >>> [round(spheres_of_all_sizes(f, 0.1), 3) for f in (0.1, 0.3, 0.5)]
    [1.258, 2.159, 4.325]
    """
    most = FILLER * (1 - x)

    def zero(k: float) -> float:
        parts = (1 + 2 * x) * math.log(MATRIX / k) + 3 * math.log((k - most) / (MATRIX - most))
        return parts / (1 - x) - 3 * math.log(1 - fraction)

    return float(brentq(zero, MATRIX * (1 + 1e-12), most * (1 - 1e-12)))


def aligned(fraction: float, x: float, aspect: float) -> tuple[float, float]:
    """Along and across the axis of spheroids (Nan et al., doi:10.1063/1.365209); x of the shorter semi-axis."""
    p = aspect
    if p > 1:
        across = p**2 / (2 * (p**2 - 1)) - p * math.acosh(p) / (2 * (p**2 - 1) ** 1.5)
    else:
        across = p**2 / (2 * (p**2 - 1)) + p * math.acos(p) / (2 * (1 - p**2) ** 1.5)
    gamma = x * ((2 + 1 / p) if p >= 1 else (1 + 2 * p))

    def along(shape: float) -> float:
        inside = FILLER / (1 + gamma * shape * FILLER / MATRIX)
        beta = (inside - MATRIX) / (MATRIX + shape * (inside - MATRIX))
        return MATRIX * (1 + fraction * beta * (1 - shape)) / (1 - fraction * beta * shape)

    return along(1 - 2 * across), along(across)


def packed(fraction: float, x: float, aspect: float, edge: int, seed: int) -> tuple[float, ...]:
    """Fraction of spheroids of 16 voxels, kept 4 apart, and what is solved along z and y.

    Without films of matrix between them particles touch in voxels, and conduct past their interfaces.
    """
    direction = (1.0, 0.0, 0.0) if aspect != 1 else (1.0, 1.0, 1.0)
    wide, (size, film), box = (1.0, 1.0, 1.0), (16.0, 4.0), Box.whole((edge,) * 3)
    grains = Grains((size + film,), (1.0,), aspect, direction)
    loading = fraction * (1 + film / size) ** 3
    particles = Packed(grains, loading, wide, seed, (float(edge),) * 3).particles(box)
    particles[:, 6] -= film
    labels = draw(particles, aspect, box, wide)
    short = size / 2 * aspect ** (2 / 3 if aspect < 1 else -1 / 3)
    found = [
        conduct(
            labels, {0: MATRIX, 1: FILLER}, axis, interface={(0, 1): MATRIX / (x * short)}, cell=True
        ).conductivity
        for axis in (0, 1)
    ]  # fmt: skip
    return float(labels.mean()), *found


def bands(edge: int, seeds: int, x: float = 0.1) -> Iterator[str]:
    """Rows of packings beside closed forms at the fraction of their voxels."""
    yield f"\n| k over that of the matrix, x = {x:g}, {edge}³ | solved | closed forms |\n|---|---|---|"
    for fraction in (0.1, 0.2, 0.3):
        rows = np.array([packed(fraction, x, 1.0, edge, seed) for seed in range(seeds)])
        f, k = float(rows[:, 0].mean()), rows[:, 1:]
        low, high = few_spheres(f, x), spheres_of_all_sizes(f, x)
        yield (
            f"| spheres, {f:.3f} | {k.mean():.3f} ± {k.std():.3f} | "
            f"Hasselman and Johnson {low:.3f}, Every et al. {high:.3f} |"
        )
    for aspect in (0.5, 2.0):
        rows = np.array([packed(0.1, x, aspect, edge, seed) for seed in range(seeds)])
        f, *k = rows.mean(0)
        both = zip(("along", "across"), k, aligned(f, x, aspect), strict=True)
        for name, value, exact in both:
            case = f"spheroids of aspect {aspect:g}, {f:.3f}, {name} their axis"
            yield f"| {case} | {value:.3f} | Nan et al. {exact:.3f} |"


def slanted(edge: int, area: Any) -> float:
    """Relative error along the normal of layers at 45 degrees, two interfaces a period."""
    z, y, _ = (np.indices((edge, edge, 4)) + 0.5) / edge
    labels = ((z + y + 0.013) % 1.0 < 0.5).astype(np.uint8)
    rows = [
        conduct(
            labels, {0: 1.0, 1: 3.0}, axis, spacing=(1 / edge,) * 3, cell=True, tolerance=1e-7,
            interface={(0, 1): 4.0}, interface_area=area,
        ).row
        for axis in (0, 1)
    ]  # fmt: skip
    period = 1 / math.sqrt(2)
    exact = period / (period / 2 + period / 6 + 2 / 4.0)
    return float(np.array(rows)[:, :2].sum()) / 2 / exact - 1  # type: ignore[arg-type]


def disc(edge: int) -> float:
    """Relative error of the constriction towards a disc of a third of the side of the box."""
    a = edge / 6
    y, x = np.indices((edge, edge)) + 0.5 - edge / 2
    labels = np.ones((2 * edge + 1, edge, edge), np.uint8)
    labels[edge] = y**2 + x**2 < a**2
    found = conduct(labels, {0: 0.0, 1: 1.0}, tolerance=1e-6).conductivity
    length, area = 2 * edge + 1, edge**2
    film = 1 / (math.pi * a**2)
    exact = (1 - a * math.sqrt(math.pi) / edge) ** 1.5 / (2 * a)
    return (length / found / area - length / area - film) / exact - 1


def cost(edge: int) -> tuple[float, float]:
    """CPU seconds of a solution of smoothed noise on faces and by normals."""
    noise = ndi.gaussian_filter(np.random.default_rng(0).standard_normal((edge,) * 3), 4)
    labels, found = (noise > 0).astype(np.uint8), []
    for area in AREAS:
        for _ in range(2):  # the first compiles
            start = time.process_time()
            solved(labels, 20.0, area, threads=1)
            spent = time.process_time() - start
        found.append(spent)
    return found[0], found[1]


def lines(sizes: list[int]) -> Iterator[str]:
    """Rows of a table, errors in percent."""
    yield "| error, % | " + " | ".join(f"{n}³" for n in sizes) + " |\n|---|" + "---|" * len(sizes)
    cases: list[tuple[str, Any]] = [("six neutral spheres", neutral), ("layers at 45°", slanted)]
    cases += [
        (f"one sphere, Bi {biot:g}", lambda n, area, b=biot: hasselman_johnson(n, area, b))
        for biot in (0.5, 2.0, 10.0)
    ]
    for name, case in cases:
        for area in AREAS:
            row = " | ".join(f"{100 * case(n, area):+.2f}" for n in sizes)
            yield f"| {name}, {area} | {row} |"
    row = " | ".join(f"{100 * disc(n):+.2f}" for n in sizes)
    yield f"| disc between half spaces, radius a sixth of the edge | {row} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table of errors, and what normals cost."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--sizes", type=int, nargs="+", default=[24, 48])
    parser.add_argument("--bands", type=int, default=96, help="edge of packings; 0 leaves them out")
    parser.add_argument("--seeds", type=int, default=4, help="packings of each fraction")
    parser.add_argument("--cost", type=int, default=128, help="edge of the volume that is timed")
    given = parser.parse_args(arguments)
    for line in lines(given.sizes):
        print(line, flush=True)
    for line in bands(given.bands, given.seeds) if given.bands else ():
        print(line, flush=True)
    faces, normal = cost(given.cost)
    print(f"{given.cost}³: {faces:.2f} s of CPU on faces, {normal:.2f} by normals")


if __name__ == "__main__":
    main()
