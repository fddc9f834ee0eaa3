"""Middles and borders of instances: classes that a network can learn, from which a watershed finds them again."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tim3d.grid import Box, Triple, triple

MATRIX, MIDDLE, BORDER = 0, 1, 2


def offsets_within(width: float, spacing: Sequence[float]) -> list[Triple]:
    """Offsets to voxels within a distance, and to those that share a face; one of each pair of opposite ones.

    >>> offsets_within(1.5, (9.0, 1.0, 1.0))
    [(0, 0, 1), (0, 1, -1), (0, 1, 0), (0, 1, 1), (1, 0, 0)]
    """
    reach = [max(1, int(width / edge)) for edge in spacing]
    every = itertools.product(*(range(-r, r + 1) for r in reach))
    near = (
        one
        for one in every
        if sum(map(abs, one)) == 1
        or sum((o * e) ** 2 for o, e in zip(one, spacing, strict=True)) <= width**2
    )
    return sorted(triple(one) for one in near if one > (0, 0, 0))


def halo_of(offsets: Sequence[Triple]) -> Triple:
    """Voxels that a voxel depends on, along each axis."""
    return triple(max(abs(one[axis]) for one in offsets) for axis in range(3))


def classes_of(
    numbers: NDArray[np.unsignedinteger[Any]], core: Box, offsets: Sequence[Triple]
) -> NDArray[np.uint8]:
    """Class of each voxel of a core: matrix, or border of an instance if another or none is near, else its middle.

    Parameters
    ----------
    numbers : (z, y, x) uint16 or uint32
        Numbers of the core and of what is near it; where there is less, the volume ends.
    core : Box
        The core within these.
    offsets : sequence of (z, y, x)
        What is near, from `offsets_within`.

    Examples
    --------
    >>> line = np.array([[[0, 7, 7, 7, 9, 9]]], np.uint32)
    >>> classes_of(line, Box.whole(line.shape), [(0, 0, 1)]).tolist()
    [[[0, 2, 1, 2, 2, 1]]]
    """
    border = np.zeros(numbers.shape, bool)
    for offset in offsets:
        pairs = [_facing(o, n) for o, n in zip(offset, numbers.shape, strict=True)]
        low, high = tuple(a for a, _ in pairs), tuple(b for _, b in pairs)
        differ = numbers[low] != numbers[high]
        border[low] |= differ
        border[high] |= differ
    inside = numbers[core.slices] > 0
    classes = np.where(border[core.slices], np.uint8(BORDER), np.uint8(MIDDLE))
    return np.where(inside, classes, np.uint8(MATRIX))


def _facing(offset: int, count: int) -> tuple[slice, slice]:
    """Places along an axis that have a place at the offset, and those places."""
    own = slice(max(0, -offset), max(0, count - max(0, offset)))
    return own, slice(max(0, offset), max(0, count - max(0, -offset)))
