"""Objects numbered window by window: paired over the borders of windows, numbered over the volume.

A segmenter numbers the objects of each window by itself, so that one object has another number in
each window that sees it. Windows that share a face both see the voxels of their overlap, and there
their numbers are compared (two windows side by side along x, digits are their own numbers, `k` are
the voxels that a window keeps, `h` its halo)::

    window A    hkkkkkhh                 A sees   . 1 1 1 1 1 1 2
    window B         hhkkkkkh            B sees             1 1 3 3 3 3 . .
    compared         ^^^^                A: 1 1 1 2 of the volume, B: 1 1 3 3

A pair of objects is one object if each is the best partner of the other: the one with the largest
intersection over union of the voxels that are compared, and of equally good ones that of the lower
number; and if this ratio reaches the least `overlap` that the segmenter declares. Windows without
a halo compare the planes that touch. Chains of pairs are one object. Objects of the volume are
numbered by their first voxel in C order. No block appears in this rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tim3d.grid import Triple
from tim3d.kernels.morphology.components import Components, Counts, Ids, merge, tabulate

NEVER = int(np.iinfo(np.int64).max)


@dataclass(frozen=True, eq=False)
class WindowObjects:
    """Objects of some windows, and their pairs with the windows before them.

    Parameters
    ----------
    windows : (m, 3) int64
        Index of each window on the lattice.
    counts : (m,) int64
        Number of its objects.
    table : Components
        Objects of the first window, then of the second, ...: the voxels that their window keeps.
    pairs : (p, 4) int64
        Axis, position of the upper window in `windows`, object of the window before it along the
        axis, object of the upper window; objects are counted from 0.
    """

    windows: Counts
    counts: Counts
    table: Components
    pairs: Counts


@dataclass(frozen=True, eq=False)
class Numbers:
    """Final numbers of the objects of all windows.

    Parameters
    ----------
    starts : (Z, Y, X) int64
        First row of each window.
    number : (n,) uint32
        Number in the volume of each object of a window, from 1; 0 for one that no window keeps.
    objects : int
        Number of objects in the volume.
    chained : int
        Objects that are separate in a window, and became one by a chain of pairs around it.
    """

    starts: Counts
    number: Ids
    objects: int
    chained: int


def compact(numbers: NDArray[Any]) -> tuple[Ids, int]:
    """Numbers 1, 2, ... in place of those that occur, in their order, and how many; 0 stays 0.

    >>> ids, count = compact(np.array([[[7, 0, 7, 900]]], np.uint16))
    >>> ids.tolist(), count
    ([[[1, 0, 1, 2]]], 2)
    """
    present = np.unique(numbers)
    present = present[present > 0]
    return np.searchsorted(present, numbers, side="right").astype(np.uint32), len(present)


def best_pairs(one: Ids, two: Ids, overlap: float) -> Counts:
    """Pairs of objects of two windows that are each other's best partner.

    Parameters
    ----------
    one, two : (z, y, x) uint32
        Numbers that the two windows give to the voxels that are compared.
    overlap : float
        Least intersection over union of a pair, over these voxels.

    Returns
    -------
    (m, 2) int64
        Objects of the two windows, counted from 0; each at most once.

    Examples
    --------
    >>> one, two = np.array([[[1, 1, 1, 2]]], np.uint32), np.array([[[1, 1, 3, 3]]], np.uint32)
    >>> best_pairs(one, two, 0.5).tolist()
    [[0, 0], [1, 2]]
    >>> best_pairs(one, two, 0.6).tolist()
    [[0, 0]]
    """
    both = (one > 0) & (two > 0)
    sizes = [np.bincount(ids.ravel()).astype(np.int64) for ids in (one, two)]
    width = np.int64(len(sizes[1]))
    keys, shared = np.unique(one[both] * width + two[both], return_counts=True)
    a, b = np.divmod(keys, width)
    ratio = shared / (sizes[0][a] + sizes[1][b] - shared)
    enough = ratio >= overlap
    a, b, ratio = a[enough], b[enough], ratio[enough]
    mutual = mutual_best(a, b, ratio)
    return np.stack([a[mutual] - 1, b[mutual] - 1], axis=1).astype(np.int64)


def mutual_best(one: Counts, two: Counts, ratio: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether each pair is the best one of both of its objects; of equal ones that of the lower.

    >>> mutual_best(np.array([0, 0, 1]), np.array([5, 6, 6]), np.array([0.4, 0.4, 0.3])).tolist()
    [True, False, False]
    """
    return np.asarray(_is_best(one, two, ratio) & _is_best(two, one, ratio))


