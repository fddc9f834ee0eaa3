"""Local fraction of a phase in an image or a volume, from counts of cells, and the law that is fitted to it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias, cast

import numpy as np
import numpy.typing as npt

from tim3d.errors import ArgumentError, InputError
from tim3d.grid import Triple, triple
from tim3d.kernels.generation.coarse_field import CoarseLaw, window_deviation
from tim3d.kernels.generation.lattice_weights import (
    Three,
    Weights,
    gaussian_weights,
    sums,
)

Floats: TypeAlias = npt.NDArray[np.float64]
Counts: TypeAlias = npt.NDArray[np.int64]
Point: TypeAlias = tuple[float, float, float]

# Least edge of a window in voxels, windows that a material must have room for, and fewest along an edge.
LEAST, WINDOWS, ALONG = 4, 16, 2
# Lengths that are tried, and the farthest distance that is looked at, over the edge.
LENGTHS, FARTHEST = 96, 0.5
# Shortest of the slow lengths over that of the window itself; longest over the longest edge.
SHORTEST, LONGEST = 1.25, 0.5


def cells_of(window_nm: float, shape: Triple, spacing_nm: Point) -> Triple:
    """Edges in voxels of the cells that are counted: half of the window's standard deviation, or less.

    An axis of one voxel is the normal of an image.

    Raises
    ------
    ArgumentError
        If the window is not longer than a few voxels.
    InputError
        If there is not room for 16 windows.

    Examples
    --------
    >>> cells_of(480.0, (1, 512, 512), (10.0, 10.0, 10.0))
    (1, 6, 6)
    """
    axes = [axis for axis in range(3) if shape[axis] > 1]
    if not math.isfinite(window_nm) or not all(
        window_nm >= LEAST * spacing_nm[axis] for axis in axes
    ):
        coarsest = max(spacing_nm[axis] for axis in axes)
        raise ArgumentError(
            f"a window of {window_nm:g} nm for the local fraction, in voxels of {coarsest:g} nm: give a "
            f"finite length of {LEAST} voxels or more, as --coarse-window {LEAST * coarsest:g}; "
            "some times the size of the structures is best"
        )
    windows = [shape[axis] * spacing_nm[axis] / window_nm for axis in axes]
    if min(windows) < ALONG or math.prod(windows) < WINDOWS:
        edges = " x ".join(f"{shape[axis] * spacing_nm[axis]:g}" for axis in axes)
        most = min(
            (math.prod(windows) / WINDOWS) ** (1 / len(axes)) * window_nm,
            min(windows) / ALONG * window_nm,
        )
        raise InputError(
            f"{edges} nm have no room for {WINDOWS} windows of {window_nm:g} nm, {ALONG} along every edge, too few "
            f"for a variance: give a larger image, or --coarse-window up to {most:.4g}"
        )
    deviation = window_deviation(window_nm)
    return triple(
        max(1, int(deviation / spacing_nm[axis] / 2)) if axis in axes else 1 for axis in range(3)
    )


def counted(mask: npt.NDArray[np.bool_], cell: Triple) -> Counts:
    """Voxels of a mask (z, y, x) in each cell; the last cell of an axis may be cut.

    >>> counted(np.ones((1, 3, 5), bool), (1, 2, 2)).tolist()
    [[[4, 4, 2], [2, 2, 1]]]
    """
    found = mask.astype(np.int64)
    for axis, edge in enumerate(cell):
        found = np.add.reduceat(found, np.arange(0, mask.shape[axis], edge), axis)
    return found


@dataclass(frozen=True, eq=False)
class LocalMeans:
    """Local fraction of a phase: mean in a Gaussian window, of what lies within the image.

    Parameters
    ----------
    counts : (z, y, x) int64
        Voxels of the phase in each cell.
    shape : (z, y, x)
        Voxels of the image, one along z, or of the volume.
    cell : (z, y, x)
        Edges of a cell in voxels.
    spacing_nm : (dz, dy, dx)
        Edges of a voxel.
    window_nm : float
        Edge of a box with the second moment of the window.
    """

    counts: Counts
    shape: Triple
    cell: Triple
    spacing_nm: Point
    window_nm: float

    @property
    def mean(self) -> float:
        """Fraction of the phase in all."""
        return int(self.counts.sum()) / math.prod(self.shape)

    def at(self, places: Sequence[Floats]) -> Iterator[Floats]:
        """Local fractions at places along z, y and x, in voxels from the first centre; plane by plane."""
        found = [self._along(axis, one) for axis, one in enumerate(places)]
        return sums(self.counts.astype(np.float64), (0, 0, 0), cast(Three, tuple(found)))

    def box(self, start: Triple, shape: Triple) -> Floats:
        """Local fractions of the voxels of a box, of its shape."""
        places = [np.arange(a, a + n, dtype=np.float64) for a, n in zip(start, shape, strict=True)]
        made: Floats = np.stack(list(self.at(places)))
        return made

    def inside(self) -> tuple[Floats, Point]:
        """Local fractions at the centres of all cells two standard deviations or more from the border, and the
        distances of these centres in nm."""
        places = [self._centres(axis) for axis in range(3)]
        steps = [edge * size for edge, size in zip(self.cell, self.spacing_nm, strict=True)]
        made: Floats = np.stack(list(self.at(places)))
        return made, (steps[0], steps[1], steps[2])

    def _centres(self, axis: int) -> Floats:
        count, edge = self.counts.shape[axis], self.cell[axis]
        centres = (np.arange(count) + 0.5) * edge - 0.5
        if self.shape[axis] == 1:
            return np.zeros(1)
        far = 2 * window_deviation(self.window_nm) / self.spacing_nm[axis]
        inside = (centres >= far) & (centres <= self.shape[axis] - 1 - far)
        return np.asarray(centres[inside])

    def _along(self, axis: int, places: Floats) -> Weights:
        """Weights of the counts along an axis, over that of the voxels of all cells that are there."""
        if self.shape[axis] == 1:
            return Weights(np.zeros((len(places), 1), np.int64), np.ones((len(places), 1)))
        count, edge = self.counts.shape[axis], self.cell[axis]
        wide = window_deviation(self.window_nm) / self.spacing_nm[axis]
        kernel = math.sqrt(
            wide**2 - edge**2 / 12
        )  # a cell is a box, and has a second moment of its own
        found = gaussian_weights(places, kernel, edge, (edge - 1) / 2)
        there = (found.nodes >= 0) & (found.nodes < count)
        nodes = np.clip(found.nodes, 0, count - 1)
        lengths = np.minimum(edge, self.shape[axis] - edge * np.arange(count))
        weights = np.where(there, found.weights, 0)
        return Weights(nodes, weights / (weights * lengths[nodes]).sum(1, keepdims=True))


@dataclass(frozen=True, eq=False)
class Surroundings:
    """Local fractions of a part of an image or a volume, as a network is given them.

    Parameters
    ----------
    means : LocalMeans
        Local fractions of all of it: those near the part know what lies beyond.
    law : CoarseLaw
        Its law.
    start : (z, y, x)
        First voxel of the part.
    """

    means: LocalMeans
    law: CoarseLaw
    start: Triple = (0, 0, 0)

    @property
    def counts(self) -> Counts:
        """Counts of the cells, from which all of it follows."""
        return self.means.counts

    def __getitem__(self, box: tuple[slice, ...]) -> npt.NDArray[np.float32]:
        """Deviations from the mean over the standard deviation, in a box of two or three axes."""
        whole = (slice(0, 1),) * (3 - len(box)) + tuple(box)
        low = triple(a + s.start for a, s in zip(self.start, whole, strict=True))
        made = self.means.box(low, triple(s.stop - s.start for s in whole))
        return self.law.standardised(made.reshape([s.stop - s.start for s in box]))


def fitted_law(parts: Sequence[LocalMeans]) -> CoarseLaw:
    """Law of the local fraction of a material, from its covariance along all axes.

    Least squares of v exp(-(r / 2s)²) + w exp(-(r / l)²), v and w from 0 on, to the mean products of
    deviations from the mean of each part, less what the deviation of that mean takes from all of them.

    Parameters
    ----------
    parts : sequence of LocalMeans
        Images or volumes of one material.

    Raises
    ------
    InputError
        If the fraction is the same everywhere.

    References
    ----------
    Chiles, Delfiner: Geostatistics (2012), ch. 2 (variograms of means, and the bias of a mean that is
    not known). DOI 10.1002/9781118136188
    """
    first = parts[0]
    mean = sum(int(one.counts.sum()) for one in parts) / sum(math.prod(p.shape) for p in parts)
    fractions = [one.inside() for one in parts]
    lags, products, weights, edges = _products(fractions)
    short = 2 * window_deviation(first.window_nm)
    longest = max(n * d for p in parts for n, d in zip(p.shape, p.spacing_nm, strict=True))
    tried = np.geomspace(SHORTEST * short, max(LONGEST * longest, 2 * SHORTEST * short), LENGTHS)

    def shape(length: float) -> Floats:
        lost = np.array([math.prod(_mean_product(edge, length) for edge in one) for one in edges])
        return np.asarray(np.exp(-((lags / length) ** 2)) - lost)

    solved = [
        (_two_from_zero(shape(short), shape(length), products, weights), length) for length in tried
    ]
    (_, v, w), length = min(solved, key=lambda one: one[0][0])
    if not 0 < mean < 1 or not v + w > 0:
        raise InputError(
            "the local fraction is the same everywhere, and nothing varies slowly: leave out --coarse-window"
        )
    windows = float(sum(_independent(p, v, w, short, float(length)) for p in parts))
    return CoarseLaw(first.window_nm, mean, v, w, float(length), windows)


def _products(
    fractions: Sequence[tuple[Floats, Point]],
) -> tuple[Floats, Floats, Floats, list[list[float]]]:
    """Distances, mean products of deviations, numbers of pairs, and edges in nm of the part they are of."""
    found: list[tuple[float, float, float, list[float]]] = []
    for values, steps in fractions:
        off = values - values.mean()
        edges = [n * d for n, d in zip(values.shape, steps, strict=True) if n > 1]
        for axis in range(3):
            for lag in range(
                int(FARTHEST * values.shape[axis]) + 1 if values.shape[axis] > 1 else 0
            ):
                one, other = (
                    np.take(off, range(a, values.shape[axis] - lag + a), axis) for a in (0, lag)
                )
                found.append((lag * steps[axis], float((one * other).mean()), one.size, edges))
    lags, products, pairs, every = zip(*found, strict=True)
    return np.array(lags), np.array(products), np.array(pairs, float), list(every)


def _mean_product(edge: float, length: float) -> float:
    """Mean of exp(-((x - y) / length)²) over x and y within an edge.

    >>> round(_mean_product(1.0, 1e6), 6), round(_mean_product(100.0, 1.0), 4)
    (1.0, 0.0176)
    """
    q = edge / length
    if q < 1e-3:
        return 1 - q * q / 6
    mean: float = (math.sqrt(math.pi) * q * math.erf(q) + math.expm1(-q * q)) / (q * q)
    return mean


def _two_from_zero(a: Floats, b: Floats, y: Floats, weights: Floats) -> tuple[float, float, float]:
    """Weighted squared error, and factors from 0 on of two shapes whose sum is nearest to the values."""
    aa, ab, bb = (float((weights * p * q).sum()) for p, q in ((a, a), (a, b), (b, b)))
    ay, by = (float((weights * p * y).sum()) for p in (a, b))
    found = [(max(ay / aa, 0.0), 0.0), (0.0, max(by / bb, 0.0))]
    if (whole := aa * bb - ab * ab) > 0:
        v, w = (bb * ay - ab * by) / whole, (aa * by - ab * ay) / whole
        found += [(v, w)] if min(v, w) >= 0 else []
    return min((float((weights * (v * a + w * b - y) ** 2).sum()), v, w) for v, w in found)


def _independent(part: LocalMeans, v: float, w: float, short: float, length: float) -> float:
    """Volume of a part over that of the squared correlation."""
    axes = [axis for axis in range(3) if part.shape[axis] > 1]
    edges = [part.shape[axis] * part.spacing_nm[axis] for axis in axes]
    terms = [(v / (v + w), short), (w / (v + w), length)]
    squared = sum(
        p * q * (math.pi / (a**-2 + b**-2)) ** (len(axes) / 2) for p, a in terms for q, b in terms
    )
    return max(1.0, math.prod(edges) / float(squared))
