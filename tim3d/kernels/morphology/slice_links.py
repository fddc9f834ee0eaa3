"""Objects of slices linked to objects of the volume, from one table of their overlaps.

Every slice of a field of numbers has objects of its own. An object of a slice is known by the slice
and by the first of its pixels, whatever its number. Tables of blocks add up: pixels of each object
(`objects_of`), and pixels that an object shares with each object of the next slice (`links_of`).
What follows is one solution for the volume (`volume_objects`) in which no block and no direction
appears: an overlap is the intersection over union, which is the same from either slice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numba as nb
import numpy as np
from numpy.typing import NDArray

from tim3d.grid import Box, Triple
from tim3d.kernels.morphology.keyed_rows import EMPTY, SHIFT, by_key, new_table, place_of, roomier
from tim3d.kernels.morphology.multicut import multicut
from tim3d.kernels.morphology.objects import mutual_best
from tim3d.kernels.morphology.overlaps import overlaps
from tim3d.lazy import csgraph, sparse

Rows: TypeAlias = NDArray[np.int64]
Numbers: TypeAlias = NDArray[np.unsignedinteger[Any]]
Floats: TypeAlias = NDArray[np.float64]

# Shares of overlap beyond which the weight of a link no longer grows.
LEAST, MOST = 0.001, 0.999
_FIRST = 64


def objects_of(numbers: Numbers, box: Box, shape: Triple) -> Rows:
    """Pixels of the objects of each slice of a block.

    Parameters
    ----------
    numbers : (z, y, x) uint16 or uint32
        Numbers of the objects in the slices, 0 for none.
    box, shape : Box, (z, y, x)
        The block, and the shape of the volume.

    Returns
    -------
    (n, 4) int64
        Slice, number, pixels, and place of the first pixel in the C order of the slice; in the
        order of the first two.

    Examples
    --------
    >>> two = np.array([[[0, 7, 7]], [[7, 0, 9]]], np.uint32)
    >>> objects_of(two, Box((4, 0, 0), (6, 1, 3)), (9, 1, 3)).tolist()
    [[4, 7, 2, 1], [5, 7, 1, 0], [5, 9, 1, 2]]
    """
    first = box.start[1] * shape[2] + box.start[2]
    found = []
    for z, plane in enumerate(numbers, box.start[0]):
        keys, rows = by_key(*_count(np.ascontiguousarray(plane), first, shape[2]))
        found.append(np.column_stack([np.full(len(keys), z), keys, rows]))
    return np.concatenate([np.zeros((0, 4), np.int64), *found])


@nb.njit(nogil=True, cache=True)
def _count(plane, first, width):  # type: ignore[no-untyped-def]
    """Pixels of each number of a plane, and the first of them, by runs along x."""
    keys, rows = new_table(_FIRST, 2)
    used = 0
    ny, nx = plane.shape
    for y in range(ny):
        x = 0
        while x < nx:
            own, begin = plane[y, x], x
            while x < nx and plane[y, x] == own:
                x += 1
            if own == 0:
                continue
            place = place_of(keys, np.int64(own))
            if keys[place] == EMPTY:
                if 2 * used >= keys.size:
                    keys, rows = roomier(keys, rows)
                    place = place_of(keys, np.int64(own))
                keys[place], rows[place, 1] = own, first + y * width + begin
                used += 1
            rows[place, 0] += x - begin
    return keys, rows


def links_of(numbers: Numbers, z: int) -> Rows:
    """Pixels that the objects of each slice share with those of the next one.

    Parameters
    ----------
    numbers : (n, y, x) uint16 or uint32
        Consecutive slices of a block.
    z : int
        The first of them.

    Returns
    -------
    (m, 4) int64
        Slice, number in it, number in the next slice, pixels.

    Examples
    --------
    >>> links_of(np.array([[[0, 7, 7]], [[7, 0, 9]]], np.uint32), 4).tolist()
    [[4, 7, 9, 1]]
    """
    found = [np.zeros((0, 4), np.int64)]
    for low in range(len(numbers) - 1):
        table = overlaps(numbers[low : low + 1], numbers[low + 1 : low + 2])
        both = table[(table[:, 0] > 0) & (table[:, 1] > 0)]
        found.append(np.column_stack([np.full(len(both), z + low), both]))
    return np.concatenate(found)


@dataclass(frozen=True, eq=False)
class Slices:
    """Objects of all slices in the order of slice and first pixel, and their overlaps.

    Parameters
    ----------
    z, number, pixels, first : (n,) int64
        Slice of each object, its number there, its pixels and the place of the first of them.
    lower, upper : (m,) int64
        Objects of neighbouring slices that overlap.
    overlap : (m,) float64
        Their intersection over union.
    """

    z: Rows
    number: Rows
    pixels: Rows
    first: Rows
    lower: Rows
    upper: Rows
    overlap: Floats

    def reversed(self) -> Slices:
        """The same seen from the last slice, and the objects renumbered."""
        order = np.lexsort((self.first, -self.z))
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        lower, upper = rank[self.upper], rank[self.lower]
        links = np.lexsort((upper, lower))
        z = self.z.max(initial=0) - self.z[order]
        return Slices(
            z, self.number[order], self.pixels[order], self.first[order],
            lower[links], upper[links], self.overlap[links],
        )  # fmt: skip


def added(objects: Sequence[Rows], links: Sequence[Rows]) -> Slices:
    """Tables of the volume from those of its blocks, in any order."""
    table = np.concatenate([np.zeros((0, 4), np.int64), *objects])
    owners, place = np.unique(_keys(table), return_inverse=True)
    pixels = np.zeros(len(owners), np.int64)
    np.add.at(pixels, place, table[:, 2])
    first = np.full(len(owners), np.iinfo(np.int64).max)
    np.minimum.at(first, place, table[:, 3])
    order = np.lexsort((first, owners >> SHIFT))
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    pairs = np.concatenate([np.zeros((0, 4), np.int64), *links])
    below = rank[np.searchsorted(owners, _keys(pairs))]
    above = rank[np.searchsorted(owners, _keys(pairs[:, [0, 2]] + np.array([1, 0])))]
    both, which = np.unique(np.column_stack([below, above]), axis=0, return_inverse=True)
    shared = np.zeros(len(both), np.int64)
    np.add.at(shared, which.ravel(), pairs[:, 3])
    lower, upper = both.T
    sizes = pixels[order]
    overlap = shared / (sizes[lower] + sizes[upper] - shared)
    number = owners[order] & ((1 << int(SHIFT)) - 1)
    return Slices(owners[order] >> SHIFT, number, sizes, first[order], lower, upper, overlap)


def _keys(rows: Rows) -> Rows:
    """Slice and number in one."""
    return np.asarray((rows[:, 0] << SHIFT) | rows[:, 1], np.int64)


def by_mutual_best(slices: Slices, overlap: float) -> Rows:
    """Group of each object: two are linked if each is the best partner of the other.

    Of equally good partners the one with the lower first pixel counts. An object has one partner
    at most in either neighbouring slice, so that none branches.
    """
    enough = slices.overlap >= overlap
    lower, upper, share = slices.lower[enough], slices.upper[enough], slices.overlap[enough]
    best = mutual_best(lower, upper, share)
    return _connected(len(slices.z), lower[best], upper[best])


def by_multicut(slices: Slices, overlap: float) -> Rows:
    """Group of each object by the multicut of all overlaps: objects may branch and join.

    A link attracts if its overlap is above `overlap`, with the weight logit(o) - logit(overlap).
    Solvers may depend on the order of the nodes: they are given that of the two directions whose
    table is the lower one, so that a reversed stack has the same groups.
    """
    back = slices.reversed()
    if _table(back) < _table(slices):
        groups = _solved(back, overlap)
        return groups[np.argsort(np.lexsort((slices.first, -slices.z)))]
    return _solved(slices, overlap)


def _table(slices: Slices) -> tuple[bytes, ...]:
    columns = (slices.first, slices.pixels, slices.lower, slices.upper, slices.overlap)
    return tuple(column.tobytes() for column in columns)


def _solved(slices: Slices, overlap: float) -> Rows:
    share = np.clip(slices.overlap, LEAST, MOST)
    weights = np.log(share / (1 - share)) - np.log(overlap / (1 - overlap))
    edges = np.column_stack([slices.lower, slices.upper])
    return multicut(len(slices.z), edges, weights)


def _connected(count: int, one: Rows, two: Rows) -> Rows:
    graph = sparse.coo_array((np.ones(len(one), np.int8), (one, two)), shape=(count, count))
    return np.asarray(csgraph.connected_components(graph, directed=False)[1], np.int64)


RULES: dict[str, Callable[[Slices, float], Rows]] = {
    "mutual": by_mutual_best,
    "multicut": by_multicut,
}


def volume_objects(slices: Slices, rule: str, overlap: float) -> Rows:
    """Number in the volume of each object of a slice, from 1, in the order of their first voxels.

    Parameters
    ----------
    slices : Slices
        Objects and overlaps of all slices.
    rule : {"mutual", "multicut"}
        How they are linked.
    overlap : float
        Least intersection over union of two objects that are linked; of a multicut that of a link
        which attracts.

    Examples
    --------
    >>> volume = np.array([[[5, 5, 5, 0]], [[2, 2, 0, 9]]], np.uint32)
    >>> box = Box.whole((2, 1, 4))
    >>> slices = added([objects_of(volume, box, box.shape)], [links_of(volume, 0)])
    >>> volume_objects(slices, "mutual", 0.5).tolist()      # 5 and 2 share 2 of 3 pixels
    [1, 1, 2]
    """
    groups = RULES[rule](slices, overlap)
    _, first, place = np.unique(groups, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(1, len(first) + 1)
    return rank[place]
