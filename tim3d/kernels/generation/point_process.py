"""Point processes of filled materials: Poisson points, hard-core thinning, and a packed cell."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TypeAlias

import numba as nb
import numpy as np
import numpy.typing as npt

from tim3d.errors import ConvergenceError
from tim3d.grid import Box, Triple, triple
from tim3d.kernels.generation.particles import Grains
from tim3d.kernels.generation.philox import Noise

Floats: TypeAlias = npt.NDArray[np.float64]
Indices: TypeAlias = npt.NDArray[np.intp]
Point: TypeAlias = tuple[float, float, float]

# Streams of the noise; fields have stream 0.
COUNTS, POINTS, START = 1, 2, 3
# Mean number of points in a cell of the lattice.
CROWD = 8.0
# Largest number of passes over a cell in which a packing must converge.
SWEEPS = 6000


def strewn(
    grains: Grains,
    density: float,
    seed: int,
    spacing: Point,
    period: Triple,
    low: Floats,
    high: Floats,
) -> Floats:
    """Poisson points in low <= p < high nm, as rows of centre, axis (3 each), diameter, mark.

    Each point is a function of its lattice cell and its number in the cell.

    Parameters
    ----------
    grains : Grains
        The particles.
    density : float
        Number of points per nm3.
    seed : int
        Seed of the points.
    spacing : (dz, dy, dx)
        Edges of a voxel.
    period : (z, y, x)
        Period in voxels; 0 for an endless axis.
    low, high : (3,) float64
        Bounds of the box in nm.
    """
    edge = (CROWD / density) ** (1 / 3)
    lengths = [n * d for n, d in zip(period, spacing, strict=True)]
    cells = triple(max(1, math.floor(length / edge)) if length else 0 for length in lengths)
    edges = np.array([length / n if n else edge for length, n in zip(lengths, cells, strict=True)])
    first, last = np.floor(low / edges).astype(int), np.ceil(high / edges).astype(int)
    lattice = Box(triple(first), triple(last))
    counts = _poisson(
        density * float(edges.prod()), Noise(seed, COUNTS, cells).words(lattice, 0)[..., 0]
    )
    noise, kept = Noise(seed, POINTS, cells), [np.empty((0, 8))]
    for n in range(int(counts.max(initial=0))):
        words = np.concatenate(
            [noise.words(lattice, 3 * n + k)[counts > n] for k in range(3)], axis=1
        )
        corners = np.argwhere(counts > n) + first
        points = _point_rows(grains, words, corners, edges)
        kept.append(points[((points[:, :3] >= low) & (points[:, :3] < high)).all(axis=1)])
    return np.concatenate(kept)


def _poisson(mean: float, words: npt.NDArray[np.uint32]) -> Indices:
    """Poisson counts by inversion of the distribution function, tabulated to 32 bits."""
    term = total = math.exp(-mean)
    table = [total]
    while total < 1 - 2.0**-34 and len(table) < 400:
        term *= mean / len(table)
        total += term
        table.append(total)
    return np.searchsorted(np.array(table), (words + 0.5) * 2.0**-32)


def _point_rows(
    grains: Grains, words: npt.NDArray[np.uint32], corners: Indices, edges: Floats
) -> Floats:
    rows = np.empty((len(words), 8))
    rows[:, :3] = (corners + (words[:, :3] + 0.5) * 2.0**-32) * edges
    rows[:, 3:6] = grains.axes(words[:, 4:7])
    rows[:, 6] = np.array(grains.diameters_nm)[
        grains.classes(np.asarray((words[:, 3] + 0.5) * 2.0**-32, np.float64))
    ]
    # 64 bits, so that two marks are practically never equal; if they were, both points would be
    # removed.
    rows[:, 7] = (words[:, 7] + words[:, 8] * 2.0**-32) * 2.0**-32
    return rows


def points_bytes(core: Triple, spacing: Point, reach: float, density: float) -> int:
    """Memory of the points of a block in bytes.

    Points are held twice while they are selected; a margin covers random variation and the cells at
    the border.

    Parameters
    ----------
    core : (z, y, x)
        Voxels of the block.
    spacing : (dz, dy, dx)
        Edges of a voxel.
    reach : float
        Distance from the block up to which points are needed, in nm.
    density : float
        Number of points per nm3.
    """
    edge = (CROWD / density) ** (1 / 3)
    volume = math.prod(n * d + 2 * reach + 2 * edge for n, d in zip(core, spacing, strict=True))
    return int(400 * (1.3 * density * volume + 1000))


def thin(
    points: Floats, diameters: Floats, marks: Floats, wanted: Indices, widest: float
) -> Indices:
    """Select the wanted points that have no overlapping neighbour with a lower mark.

    Parameters
    ----------
    points : (n, 3) float64
        Centres of all points.
    diameters, marks : (n,) float64
        Diameter and mark of each point.
    wanted : array of int
        Indices of the points to test.
    widest : float
        Largest diameter.
    """
    if not len(wanted):
        return wanted
    cells = np.floor((points - points.min(axis=0)) / widest).astype(np.int64)
    shape = cells.max(axis=0) + 1
    keys = (cells[:, 0] * shape[1] + cells[:, 1]) * shape[2] + cells[:, 2]
    order = np.argsort(keys, kind="stable")
    starts = np.searchsorted(keys[order], np.arange(int(shape.prod()) + 1))
    stays: npt.NDArray[np.bool_] = _stays(
        points, diameters, marks, wanted, cells, shape, order, starts
    )
    return wanted[stays]


@nb.njit(nogil=True, cache=True, error_model="numpy")
def _stays(points, diameters, marks, wanted, cells, shape, order, starts):  # type: ignore[no-untyped-def]
    out = np.ones(len(wanted), np.bool_)
    for k in range(len(wanted)):
        i = wanted[k]
        c = cells[i]
        for z in range(max(0, c[0] - 1), min(shape[0], c[0] + 2)):
            for y in range(max(0, c[1] - 1), min(shape[1], c[1] + 2)):
                row = (z * shape[1] + y) * shape[2]
                for m in range(
                    starts[row + max(0, c[2] - 1)], starts[row + min(shape[2], c[2] + 2)]
                ):
                    j = order[m]
                    if j == i or marks[j] > marks[i]:
                        continue
                    dz, dy, dx = (
                        points[i, 0] - points[j, 0],
                        points[i, 1] - points[j, 1],
                        points[i, 2] - points[j, 2],
                    )
                    touch = (diameters[i] + diameters[j]) / 2
                    if dz * dz + dy * dy + dx * dx < touch * touch:
                        out[k] = False
    return out


@lru_cache(maxsize=4)
def packed_cell(grains: Grains, count: int, seed: int, cell_nm: Point) -> Floats:
    """Compute the particles of a packed cell, once per process.

    Parameters
    ----------
    grains : Grains
        The particles.
    count : int
        Number of particles in the cell.
    seed : int
        Seed of the initial positions.
    cell_nm : (z, y, x)
        Edges of the cell.

    Returns
    -------
    (count, 7) float64
        Centre (3), axis (3) and diameter of each particle.

    Raises
    ------
    ConvergenceError
        If particles still overlap after the last pass.
    """
    words = Noise(seed, START).words(Box.whole((1, 1, count)), 0)[0, 0]
    stretch = np.array(grains.stretch)
    edges = np.array(cell_nm) / stretch
    # Classes get their fraction of the particles to half a particle; their order does not matter,
    # because the positions are random.
    diameters = np.array(grains.diameters_nm)[
        grains.classes(np.asarray((np.arange(count) + 0.5) / count, np.float64))
    ]
    places = (words[:, :3] + 0.5) * 2.0**-32 * edges
    left = _push_apart(places, diameters, edges)
    if left > 0:
        raise ConvergenceError(
            f"{count} particles still overlap by up to {left:.2g} of a diameter after {SWEEPS} passes; "
            "use a lower loading"
        )
    axes = np.zeros((count, 3))
    axes[:, int(np.argmax(grains.orientation))] = 1.0
    return np.column_stack([places * stretch, axes, diameters])


def _push_apart(places: Floats, diameters: Floats, edges: Floats) -> float:
    """Push overlapping spheres apart in a periodic cell, in place; return the largest overlap."""
    sweeps, left = Sweeps(places, diameters, edges), 1.0
    for _ in range(SWEEPS):
        left = sweeps.once()
        if left <= 0:
            return 0.0
    return left


class Sweeps:
    """Passes over all pairs of spheres in a periodic cell, which push overlapping ones apart in place.

    Parameters
    ----------
    places : (n, 3) float64
        Centres, which are moved.
    diameters : (n,) float64
        Diameters.
    edges : (3,) float64
        Edges of the cell.
    """

    def __init__(self, places: Floats, diameters: Floats, edges: Floats) -> None:
        widest = float(diameters.max()) * 1.002
        shape = np.maximum(3, np.floor(edges / widest)).astype(np.int64)
        self._shape = np.minimum(shape, 96)
        self._heads = np.empty(int(self._shape.prod()), np.int64)
        self._following = np.empty(len(places), np.int64)
        self._spheres = places, diameters, edges

    def once(self) -> float:
        """Do one pass; return the largest overlap found before it, over the mean diameter."""
        return float(_sweep(*self._spheres, self._shape, self._heads, self._following))


def repeated(cell: Floats, edges: Floats, low: Floats, high: Floats) -> Floats:
    """Particles of a periodic cell with their images that have a centre in low <= p < high.

    The columns that follow the centres are copied.

    Parameters
    ----------
    cell : (n, m) float64
        Particles, their centres first.
    edges : (3,) float64
        Edges of the cell; inf along an axis that does not repeat.
    low, high : (3,) float64
        Bounds of the centres.
    """
    ranges = [
        range(math.floor(a / e), math.ceil(b / e)) if math.isfinite(e) else range(1)
        for a, b, e in zip(low, high, edges, strict=True)
    ]
    found, steps = [np.empty((0, cell.shape[1]))], np.where(np.isfinite(edges), edges, 0.0)
    for shift in np.stack(np.meshgrid(*ranges, indexing="ij"), -1).reshape(-1, 3):
        image = cell.copy()
        image[:, :3] += shift * steps
        found.append(image[((image[:, :3] >= low) & (image[:, :3] < high)).all(axis=1)])
    return np.concatenate(found)


@nb.njit(nogil=True, cache=True, error_model="numpy")
def _sweep(places, diameters, edges, shape, heads, following):  # type: ignore[no-untyped-def]
    """Do one pass over all pairs in a fixed order; return the largest overlap found before it.

    The overlap is relative to the mean diameter of the pair.
    """
    heads[:] = -1
    cells = np.empty((len(places), 3), np.int64)
    for i in range(len(places)):
        for a in range(3):
            places[i, a] -= math.floor(places[i, a] / edges[a]) * edges[a]
            cells[i, a] = min(shape[a] - 1, int(places[i, a] / edges[a] * shape[a]))
        key = (cells[i, 0] * shape[1] + cells[i, 1]) * shape[2] + cells[i, 2]
        following[i] = heads[key]
        heads[key] = i
    worst, d = 0.0, np.empty(3)
    for i in range(len(places)):
        for n in range(27):
            cz = (cells[i, 0] + n // 9 - 1) % shape[0]
            cy = (cells[i, 1] + n // 3 % 3 - 1) % shape[1]
            cx = (cells[i, 2] + n % 3 - 1) % shape[2]
            j = heads[(cz * shape[1] + cy) * shape[2] + cx]
            while j > i:
                for a in range(3):
                    d[a] = places[i, a] - places[j, a]
                    d[a] -= math.floor(d[a] / edges[a] + 0.5) * edges[a]
                far = math.sqrt(d[0] * d[0] + d[1] * d[1] + d[2] * d[2])
                touch = (diameters[i] + diameters[j]) / 2
                # Push the pair slightly beyond contact, so that the passes converge.
                if far < touch:
                    if far == 0:  # any direction will do
                        d[0] = far = 1e-3 * touch
                    worst = max(worst, (touch - far) / touch)
                    push = (touch * 1.001 - far) / (2 * far)
                    for a in range(3):
                        places[i, a] += push * d[a]
                        places[j, a] -= push * d[a]
                j = following[j]
    return worst
