"""Widest paths: from an inlet to every voxel along the path whose narrowest ball is the largest.

The width of a path is the smallest radius on it; a voxel has the width of its widest path. Steps go
over faces, edges and corners. Widths are radii of voxels, compared and never added, so that they
have the same bits in any order of work.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numba as nb
import numpy as np
from numpy.typing import NDArray

Radii: TypeAlias = NDArray[np.float32]

# Lists of voxels that wait, by the first bits of a width of 31 bits: 256 an octave.
SHIFT = 15
LISTS = 1 << (31 - SHIFT)
# The end of a list, and a voxel that is on none.
END, ABSENT = np.int32(-1), np.int32(-2)


def widen(widths: Radii, radii: Radii) -> None:
    """Let widths spread in place until they are stable.

    Parameters
    ----------
    widths : (z, y, x) float32
        Width of the widest path that is known to each voxel, 0 for none; raised in place. Where it is
        larger than the radius (outside of what may be entered) it is kept, and spreads.
    radii : (z, y, x) float32
        Radius of the ball around each voxel, 0 where no path leads.

    Examples
    --------
    >>> widths = np.array([[[3, 0, 0, 0, 0]]], np.float32)
    >>> widen(widths, np.array([[[3, 2, 1, 4, 0]]], np.float32))
    >>> widths.tolist()
    [[[3.0, 2.0, 1.0, 1.0, 0.0]]]
    """
    # Floats that are not negative are ordered as their bits.
    ordered, known = widths.view(np.int32), radii.view(np.int32)
    seeds = _seeds(ordered, known)
    levels = ordered.reshape(-1)[seeds] >> SHIFT
    order = np.argsort(levels, kind="stable")[::-1]
    _widen(ordered, known, seeds[order], levels[order])


@nb.njit(nogil=True, cache=True)
def _seeds(widths: Any, radii: Any) -> Any:
    """Places of the voxels that raise a neighbour, where paths begin."""
    _, ny, nx = widths.shape
    places = [np.int32(0)]
    places.pop()
    for place in range(widths.size):
        z, y, x = place // (ny * nx), place // nx % ny, place % nx
        if widths[z, y, x] > 0 and _raises(widths, radii, z, y, x):
            places.append(np.int32(place))
    return np.array(places, np.int32)


@nb.njit(nogil=True, cache=True)
def _widen(widths: Any, radii: Any, seeds: Any, levels: Any) -> None:
    nz, ny, nx = widths.shape
    # Voxels wait in lists by the first bits of their width, and the widest list comes first. A
    # voxel is raised from the widest list that touches it, and later within this list alone, so
    # that it never changes lists; only seeds do, which wait in an array of their own.
    heads, after = np.full(LISTS, END, np.int32), np.full(widths.size, ABSENT, np.int32)
    flat, seed = widths.ravel(), 0
    for level in range(LISTS - 1, -1, -1):
        while seed < seeds.size and levels[seed] == level:
            place = seeds[seed]
            if flat[place] >> SHIFT == level and after[place] == ABSENT:
                after[place], heads[level] = heads[level], place
            seed += 1
        while heads[level] != END:
            at = heads[level]
            heads[level], after[at] = after[at], ABSENT
            width, z, y, x = flat[at], at // (ny * nx), at // nx % ny, at % nx
            for oz in range(max(0, z - 1), min(nz, z + 2)):
                for oy in range(max(0, y - 1), min(ny, y + 2)):
                    for ox in range(max(0, x - 1), min(nx, x + 2)):
                        found = min(width, radii[oz, oy, ox])
                        if found > widths[oz, oy, ox]:
                            widths[oz, oy, ox] = found
                            place = np.int32((oz * ny + oy) * nx + ox)
                            if after[place] == ABSENT:
                                after[place], heads[found >> SHIFT] = heads[found >> SHIFT], place


@nb.njit(nogil=True, cache=True)
def _raises(widths: Any, radii: Any, z: int, y: int, x: int) -> bool:
    """Whether a voxel raises one of its neighbours."""
    nz, ny, nx = widths.shape
    own = widths[z, y, x]
    for oz in range(max(0, z - 1), min(nz, z + 2)):
        for oy in range(max(0, y - 1), min(ny, y + 2)):
            for ox in range(max(0, x - 1), min(nx, x + 2)):
                if min(own, radii[oz, oy, ox]) > widths[oz, oy, ox]:
                    return True
    return False
