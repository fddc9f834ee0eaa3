"""Necks between basins that touch, in a block and over the borders of blocks.

The neck between two basins is the largest, over all pairs of neighbouring voxels, of the smaller of
their two radii.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numba as nb
import numpy as np

from tim3d.kernels.morphology.basins import Ids, Places, Radii
from tim3d.kernels.morphology.keyed_rows import EMPTY, SHIFT, by_key, new_table, place_of, roomier

# Offsets to the neighbours that follow a voxel in C order.
FOLLOWING = np.array([o for o in itertools.product((-1, 0, 1), repeat=3) if o > (0, 0, 0)])
_FIRST = 256


@dataclass(frozen=True, eq=False)
class Necks:
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


def necks_within(ids: Ids, radii: Radii) -> Necks:
    """Necks between the basins of a block.

    Parameters
    ----------
    ids : (z, y, x) uint32
        Number of the basin of each voxel, 0 for none.
    radii : (z, y, x) float32
        Radius of each voxel.

    Examples
    --------
    >>> found = necks_within(np.array([[[1, 1, 2]]], np.uint32), np.array([[[4, 2, 3]]], np.float32))
    >>> found.first.tolist(), found.second.tolist(), found.radius.tolist()
    ([1], [2], [2.0])
    """
    keys, rows = by_key(*_touching(ids, radii, FOLLOWING))
    first, second = np.divmod(keys, np.int64(1) << SHIFT)
    return Necks(first, second, rows[:, 0].astype(np.int32).view(np.float32))


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


def necks_across(low: Side, high: Side, offset: Sequence[int], axis: int) -> Necks:
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
    Necks
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


def widest(first: Places, second: Places, radius: Radii) -> Necks:
    """Each pair once, with the largest of its radii; in the order of the pairs.

    >>> found = widest(np.array([2, 1, 2]), np.array([3, 5, 3]), np.array([4, 1, 6], np.float32))
    >>> found.first.tolist(), found.radius.tolist()
    ([1, 2], [1.0, 6.0])
    """
    order = np.lexsort((-radius, second, first))
    first, second, radius = first[order], second[order], radius[order]
    fresh = np.ones(len(first), bool)
    fresh[1:] = (first[1:] != first[:-1]) | (second[1:] != second[:-1])
    return Necks(first[fresh], second[fresh], radius[fresh])