def _is_best(own: Counts, other: Counts, ratio: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether each pair is the best one of its `own` object; the lower `other` of equal ones."""
    order = np.lexsort((other, -ratio, own))
    leads = np.ones(len(own), bool)
    leads[1:] = own[order][1:] != own[order][:-1]
    best = np.zeros(len(own), bool)
    best[order] = leads
    return best


def kept_table(ids: Ids, count: int, origin: Triple, shape: Triple) -> Components:
    """Table of all objects of a window, from the voxels that it keeps.

    Parameters
    ----------
    ids : (z, y, x) uint32
        Numbers of the kept voxels, not above `count`.
    count : int
        Objects of the window, with those of which it keeps no voxel.
    origin, shape : (z, y, x)
        Volume coordinates of the first kept voxel, and the shape of the volume.

    Examples
    --------
    >>> table = kept_table(np.array([[[2, 0, 2]]], np.uint32), 3, (0, 0, 4), (1, 1, 9))
    >>> table.voxels.tolist(), table.first[1]
    ([0, 2, 0], np.int64(4))
    """
    seen = tabulate(ids, np.zeros(ids.shape, np.uint8), origin, shape)
    table = without_voxels(count)
    rows = np.flatnonzero(seen.voxels)
    for name in ("voxels", "first", "start", "stop"):
        getattr(table, name)[rows] = getattr(seen, name)[rows]
    return table


def without_voxels(count: int) -> Components:
    """Table of objects of which no voxel was seen."""
    return Components(
        np.zeros(count, np.uint8),
        np.zeros(count, np.int64),
        np.full(count, NEVER),
        np.full((count, 3), NEVER),
        np.zeros((count, 3), np.int64),
    )


def merge_windows(lattice: Triple, parts: Sequence[WindowObjects]) -> Numbers:
    """Number the objects of the volume.

    Parameters
    ----------
    lattice : (z, y, x)
        Number of windows along each axis.
    parts : sequence of WindowObjects
        All windows, each once, in any order.
    """
    flat = [np.ravel_multi_index(tuple(part.windows.T), lattice) for part in parts]
    counts = np.zeros(int(np.prod(lattice)), np.int64)
    for place, part in zip(flat, parts, strict=True):
        counts[place] = part.counts
    starts = np.cumsum(counts) - counts
    table, rows = merge([_in_order(parts, flat, starts)], _rows(lattice, parts, flat, starts))
    objects = int(np.count_nonzero(table.voxels))  # those that no window keeps come last
    number = np.where(rows < objects, rows + 1, 0)
    chained = _chained(number, np.repeat(np.arange(len(counts)), counts))
    return Numbers(starts.reshape(lattice), number.astype(np.uint32), objects, chained)


def _in_order(parts: Sequence[WindowObjects], flat: Sequence[Counts], starts: Counts) -> Components:
    """One table of the objects of all windows, in the C order of the lattice."""
    places = [
        np.repeat(starts[place] - (np.cumsum(part.counts) - part.counts), part.counts)
        + np.arange(len(part.table))
        for place, part in zip(flat, parts, strict=True)
    ]
    order = np.argsort(np.concatenate(places))
    columns = ("code", "voxels", "first", "start", "stop")
    return Components(
        *(np.concatenate([getattr(part.table, name) for part in parts])[order] for name in columns)
    )


def _rows(
    lattice: Triple, parts: Sequence[WindowObjects], flat: Sequence[Counts], starts: Counts
) -> Counts:
    """Pairs as rows of the table of all windows."""
    step = np.array([lattice[1] * lattice[2], lattice[2], 1])
    rows = []
    for place, part in zip(flat, parts, strict=True):
        axis, upper, one, two = part.pairs.T
        lower = place[upper] - step[axis]
        rows.append(np.stack([starts[lower] + one, starts[place[upper]] + two], axis=1))
    return np.concatenate(rows)


def _chained(number: Counts, window: Counts) -> int:
    """Count the objects of a window that have the number of another one of the same window."""
    seen = number > 0
    keys = window[seen] * (number.max(initial=0) + 1) + number[seen]
    return len(keys) - len(np.unique(keys))
