"""Every descriptor of form against its closed form at three resolutions: error and order of convergence.

    python -m benchmarks.phantoms [--voxels 4,8,16] [--only ball,torus] [--seeds 4]

Lengths are in units of the body (the radius of the ball, of the tube of the torus ...), and a voxel has
the edge 1/n. Bodies lie at random places of the grid, the same of each resolution; errors are means over
them. Printed: the error in % of the closed form (of 1 where that is 0) at each n, one standard error of
the last, and the order p of an error that falls as n^-p, from the first and the last; none where the
error cannot be told from 0. Transport and paths: docs/transport.md, docs/geodesic.md.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from tim3d.descriptors import (
    ChordLength,
    ClusterCorrelation,
    Correlation,
    Curvature,
    InterfaceOrientation,
    SliceShape,
    TriplePhaseBoundary,
)
from tim3d.descriptors.base import Descriptor, Material, evaluate, largest_halo, partials_of
from tim3d.descriptors.builtin import BUILTIN
from tim3d.descriptors.in_memory import describe_array
from tim3d.descriptors.inputs import LABELS
from tim3d.descriptors.porosimetry import ByRadius
from tim3d.grid import Box, triple
from tim3d.kernels.generation.plane_wave_field import LevelCut
from tim3d.kernels.morphology.components import label_volume
from tim3d.kernels.morphology.distance import lengths, metric_of, squared_distances
from tim3d.kernels.morphology.painting import largest_ball
from tim3d.kernels.morphology.widest_path import widen
from tim3d.phantoms import GYROID_AREA
from tim3d.phases import Phases

Labels = NDArray[np.uint8]
Found = dict[str, float]
TWO, THREE = Phases(out=0, body=1), Phases(out=0, low=1, high=2)
SIGMA = 2.0
# Voxels around a body, so that its curvatures are not near the border.
MARGIN = 10
BASIC = (
    "phase_fraction",
    "specific_surface",
    "mean_curvature_integral",
    "euler_density",
    "specific_surface_gradient",
)
# Neck of the tube, in its radii: radius, where it begins and ends, and the length of the tube.
NECK, NECK_FROM, NECK_TO, LENGTH = 0.5, 1.0, 1.5, 6.0
# Balls in the periodic box of the Boolean model, and its edge.
BALLS, EDGE = 24, 5
# Share above the level of the cut, and the edge of its box.
CORRELATED, WIDE = 0.42, 7


@dataclass(frozen=True)
class Phantom:
    """A body: its closed forms by quantity, and how they are measured on voxels of edge 1/n."""

    truths: Mapping[str, float]
    measured: Callable[[int, int], Found]
    seeds: int = 4


def grid(shape: Sequence[float], n: int, seed: int) -> list[NDArray[np.float64]]:
    """Coordinates of voxel centres of a box of these edges with a margin; 0 is a random place in the middle."""
    place = np.random.default_rng(seed).random(3) - 0.5
    axes = [
        (np.arange(k) - (k - 1) / 2 + p) / n
        for k, p in zip((math.ceil(s * n) + 2 * MARGIN for s in shape), place, strict=True)
    ]
    return list(np.meshgrid(*axes, indexing="ij", sparse=True))


def described(
    labels: Labels, n: int, wanted: Sequence[Any], phases: Phases = TWO, **more: Any
) -> xr.Dataset:
    """Descriptors of labels whose voxels have the edge 1/n."""
    material = Material(phases, (1 / n,) * 3)
    return describe_array(labels, resolved(wanted, material), material, **more)


def resolved(wanted: Sequence[Any], material: Material) -> list[Descriptor]:
    """Descriptors of names and of values with parameters."""
    return [BUILTIN[w] if isinstance(w, str) else w.descriptor(material) for w in wanted]


def periodic(
    labels: Labels, n: int, wanted: Sequence[Any], others: Mapping[Any, Any] | None = None
) -> xr.Dataset:
    """Descriptors of one period of a periodic volume: no pair or slice ends at a border."""
    halo = largest_halo(partials_of(resolved(wanted, Material(TWO, (1 / n,) * 3))))
    around = [(h, h) for h in halo]
    wrapped = {one: np.pad(v, around, mode="wrap") for one, v in (others or {}).items()}
    return within(np.pad(labels, around, mode="wrap"), n, wanted, wrapped)


def within(
    labels: Labels, n: int, wanted: Sequence[Any], others: Mapping[Any, Any] | None = None
) -> xr.Dataset:
    """Descriptors of the inner voxels of a volume, which the widest halo leaves on all sides."""
    material = Material(TWO, (1 / n,) * 3)
    chosen = resolved(wanted, material)
    halo = largest_halo(partials_of(chosen))
    core = Box(halo, triple(k - h for h, k in zip(halo, labels.shape, strict=True)))
    totals = evaluate(partials_of(chosen), {LABELS: labels, **(others or {})}, core, material)
    return xr.merge([d.finalize(totals, material) for d in chosen], compat="no_conflicts")


def radii_of(labels: Labels, n: int) -> NDArray[np.float32]:
    """Distances of the voxels of the body to its outside."""
    metric = metric_of((1 / n,) * 3)
    return lengths(squared_distances(labels, metric), metric) * (labels == 1)


def balls_over(radii: NDArray[np.float32], n: int) -> NDArray[np.float32]:
    """Radius of the largest of the balls around voxels that covers each voxel."""
    return largest_ball(radii, metric_of((1 / n,) * 3), Box.whole(triple(radii.shape)))


def by_radius(radii: NDArray[np.float32], inside: NDArray[np.bool_]) -> ByRadius:
    """Voxels of the body by radius."""
    return ByRadius.added([np.unique(radii[inside], return_counts=True)])


def densities(found: xr.Dataset, labels: Labels, n: int, phase: str = "body") -> Found:
    """Integrals over the body of what is given per volume, and the estimators of its surface."""
    one, volume = found.sel(phase=phase), labels.size / n**3
    names = {
        "volume": "phase_fraction",
        "surface (Crofton)": "specific_surface",
        "surface (gradient)": "specific_surface_gradient",
        "integral of M": "mean_curvature_integral",
    }
    values = {name: float(one[variable]) * volume for name, variable in names.items()}
    euler = float(one.euler_density + one.euler_density_6) / 2
    return values | {"Euler number": euler * volume}


def ball(n: int, seed: int) -> Found:
    """A ball of radius 1."""
    z, y, x = grid((2, 2, 2), n, seed)
    labels = (z * z + y * y + x * x <= 1).astype(np.uint8)
    alone = described(labels, n, (*BASIC, Curvature(SIGMA), InterfaceOrientation(SIGMA)))
    pairs = periodic(labels, n, (Correlation(n), ChordLength(n), SliceShape()))
    found = xr.merge([alone, pairs], compat="no_conflicts").sel(phase="body")
    inside, radii, volume, end = (
        labels == 1,
        radii_of(labels, n),
        labels.size / n**3,
        Correlation(n).suffix,
    )
    middle = found.slice_perimeter_z.argmax("z")
    both = found[f"two_point{end}"].sel(phase_other="body", lag_direction="x")
    return densities(alone, labels, n) | {
        "surface (slope of S2)": float(found[f"specific_surface_two_point{end}"]) * volume,
        "S2 at r = 1": float(both[n]) * volume,
        "lineal path at 1": float(found[f"lineal_path{end}"].sel(axis="x")[n]) * volume,
        "mean chord": float(found[f"mean_chord_length{end}"].mean()),
        "largest distance": float(radii.max()),
        "mean distance": float(radii[inside].mean()),
        "mean thickness": float(2 * balls_over(radii, n)[inside].mean()),
        "mean M": float(found.mean_curvature_mean),
        "mean G": float(found.gauss_curvature_mean),
        "interface anisotropy": float(found.interface_anisotropy),
        "perimeter of slices": float(found.slice_perimeter_z.mean()) * volume,
        "shape index of the middle": float(found.slice_shape_index_z[middle]),
    }


BALL = {
    "volume": 4 / 3 * math.pi, "surface (Crofton)": 4 * math.pi, "surface (gradient)": 4 * math.pi,
    "surface (slope of S2)": 4 * math.pi, "integral of M": 4 * math.pi, "Euler number": 1,
    "S2 at r = 1": 5 / 12 * math.pi, "lineal path at 1": 5 / 12 * math.pi, "mean chord": 4 / 3, "largest distance": 1,
    "mean distance": 1 / 4, "mean thickness": 2, "mean M": 1, "mean G": 1, "interface anisotropy": 0,
    "perimeter of slices": math.pi**2, "shape index of the middle": 1,
}  # fmt: skip


def two_balls(n: int, seed: int) -> Found:
    """Balls of radius 1 whose centres are 2.5 apart."""
    z, y, x = grid((2, 2, 4.5), n, seed)
    labels = (z * z + y * y + (np.abs(x) - 1.25) ** 2 <= 1).astype(np.uint8)
    cluster = ClusterCorrelation(n)
    numbers, _ = label_volume(labels, [1])
    found = periodic(labels, n, [cluster], {cluster.reads[1]: numbers})
    pairs = found[f"two_point_cluster{cluster.suffix}"].sel(phase="body", lag_direction="x")
    return {"cluster function at r = 1": float(pairs[n]) * labels.size / n**3}


def torus(n: int, seed: int) -> Found:
    """A torus with a tube of radius 1 around a circle of radius 2.4."""
    z, y, x = grid((2, 6.8, 6.8), n, seed)
    labels = ((np.hypot(y, x) - 2.4) ** 2 + z * z <= 1).astype(np.uint8)
    found = described(labels, n, (*BASIC, Curvature(SIGMA)))
    body, own = found.sel(phase="body"), densities(found, labels, n)
    sizes = float(body.gauss_curvature_size_mean) * own["surface (gradient)"]
    inside = labels == 1
    return own | {
        "mean M": float(body.mean_curvature_mean),
        "integral of abs(G)": sizes,
        "mean thickness": float(2 * balls_over(radii_of(labels, n), n)[inside].mean()),
    }


TORUS = {
    "volume": 2 * math.pi**2 * 2.4, "surface (Crofton)": 4 * math.pi**2 * 2.4,
    "surface (gradient)": 4 * math.pi**2 * 2.4, "integral of M": 2 * math.pi**2 * 2.4, "Euler number": 0,
    "mean M": 1 / 2, "integral of abs(G)": 8 * math.pi, "mean thickness": 2,
}  # fmt: skip


def tube(n: int, seed: int) -> Found:
    """A tube of radius 1 from face to face, and the same with a neck."""
    z, y, x = grid((LENGTH, 2, 2), n, seed)
    z = np.arange(math.ceil(LENGTH * n))[:, None, None] / n
    neck = (z >= NECK_FROM) & (z < NECK_TO)
    plain = np.broadcast_to(y * y + x * x <= 1, (len(z), *y.shape[1:2], x.shape[2])).astype(
        np.uint8
    )
    narrow = (y * y + x * x <= np.where(neck, NECK, 1) ** 2).astype(np.uint8)
    radii = radii_of(plain, n)
    inside = plain == 1
    intruded, passes = intrusion(narrow, n)
    straight, through = intrusion(plain, n)
    every = by_radius(balls_over(radii_of(narrow, n), n), narrow == 1)
    return {
        "mean thickness": float(2 * balls_over(radii, n)[inside].mean()),
        "mean distance": float(radii[inside].mean()),
        "r_min, no neck": straight.half,
        "percolation radius, no neck": through,
        "r_max, neck": every.half,
        "r_min, neck": intruded.half,
        "percolation radius, neck": passes,
        "constriction, neck": (intruded.half / every.half) ** 2,
    }


TUBE = {
    "mean thickness": 2, "mean distance": 1 / 3, "r_min, no neck": 1, "percolation radius, no neck": 1,
    "r_max, neck": 1, "r_min, neck": NECK, "percolation radius, neck": NECK, "constriction, neck": NECK**2,
}  # fmt: skip


def intrusion(labels: Labels, n: int) -> tuple[ByRadius, float]:
    """Voxels by the balls that come from the lowest plane, and the radius that passes."""
    radii = radii_of(labels, n)
    widths = np.zeros_like(radii)
    widths[0] = radii[0]
    widen(widths, radii)
    return by_radius(balls_over(widths, n), labels == 1), float(widths[-1].max())


def gyroid(n: int, seed: int) -> Found:
    """A gyroid of 4 n voxels a cell."""
    period = 4 * n
    place = np.random.default_rng(seed).random(3)
    axes = [(np.arange(period) + p) * 2 * math.pi / period for p in place]
    z, y, x = np.meshgrid(*axes, indexing="ij", sparse=True)
    labels = (np.sin(x) * np.cos(y) + np.sin(y) * np.cos(z) + np.sin(z) * np.cos(x) > 0).astype(
        np.uint8
    )
    found = periodic(labels, period, BASIC)
    tiled = np.tile(labels, (2, 2, 2))
    curved = described(tiled, period, [Curvature(SIGMA)]).sel(phase="body")
    return densities(found, labels, period) | {
        "mean M": float(curved.mean_curvature_mean),
        "mean G": float(curved.gauss_curvature_mean),
    }


GYROID = {
    "volume": 1 / 2, "surface (Crofton)": GYROID_AREA, "surface (gradient)": GYROID_AREA, "integral of M": 0,
    "Euler number": -4, "mean M": 0, "mean G": -16 * math.pi / GYROID_AREA,
}  # fmt: skip


def boolean_model(n: int, seed: int) -> Found:
    """Overlapping balls of radius 1 in a periodic box, always as many; quantities are those of the pore."""
    labels, lags = pore_between_balls(n, seed), 2 * n
    wanted = (*BASIC[:3], "specific_surface_gradient", Correlation(lags), ChordLength(lags))
    pore, end = periodic(labels, n, wanted).sel(phase="body"), Correlation(lags).suffix
    around = np.pad(labels, n, mode="wrap")
    distance = radii_of(around, n)[(slice(n, -n),) * 3][labels == 1]
    path = pore[f"lineal_path{end}"]
    return {
        "fraction": float(pore.phase_fraction),
        "surface (Crofton)": float(pore.specific_surface),
        "surface (gradient)": float(pore.specific_surface_gradient),
        "surface (slope of S2)": float(pore[f"specific_surface_two_point{end}"]),
        "integral of M": -float(pore.mean_curvature_integral),
        "S2 at r = 1": float(pore[f"two_point_radial{end}"].sel(phase_other="body")[n]),
        "lineal path at 1": float(path.isel({path.dims[-1]: n}).mean()),
        "mean chord": float(pore[f"mean_chord_length{end}"].mean()),
        "integral range": float(pore[f"integral_range{end}"]),
        "mean distance": float(distance.mean()),
    }


def pore_between_balls(n: int, seed: int) -> Labels:
    """Pore 1 between balls of n voxels radius, at the same places for every n."""
    size, reach = EDGE * n, np.arange(-n - 1, n + 2)
    labels = np.ones((size,) * 3, np.uint8)
    for centre in np.random.default_rng(seed).random((BALLS, 3)) * size:
        whole = np.floor(centre).astype(int)
        away = [reach + w + 0.5 - c for w, c in zip(whole, centre, strict=True)]
        z, y, x = np.meshgrid(*away, indexing="ij", sparse=True)
        places = np.ix_(*((reach + w) % size for w in whole))
        labels[places] &= (z * z + y * y + x * x > n * n).astype(np.uint8)
    return labels


def boolean_truths() -> Found:
    """Closed forms of the pore between a fixed number of balls of radius 1 in a periodic box.

    Those of the Boolean model (Miles; Torquato) with (1 - v/V)^N in place of exp(-v N/V): exact for a
    box of this size, and without the scatter of the number.
    """
    box, one = EDGE**3, 4 / 3 * math.pi

    def free(volume: Any, balls: int = BALLS) -> Any:
        return (1 - volume / box) ** balls

    phi, r, t = free(one), np.linspace(0, 2, 2001), np.linspace(0, 1.4, 2001)
    covariance = free(one * (1 + 3 * r / 4 - r**3 / 16)) - phi**2
    surface = 4 * math.pi * BALLS / box * free(one, BALLS - 1)
    pairs = BALLS * (BALLS - 1) / box**2 * free(one, BALLS - 2) * one * 3 * math.pi**2 / 32
    range_3 = np.trapezoid(4 * math.pi * r**2 * covariance, r) / (phi * (1 - phi))
    return {
        "fraction": phi,
        "surface (Crofton)": surface,
        "surface (gradient)": surface,
        "surface (slope of S2)": surface,
        "integral of M": 4 * math.pi * (BALLS / box * free(one, BALLS - 1) - pairs),
        "S2 at r = 1": free(one * (1 + 3 / 4 - 1 / 16)),
        "lineal path at 1": free(one + math.pi),
        "mean chord": 4 * phi / surface,
        "integral range": float(range_3),
        "mean distance": float(np.trapezoid(free(one * (1 + t) ** 3), t) / phi),
    }


def level_cut(n: int, seed: int) -> Found:
    """A Gaussian field with the correlation exp(-r²), cut where 42 % are above; n voxels per length."""
    law, size = LevelCut(CORRELATED, 1.0, seed, waves=256), (WIDE * n,) * 3
    halo = largest_halo(partials_of(resolved(BASIC, Material(TWO))))
    labels = law.labels(Box.whole(size).grow(halo), (1 / n,) * 3)
    found = within(labels, n, BASIC)
    return {name: v * n**3 / labels.size for name, v in densities(found, labels, n).items()}


def level_truths() -> Found:
    """Closed forms of Adler and Taylor."""
    law = LevelCut(CORRELATED, 1.0, 0)
    u = law.level
    return {
        "volume": CORRELATED,
        "surface (Crofton)": law.specific_surface,
        "surface (gradient)": law.specific_surface,
        "integral of M": law.mean_curvature_density,
        "Euler number": 2**1.5 / (2 * math.pi) ** 2 * (u * u - 1) * math.exp(-u * u / 2),
    }


def cut_ball(n: int, seed: int) -> Found:
    """A ball of radius 1 of two halves, cut by a plane in a random direction: a circle of three phases."""
    normal = np.random.default_rng(100 + seed).standard_normal(3)
    z, y, x = grid((2, 2, 2), n, seed)
    above = normal[0] * z + normal[1] * y + normal[2] * x > 0
    labels = np.where(z * z + y * y + x * x <= 1, np.where(above, 2, 1), 0).astype(np.uint8)
    found = described(labels, n, [TriplePhaseBoundary(), "interface_area"], THREE)
    volume = labels.size / n**3
    between = found.interface_area.sel(phase="low", phase_other="high")
    return {
        "line of three phases": float(found.triple_phase_boundary.sum()) * volume,
        "interface of two phases": float(between) * volume,
    }


PHANTOMS = {
    "ball": Phantom(BALL, ball, 12),
    "two balls": Phantom({"cluster function at r = 1": 2 * 5 / 12 * math.pi}, two_balls, 12),
    "torus": Phantom(TORUS, torus, 4),
    "tube": Phantom(TUBE, tube, 12),
    "gyroid": Phantom(GYROID, gyroid, 4),
    "Boolean model": Phantom(boolean_truths(), boolean_model, 16),
    "level cut": Phantom(level_truths(), level_cut, 10),
    "halves of a ball": Phantom(
        {"line of three phases": 2 * math.pi, "interface of two phases": math.pi}, cut_ball, 12
    ),
}


def errors(one: Phantom, resolutions: Sequence[int], seeds: int) -> dict[str, NDArray[np.float64]]:
    """Errors by quantity, (resolutions, seeds), over the closed form; over 1 where that is 0."""
    found = [[one.measured(n, seed) for seed in range(seeds)] for n in resolutions]
    return {
        name: np.array([[case[name] - truth for case in cases] for cases in found])
        / (abs(truth) or 1)
        for name, truth in one.truths.items()
    }


def order(values: NDArray[np.float64], resolutions: Sequence[int]) -> float:
    """Power of n with which the error falls; nan where an end cannot be told from 0.

    >>> order(np.array([[0.4, 0.4], [0.1, 0.1]]), [6, 12])
    2.0
    """
    ends, n = values[[0, -1]], values.shape[1]
    mean, scatter = ends.mean(axis=1), ends.std(axis=1, ddof=1) / math.sqrt(n)
    if (np.abs(mean) <= np.maximum(2 * scatter, 1e-9)).any() or mean[0] * mean[1] < 0:
        return math.nan
    return float(np.log(mean[0] / mean[1]) / math.log(resolutions[-1] / resolutions[0]))


def rows(name: str, one: Phantom, resolutions: Sequence[int], seeds: int | None) -> Iterator[str]:
    """Lines of the table of a phantom."""
    for quantity, values in errors(one, resolutions, seeds or one.seeds).items():
        mean = 100 * values.mean(axis=1)
        spread = 100 * float(values[-1].std(ddof=1)) / math.sqrt(values.shape[1])
        power = order(values, resolutions)
        cells = [f"{v:+.2f}".replace("-", "−") for v in mean]
        last = "–" if math.isnan(power) else f"{power:.1f}".replace("-", "−")
        truth = f"{one.truths[quantity]:.5g}".replace("-", "−")
        yield f"| {name} | {quantity} | {truth} | {' | '.join(cells)} | {spread:.2f} | {last} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--voxels", default="4,8,16")
    parser.add_argument("--only", default=",".join(PHANTOMS))
    parser.add_argument("--seeds", type=int)
    asked = parser.parse_args(arguments)
    resolutions = [int(v) for v in asked.voxels.split(",")]
    sizes = " | ".join(f"n = {n}" for n in resolutions)
    print(f"| phantom | quantity | closed form | {sizes} | ± | order |")
    print("|---|---|" + "---|" * (len(resolutions) + 3))
    for name in asked.only.split(","):
        for line in rows(name, PHANTOMS[name], resolutions, asked.seeds):
            print(line, flush=True)


if __name__ == "__main__":
    main()
