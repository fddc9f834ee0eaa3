"""Balls painted by descending radius: what is the largest ball that covers a voxel?

Every voxel has a radius, or 0. Its ball is open: it holds the voxels nearer to its centre than the
radius. Balls are painted the largest first, into voxels that are not painted yet; a pointer to the
next unpainted voxel of its row skips what is. A ball within the ball of a neighbour is left out:
how large the neighbour must be is a table over the squares of radii (Remy and Thiel, 2005). It only
saves work, and the order among equal balls does not matter.
"""

from __future__ import annotations

import functools
import itertools
import math
from typing import Any, TypeAlias

import numba as nb
import numpy as np
from numpy.typing import NDArray

from tim3d.grid import Box, Triple
from tim3d.kernels.morphology.distance import Metric

Radii: TypeAlias = NDArray[np.float32]
# Squares of float32 lengths are rounded to whole numbers below this; above, what is nearer to the
# surface of a ball than 2^-22 of its radius counts as outside.
EXACT = 2**21
# Neighbours that are asked whether their ball holds another one: those that share a face, an edge
# or a corner. More of them leave out hardly more balls.
OFFSETS = np.array(
    sorted(
        (o for o in itertools.product((-1, 0, 1), repeat=3) if any(o)),
        key=lambda o: sum(map(abs, o)),
    )
)
# Largest square that the tables go to; beyond, balls are compared by their radii alone.
LONGEST_TABLE = 2**20


def largest_ball(radii: Radii, metric: Metric, core: Box) -> Radii:
    """Radius of the largest ball that covers each voxel of a box.

    Parameters
    ----------
    radii : (z, y, x) float32
        Radius in nm of the ball around each voxel, 0 for none.
    metric : Metric
        Squared edges of a voxel.
    core : Box
        Voxels to paint, within the array; balls around all of them count.

    Returns
    -------
    (z, y, x) float32
        Radius for each voxel of `core` in nm, 0 where no ball covers it.

    References
    ----------
    T. Hildebrand, P. Rüegsegger, A new method for the model-independent assessment of thickness in
    three-dimensional images, Journal of Microscopy 185 (1997) 67-75,
    doi:10.1046/j.1365-2818.1997.1340694.x.
    E. Remy, E. Thiel, Exact medial axis with Euclidean distance, Image and Vision Computing 23
    (2005) 167-175, doi:10.1016/j.imavis.2004.06.007.

    Examples
    --------
    >>> radii = np.array([[[0, 1, 2, 1, 0]]], np.float32)
    >>> largest_ball(radii, Metric((1, 1, 1), 1.0), Box((0, 0, 0), (1, 1, 5))).tolist()
    [[[0.0, 2.0, 2.0, 2.0, 0.0]]]
    """
    weights, shape = np.array(metric.weights), np.array(radii.shape)
    flat, most = radii.ravel(), int(_limit(float(radii.max()), 1 / metric.unit))
    short = most <= LONGEST_TABLE
    tables = _tables(metric.weights, most if short else 0)
    kept = np.zeros(flat.size, np.bool_)
    _keep(flat, shape, weights, 1 / metric.unit, OFFSETS, tables, kept)
    order = _by_counting(flat, kept, 1 / metric.unit, most) if short else _by_sorting(flat, kept)
    del kept
    found = np.zeros(core.shape, np.float32)
    following = np.empty(core.shape, _place_type(core))
    following[:] = np.arange(core.shape[2], dtype=following.dtype)
    halves = _halves(metric.weights, most if short else 0)
    _paint(
        order,
        flat,
        shape,
        np.array(core.start),
        weights,
        1 / metric.unit,
        halves,
        following,
        found,
    )
    return found


