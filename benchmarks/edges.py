"""What sharp edges do to the integral of M and to triple-phase boundaries: errors by the angle of the edge.

    python -m benchmarks.edges [--voxels 8,16,32] [--seeds 12] [--angles 120,90,60,45,30,20]

Bodies lie at random places and in random directions; the radius of a ball is 1 and has n voxels.

Crevice: two balls that overlap, so that the space between them opens with an angle at a single edge.
In the table stands the error of Crofton's integral of M per length of the edge, whose own part is minus
half of the angle between the two normals. Digital crevices end in isolated voxels of the space, as many
per voxel of length however small a voxel is: the error depends on the angle, and not on n.

Rim: a ball of two phases, cut by a plane; the three phases meet at the angle, at 180 degrees less it,
and at 180 degrees. In the table stands the error of the length of the line in %.

Boolean model: the law of a crevice over all angles of overlapping balls, which are spread as the square of
their sine, gives the error that `python -m benchmarks.phantoms` finds.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from tim3d.kernels.morphology.surface import mean_curvature_weights
from tim3d.kernels.morphology.triple_edges import triple_edges
from tim3d.kernels.morphology.voxel_configurations import octant_histogram

Grid = tuple[NDArray[np.float64], ...]
STAIRCASE = 1.5


def direction(rng: np.random.Generator) -> NDArray[np.float64]:
    """A unit vector in a random direction."""
    found = rng.standard_normal(3)
    return np.asarray(found / np.linalg.norm(found))


def grid(reach: Sequence[float], n: int, rng: np.random.Generator) -> Grid:
    """Coordinates of voxel centres as far as these lengths and three voxels more, at a random place."""
    counts = [int(n * r) + 3 for r in reach]
    place = rng.random(3) - 0.5
    axes = [(np.arange(-k, k + 1) + p) / n for k, p in zip(counts, place, strict=True)]
    return tuple(np.meshgrid(*axes, indexing="ij", sparse=True))


def integral_of_m(labels: NDArray[np.uint8], n: int) -> float:
    """Crofton's integral of M of phase 1."""
    histogram = octant_histogram(labels, [1]).reshape(-1).astype(np.float64)
    return float(mean_curvature_weights() @ histogram) / 8 / n


def crevice(angle: float, n: int, seed: int) -> float:
    """Error of the integral of M per length of the edge between two balls."""
    rng, apart = np.random.default_rng(seed), 2 * math.cos(angle / 2)
    centre = direction(rng) * apart / 2
    places = grid(1 + np.abs(centre), n, rng)
    balls = [
        sum((p - side * c) ** 2 for p, c in zip(places, centre, strict=True)) <= 1
        for side in (1, -1)
    ]
    edge = 2 * math.pi * math.sqrt(1 - apart**2 / 4)
    truth = 4 * math.pi * (1 + apart / 2) - (math.pi - angle) / 2 * edge
    return (integral_of_m(np.asarray(balls[0] | balls[1], np.uint8), n) - truth) / edge


def rim(angle: float, n: int, seed: int) -> float:
    """Error in % of the line where a ball of two phases meets the space around it."""
    rng = np.random.default_rng(seed)
    normal = direction(rng)
    places = grid((1, 1, 1), n, rng)
    above = sum(u * p for u, p in zip(normal, places, strict=True)) > math.cos(angle)
    inside = sum(p * p for p in places) <= 1
    ranks = np.asarray(np.where(inside, np.where(above, 2, 1), 0), np.uint8)
    found = float(triple_edges(ranks, 3)[0].sum()) / n / STAIRCASE
    return 100 * (found / (2 * math.pi * math.sin(angle)) - 1)


def torus(turned: bool, n: int, seed: int) -> float:
    """Error in % of the integral of M of a torus, circle 2.4 and tube 1, along an axis or turned."""
    rng = np.random.default_rng(seed)
    normal = direction(rng) if turned else np.array([1.0, 0, 0])
    places = grid((3.4, 3.4, 3.4), n, rng)
    along = sum(u * p for u, p in zip(normal, places, strict=True))
    across = np.sqrt(np.maximum(sum(p * p for p in places) - along**2, 0))
    inside = (across - 2.4) ** 2 + along**2 <= 1
    truth = 2 * math.pi**2 * 2.4
    return 100 * (integral_of_m(np.asarray(inside, np.uint8), n) / truth - 1)


def of_boolean_model(
    angles: Sequence[float], law: Sequence[float], smooth: float, edges: float
) -> float:
    """Error of the integral of M of a Boolean model of balls over its closed form.

    Parameters
    ----------
    angles, law : sequence of float
        Angles of crevices, and the error of the integral of M per length of edge.
    smooth, edges : float
        Parts of the closed form: of the surfaces, and of the edges (negative).

    Notes
    -----
    Balls whose centres are d apart open with cos(angle / 2) = d / 2, and have an edge of the length
    2 pi sin(angle / 2); there are d^2 of them: sin(angle)^2 of edges by angle, whose mean of half of
    the turning is pi / 4.

    >>> every = np.linspace(0.01, 3.1, 400)
    >>> round(of_boolean_model(every, -(np.pi - every) / 2, 1.0, -0.5), 3)    # edges counted twice
    -1.0
    """
    share = 2 / math.pi * np.sin(angles) ** 2
    mean = float(np.trapezoid(share * np.asarray(law), angles))
    return mean / (math.pi / 4) * -edges / (smooth + edges)


def table(
    name: str,
    measured: Callable[[float, int, int], float],
    angles: Sequence[float],
    resolutions: Sequence[int],
    seeds: int,
) -> NDArray[np.float64]:
    """Print a table, and return the errors of the finest resolution."""
    print(f"| {name} | " + " | ".join(f"n = {n}" for n in resolutions) + " | ± |")
    print("|---|" + "---|" * (len(resolutions) + 1))
    last = []
    for angle in angles:
        found = np.array(
            [[measured(math.radians(angle), n, s) for s in range(seeds)] for n in resolutions]
        )
        spread = found[-1].std(ddof=1) / math.sqrt(seeds)
        cells = " | ".join(f"{v:+.3g}" for v in found.mean(axis=1))
        print(f"| {angle:g}° | {cells} | {spread:.2g} |".replace("-", "−"), flush=True)
        last.append(found[-1].mean())
    return np.array(last)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--voxels", default="8,16,32")
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--angles", default="150,120,90,60,45,30,20,10")
    asked = parser.parse_args(arguments)
    resolutions = [int(v) for v in asked.voxels.split(",")]
    angles = [float(v) for v in asked.angles.split(",")]
    law = table("crevice", crevice, angles, resolutions, asked.seeds)
    table("rim, %", rim, angles, resolutions, asked.seeds)
    for name, turned in (("along an axis", False), ("turned", True)):
        found = [torus(turned, resolutions[0], seed) for seed in range(asked.seeds)]
        print(f"torus {name}: {np.mean(found):+.2f} % ± {np.std(found) / len(found) ** 0.5:.2f}")
    from benchmarks.phantoms import boolean_truths

    truths = boolean_truths()
    smooth, whole = truths["surface (Crofton)"], truths["integral of M"]
    order = np.argsort(angles)
    ends = np.radians([0, *np.array(angles)[order], 180])
    error = of_boolean_model(ends, [law[order[0]], *law[order], 0], smooth, whole - smooth)
    print(f"Boolean model by this law: {100 * error:+.0f} %")


if __name__ == "__main__":
    main()
