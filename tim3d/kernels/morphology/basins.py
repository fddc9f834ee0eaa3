"""Basins of a map of radii: voxels from which an ascent ends at the same peak, joined over wide necks.

The ascent goes from a voxel to that of its 26 neighbours to which the radius rises most per length;
of equally steep ways to the first neighbour in the C order of the volume. Where none is higher it goes to
the first neighbour of the same radius that precedes the voxel, and ends where there is none. So it
needs one voxel around a block, plateaus and ties are settled by the same rule everywhere, and no
blocking changes a basin. An ascent that leaves a block goes on in the block where it arrives.

The highest neighbour in place of the steepest way would be quicker to find, but pulls the border of two
basins askew: the contact of two balls came out 8 % too large, and a quarter with voxels twice as long.

The neck between two basins that touch is the largest, over all pairs of neighbouring voxels, of
the smaller of their two radii. Necks are taken from the widest down; one joins its two sides if it is
wider than a share of the smaller of their two largest radii, or lies less than a depth below it.
Any map that rises towards the middle of objects can stand in for radii (`positive`); joined by
depth alone, the basins that are left are those of its h-maxima.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numba as nb
import numpy as np
from numpy.typing import NDArray

from tim3d.grid import Box, Triple
from tim3d.kernels.morphology.keyed_rows import EMPTY, SHIFT, by_key, new_table, place_of, roomier

Radii: TypeAlias = NDArray[np.float32]
Ids: TypeAlias = NDArray[np.uint32]
Places: TypeAlias = NDArray[np.int64]

# Offsets to the neighbours that follow a voxel in C order.
FOLLOWING = np.array([o for o in itertools.product((-1, 0, 1), repeat=3) if o > (0, 0, 0)])
# To all neighbours, in this order.
AROUND = np.array([o for o in itertools.product((-1, 0, 1), repeat=3) if any(o)])
_FIRST = 256


@dataclass(frozen=True, eq=False)
class Basins:
    """Voxels of a block by the voxel at which their ascent ends, or leaves the block.

    Parameters
    ----------
    ids : (z, y, x) uint32
        Numbers from 1; 0 where there is no radius.
    end : (n,) int64
        Place of that voxel in the C order of the volume, by number.
    radius : (n,) float32
        Its radius.
    """

    ids: Ids
    end: Places
    radius: Radii


@dataclass(frozen=True, eq=False)
class Saddles:
    """Pairs of basins that touch, and the radius of the neck between them.

    Parameters
    ----------
    first, second : (m,) int64
        The basins.
    radius : (m,) float32
        Radius of the neck.
    """

    first: Places
    second: Places
    radius: Radii


def basins(radii: Radii, start: Triple, shape: Triple, spacing: Sequence[float]) -> Basins:
    """Basins of a block.

    Parameters
    ----------
    radii : (z + 2, y + 2, x + 2) float32
        Radius of each voxel and of those around the block; 0 outside of the phase and the volume.
    start, shape : (z, y, x)
        First voxel of the block in the volume, and the shape of the volume.
    spacing : (z, y, x)
        Edges of a voxel.

    Returns
    -------
    Basins
        Of the block without the layer around it.

    Examples
    --------
    >>> radii = np.zeros((3, 3, 7), np.float32)
    >>> radii[1, 1] = 0, 1, 2, 1, 1, 3, 4
    >>> found = basins(radii, (0, 0, 2), (1, 1, 9), (1, 1, 1))
    >>> found.ids.tolist(), found.end.tolist()      # the last two go on beyond the block
    ([[[1, 1, 1, 2, 2]]], [3, 7])
    """
    dtype = np.int32 if radii.size < 2**31 else np.int64
    flat, edges = np.ascontiguousarray(radii).ravel(), np.array(radii.shape)
    strides = np.array([edges[1] * edges[2], edges[2], 1])
    inverse = (1 / np.linalg.norm(AROUND * np.array(spacing), axis=1)).astype(np.float32)
    following = np.arange(flat.size, dtype=dtype)
    _steepest(flat, edges, (AROUND @ strides).astype(dtype), inverse, following)
    ids = np.zeros([n - 2 for n in radii.shape], np.uint32)
    ends = _follow(flat, following, edges, ids)
    local = np.stack(np.unravel_index(ends, radii.shape), axis=1)
    place = (local - 1 + np.array(start)).T
    whole = np.array([shape[1] * shape[2], shape[2], 1], np.int64)
    return Basins(ids, whole @ place, flat[ends])


@nb.njit(nogil=True, cache=True)
def _steepest(radii, shape, steps, inverse, following):  # type: ignore[no-untyped-def]
    """Place to which each voxel of the block climbs; its own at a peak."""
    count = shape[2] - 2
    slope, way = np.empty(count, np.float32), np.empty(count, steps.dtype)
    for z in range(1, shape[0] - 1):
        for y in range(1, shape[1] - 1):
            first = (z * shape[1] + y) * shape[2] + 1
            row, out = radii[first : first + count], following[first : first + count]
            slope[:], way[:] = 0, 0
            for n in range(steps.size):
                beside = radii[first + steps[n] : first + steps[n] + count]
                _steeper(row, beside, inverse[n], steps[n], slope, way)
            for x in range(count):
                if row[x] > 0 and way[x] == 0:
                    way[x] = _level(radii, first + x, steps)
                out[x] += way[x]


@nb.njit(nogil=True, cache=True)
def _steeper(row, beside, inverse, step, slope, way):  # type: ignore[no-untyped-def]
    """Keep the steeper way of each voxel of a row; the first of equal ones."""
    for x in range(row.size):
        rise = (beside[x] - row[x]) * inverse
        better = rise > slope[x]
        slope[x] = rise if better else slope[x]
        way[x] = step if better else way[x]


@nb.njit(nogil=True, cache=True)
def _level(radii, place, steps):  # type: ignore[no-untyped-def]
    """Step to the first neighbour of the same radius that precedes a voxel; 0 if there is none."""
    for step in steps:
        if step < 0 and radii[place + step] == radii[place]:
            return step
    return steps.dtype.type(0)


@nb.njit(nogil=True, cache=True)
def _follow(radii, following, shape, ids):  # type: ignore[no-untyped-def]
    """Number the voxels of a block by the end of their ascent; returns the ends."""
    nz, ny, nx = ids.shape
    _shorten(radii, following, shape)
    ends, count = np.empty(_FIRST, np.int64), 0
    for z in range(nz):
        for y in range(ny):
            first = ((z + 1) * shape[1] + y + 1) * shape[2] + 1
            for x in range(nx):
                if radii[first + x] <= 0:
                    continue
                end = following[first + x]
                if end < 0:  # it is an end itself, with a number
                    ids[z, y, x] = -end
                    continue
                if following[end] >= 0:
                    if count == ends.size:
                        ends = np.concatenate((ends, np.empty(count, np.int64)))
                    ends[count] = end
                    count += 1
                    following[end] = -count
                ids[z, y, x] = -following[end]
    return ends[:count]


@nb.njit(nogil=True, cache=True)
def _shorten(radii, following, shape):  # type: ignore[no-untyped-def]
    """Let every voxel of the block point to the end of its ascent."""
    for z in range(1, shape[0] - 1):
        for y in range(1, shape[1] - 1):
            first = (z * shape[1] + y) * shape[2]
            for place in range(first + 1, first + shape[2] - 1):
                if radii[place] <= 0:
                    continue
                end = following[place]
                while following[end] != end:
                    end = following[end]
                step = place
                while following[step] != end:
                    further = following[step]
                    following[step] = end
                    step = further


def saddles(ids: Ids, radii: Radii) -> Saddles:
    """Necks between the basins of a block.

    Parameters
    ----------
    ids : (z, y, x) uint32
        Number of the basin of each voxel, 0 for none.
    radii : (z, y, x) float32
        Radius of each voxel.

    Examples
    --------
    >>> found = saddles(np.array([[[1, 1, 2]]], np.uint32), np.array([[[4, 2, 3]]], np.float32))
    >>> found.first.tolist(), found.second.tolist(), found.radius.tolist()
    ([1], [2], [2.0])
    """
    keys, rows = by_key(*_touching(ids, radii, FOLLOWING))
    first, second = np.divmod(keys, np.int64(1) << SHIFT)
    return Saddles(first, second, rows[:, 0].astype(np.int32).view(np.float32))


@nb.njit(nogil=True, cache=True)
def _touching(ids, radii, offsets):  # type: ignore[no-untyped-def]
    nz, ny, nx = ids.shape
    flat, bits = ids.ravel(), radii.ravel().view(np.int32)  # of positive numbers, in their order
    keys, rows = new_table(_FIRST, 1)
    used, differs = 0, np.empty(nx, np.bool_)
    steps, along = np.empty(len(offsets), np.int64), np.empty(len(offsets), np.int64)
    for z in range(nz):
        for y in range(ny):
            _mark(ids, z, y, offsets, differs)
            count = _steps_of_row(ids.shape, z, y, offsets, steps, along)
            # Room for a row of new pairs: within a row the tables stay where they are.
            while 2 * (used + len(offsets) * nx) >= keys.size:
                keys, rows = roomier(keys, rows)
            ways = (steps[:count], along[:count])
            used += _touching_row(flat, bits, (z * ny + y) * nx, differs, ways, (keys, rows))
    return keys, rows


@nb.njit(nogil=True, cache=True)
def _touching_row(ids, bits, first, differs, ways, table):  # type: ignore[no-untyped-def]
    """Necks of the marked voxels of a row; returns how many of their pairs are new."""
    steps, along = ways
    nx, fresh = differs.size, 0
    for x in range(nx):
        if not differs[x]:
            continue
        here = first + x
        own, mine = ids[here], bits[here]
        beside, neck = own, np.int32(0)  # basin of the neighbour before, and the neck to it
        for n in range(steps.size):
            if x + along[n] < 0 or x + along[n] == nx:
                continue
            other = ids[here + steps[n]]
            if other == 0 or other == own:
                continue
            if other != beside:
                fresh += _widened(table, own, beside, neck)
                beside, neck = other, np.int32(0)
            neck = max(neck, min(mine, bits[here + steps[n]]))
        fresh += _widened(table, own, beside, neck)
    return fresh


@nb.njit(nogil=True, cache=True)
def _widened(table, own, other, neck):  # type: ignore[no-untyped-def]
    """Keep the neck between two basins if it is the widest so far; returns 1 for a new pair."""
    if own == other:
        return 0
    keys, rows = table
    key = (np.int64(min(own, other)) << SHIFT) | np.int64(max(own, other))
    place = place_of(keys, key)
    fresh = keys[place] == EMPTY
    keys[place] = key
    rows[place, 0] = max(rows[place, 0], neck)
    return 1 if fresh else 0


@nb.njit(nogil=True, cache=True)
def _steps_of_row(shape, z, y, offsets, steps, along):  # type: ignore[no-untyped-def]
    """Steps from a voxel of a row to its neighbours in rows that are there, and their parts along x."""
    count = 0
    for offset in offsets:
        if z + offset[0] < shape[0] and 0 <= y + offset[1] < shape[1]:
            steps[count] = (offset[0] * shape[1] + offset[1]) * shape[2] + offset[2]
            along[count] = offset[2]
            count += 1
    return count


@nb.njit(nogil=True, cache=True)
def _mark(ids, z, y, offsets, differs):  # type: ignore[no-untyped-def]
    """Mark the voxels of a row that touch another basin: few, and found many at once."""
    nz, ny, nx = ids.shape
    differs[:] = False
    for offset in offsets:
        a, b, step = z + offset[0], y + offset[1], offset[2]
        if a >= nz or b < 0 or b >= ny:
            continue
        low, count = max(0, -step), nx - abs(step)
        own, out = ids[z, y, low : low + count], differs[low : low + count]
        other = ids[a, b, low + step : low + step + count]
        for x in range(count):
            out[x] |= (own[x] != other[x]) & (own[x] != 0) & (other[x] != 0)


@dataclass(frozen=True, eq=False)
class Side:
    """A plane on the border of a block: numbers of basins from 1, and radii."""

    ids: Ids
    radii: Radii


def saddles_across(low: Side, high: Side, offset: Sequence[int], axis: int) -> Saddles:
    """Necks between the basins of two blocks that touch.

    Parameters
    ----------
    low, high : Side
        The planes that face each other across `axis`.
    offset : (z, y, x)
        Offset from the first block to the second on the grid of blocks.
    axis : int
        An axis along which they are apart.

    Returns
    -------
    Saddles
        Numbers of basins of the first block, and of the second.
    """
    within = [o for a, o in enumerate(offset) if a != axis]
    parts = [
        [plane[at] for plane, at in ((low.ids, a), (high.ids, b), (low.radii, a), (high.radii, b))]
        for a, b in _facing(low.ids.shape, high.ids.shape, within)
    ]
    first, second, radius, other = (
        np.concatenate([p.ravel() for p in c]) for c in zip(*parts, strict=True)
    )
    both = (first > 0) & (second > 0)
    return widest(
        first[both].astype(np.int64), second[both].astype(np.int64), np.minimum(radius, other)[both]
    )


def _facing(
    one: tuple[int, ...], two: tuple[int, ...], offset: Sequence[int]
) -> Iterator[tuple[tuple[slice, ...], tuple[slice, ...]]]:
    """Voxels of two planes that are neighbours, for blocks that are `offset` apart in the plane."""
    for shift in itertools.product((-1, 0, 1), repeat=2):
        if all(o in (0, s) for o, s in zip(offset, shift, strict=True)):
            pairs = [_overlap(*along) for along in zip(one, two, offset, shift, strict=True)]
            yield tuple(a for a, _ in pairs), tuple(b for _, b in pairs)


def _overlap(n: int, m: int, offset: int, shift: int) -> tuple[slice, slice]:
    if offset:
        return (slice(n - 1, n), slice(0, 1)) if offset > 0 else (slice(0, 1), slice(m - 1, m))
    return slice(max(0, -shift), n - max(0, shift)), slice(max(0, shift), n - max(0, -shift))


def widest(first: Places, second: Places, radius: Radii) -> Saddles:
    """Each pair once, with the largest of its radii; in the order of the pairs.

    >>> found = widest(np.array([2, 1, 2]), np.array([3, 5, 3]), np.array([4, 1, 6], np.float32))
    >>> found.first.tolist(), found.radius.tolist()
    ([1, 2], [1.0, 6.0])
    """
    order = np.lexsort((-radius, second, first))
    first, second, radius = first[order], second[order], radius[order]
    fresh = np.ones(len(first), bool)
    fresh[1:] = (first[1:] != first[:-1]) | (second[1:] != second[:-1])
    return Saddles(first[fresh], second[fresh], radius[fresh])


def ends_of(following: Places) -> Places:
    """Last of each chain of pointers; what points to itself ends a chain.

    >>> ends_of(np.array([1, 2, 2, 0])).tolist()
    [2, 2, 2, 2]
    """
    while True:
        further = following[following]
        if np.array_equal(further, following):
            return following
        following = further


def positive(values: NDArray[Any], boundary: NDArray[Any] | None = None) -> Radii:
    """Heights above 0 in the order of the values of a map, less those of a map of boundaries.

    Parameters
    ----------
    values : array of uint8, uint16 or float32
        The map; it rises towards the middle of objects. Floats that are not positive count as
        equally low.
    boundary : array of the same whole type, optional
        Map that is high between objects.

    Examples
    --------
    >>> positive(np.array([0, 255], np.uint8)).tolist()
    [1.0, 256.0]
    >>> positive(np.array([0, 255], np.uint8), np.array([255, 0], np.uint8)).tolist()
    [1.0, 511.0]
    """
    if values.dtype.kind == "f":
        return np.maximum(values.astype(np.float32), np.finfo(np.float32).tiny)
    if boundary is None:
        return values.astype(np.float32) + np.float32(1)
    above = np.float32(1 + np.iinfo(boundary.dtype).max)  # whole numbers, exact in float32
    return np.asarray(values.astype(np.float32) - boundary.astype(np.float32) + above)


@dataclass(frozen=True)
class Joining:
    """Which necks join their two sides, whose smaller largest radius is r.

    Those with a radius above ``share * r - depth``.

    Parameters
    ----------
    share : float
        Share of a radius, 0 to 1.
    depth : float
        Length in the unit of the radii: with a share of 1 the persistence of what is joined.
    """

    share: float = 1.0
    depth: float = 0.0


def joined(radius: Radii, necks: Saddles, how: Joining) -> Places:
    """Number of the particle of each basin.

    Parameters
    ----------
    radius : (n,) float32
        Largest radius of each basin. Basins are in the order of the places of their peaks.
    necks : Saddles
        Necks between basins, numbered from 0, each pair once and with the lower number first.
    how : Joining
        Which necks join.

    Returns
    -------
    (n,) int64
        Numbers from 1, in the order of the places of the largest radii; among equal radii of a
        particle the first counts.

    Examples
    --------
    >>> radius = np.array([5, 4, 6], np.float32)
    >>> necks = Saddles(np.array([0, 1]), np.array([1, 2]), np.array([2, 3.5], np.float32))
    >>> joined(radius, necks, Joining(0.75)).tolist(), joined(radius, necks, Joining(0.9)).tolist()
    ([1, 2, 2], [1, 2, 3])
    >>> joined(radius, necks, Joining(depth=1)).tolist()
    [1, 2, 2]
    """
    order = np.lexsort((necks.second, necks.first, -necks.radius))
    chief = _chiefs(
        radius.astype(np.float64), necks.first[order], necks.second[order],
        necks.radius[order].astype(np.float64), how.share, how.depth,
    )  # fmt: skip
    _, number = np.unique(chief, return_inverse=True)
    return np.asarray(number + 1, np.int64)


@nb.njit(nogil=True, cache=True)
def _chiefs(radius, first, second, neck, share, depth):  # type: ignore[no-untyped-def]
    """Basin of the largest radius that each basin hangs together with."""
    above = np.arange(radius.size)
    for place in range(first.size):
        a, b = first[place], second[place]
        while above[a] != a:
            above[a] = above[above[a]]
            a = above[a]
        while above[b] != b:
            above[b] = above[above[b]]
            b = above[b]
        if a == b:
            continue
        if radius[b] > radius[a] or (radius[b] == radius[a] and b < a):
            a, b = b, a
        if neck[place] > share * radius[b] - depth:
            above[b] = a
    for place in range(radius.size):
        end = place
        while above[end] != end:
            end = above[end]
        above[place] = end
    return above


def renumbered(ids: Ids, numbers: Places) -> Ids:
    """Give each basin another number, in place, plane by plane: indices take eight bytes each.

    >>> renumbered(np.array([[[1, 2, 0, 2]]], np.uint32), np.array([7, 9])).tolist()
    [[[7, 9, 0, 9]]]
    """
    table = np.concatenate([[0], numbers]).astype(np.uint32)
    for plane in ids:
        plane[...] = table[plane]
    return ids


def basins_of_volume(
    radii: Radii, share: float, spacing: Sequence[float] = (1.0, 1.0, 1.0), depth: float = 0.0
) -> Ids:
    """Particles of a volume in memory, as one block.

    Parameters
    ----------
    radii : (Z, Y, X) float32
        Distance to the nearest voxel outside, 0 outside.
    share, depth : float
        See `Joining`.
    spacing : (z, y, x)
        Edges of a voxel.

    Examples
    --------
    >>> radii = np.array([[[1, 2, 1, 1, 2, 3, 0, 1]]], np.float32)
    >>> basins_of_volume(radii, 0.75).tolist()
    [[[1, 1, 1, 2, 2, 2, 0, 3]]]
    """
    shape: Triple = (radii.shape[0], radii.shape[1], radii.shape[2])
    around = np.zeros([n + 2 for n in shape], np.float32)
    around[Box((1, 1, 1), (shape[0] + 1, shape[1] + 1, shape[2] + 1)).slices] = radii
    found = basins(around, (0, 0, 0), shape, spacing)
    order = np.argsort(found.end)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    necks = saddles(found.ids, radii)
    a, b = rank[necks.first - 1], rank[necks.second - 1]
    ranked = widest(np.minimum(a, b), np.maximum(a, b), necks.radius)
    number = joined(found.radius[order], ranked, Joining(share, depth))
    return renumbered(found.ids, number[rank])
