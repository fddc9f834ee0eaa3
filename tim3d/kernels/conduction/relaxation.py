"""Relaxation of conduction problems: red-black Gauss-Seidel, several half sweeps in one pass over memory.

Arrays, codes and conductances are those of `stencil`; `colour` is 0 or 1 on the checkerboard.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba as nb
import numpy as np

from tim3d.kernels.conduction.arrays import F32, U8
from tim3d.kernels.conduction.few_codes import (
    THREE_CONDUCT,
    TWO_CONDUCT,
    relax_few,
    three_conduct,
    two_conduct,
)

# Rows that are taken through several half sweeps while they lie in the cache.
STRIP = 32
_kernel = nb.njit(nogil=True, cache=True, error_model="numpy")


@_kernel
def relax_codes(start: int, stop: int, x: F32, b: F32, codes: U8, pairs: F32, colour: int) -> None:
    """Half a Gauss-Seidel sweep: balance the flux of the voxels of one checkerboard colour."""
    for z in range(start, stop):
        _relax_codes(z, 1, x.shape[1] - 1, x, b, codes, pairs, colour)


# Half sweeps one after the other read the volume from memory each time. Here a plane is taken through
# all of them while it lies in the cache: half sweep k follows one plane and one row behind k - 1, whose
# values it needs from both neighbours. At the ends of the range the neighbours belong to another thread
# or slab, so every half sweep leaves out one plane more, and `relax_ends` makes those up:
#
#     z          start                            stop - 1
#     k = 0        o   o   o   o   o   o   o   o   o        o  made here
#     k = 1        .   o   o   o   o   o   o   o   .        .  made up, when all neighbours stand
#     k = 2        .   .   o   o   o   o   o   .   .
#     k = 3        .   .   .   o   o   o   .   .   .
@_kernel
def smooth_codes(
    start: int, stop: int, x: F32, b: F32, codes: U8, pairs: F32, colour: int, halves: int
) -> None:
    """Make half sweeps of alternating colours, `colour` first, number k without k planes at each end."""
    rows = x.shape[1] - 1
    for low in range(1, rows, STRIP):
        high = min(low + STRIP, rows)
        for z in range(start, stop):
            for half in range(min(halves, (z - start) // 2 + 1)):
                first, last = max(low - half, 1), high - half if high < rows else rows
                _relax_codes(z - half, first, last, x, b, codes, pairs, (colour + half) % 2)


@_kernel
def _relax_codes(
    z: int, low: int, high: int, x: F32, b: F32, codes: U8, pairs: F32, colour: int
) -> None:
    """Balance the voxels of one colour in the rows low <= y < high of a plane."""
    known, inside = pairs.shape[1] - 2, 1 < z < x.shape[0] - 2
    if inside and known <= TWO_CONDUCT:
        relax_few(z, low, high, x, b, codes, two_conduct(pairs), colour)
    elif inside and known == THREE_CONDUCT:
        relax_few(z, low, high, x, b, codes, three_conduct(pairs), colour)
    else:
        _relax_any(z, low, high, x, b, codes, pairs, colour)


@_kernel
def _relax_any(
    z: int, low: int, high: int, x: F32, b: F32, codes: U8, pairs: F32, colour: int
) -> None:
    """Balance voxels of whatever codes, as `_relax_codes`."""
    along_z, along_y, along_x = pairs[0], pairs[1], pairs[2]
    for y in range(low, high):
        for i in range(1 + (z + y + colour) % 2, x.shape[2] - 1, 2):
            own = codes[z, y, i]
            if own != 0:
                below, above = along_z[own, codes[z - 1, y, i]], along_z[own, codes[z + 1, y, i]]
                north, south = along_y[own, codes[z, y - 1, i]], along_y[own, codes[z, y + 1, i]]
                west, east = along_x[own, codes[z, y, i - 1]], along_x[own, codes[z, y, i + 1]]
                inflow = b[z, y, i] + below * x[z - 1, y, i] + above * x[z + 1, y, i]
                inflow += north * x[z, y - 1, i] + south * x[z, y + 1, i]
                inflow += west * x[z, y, i - 1] + east * x[z, y, i + 1]
                x[z, y, i] = inflow / (below + above + north + south + west + east)


@_kernel
def relax_faces(start: int, stop: int, x: F32, b: F32, faces: F32, colour: int) -> None:
    """Half a Gauss-Seidel sweep, as `relax_codes`, with stored conductances."""
    for z in range(start, stop):
        _relax_faces(z, 1, x.shape[1] - 1, x, b, faces, colour)


@_kernel
def smooth_faces(
    start: int, stop: int, x: F32, b: F32, faces: F32, colour: int, halves: int
) -> None:
    """Make half sweeps of alternating colours as `smooth_codes`, with stored conductances."""
    rows = x.shape[1] - 1
    for low in range(1, rows, STRIP):
        high = min(low + STRIP, rows)
        for z in range(start, stop):
            for half in range(min(halves, (z - start) // 2 + 1)):
                first, last = max(low - half, 1), high - half if high < rows else rows
                _relax_faces(z - half, first, last, x, b, faces, (colour + half) % 2)


@_kernel
def _relax_faces(z: int, low: int, high: int, x: F32, b: F32, faces: F32, colour: int) -> None:
    """Balance the voxels of one colour in the rows low <= y < high of a plane."""
    row = np.empty(x.shape[2], np.float32)
    for y in range(low, high):
        under, over = faces[0, z, y], faces[0, z + 1, y]
        behind, before, along = faces[1, z, y], faces[1, z, y + 1], faces[2, z, y]
        mine, source, lower, upper = x[z, y], b[z, y], x[z - 1, y], x[z + 1, y]
        back, front = x[z, y - 1], x[z, y + 1]
        for i in range(1, x.shape[2] - 1):
            below, above, north, south = under[i], over[i], behind[i], before[i]
            west, east = along[i], along[i + 1]
            total = below + above + north + south + west + east
            inflow = source[i] + below * lower[i] + above * upper[i]
            inflow += north * back[i] + south * front[i]
            inflow += west * mine[i - 1] + east * mine[i + 1]
            row[i] = inflow / total if total > 0 else mine[i]
        for i in range(1 + (z + y + colour) % 2, x.shape[2] - 1, 2):
            mine[i] = row[i]


def relax_ends(
    start: int, stop: int, half: Callable[..., None], number: int, *arguments: Any
) -> None:
    """Make up the planes that half sweep `number` of a smoothing has left out at the ends of its range."""
    low = min(start + number, stop)
    half(start, low, *arguments)
    half(max(stop - number, low), stop, *arguments)


# What makes several half sweeps in one pass over memory, by what makes one.
AT_ONCE: dict[Callable[..., None], Callable[..., None]] = {
    relax_codes: smooth_codes,
    relax_faces: smooth_faces,
}
