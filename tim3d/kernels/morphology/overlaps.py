"""Voxels that each pair of objects of two fields has in common: the sparse contingency table."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

import numba as nb
import numpy as np
from numpy.typing import NDArray

from tim3d.kernels.morphology.keyed_rows import EMPTY, SHIFT, by_key, new_table, place_of, roomier

Rows: TypeAlias = NDArray[np.int64]
Numbers: TypeAlias = NDArray[np.unsignedinteger[Any]]

_FIRST = 64


def overlaps(true: Numbers, found: Numbers) -> Rows:
    """Voxels by number in the truth and number in the prediction, rows in ascending order.

    Parameters
    ----------
    true, found : (z, y, x) uint8, uint16 or uint32
        Numbers of the objects, 0 for none.

    Returns
    -------
    (n, 3) int64
        Number in the truth, number in the prediction, voxels. Tables of blocks add up: `added`.

    Examples
    --------
    >>> true, found = np.array([[[1, 1, 0]]], np.uint32), np.array([[[7, 0, 0]]], np.uint32)
    >>> overlaps(true, found).tolist()
    [[0, 0, 1], [1, 0, 1], [1, 7, 1]]
    """
    keys, rows = by_key(*_count(np.ascontiguousarray(true), np.ascontiguousarray(found)))
    # Numbers from 2^31 on make a negative key, of which the upper half is read without its sign.
    first = (keys >> SHIFT) & np.int64(0xFFFFFFFF)
    table = np.column_stack([first, keys & np.int64(0xFFFFFFFF), rows[:, 0]])
    return table[np.lexsort((table[:, 1], table[:, 0]))]


def added(tables: Iterable[Rows]) -> Rows:
    """Sum of the tables of blocks, in any order.

    >>> added([np.array([[1, 7, 2]]), np.array([[0, 0, 4], [1, 7, 3]])]).tolist()
    [[0, 0, 4], [1, 7, 5]]
    """
    rows = np.concatenate([np.zeros((0, 3), np.int64), *tables])
    pairs, place = np.unique(rows[:, :2], axis=0, return_inverse=True)
    voxels = np.zeros(len(pairs), np.int64)
    np.add.at(voxels, place.ravel(), rows[:, 2])
    return np.column_stack([pairs, voxels])


@nb.njit(nogil=True, cache=True)
def _count(true, found):  # type: ignore[no-untyped-def]
    """Add up runs along x."""
    keys, rows = new_table(_FIRST, 1)
    used = 0
    nz, ny, nx = true.shape
    for z in range(nz):
        for y in range(ny):
            x = 0
            while x < nx:
                a, b, first = true[z, y, x], found[z, y, x], x
                while x < nx and true[z, y, x] == a and found[z, y, x] == b:
                    x += 1
                key = (np.int64(a) << SHIFT) | np.int64(b)
                place = place_of(keys, key)
                if keys[place] == EMPTY:
                    if 2 * used >= keys.size:
                        keys, rows = roomier(keys, rows)
                        place = place_of(keys, key)
                    keys[place] = key
                    used += 1
                rows[place, 0] += x - first
    return keys, rows
