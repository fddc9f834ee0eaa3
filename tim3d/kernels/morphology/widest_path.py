"""Widest paths: from an inlet to every voxel along the path whose narrowest ball is the largest.

The width of a path is the smallest radius on it; a voxel has the width of its widest path. Steps go
over faces, edges and corners. Widths are radii of voxels, compared and never added, so that they
have the same bits in any order of work.
"""

from __future__ import annotations

import heapq
from typing import Any, TypeAlias

import numba as nb
import numpy as np
from numpy.typing import NDArray

Radii: TypeAlias = NDArray[np.float32]


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
    # Floats that are not negative are ordered as their bits: one whole number holds width and place.
    _widen(widths.view(np.int32), radii.view(np.int32))


@nb.njit(nogil=True, cache=True)
def _widen(widths: Any, radii: Any) -> None:
    nz, ny, nx = widths.shape
    # The widest comes first; a voxel that was raised since is met again and passed over.
    waiting = [np.int64(0)]
    waiting.pop()
    for place in range(widths.size):
        z, y, x = place // (ny * nx), place // nx % ny, place % nx
        if widths[z, y, x] > 0 and _raises(widths, radii, z, y, x):
            waiting.append(_waiting(widths[z, y, x], place))
    heapq.heapify(waiting)
    while len(waiting) > 0:
        first = heapq.heappop(waiting)
        width, at = -(first >> 32), first & 0xFFFFFFFF
        z, y, x = at // (ny * nx), at // nx % ny, at % nx
        if width < widths[z, y, x]:
            continue
        for oz in range(max(0, z - 1), min(nz, z + 2)):
            for oy in range(max(0, y - 1), min(ny, y + 2)):
                for ox in range(max(0, x - 1), min(nx, x + 2)):
                    found = min(width, radii[oz, oy, ox])
                    if found > widths[oz, oy, ox]:
                        widths[oz, oy, ox] = found
                        heapq.heappush(waiting, _waiting(found, (oz * ny + oy) * nx + ox))


@nb.njit(nogil=True, cache=True)
def _waiting(width: Any, place: Any) -> Any:
    """Return a number that is the smaller the wider a voxel is; of equal ones the lower place comes first."""
    return -(np.int64(width) << np.int64(32)) + np.int64(place)


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
