"""Basins joined over wide necks to particles.

Necks are taken from the widest down; one joins its two sides if it is wider than a share of the
smaller of their two largest radii, or lies less than a depth below it. Joined by depth alone, the
basins that are left are those of the h-maxima of the map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numba as nb
import numpy as np

from tim3d.grid import Box, Triple
from tim3d.kernels.morphology.basins import Ids, Places, Radii, basins
from tim3d.kernels.morphology.necks import Necks, necks_within, widest


@dataclass(frozen=True)
class Joining:
    """Which necks join their two sides, whose smaller largest radius is r.

    Those with a radius above ``share * r - depth``.

    Parameters
    ----------
    share : float
        Share of a radius, 0 to 1.
    depth : float
        Length in the unit of the radii: with a share of 1 the persistence of what is joined.
    """

    share: float = 1.0
    depth: float = 0.0


def joined(radius: Radii, necks: Necks, how: Joining) -> Places:
    """Number of the particle of each basin.

    Parameters
    ----------
    radius : (n,) float32
        Largest radius of each basin. Basins are in the order of the places of their peaks.
    necks : Necks
        Necks between basins, numbered from 0, each pair once and with the lower number first.
    how : Joining
        Which necks join.

    Returns
    -------
    (n,) int64
        Numbers from 1, in the order of the places of the largest radii; among equal radii of a
        particle the first counts.

    Examples
    --------
    >>> radius = np.array([5, 4, 6], np.float32)
    >>> necks = Necks(np.array([0, 1]), np.array([1, 2]), np.array([2, 3.5], np.float32))
    >>> joined(radius, necks, Joining(0.75)).tolist(), joined(radius, necks, Joining(0.9)).tolist()
    ([1, 2, 2], [1, 2, 3])
    >>> joined(radius, necks, Joining(depth=1)).tolist()
    [1, 2, 2]
    """
    order = np.lexsort((necks.second, necks.first, -necks.radius))
    chief = _chiefs(
        radius.astype(np.float64), necks.first[order], necks.second[order],
        necks.radius[order].astype(np.float64), how.share, how.depth,
    )  # fmt: skip
    _, number = np.unique(chief, return_inverse=True)
    return np.asarray(number + 1, np.int64)


@nb.njit(nogil=True, cache=True)
def _chiefs(radius, first, second, neck, share, depth):  # type: ignore[no-untyped-def]
    """Basin of the largest radius that each basin hangs together with."""
    above = np.arange(radius.size)
    for place in range(first.size):
        a, b = first[place], second[place]
        while above[a] != a:
            above[a] = above[above[a]]
            a = above[a]
        while above[b] != b:
            above[b] = above[above[b]]
            b = above[b]
        if a == b:
            continue
        if radius[b] > radius[a] or (radius[b] == radius[a] and b < a):
            a, b = b, a
        if neck[place] > share * radius[b] - depth:
            above[b] = a
    for place in range(radius.size):
        end = place
        while above[end] != end:
            end = above[end]
        above[place] = end
    return above


def ends_of(following: Places) -> Places:
    """Last of each chain of pointers; what points to itself ends a chain.

    >>> ends_of(np.array([1, 2, 2, 0])).tolist()
    [2, 2, 2, 2]
    """
    while True:
        further = following[following]
        if np.array_equal(further, following):
            return following
        following = further


def renumbered(ids: Ids, numbers: Places) -> Ids:
    """Give each basin another number, in place, plane by plane: indices take eight bytes each.

    >>> renumbered(np.array([[[1, 2, 0, 2]]], np.uint32), np.array([7, 9])).tolist()
    [[[7, 9, 0, 9]]]
    """
    table = np.concatenate([[0], numbers]).astype(np.uint32)
    for plane in ids:
        plane[...] = table[plane]
    return ids


def basins_of_volume(
    radii: Radii, share: float, spacing: Sequence[float] = (1.0, 1.0, 1.0), depth: float = 0.0
) -> Ids:
    """Particles of a volume in memory, as one block.

    Parameters
    ----------
    radii : (Z, Y, X) float32
        Distance to the nearest voxel outside, 0 outside.
    share, depth : float
        See `Joining`.
    spacing : (z, y, x)
        Edges of a voxel.

    Examples
    --------
    >>> radii = np.array([[[1, 2, 1, 1, 2, 3, 0, 1]]], np.float32)
    >>> basins_of_volume(radii, 0.75).tolist()
    [[[1, 1, 1, 2, 2, 2, 0, 3]]]
    """
    shape: Triple = (radii.shape[0], radii.shape[1], radii.shape[2])
    around = np.zeros([n + 2 for n in shape], np.float32)
    around[Box((1, 1, 1), (shape[0] + 1, shape[1] + 1, shape[2] + 1)).slices] = radii
    found = basins(around, (0, 0, 0), shape, spacing)
    order = np.argsort(found.end)
    rank = np.argsort(order)
    necks = necks_within(found.ids, radii)
    a, b = rank[necks.first - 1], rank[necks.second - 1]
    ranked = widest(np.minimum(a, b), np.maximum(a, b), necks.radius)
    number = joined(found.radius[order], ranked, Joining(share, depth))
    return renumbered(found.ids, number[rank])
