"""Rows of whole numbers under whole keys, filled by compiled loops: a hash table with open addresses.

A table is two arrays: `keys`, `EMPTY` where a place is free, and `rows`. Its length is a power of
two, and at most half of it is used.
"""

from __future__ import annotations

from typing import TypeAlias

import numba as nb
import numpy as np
from numpy.typing import NDArray

Table: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int64]]
EMPTY = np.int64(-1)
# Bits of the second of two numbers in the key of a pair.
SHIFT = np.int64(32)
_MIXER = np.int64(0x2545F4914F6CDD1D)


@nb.njit(nogil=True, cache=True)
def new_table(length, columns):  # type: ignore[no-untyped-def]
    """An empty table."""
    return np.full(length, EMPTY, np.int64), np.zeros((length, columns), np.int64)


@nb.njit(nogil=True, cache=True)
def place_of(keys, key):  # type: ignore[no-untyped-def]
    """Place of a key, or the free place where it belongs."""
    last = keys.size - 1
    mixed = key * _MIXER
    place = (mixed ^ (mixed >> np.int64(29))) & last
    while keys[place] != EMPTY and keys[place] != key:
        place = (place + 1) & last
    return place


@nb.njit(nogil=True, cache=True)
def roomier(keys, rows):  # type: ignore[no-untyped-def]
    """The same table with twice the length."""
    wide, moved = new_table(2 * keys.size, rows.shape[1])
    for old in range(keys.size):
        if keys[old] != EMPTY:
            place = place_of(wide, keys[old])
            wide[place], moved[place] = keys[old], rows[old]
    return wide, moved


def by_key(keys: NDArray[np.int64], rows: NDArray[np.int64]) -> Table:
    """Keys in ascending order, and their rows.

    >>> keys, rows = new_table(8, 1)
    >>> keys[2], rows[2] = 7, 5
    >>> [part.tolist() for part in by_key(keys, rows)]
    [[7], [[5]]]
    """
    used = np.flatnonzero(keys != EMPTY)
    order = used[np.argsort(keys[used])]
    return keys[order], rows[order]
