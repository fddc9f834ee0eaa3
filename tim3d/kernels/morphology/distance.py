"""Exact Euclidean distance of every voxel to the nearest voxel of another phase.

Squares of distances are whole numbers in squares of a unit of length: minima over rows, then
columns, then lines along z are exact in any order, and no blocking changes a bit. Distances are
taken from voxel centre to voxel centre. Beyond the border of an array nothing is known: it bounds
no phase.

Along each axis the minimum over parabolas is the lower envelope of Meijster et al. (2000), within
the run of voxels of one phase and between the two voxels that end it: one sweep serves all phases.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeAlias

import numba as nb
import numpy as np
from numpy.typing import NDArray

from tim3d.kernels.morphology.surface import Spacing, check_spacing

Squares: TypeAlias = NDArray[Any]
# Whole edges of a voxel are sought up to this length in units; others are rounded to 2^-12 of the
# shortest edge, which changes a distance by less than float32 can tell.
LONGEST_EDGE, FINEST = 4096, 2**12
# Columns that are swept together, so that memory is read in lines of the cache.
TOGETHER = 32


@dataclass(frozen=True)
class Metric:
    """Squared lengths as whole numbers.

    Parameters
    ----------
    weights : (z, y, x) int
        Squares of the edges of a voxel, in squares of the unit.
    unit : float
        Length of the unit, in nm.
    """

    weights: tuple[int, int, int]
    unit: float

    @property
    def square(self) -> float:
        """Square of the unit, in nm²."""
        return self.unit * self.unit

    def dtype(self, shape: Sequence[int]) -> np.dtype[Any]:
        """Type that holds the square of every distance in an array of this shape."""
        longest = sum(w * n * n for w, n in zip(self.weights, shape, strict=True))
        return np.dtype(np.int32 if longest < 2**31 - 1 else np.int64)


def metric_of(spacing: Sequence[float]) -> Metric:
    """The metric of a voxel, exact where its edges are in the ratio of whole numbers.

    Parameters
    ----------
    spacing : (sz, sy, sx)
        Edges of a voxel in nm.

    Examples
    --------
    >>> metric_of((20.0, 5.0, 5.0)), metric_of((10.0, 5.2, 5.2)).weights
    (Metric(weights=(16, 1, 1), unit=5.0), (625, 169, 169))
    >>> metric_of((math.pi, 1.0, 1.0)).unit
    0.000244140625
    """
    edges = check_spacing(spacing)
    shortest = min(edges)
    ratios = [Fraction(edge / shortest).limit_denominator(LONGEST_EDGE) for edge in edges]
    common = math.lcm(*(r.denominator for r in ratios))
    whole = [int(r * common) for r in ratios]
    agree = all(
        abs(n * shortest - common * e) <= 1e-9 * common * e
        for n, e in zip(whole, edges, strict=True)
    )
    if not agree or max(whole) > LONGEST_EDGE:
        return Metric(_squares([edge / shortest * FINEST for edge in edges]), shortest / FINEST)
    return Metric(_squares(whole), shortest / common)


def _squares(edges: Sequence[float]) -> tuple[int, int, int]:
    z, y, x = (round(edge * edge) for edge in edges)
    return (z, y, x)


def squared_distances(labels: NDArray[np.uint8], metric: Metric) -> Squares:
    """Square of the distance of every voxel to the nearest one of another label.

    Parameters
    ----------
    labels : (z, y, x) uint8
        Label of each voxel.
    metric : Metric
        Squared edges of a voxel.

    Returns
    -------
    (z, y, x) int32 or int64
        Squares in squares of the unit; the largest integer of the type where all voxels are alike.

    References
    ----------
    A. Meijster, J. B. T. M. Roerdink, W. H. Hesselink, A general algorithm for computing distance
    transforms in linear time, Mathematical Morphology and its Applications to Image and Signal
    Processing (2000) 331-340, doi:10.1007/0-306-47025-X_36.

    Examples
    --------
    >>> labels = np.array([[[0, 1, 1, 1], [0, 1, 1, 1]]], np.uint8)
    >>> squared_distances(labels, metric_of((1, 1, 1))).tolist()
    [[[1, 1, 4, 9], [1, 1, 4, 9]]]
    """
    labels = np.ascontiguousarray(labels)
    found = np.empty(labels.shape, metric.dtype(labels.shape))
    _along_rows(labels, metric.weights[2], found)
    if labels.shape[1] > 1:
        _along_columns(labels, metric.weights[1], found)
    if labels.shape[0] > 1:
        # Along z as along y, in a view that exchanges the two.
        _along_columns(labels.swapaxes(0, 1), metric.weights[0], found.swapaxes(0, 1))
    return found


def lengths(squares: Squares, metric: Metric) -> NDArray[np.float32]:
    """Distances in nm from their squares, each rounded once to float32.

    >>> lengths(np.array([4, 8]), metric_of((20.0, 5.0, 5.0))).tolist()
    [10.0, 14.142135620117188]
    """
    out = np.empty(squares.shape, np.float32)
    for plane, square in enumerate(squares):  # plane by plane: eight bytes for each voxel
        out[plane] = np.sqrt(square * metric.square)
    return out


@nb.njit(nogil=True, cache=True)
def _along_rows(labels, weight, out):  # type: ignore[no-untyped-def]
    far = np.iinfo(out.dtype).max
    nz, ny, nx = labels.shape
    for z in range(nz):
        for y in range(ny):
            row, found = labels[z, y], out[z, y]
            start = 0
            while start < nx:
                stop = start + 1
                while stop < nx and row[stop] == row[start]:
                    stop += 1
                _fill_run(found, start, stop, nx, weight, far)
                start = stop


@nb.njit(nogil=True, cache=True)
def _fill_run(found, start, stop, length, weight, far):  # type: ignore[no-untyped-def]
    """Squares within a run of a row; an end of the row bounds nothing."""
    for x in range(start, stop):
        below = x - start + 1 if start > 0 else length
        above = stop - x if stop < length else length
        gap = min(below, above)
        found[x] = far if gap == length else weight * gap * gap


@nb.njit(nogil=True, cache=True)
def _along_columns(labels, weight, out):  # type: ignore[no-untyped-def]
    """Replace squares within planes by the minimum along the second axis too."""
    far = np.iinfo(out.dtype).max
    nz, ny, nx = labels.shape
    codes = np.empty((TOGETHER, ny), np.uint8)
    squares = np.empty((TOGETHER, ny), np.int64)
    sites, starts = np.empty(ny + 2, np.int64), np.empty(ny + 2, np.int64)
    heights = np.empty(ny + 2, np.int64)
    for z in range(nz):
        for first in range(0, nx, TOGETHER):
            width = min(TOGETHER, nx - first)
            for y in range(ny):
                for x in range(width):
                    codes[x, y] = labels[z, y, first + x]
                    squares[x, y] = out[z, y, first + x]
            for x in range(width):
                _column(codes[x], squares[x], weight, far, sites, starts, heights)
            for y in range(ny):
                for x in range(width):
                    out[z, y, first + x] = squares[x, y]


@nb.njit(nogil=True, cache=True)
def _column(codes, squares, weight, far, sites, starts, heights):  # type: ignore[no-untyped-def]
    count = codes.size
    start = 0
    while start < count:
        stop = start + 1
        while stop < count and codes[stop] == codes[start]:
            stop += 1
        _envelope(squares, start, stop, weight, far, sites, starts, heights)
        start = stop


@nb.njit(nogil=True, cache=True)
def _envelope(squares, start, stop, weight, far, sites, starts, heights):  # type: ignore[no-untyped-def]
    """Lower envelope of the parabolas of a run and of the two voxels that end it."""
    top = -1
    for site in range(start - 1 if start > 0 else start, stop + 1 if stop < squares.size else stop):
        inside = start <= site < stop
        height = squares[site] if inside else 0
        if height == far:
            continue
        while top >= 0:
            gap, other = starts[top] - sites[top], starts[top] - site
            if heights[top] + weight * gap * gap <= height + weight * other * other:
                break
            top -= 1
        begin = start
        if top >= 0:
            last = sites[top]
            rise = height - heights[top] + weight * (site - last) * (site + last)
            begin = rise // (2 * weight * (site - last)) + 1
        if begin < stop:
            top += 1
            sites[top], starts[top], heights[top] = site, max(begin, start), height
    for place in range(stop - 1, start - 1, -1):
        if top < 0:
            return
        gap = place - sites[top]
        squares[place] = heights[top] + weight * gap * gap
        if place == starts[top]:
            top -= 1


# Cells of a coarse grid, from which the reach of a block is known before its distances.
MIXED = np.uint8(255)


def cells(ranks: NDArray[np.uint8], edges: Sequence[int]) -> NDArray[np.uint8]:
    """Label of each cell of a block, `MIXED` where its voxels differ.

    Parameters
    ----------
    ranks : (z, y, x) uint8
        Label of each voxel, below 255.
    edges : (z, y, x)
        Voxels of a cell; cells at the end may be smaller.

    Examples
    --------
    >>> cells(np.array([[[0, 0, 0, 1, 1]]], np.uint8), (1, 1, 2)).tolist()
    [[[0, 255, 1]]]
    """
    shape = [-(-n // e) for n, e in zip(ranks.shape, edges, strict=True)]
    out = np.empty(shape, np.uint8)
    ez, ey, ex = edges
    _cells(np.ascontiguousarray(ranks), ez, ey, ex, out)
    return out


@nb.njit(nogil=True, cache=True)
def _cells(ranks, ez, ey, ex, out):  # type: ignore[no-untyped-def]
    nz, ny, nx = ranks.shape
    for z in range(0, nz, ez):
        for y in range(0, ny, ey):
            for x in range(0, nx, ex):
                first, mixed = ranks[z, y, x], False
                for dz in range(z, min(nz, z + ez)):
                    for dy in range(y, min(ny, y + ey)):
                        for dx in range(x, min(nx, x + ex)):
                            mixed |= ranks[dz, dy, dx] != first
                out[z // ez, y // ey, x // ex] = MIXED if mixed else first


def reaches(coarse: NDArray[np.uint8], edges: Sequence[int], spacing: Spacing) -> NDArray[Any]:
    """Bound in nm on the distances of the voxels of each cell; inf where all cells are alike.

    From a voxel to one of another label is at most as far as between the two cells, and the
    diagonal of a cell.

    Parameters
    ----------
    coarse : (z, y, x) uint8
        Labels of cells, see `cells`.
    edges : (z, y, x)
        Voxels of a cell.
    spacing : (sz, sy, sx)
        Edges of a voxel in nm.

    Examples
    --------
    >>> reaches(np.array([[[1, 1, 255]]], np.uint8), (1, 1, 4), (1.0, 1.0, 1.0)).tolist()
    [[[11.0, 7.0, 3.0]]]
    """
    sz, sy, sx = (e * s for e, s in zip(edges, spacing, strict=True))
    metric = metric_of((sz, sy, sx))
    squares = squared_distances(coarse, metric)
    bound = metric.unit * np.sqrt(squares)
    bound[squares == np.iinfo(squares.dtype).max] = np.inf
    bound[coarse == MIXED] = 0.0
    return bound + math.hypot(*((e - 1) * s for e, s in zip(edges, spacing, strict=True)))
