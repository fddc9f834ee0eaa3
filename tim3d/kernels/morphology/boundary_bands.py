"""Boundaries of classes in planes, and how much of them lies near the boundaries of the truth.

A pixel lies on the boundary of its class if one of its four neighbours in the plane is of another
class. The border of the plane is not a boundary, nor is the edge of pixels without a truth. All
counts are whole numbers that add up over blocks and planes.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tim3d.grid import Triple
from tim3d.lazy import ndimage

Ranks: TypeAlias = NDArray[np.uint8]
Mask: TypeAlias = NDArray[np.bool_]
Counts: TypeAlias = NDArray[np.int64]

# Rank of a pixel without a truth.
NONE = 255
# Columns of the counts of a class: pixels on its boundary in the prediction and in the truth, how
# many of them lie near the other one, and pixels near the boundary.
FOUND, FOUND_NEAR, TRUE, TRUE_NEAR, FOUND_BAND, TRUE_BAND = range(6)
COLUMNS = 6
# A length that equals a whole number of pixels but for rounding reaches all of them.
_SLACK = 1 + 1e-9


def half_widths(tolerance: float, spacing: tuple[float, float]) -> tuple[int, ...]:
    """Pixels on both sides that lie within a length, for the row itself, the next row, and so on.

    Parameters
    ----------
    tolerance : float
        The length.
    spacing : (dy, dx)
        Edges of a pixel, in the same unit.

    Examples
    --------
    >>> half_widths(2.0, (1.0, 1.0)), half_widths(10.0, (5.0, 10.0)), half_widths(0.0, (1.0, 1.0))
    ((2, 1, 0), (1, 0, 0), (0,))
    """
    dy, dx = spacing
    rows = range(math.floor(tolerance * _SLACK / dy) + 1)
    squares = ((tolerance * _SLACK) ** 2 - (row * dy) ** 2 for row in rows)
    return tuple(math.floor(math.sqrt(max(0.0, square)) / dx) for square in squares)


def reach(widths: tuple[int, ...]) -> Triple:
    """Voxels around a core on which its counts depend, along z, y, x."""
    return 0, len(widths), max(widths) + 1


def boundary_counts(
    found: Ranks, true: Ranks, classes: int, widths: tuple[int, ...], core: tuple[slice, slice]
) -> Counts:
    """Counts of the boundaries of every class in a plane.

    Parameters
    ----------
    found, true : (y, x) uint8
        Class of each pixel in the prediction and in the truth; `NONE` in both where there is no
        truth.
    classes : int
        Number of classes.
    widths : tuple of int
        Shape of what is near, from `half_widths`.
    core : (slice, slice)
        The pixels that count.

    Returns
    -------
    (classes, 6) int64
        Columns as named above.

    Examples
    --------
    >>> true = np.array([[0, 0, 1, 1, 1]], np.uint8)
    >>> found = np.array([[0, 0, 0, 1, 1]], np.uint8)
    >>> whole = slice(None), slice(None)
    >>> boundary_counts(found, true, 2, half_widths(1, (1, 1)), whole)[1].tolist()
    [1, 1, 1, 1, 3, 3]
    """
    edges = on_boundary(found), on_boundary(true)
    rows = []
    for label in range(classes):
        one, other = edges[0] & (found == label), edges[1] & (true == label)
        near_one, near_other = near(one, widths), near(other, widths)
        masks = (one, one & near_other, other, other & near_one)
        bands = (near_one & (true != NONE), near_other & (true != NONE))
        rows.append([int(np.count_nonzero(mask[core])) for mask in (*masks, *bands)])
    return np.array(rows, np.int64).reshape(classes, COLUMNS)


def on_boundary(ranks: Ranks) -> Mask:
    """Whether each pixel has a neighbour of another class."""
    edge = np.zeros(ranks.shape, bool)
    for low, high in (
        (np.s_[:-1, :], np.s_[1:, :]),
        (np.s_[:, :-1], np.s_[:, 1:]),
    ):
        a, b = ranks[low], ranks[high]
        differ = (a != b) & (a != NONE) & (b != NONE)
        edge[low] |= differ
        edge[high] |= differ
    return edge


def near(mask: Mask, widths: tuple[int, ...]) -> Mask:
    """Whether each pixel lies near one of a mask, by the shape from `half_widths`.

    >>> near(np.array([[True, False, False]]), (1,)).tolist()
    [[True, True, False]]
    """
    found = np.zeros(mask.shape, bool)
    if not mask.any():
        return found
    wide: dict[int, Mask] = {}
    for row, half in enumerate(widths[: len(mask)]):
        if half not in wide:
            grown = ndimage.maximum_filter1d(mask.view(np.uint8), 2 * half + 1, 1, mode="constant")
            wide[half] = grown.view(bool)
        found[row:] |= wide[half][: len(mask) - row]
        found[: len(mask) - row] |= wide[half][row:]
    return found
