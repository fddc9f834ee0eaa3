"""Opening, closing and majority filter by a ball in physical units, on voxels of any shape.

A ball of radius R around a voxel holds the voxels whose centre is at most R away. With spacing
(sz, sy, sx) the offset (dz, dy, dx) belongs to it if

    ((dx sx)² + (dy sy)²) + (dz sz)²  <=  R² (1 + 1e-9)

in float64, in this order. Rounding is monotonic, so the minimum over offsets may be taken axis by
axis without a change of a single bit, and what a voxel becomes depends on the voxels within its
ball (or two) alone: not on the blocks. Voxels outside of the array are unknown: they neither erode
nor dilate, and do not vote.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import numba as nb
import numpy as np
from numpy.typing import NDArray

from tim3d.grid import Triple, triple

Mask: TypeAlias = NDArray[np.bool_]
Labels: TypeAlias = NDArray[np.uint8]
Spacing: TypeAlias = tuple[float, float, float]
# Relative tolerance of the square of a radius: three voxels of 0.1 nm are 0.3 nm.
TOLERANCE = 1e-9


def ball_reach(radius: float, spacing: Spacing) -> Triple:
    """Number of voxels that a ball reaches from its centre along z, y and x.

    >>> ball_reach(30.0, (20.0, 10.0, 10.0)), ball_reach(0.3, (0.1, 0.1, 0.5))
    ((1, 3, 3), (3, 3, 0))
    """
    limit = _limit(radius)
    return triple(_steps(limit, step) for step in spacing)


def _limit(radius: float) -> float:
    return radius * radius * (1 + TOLERANCE)


def _steps(limit: float, step: float) -> int:
    """Largest n with (n step)² <= limit."""
    steps = math.isqrt(max(0, math.floor(limit / (step * step)))) + 1
    while (steps * step) * (steps * step) > limit:
        steps -= 1
    return steps


def squared_distance(mask: Mask, radius: float, spacing: Spacing) -> NDArray[np.float64]:
    """Squared distance of each voxel's centre to the nearest voxel of a mask, up to a radius.

    Parameters
    ----------
    mask : (z, y, x) bool
        Voxels to which the distance is measured.
    radius : float
        Distance in nm beyond which none is sought.
    spacing : (sz, sy, sx)
        Edges of a voxel in nm.

    Returns
    -------
    (z, y, x) float64
        Squares in nm²; inf where no voxel of the mask is within the radius.

    Examples
    --------
    >>> squared_distance(np.array([[[True, False, False, False]]]), 8.0, (1.0, 1.0, 4.0)).tolist()
    [[[0.0, 16.0, 64.0, inf]]]
    """
    rz, ry, rx = ball_reach(radius, spacing)
    sz, sy, sx = spacing
    found = np.empty(mask.shape, np.float64)
    _along_x(np.ascontiguousarray(mask), rx, sx, found)
    other = np.empty_like(found)
    _along_y(found, ry, sy, other)
    _along_z(other, rz, sz, found)
    found[found > _limit(radius)] = np.inf
    return found


@nb.njit(nogil=True, cache=True)
def _along_x(mask, reach, step, out):  # type: ignore[no-untyped-def]
    nz, ny, nx = mask.shape
    far = nx + reach + 1
    for z in range(nz):
        for y in range(ny):
            gap = far
            for x in range(nx):
                gap = 0 if mask[z, y, x] else gap + 1
                out[z, y, x] = gap
            gap = far
            for x in range(nx - 1, -1, -1):
                gap = 0 if mask[z, y, x] else gap + 1
                nearest = min(gap, out[z, y, x])
                out[z, y, x] = (nearest * step) * (nearest * step) if nearest <= reach else np.inf


@nb.njit(nogil=True, cache=True)
def _along_y(squares, reach, step, out):  # type: ignore[no-untyped-def]
    nz, ny, nx = squares.shape
    for z in range(nz):
        for y in range(ny):
            out[z, y] = squares[z, y]
            for other in range(max(0, y - reach), min(ny, y + reach + 1)):
                added = ((other - y) * step) * ((other - y) * step)
                for x in range(nx):
                    square = squares[z, other, x] + added
                    if square < out[z, y, x]:
                        out[z, y, x] = square


@nb.njit(nogil=True, cache=True)
def _along_z(squares, reach, step, out):  # type: ignore[no-untyped-def]
    nz, ny, nx = squares.shape
    for z in range(nz):
        out[z] = squares[z]
        for other in range(max(0, z - reach), min(nz, z + reach + 1)):
            added = ((other - z) * step) * ((other - z) * step)
            for y in range(ny):
                for x in range(nx):
                    square = squares[other, y, x] + added
                    if square < out[z, y, x]:
                        out[z, y, x] = square


def dilated(mask: Mask, radius: float, spacing: Spacing) -> Mask:
    """Voxels within a ball around a voxel of the mask.

    >>> dilated(np.array([[[True, False, False]]]), 10.0, (1.0, 1.0, 10.0)).tolist()
    [[[True, True, False]]]
    """
    return np.isfinite(squared_distance(mask, radius, spacing))


def opened(mask: Mask, radius: float, spacing: Spacing) -> Mask:
    """Opening by a ball: the union of all balls that lie in the mask, as far as the array shows.

    A voxel depends on those within two balls.

    References
    ----------
    J. Serra, Image Analysis and Mathematical Morphology, Academic Press (1982).

    Examples
    --------
    >>> opened(np.array([[[True, False, True, True, True, False]]]), 1.0, (1.0, 1.0, 1.0)).tolist()
    [[[False, False, True, True, True, False]]]
    """
    return dilated(~dilated(~mask, radius, spacing), radius, spacing)


def closed(mask: Mask, radius: float, spacing: Spacing) -> Mask:
    """Closing by a ball: what no ball outside of the mask covers; the opening of the complement.

    >>> closed(np.array([[[True, True, False, True, True]]]), 1.0, (1.0, 1.0, 1.0)).tolist()
    [[[True, True, True, True, True]]]
    """
    return ~opened(~mask, radius, spacing)


def nearest_code(
    labels: Labels, codes: Sequence[int], where: Mask, radius: float, spacing: Spacing
) -> Labels:
    """Code of the nearest voxel among those of some phases, for the voxels of a mask.

    Parameters
    ----------
    labels : (z, y, x) uint8
        Code of each voxel.
    codes : sequence of int
        Phases that are candidates, ascending: of phases at one distance the first counts.
    where : (z, y, x) bool
        Voxels to answer for, each with a candidate within the radius.
    radius : float
        Distance in nm up to which candidates are sought.
    spacing : (sz, sy, sx)
        Edges of a voxel in nm.

    Returns
    -------
    (n,) uint8
        One code for each voxel of the mask, in C order.

    Examples
    --------
    >>> labels = np.array([[[3, 0, 0, 5]]], np.uint8)
    >>> nearest_code(labels, [3, 5], labels == 0, 2.0, (1.0, 1.0, 1.0)).tolist()
    [3, 5]
    """
    best = np.full(int(where.sum()), codes[0], np.uint8)
    if len(codes) == 1 or not len(best):
        return best
    least = squared_distance(labels == codes[0], radius, spacing)[where]
    for code in codes[1:]:
        squares = squared_distance(labels == code, radius, spacing)[where]
        closer = squares < least
        best[closer], least[closer] = code, squares[closer]
    return best


def majority(labels: Labels, codes: Sequence[int], radius: float, spacing: Spacing) -> Labels:
    """Most frequent code in the ball around each voxel; of equals the voxel's own, then the lowest.

    Parameters
    ----------
    labels : (z, y, x) uint8
        Code of each voxel.
    codes : sequence of int
        All codes, ascending.
    radius : float
        Radius of the ball in nm.
    spacing : (sz, sy, sx)
        Edges of a voxel in nm.

    Returns
    -------
    (z, y, x) uint8

    Examples
    --------
    >>> majority(np.array([[[0, 1, 0, 1, 1]]], np.uint8), [0, 1], 1.0, (1.0, 1.0, 1.0)).tolist()
    [[[0, 0, 1, 1, 1]]]
    """
    rows = ball_rows(radius, spacing)
    best = np.zeros(labels.shape, np.int32)
    own = np.zeros(labels.shape, np.int32)
    out = np.full(labels.shape, codes[0], np.uint8)
    for code in codes:
        votes = np.zeros(labels.shape, np.int32)
        _count_in_rows(np.ascontiguousarray(labels == code), rows, votes)
        own[labels == code] = votes[labels == code]
        more = votes > best
        out[more], best[more] = code, votes[more]
    return np.where(own == best, labels, out)


def ball_rows(radius: float, spacing: Spacing) -> NDArray[np.int64]:
    """Rows of a ball along x: (dz, dy, largest dx) of each.

    >>> ball_rows(10.0, (10.0, 10.0, 5.0)).tolist()
    [[-1, 0, 0], [0, -1, 0], [0, 0, 2], [0, 1, 0], [1, 0, 0]]
    """
    limit, (sz, sy, sx) = _limit(radius), spacing
    rz, ry, rx = ball_reach(radius, spacing)
    rows = []
    for dz in range(-rz, rz + 1):
        for dy in range(-ry, ry + 1):
            longest = [
                dx
                for dx in range(rx + 1)
                if ((dx * sx) * (dx * sx) + (dy * sy) * (dy * sy)) + (dz * sz) * (dz * sz) <= limit
            ]
            rows += [(dz, dy, longest[-1])] if longest else []
    return np.array(rows, np.int64)


@nb.njit(nogil=True, cache=True)
def _count_in_rows(mask, rows, votes):  # type: ignore[no-untyped-def]
    """Add the voxels of the mask in the rows around each voxel, by running sums along x."""
    nz, ny, nx = mask.shape
    before = np.zeros((nz, ny, nx + 1), np.int32)
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                before[z, y, x + 1] = before[z, y, x] + mask[z, y, x]
    for k in range(len(rows)):
        dz, dy, half = rows[k]
        for z in range(max(0, -dz), min(nz, nz - dz)):
            for y in range(max(0, -dy), min(ny, ny - dy)):
                sums = before[z + dz, y + dy]
                for x in range(nx):
                    votes[z, y, x] += sums[min(nx, x + half + 1)] - sums[max(0, x - half)]
