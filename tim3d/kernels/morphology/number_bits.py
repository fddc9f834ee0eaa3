"""Bits of voxels by the numbers that they have."""

from __future__ import annotations

import numba as nb
import numpy as np
from numpy.typing import NDArray


def bits_of_numbers(
    numbers: NDArray[np.uint32], ids: NDArray[np.uint32], bits: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Bits of every voxel: those of its number, 0 where it is not among them.

    One byte a voxel is allocated, however many numbers there are.

    Parameters
    ----------
    numbers : (z, y, x) uint32
        Number of each voxel.
    ids : (n,) uint32
        Numbers, rising.
    bits : (n,) uint8
        Bits of each.

    Examples
    --------
    >>> ids, bits = np.array([3, 7], np.uint32), np.array([1, 6], np.uint8)
    >>> bits_of_numbers(np.array([[[0, 3, 7, 8]]], np.uint32), ids, bits).tolist()
    [[[0, 1, 6, 0]]]
    """
    found = np.zeros(numbers.shape, np.uint8)
    if len(ids):
        _look_up(numbers, ids, bits, found)
    return found


@nb.njit(nogil=True, cache=True)
def _look_up(
    numbers: NDArray[np.uint32],
    ids: NDArray[np.uint32],
    bits: NDArray[np.uint8],
    found: NDArray[np.uint8],
) -> None:
    for z in range(numbers.shape[0]):
        for y in range(numbers.shape[1]):
            last, bit = ids[0], bits[0]
            for x in range(numbers.shape[2]):
                number = numbers[z, y, x]
                if number != last:  # neighbours mostly have one number
                    place = np.searchsorted(ids, number)
                    known = place < len(ids) and ids[place] == number
                    last, bit = number, bits[place] if known else np.uint8(0)
                found[z, y, x] = bit
