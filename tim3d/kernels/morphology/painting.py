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
from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias

import numba as nb
import numpy as np
from numpy.typing import NDArray

from tim3d.grid import Box, Triple
from tim3d.kernels.morphology.distance import Metric
from tim3d.kernels.morphology.keyed_rows import EMPTY, by_key, new_table, place_of, roomier

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
# One voxel in this many may be a ball of a portion: 4 bytes each where squares are counted, and three
# arrays of 8 bytes more where radii are sorted; the portion before waits to be given back. Mostly one
# voxel in six is the centre of a ball.
COUNTED_SHARE, SORTED_SHARE = 8, 32
# What the key of a radius is made of; how many bits of a float32 are not leading ones, and the key of
# the largest one.
SQUARES, LEADING_BITS, OTHER_BITS = range(3)
DROPPED, LEADING = 13, 2**18 - 1


class KeyRule(NamedTuple):
    """Rule by which a radius gets a key: 0 for the largest, `last` for the least.

    Parameters
    ----------
    made_of : int
        `SQUARES`, `LEADING_BITS` or `OTHER_BITS`.
    last : int
        Highest key.
    inverse : float
        1 / unit of the squares.
    group : int
        Of `OTHER_BITS`: the key by the leading bits of the balls that are meant.
    """

    made_of: int
    last: int
    inverse: float
    group: int = 0


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
    found = np.zeros(core.shape, np.float32)
    following = np.empty(core.shape, _place_type(core))
    following[:] = np.arange(core.shape[2], dtype=following.dtype)
    halves = _halves(metric.weights, most if short else 0)
    for order in _portions(flat, kept, 1 / metric.unit, most if short else None):
        _paint(
            order, flat, shape, np.array(core.start), weights, 1 / metric.unit, halves, following, found,
        )  # fmt: skip
    return found


def by_radius(found: Radii, inside: Radii) -> tuple[Radii, NDArray[np.int64]]:
    """Radii, ascending, and how many voxels have each, without copies of a volume.

    Parameters
    ----------
    found : (z, y, x) float32
        Radius of each voxel, not below 0.
    inside : (z, y, x) float32
        Voxels count where this is above 0.

    Examples
    --------
    >>> found = np.array([[[2, 0, 2, 1, 5]]], np.float32)
    >>> values, counts = by_radius(found, np.array([[[1, 1, 1, 1, 0]]], np.float32))
    >>> values.tolist(), counts.tolist()
    ([0.0, 1.0, 2.0], [1, 1, 2])
    """
    keys, rows = by_key(*_count(found, inside))
    return keys.astype(np.int32).view(np.float32), rows[:, 0]


@nb.njit(nogil=True, cache=True)
def _count(found, inside):  # type: ignore[no-untyped-def]
    keys, rows = new_table(256, 1)
    used, bits = 0, found.view(np.int32)  # of positive numbers, in the order of the numbers
    for z in range(found.shape[0]):
        for y in range(found.shape[1]):
            for x in range(found.shape[2]):
                if inside[z, y, x] <= 0:
                    continue
                key = np.int64(bits[z, y, x])
                place = place_of(keys, key)
                if keys[place] == EMPTY:
                    if 2 * (used + 1) > keys.size:
                        keys, rows = roomier(keys, rows)
                        place = place_of(keys, key)
                    keys[place] = key
                    used += 1
                rows[place, 0] += 1
    return keys, rows


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

    Whichever is more: the balls while they are painted, or the result and its encoded copy, when the
    radii are no longer there.

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
    # Radii, a mark for each voxel, and the balls of a portion: a byte a voxel either way.
    each = 4 + np.dtype(_place_type(Box((0, 0, 0), core))).itemsize
    voxels, own = math.prod(read), math.prod(core)
    tables = 64 * most if short else 16 * LEADING
    return max(6 * voxels + own * each, own * 8) + tables


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