@functools.lru_cache(maxsize=4)
def _halves(weights: tuple[int, int, int], most: int) -> NDArray[np.int32]:
    """Largest n with weight n² below a square, by axis and square."""
    found = np.zeros((3, most + 1), np.int32)
    for axis, weight in enumerate(weights if most else ()):
        n = np.arange(1, math.isqrt(most // weight) + 1)
        found[axis] = np.searchsorted(weight * n * n, np.arange(most + 1), side="left")
    return found


def _place_type(core: Box) -> type[np.signedinteger[Any]]:
    """Type of a place in a row."""
    return np.int16 if core.shape[2] < 2**15 else np.int32


def painting_bytes(core: Triple, read: Triple, metric: Metric, reach: float) -> int:
    """Bound on the memory of `largest_ball`, its radii and the result while it is written.

    Whichever is most: the balls while they are ordered, or while they are painted, or the result and
    its encoded copy, when the radii are no longer there.

    Parameters
    ----------
    core, read : (z, y, x)
        Shapes of what is painted and of the radii.
    metric : Metric
        Squared edges of a voxel.
    reach : float
        Largest radius in nm.
    """
    most = int(_limit(reach, 1 / metric.unit))
    short = most <= LONGEST_TABLE
    # Radii, a mark and a place for each ball, which may be every voxel; sorting needs three arrays of
    # eight bytes more. The mark may not be given back before balls are painted.
    ordered, painted = (9, 9) if short else (33, 13)
    each = 4 + np.dtype(_place_type(Box((0, 0, 0), core))).itemsize
    voxels, own = math.prod(read), math.prod(core)
    held = max(voxels * ordered, voxels * painted + own * each, own * 8)
    return held + (48 * most if short else 0)


@functools.lru_cache(maxsize=4)
def _tables(weights: tuple[int, int, int], most: int) -> NDArray[np.int32]:
    """Square of the least ball that holds another, by the signless offset of its centre and the other's square."""
    tables = np.zeros((8, most + 1), np.int32)
    if most:
        _fill_tables(np.array(weights), tables)
    return tables


@nb.njit(nogil=True, cache=True)
def _limit(radius, inverse):  # type: ignore[no-untyped-def]
    """Square of a radius in squares of the unit; a voxel is in the ball if its square is below."""
    square = (radius * inverse) * (radius * inverse)
    if square < EXACT:
        return np.int64(np.rint(square))
    return np.int64(np.floor(square * (1.0 - 2.0**-22)))


@nb.njit(nogil=True, cache=True)
def _fill_tables(weights, tables):  # type: ignore[no-untyped-def]
    wz, wy, wx = weights
    most = tables.shape[1] - 1
    for corner in range(1, 8):
        dz, dy, dx = corner >> 2, corner >> 1 & 1, corner & 1
        table = tables[corner]
        for z in range(most + 1):
            if wz * z * z >= most:
                break
            for y in range(most + 1):
                plane = wz * z * z + wy * y * y
                if plane >= most:
                    break
                far = wz * (z + dz) * (z + dz) + wy * (y + dy) * (y + dy)
                for x in range(most + 1):
                    square = plane + wx * x * x
                    if square >= most:
                        break
                    table[square + 1] = max(table[square + 1], far + wx * (x + dx) * (x + dx) + 1)
        for square in range(1, most + 1):
            table[square] = max(table[square], table[square - 1])


@nb.njit(nogil=True, cache=True)
def _keep(radii, shape, weights, inverse, offsets, tables, kept):  # type: ignore[no-untyped-def]
    """Mark the balls that no ball of a neighbour holds."""
    nz, ny, nx = shape
    place = 0
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                if radii[place] > 0:
                    kept[place] = not _is_held(
                        radii, place, z, y, x, shape, weights, inverse, offsets, tables
                    )
                place += 1


@nb.njit(nogil=True, cache=True)
def _is_held(radii, place, z, y, x, shape, weights, inverse, offsets, tables):  # type: ignore[no-untyped-def]
    nz, ny, nx = shape
    own = radii[place]
    limit = np.int64(-1)
    for k in range(len(offsets)):
        dz, dy, dx = offsets[k]
        if not (0 <= z + dz < nz and 0 <= y + dy < ny and 0 <= x + dx < nx):
            continue
        other = radii[place + (dz * ny + dy) * nx + dx]
        if other <= own:
            continue
        if limit < 0:
            limit = _limit(own, inverse)
        if tables.shape[1] > 1:
            corner = abs(dz) * 4 + abs(dy) * 2 + abs(dx)
            if _limit(other, inverse) >= tables[corner, limit]:
                return True
        else:
            step = weights[0] * dz * dz + weights[1] * dy * dy + weights[2] * dx * dx
            if other * inverse * (1.0 - 2.0**-20) >= own * inverse + np.sqrt(step):
                return True
    return False


@nb.njit(nogil=True, cache=True)
def _by_counting(radii, kept, inverse, most):  # type: ignore[no-untyped-def]
    """Places of the balls that are kept, by descending square."""
    starts = np.zeros(most + 2, np.int64)
    for place in range(radii.size):
        if kept[place]:
            starts[most - _limit(radii[place], inverse) + 1] += 1
    for square in range(most + 1):
        starts[square + 1] += starts[square]
    order = np.empty(starts[most + 1], np.uint32)
    for place in range(radii.size):
        if kept[place]:
            square = most - _limit(radii[place], inverse)
            order[starts[square]] = place
            starts[square] += 1
    return order


def _by_sorting(radii: Radii, kept: NDArray[np.bool_]) -> NDArray[Any]:
    places = np.flatnonzero(kept)
    return places[np.argsort(-radii[places], kind="stable")]


@nb.njit(nogil=True, cache=True)
def _paint(order, radii, shape, start, weights, inverse, halves, following, found):  # type: ignore[no-untyped-def]
    wz, wy, wx = weights
    nz, ny, nx = found.shape
    for k in range(order.size):
        place = np.int64(order[k])
        radius = radii[place]
        limit = _limit(radius, inverse)
        cx = place % shape[2] - start[2]
        cy = place // shape[2] % shape[1] - start[1]
        cz = place // (shape[2] * shape[1]) - start[0]
        reach = _half(limit, wz)
        for z in range(max(0, cz - reach), min(nz, cz + reach + 1)):
            left = limit - wz * (z - cz) * (z - cz)
            wide = halves[1, left] if left < halves.shape[1] else _half(left, wy)
            for y in range(max(0, cy - wide), min(ny, cy + wide + 1)):
                rest = left - wy * (y - cy) * (y - cy)
                half = halves[2, rest] if rest < halves.shape[1] else _half(rest, wx)
                low, high = max(0, cx - half), min(nx - 1, cx + half)
                if low <= high and following[z, y, low] <= high:
                    _paint_row(following[z, y], found[z, y], low, high, radius)


@nb.njit(nogil=True, cache=True)
def _half(left, weight):  # type: ignore[no-untyped-def]
    """Largest n with weight n² < left."""
    steps = np.int64(np.sqrt((left - 1) / weight))
    while weight * steps * steps >= left:
        steps -= 1
    while weight * (steps + 1) * (steps + 1) < left:
        steps += 1
    return steps


@nb.njit(nogil=True, cache=True)
def _paint_row(following, found, low, high, radius):  # type: ignore[no-untyped-def]
    """Paint what is not painted between two places, and skip it from now on."""
    x = np.int64(low)
    while x <= high:
        after = np.int64(following[x])
        if after == x:
            found[x] = radius
            following[x] = high + 1
            after = x + 1
        x = after
    if following[low] < x:
        following[low] = x
