"""Voxels of each instance, and the sum of whole numbers over them; tables of blocks add up."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

import numba as nb
import numpy as np
from numpy.typing import NDArray

from tim3d.kernels.morphology.keyed_rows import EMPTY, by_key, new_table, place_of, roomier

Rows: TypeAlias = NDArray[np.int64]
_FIRST = 64


def instance_sums(numbers: NDArray[np.unsignedinteger[Any]], values: Rows) -> Rows:
    """Rows of the instances of a plane, in ascending order.

    Parameters
    ----------
    numbers : (y, x) uint16 or uint32
        Number of the instance of each pixel, 0 for none.
    values : (y, x) int64
        What is summed.

    Returns
    -------
    (n, 3) int64
        Number, voxels, sum.

    Examples
    --------
    >>> instance_sums(np.array([[0, 7, 7]], np.uint32), np.array([[5, 1, 2]])).tolist()
    [[7, 2, 3]]
    """
    keys, rows = by_key(*_add(np.ascontiguousarray(numbers), np.ascontiguousarray(values)))
    return np.column_stack([keys, rows])


@nb.njit(nogil=True, cache=True)
def _add(numbers, values):  # type: ignore[no-untyped-def]
    keys, rows = new_table(_FIRST, 2)
    used = 0
    ny, nx = numbers.shape
    for y in range(ny):
        for x in range(nx):
            own = np.int64(numbers[y, x])
            if own == 0:
                continue
            place = place_of(keys, own)
            if keys[place] == EMPTY:
                if 2 * used >= keys.size:
                    keys, rows = roomier(keys, rows)
                    place = place_of(keys, own)
                keys[place] = own
                used += 1
            rows[place, 0] += 1
            rows[place, 1] += values[y, x]
    return keys, rows


def added(tables: Iterable[Rows]) -> Rows:
    """Sum of some tables, in any order.

    >>> added([np.array([[7, 2, 3]]), np.array([[5, 1, 1], [7, 1, 4]])]).tolist()
    [[5, 1, 1], [7, 3, 7]]
    """
    every = np.concatenate([np.zeros((0, 3), np.int64), *tables])
    numbers, place = np.unique(every[:, 0], return_inverse=True)
    sums = np.zeros((len(numbers), 2), np.int64)
    np.add.at(sums, place.ravel(), every[:, 1:])
    return np.column_stack([numbers, sums])
