"""Whole numbers of each instance of a block, and of each pair of instances that touch.

All of them add up over blocks, or are the smallest or largest of all blocks. Unequal neighbours are
counted at the corners of the voxel grid, as by `voxel_configurations.octant_histogram`: a corner
counts 8 inside the block, 4, 2 or 1 on its border, and the volume is mirrored at its own border.
The area that follows is therefore that of the surface descriptors, to the last bit.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numba as nb
import numpy as np
from numpy.typing import NDArray

from tim3d.grid import Box, triple
from tim3d.kernels.morphology.keyed_rows import (
    EMPTY,
    SHIFT,
    Table,
    by_key,
    new_table,
    place_of,
    roomier,
)
from tim3d.kernels.morphology.phase_mask import clamped
from tim3d.kernels.morphology.surface import DIRECTIONS

Ids: TypeAlias = NDArray[np.uint32]
Counts: TypeAlias = NDArray[np.int64]

# Columns of the row of an instance.
VOXELS, SUMS, PRODUCTS, START, STOP, RADIUS = 0, 1, 4, 10, 13, 16
# Pairs of unequal neighbours along each of `DIRECTIONS`, of an instance and of a pair.
PAIRS, OWN_COLUMNS = 17, 17 + len(DIRECTIONS)
# Columns of the row of a pair: pairs as above, faces by axis and sign, and the radius of the neck.
FACES, NECK, PAIR_COLUMNS = len(DIRECTIONS), len(DIRECTIONS) + 3, len(DIRECTIONS) + 4
# Counts of pairs, in 1/32: a corner has eight octants, and a pair lies in up to four corners.
UNIT = 32
# Axes whose products are summed.
PRODUCT_AXES = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))
_FIRST = 64
# Memory for each instance and for each pair, above what was measured.
OWN_BYTES, PAIR_BYTES = 1200, 650


@dataclass(frozen=True, eq=False)
class Tallies:
    """Rows of some instances and of some pairs of them, in ascending order.

    Parameters
    ----------
    ids : (n,) int64
        Numbers of the instances.
    rows : (n, 30) int64
        Voxels; sums of z, y, x; sums of zz, yy, xx, zy, zx, yx; first voxel of the bounding box;
        voxel after its last one; bits of the largest radius; unequal neighbours along 13
        directions.
    pairs : (m,) int64
        Lower number and higher number of the instances, the lower one in the upper 32 bits.
    contacts : (m, 17) int64
        Pairs of neighbours along 13 directions; faces across z, y, x from the lower number to the
        higher one less those the other way; bits of the largest radius between them.
    """

    ids: Counts
    rows: Counts
    pairs: Counts
    contacts: Counts

    def __len__(self) -> int:
        return len(self.ids) + len(self.pairs)

    @property
    def first(self) -> Counts:
        """Lower number of each pair."""
        return self.pairs >> SHIFT

    @property
    def second(self) -> Counts:
        """Higher number of each pair."""
        return self.pairs & ((1 << int(SHIFT)) - 1)


def _corner_pairs() -> Counts:
    """Pairs of the eight voxels at a corner: both voxels, the direction, and how often it counts."""
    voxels = list(itertools.product((0, 1), repeat=3))
    rows = []
    for (i, a), (j, b) in itertools.combinations(enumerate(voxels), 2):
        step = triple(q - p for p, q in zip(a, b, strict=True))
        number = DIRECTIONS.index(step if step in DIRECTIONS else triple(-s for s in step))
        # A pair along an axis lies in four corners, along a diagonal of a face in two.
        rows.append((i, j, number, 2 ** (sum(map(abs, step)) - 1)))
    return np.array(rows, np.int64)


_CORNER_PAIRS = _corner_pairs()


def tally(ids: Ids, radii: NDArray[np.float32] | None, read: Box, core: Box) -> Tallies:
    """Rows of the instances of a block.

    Parameters
    ----------
    ids : (z, y, x) uint32
        Number of each voxel of `read`, 0 for none.
    radii : (z, y, x) float32, optional
        Radius of each of these voxels.
    read, core : Box
        The block and what is read of the volume around it: one voxel, where the volume has one.

    Examples
    --------
    >>> box = Box((0, 0, 0), (1, 1, 3))
    >>> found = tally(np.array([[[7, 7, 9]]], np.uint32), None, box, box)
    >>> found.ids.tolist(), found.rows[:, VOXELS].tolist(), found.rows[:, SUMS + 2].tolist()
    ([7, 9], [2, 1], [1, 2])
    >>> found.first.tolist(), found.second.tolist(), (found.contacts[0, :3] // UNIT).tolist()
    ([7], [9], [0, 0, 1])
    """
    own = core.within(read)
    zs, ys, xs = (
        clamped(low, high, 1, n)
        for low, high, n in zip(own.start, own.stop, ids.shape, strict=True)
    )
    measured = radii is not None
    values = np.zeros((1, 1, 1), np.float32) if radii is None else radii
    ends = (np.array(own.start), np.array(own.stop), np.array(read.start))
    keys, rows = _count_voxels(ids, values, ends, measured)
    found = _count_pairs(ids, values, (zs, ys, xs), _CORNER_PAIRS, (keys, rows), measured)
    return Tallies(*by_key(keys, rows), *by_key(*found))


@nb.njit(nogil=True, cache=True)
def _count_voxels(ids, radii, ends, measured):  # type: ignore[no-untyped-def]
    """Rows of all instances that are read; only voxels of the core count."""
    start, stop, origin = ends
    nz, ny, nx = ids.shape
    keys, rows = new_table(_FIRST, OWN_COLUMNS)
    used = 0
    for z in range(nz):
        for y in range(ny):
            inside = start[0] <= z < stop[0] and start[1] <= y < stop[1]
            x = 0
            while x < nx:
                own, first = ids[z, y, x], x
                while x < nx and ids[z, y, x] == own:
                    x += 1
                if own == 0:
                    continue
                place = place_of(keys, np.int64(own))
                if keys[place] == EMPTY:
                    if 2 * used >= keys.size:
                        keys, rows = roomier(keys, rows)
                        place = place_of(keys, np.int64(own))
                    keys[place] = own
                    rows[place, START:STOP] = np.iinfo(np.int64).max
                    used += 1
                low, high = max(first, start[2]), min(x, stop[2])
                if not inside or high <= low:
                    continue
                _add_run(
                    rows[place], z + origin[0], y + origin[1], low + origin[2], high + origin[2]
                )
                if measured:
                    _add_radii(rows[place], radii[z, y, low:high])
    return keys, rows


@nb.njit(nogil=True, cache=True)
def _add_run(row, z, y, low, high):  # type: ignore[no-untyped-def]
    """Add voxels low to high - 1 of a row along x."""
    count = high - low
    along = (low + high - 1) * count // 2
    squares = _squares_below(high) - _squares_below(low)
    row[VOXELS] += count
    row[SUMS] += z * count
    row[SUMS + 1] += y * count
    row[SUMS + 2] += along
    row[PRODUCTS] += z * z * count
    row[PRODUCTS + 1] += y * y * count
    row[PRODUCTS + 2] += squares
    row[PRODUCTS + 3] += z * y * count
    row[PRODUCTS + 4] += z * along
    row[PRODUCTS + 5] += y * along
    row[START], row[STOP] = min(row[START], z), max(row[STOP], z + 1)
    row[START + 1], row[STOP + 1] = min(row[START + 1], y), max(row[STOP + 1], y + 1)
    row[START + 2], row[STOP + 2] = min(row[START + 2], low), max(row[STOP + 2], high)


@nb.njit(nogil=True, cache=True)
def _squares_below(n):  # type: ignore[no-untyped-def]
    """Sum of the squares of 0 to n - 1."""
    return (n - 1) * n * (2 * n - 1) // 6


@nb.njit(nogil=True, cache=True)
def _add_radii(row, radii):  # type: ignore[no-untyped-def]
    bits = radii.view(np.int32)  # of positive numbers, in the order of the numbers
    for x in range(bits.size):
        row[RADIUS] = max(row[RADIUS], bits[x])


@nb.njit(nogil=True, cache=True)
def _count_pairs(ids, radii, axes, pairs, table, measured):  # type: ignore[no-untyped-def]
    """Count unequal neighbours at the corners of a block in the rows of instances, and of pairs."""
    zs, ys, xs = axes
    pair_keys, contacts = new_table(_FIRST, PAIR_COLUMNS)
    used = 0
    for i in range(zs.size - 1):
        z_octants = 1 if i == 0 or i == zs.size - 2 else 2
        for j in range(ys.size - 1):
            y_octants = z_octants if j == 0 or j == ys.size - 2 else 2 * z_octants
            at = 0
            while at < xs.size - 1:
                # Room for a corner of new pairs: while corners are counted the tables stay where they are.
                while 2 * (used + len(pairs)) >= pair_keys.size:
                    pair_keys, contacts = roomier(pair_keys, contacts)
                place = (i, j, at, y_octants)
                found = (pair_keys, contacts, used)
                at, used = _count_row(ids, radii, axes, place, pairs, table, found, measured)
    return pair_keys, contacts


@nb.njit(nogil=True, cache=True)
def _count_row(ids, radii, axes, place, pairs, table, found, measured):  # type: ignore[no-untyped-def]
    """Count the corners of a row, until the table of pairs is full; returns the next one, and the pairs."""
    zs, ys, xs = axes
    i, j, at, octants = place
    keys, rows = table
    pair_keys, contacts, used = found
    own, places, around = np.zeros(8, np.int64), np.zeros(8, np.int64), np.zeros(8, np.int64)
    for k in range(at, xs.size - 1):
        if not _gather(ids, zs, ys, xs, i, j, k, own):
            continue
        if 2 * (used + len(pairs)) >= pair_keys.size:
            return k, used
        _find_places(own, keys, places)
        if measured:
            _gather_bits(radii, zs, ys, xs, i, j, k, around)
        share = octants if k == 0 or k == xs.size - 2 else 2 * octants
        for pair in range(pairs.shape[0]):
            a, b = pairs[pair, 0], pairs[pair, 1]
            if own[a] == own[b]:
                continue
            direction, amount = pairs[pair, 2], pairs[pair, 3] * share
            if own[a]:
                rows[places[a], PAIRS + direction] += amount
            if own[b]:
                rows[places[b], PAIRS + direction] += amount
            if own[a] == 0 or own[b] == 0:
                continue
            key = (min(own[a], own[b]) << SHIFT) | max(own[a], own[b])
            row = place_of(pair_keys, key)
            if pair_keys[row] == EMPTY:
                pair_keys[row] = key
                used += 1
            contacts[row, direction] += amount
            if direction < 3:
                contacts[row, FACES + direction] += amount if own[a] < own[b] else -amount
            if measured:
                contacts[row, NECK] = max(contacts[row, NECK], min(around[a], around[b]))
    return xs.size - 1, used


@nb.njit(nogil=True, cache=True)
def _gather(ids, zs, ys, xs, i, j, k, own):  # type: ignore[no-untyped-def]
    """The eight voxels at a corner; False if all are alike."""
    differ = False
    first = ids[zs[i], ys[j], xs[k]]
    for n in range(8):
        own[n] = ids[zs[i + (n >> 2)], ys[j + (n >> 1 & 1)], xs[k + (n & 1)]]
        differ |= own[n] != first
    return differ


@nb.njit(nogil=True, cache=True)
def _gather_bits(radii, zs, ys, xs, i, j, k, around):  # type: ignore[no-untyped-def]
    bits = radii.view(np.int32)
    for n in range(8):
        around[n] = bits[zs[i + (n >> 2)], ys[j + (n >> 1 & 1)], xs[k + (n & 1)]]


@nb.njit(nogil=True, cache=True)
def _find_places(own, keys, places):  # type: ignore[no-untyped-def]
    """Places of the rows of eight instances, of which most are alike."""
    for n in range(8):
        if own[n] == 0:
            continue
        known = -1
        for before in range(n):
            if own[before] == own[n]:
                known = places[before]
                break
        places[n] = place_of(keys, own[n]) if known < 0 else known


def tally_bytes(instances: int, pairs: int) -> int:
    """Bound on the memory of rows while they are added up, measured and described.

    >>> tally_bytes(1000, 4000)
    3800000
    """
    return instances * OWN_BYTES + pairs * PAIR_BYTES


def growing(parts: Iterable[Tallies]) -> Iterator[Tallies]:
    """Rows of the blocks so far, whenever they have doubled, and at last those of the volume.

    Memory follows the rows of the volume, and not those of all blocks.

    >>> box = Box((0, 0, 0), (1, 1, 3))
    >>> one = tally(np.array([[[7, 7, 9]]], np.uint32), None, box, box)
    >>> [found.rows[:, VOXELS].tolist() for found in growing([one, one, one])]
    [[2, 1], [4, 2], [6, 3]]
    """
    whole: Tallies | None = None
    waiting: list[Tallies] = []
    for part in parts:
        waiting.append(part)
        if whole is None or sum(map(len, waiting)) >= len(whole):
            whole = added([*([] if whole is None else [whole]), *waiting])
            waiting = []
            yield whole
    if whole is not None and waiting:
        yield added([whole, *waiting])


def added(parts: list[Tallies]) -> Tallies:
    """Rows of the volume from those of its blocks."""
    ids, rows = _grouped([p.ids for p in parts], [p.rows for p in parts])
    pairs, contacts = _grouped([p.pairs for p in parts], [p.contacts for p in parts])
    there, own = np.unique(ids, return_inverse=True)
    total = np.zeros((len(there), OWN_COLUMNS), np.int64)
    np.add.at(total, own, rows)
    total[:, START:STOP] = np.iinfo(np.int64).max
    total[:, STOP : RADIUS + 1] = 0
    np.minimum.at(total[:, START:STOP], own, rows[:, START:STOP])
    np.maximum.at(total[:, STOP : RADIUS + 1], own, rows[:, STOP : RADIUS + 1])
    touching, place = np.unique(pairs, return_inverse=True)
    both = np.zeros((len(touching), PAIR_COLUMNS), np.int64)
    np.add.at(both, place, contacts)
    both[:, NECK] = 0
    np.maximum.at(both[:, NECK], place, contacts[:, NECK])
    return Tallies(there, total, touching, both)


def _grouped(keys: list[Counts], rows: list[Counts]) -> Table:
    return np.concatenate(keys), np.concatenate(rows)