def _portions(
    radii: Radii, kept: NDArray[np.bool_], inverse: float, most: int | None
) -> Iterator[NDArray[np.uint32]]:
    """Places of the balls that are kept, by descending radius, at most a share of all places at a time.

    Balls are counted by keys that fall as radii rise: squares below the largest if that is given, else
    the leading bits of the float and, where too many balls have these in common, the others.
    """
    if most is not None:
        yield from _by_keys(radii, kept, KeyRule(SQUARES, most, inverse))
        return
    for places in _by_keys(radii, kept, KeyRule(LEADING_BITS, LEADING, inverse)):
        yield places[np.argsort(-radii[places], kind="stable")]


def _by_keys(radii: Radii, kept: NDArray[np.bool_], rule: KeyRule) -> Iterator[NDArray[np.uint32]]:
    """Places by ascending key, of as many keys as there is room for; of balls of equal radius in pieces."""
    room = radii.size // (COUNTED_SHARE if rule.made_of == SQUARES else SORTED_SHARE) + 1
    starts = _starts(radii, kept, rule)
    first = 0
    while first <= rule.last:
        # As many keys as there is room for, but one at least.
        after = int(np.searchsorted(starts, starts[first] + room, side="right")) - 1
        after = min(max(after, first + 1), rule.last + 1)
        count = int(starts[after] - starts[first])
        if count > room and rule.made_of == LEADING_BITS:
            others = KeyRule(OTHER_BITS, 2**DROPPED - 1, rule.inverse, first)
            yield from _by_keys(radii, kept, others)
        elif count > room:
            yield from _in_pieces(radii, kept, rule, first, room)
        elif count:
            yield _ordered(radii, kept, rule, starts[first : after + 1], first)
        first = after


def _in_pieces(
    radii: Radii, kept: NDArray[np.bool_], rule: KeyRule, key: int, room: int
) -> Iterator[NDArray[np.uint32]]:
    """Places of the balls of one key, whose order does not matter."""
    start = 0
    while start < radii.size:
        places, start = _some(radii, kept, rule, key, start, room)
        yield places


@nb.njit(nogil=True, cache=True)
def _key(radius, rule):  # type: ignore[no-untyped-def]
    """Key of a radius, 0 for the largest; -1 if it is not of the group of a rule."""
    if rule.made_of == SQUARES:
        return rule.last - _limit(radius, rule.inverse)
    bits = np.int64(np.float32(radius).view(np.int32))
    if rule.made_of == LEADING_BITS:
        return rule.last - (bits >> DROPPED)
    return rule.last - (bits & rule.last) if LEADING - (bits >> DROPPED) == rule.group else -1


@nb.njit(nogil=True, cache=True)
def _starts(radii, kept, rule):  # type: ignore[no-untyped-def]
    """How many balls have a lower key, for each key and at last for all."""
    starts = np.zeros(rule.last + 2, np.int64)
    for place in range(radii.size):
        if kept[place]:
            starts[_key(radii[place], rule) + 1] += 1
    starts[0] = 0  # those of other groups
    for key in range(rule.last + 1):
        starts[key + 1] += starts[key]
    return starts


@nb.njit(nogil=True, cache=True)
def _ordered(radii, kept, rule, starts, first):  # type: ignore[no-untyped-def]
    """Places of the balls of a run of keys, in the order of the keys."""
    order, to = np.empty(starts[-1] - starts[0], np.uint32), starts[:-1] - starts[0]
    for place in range(radii.size):
        if kept[place]:
            key = _key(radii[place], rule) - first
            if 0 <= key < to.size:
                order[to[key]] = place
                to[key] += 1
    return order


@nb.njit(nogil=True, cache=True)
def _some(radii, kept, rule, key, start, room):  # type: ignore[no-untyped-def]
    """Places of at most `room` balls of one key, from `start` on, and where to go on."""
    found, count = np.empty(room, np.uint32), 0
    while start < radii.size and count < room:
        if kept[start] and _key(radii[start], rule) == key:
            found[count] = start
            count += 1
        start += 1
    return found[:count], start


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
