"""Thinning of phases to curves, by the order of distances and in steps that no blocking changes.

A voxel is taken away if that changes no connection, tunnel or void of its phase: if it is simple
for 26 neighbours of the phase and 6 of its surroundings (Bertrand and Malandain 1994). The tip of a
curve, with one neighbour left when a step begins, stays. Tips are marked then, as turns make a comb
of an edge, and its teeth are not curves (Nemeth, Kardos and Palagyi 2010).

Step n looks at the voxels nearer than n edges (the shortest of a voxel) to another phase, so that a
phase is thinned evenly in nm, whatever the shape of a voxel. It takes them by the parity of their
coordinates in the volume, in eight turns. No two voxels of a turn are neighbours: their order does
not matter. Turns follow each other as a Gray code::

    turn    0   1   2   3   4   5   6   7     changes in a step, with the way back to turn 0
    z       0   0   0   0   1   1   1   1     2
    y       0   0   1   1   1   1   0   0     2
    x       0   1   1   0   0   1   1   0     4

What a voxel becomes follows from its neighbours in earlier turns, and so on: a chain of neighbours
in ascending turns, which moves along an axis only where the parity of that axis changes. In n steps
it moves 2 n - 1, 2 n and 4 n voxels along z, y and x, and its last link reads one more (`halo`). A mark
follows from the same neighbours, at an earlier turn.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numba as nb
import numpy as np
from numpy.typing import NDArray

from tim3d.grid import Box, Triple

Ranks: TypeAlias = NDArray[np.uint8]
Radii: TypeAlias = NDArray[np.float32]

# Parities (z, y, x) of the eight turns.
TURNS = np.array(
    [
        (0, 0, 0), (0, 0, 1), (0, 1, 1), (0, 1, 0),
        (1, 1, 0), (1, 1, 1), (1, 0, 1), (1, 0, 0),
    ],
    np.int64,
)  # fmt: skip
# A distance this much above a whole number of edges counts as that number.
ROUNDING = 1e-3


def halo(steps: int) -> Triple:
    """Voxels around a box from which some steps of thinning depend on what lies beyond it.

    >>> halo(1), halo(8)
    ((2, 3, 5), (16, 17, 33))
    """
    return (2 * steps, 2 * steps + 1, 4 * steps + 1)


def last_level(largest: float, edge: float) -> int:
    """Step at which the voxel with the largest distance is looked at first.

    >>> last_level(10.0, 5.0), last_level(10.1, 5.0)
    (2, 3)
    """
    return int(np.ceil(largest / edge - ROUNDING))


def thin(
    ranks: Ranks, radii: Radii, edge: float, first: int, steps: int, core: Box, start: Triple
) -> NDArray[np.int64]:
    """Do some steps of thinning in place.

    Parameters
    ----------
    ranks : (z, y, x) uint8
        Number of the phase of each voxel that is left, 0 elsewhere; voxels are set to 0 in place.
    radii : (z, y, x) float32
        Distance of each voxel to another phase, in nm.
    edge : float
        Shortest edge of a voxel, in nm.
    first, steps : int
        The first step (from 1), and how many are done.
    core : Box
        Box of the array in which the voxels that are taken away are counted.
    start : (z, y, x)
        Coordinates of the first voxel of the array in the volume.

    Returns
    -------
    (steps,) int64
        Voxels of the core that each step took away.

    References
    ----------
    G. Bertrand, G. Malandain, A new characterization of three-dimensional simple points, Pattern
    Recognition Letters 15 (1994) 169-175, doi:10.1016/0167-8655(94)90046-9.

    C. Pudney, Distance-ordered homotopic thinning: a skeletonization algorithm for 3D digital
    images, Computer Vision and Image Understanding 72 (1998) 404-413, doi:10.1006/cviu.1998.0680.

    G. Nemeth, P. Kardos, K. Palagyi, Topology preserving 3D thinning algorithms using four and eight
    subfields, ICIAR 2010, LNCS 6111, 316-325, doi:10.1007/978-3-642-13772-3_32: turns by parity, and
    ends of curves as they are when a step begins.

    Examples
    --------
    >>> ranks = np.ones((3, 3, 9), np.uint8)
    >>> radii = np.pad(np.full((1, 1, 9), 2, np.float32), [(1, 1), (1, 1), (0, 0)], constant_values=1)
    >>> thin(ranks, radii, 1.0, 1, 3, Box.whole((3, 3, 9)), (0, 0, 0)).tolist()
    [72, 0, 0]
    >>> ranks[1, 1].tolist()
    [1, 1, 1, 1, 1, 1, 1, 1, 1]
    """
    framed = np.pad(ranks, 1)
    limits = np.array([core.start, core.stop], np.int64)
    kinds = _kinds(framed.size, first + steps)
    taken = _thin(
        framed, radii, edge, first, steps, limits, np.array(start, np.int64), TURNS, kinds
    )
    ranks[...] = framed[1:-1, 1:-1, 1:-1]
    return np.asarray(taken)


def _kinds(voxels: int, steps: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Empty arrays of the types that hold the place of a voxel, and a step."""
    place = np.int32 if voxels < 2**31 else np.int64
    return np.empty(0, place), np.empty(0, np.uint16 if steps < 2**16 else np.int32)


def thinning_bytes(core: Triple, read: Triple) -> int:
    """Bytes of ranks, their copy in a frame, distances and the lists; or of what is decoded before."""
    framed, voxels = int(np.prod([n + 2 for n in read])), int(np.prod(read))
    place, level = _kinds(framed, 0)
    lists = place.itemsize + level.itemsize + 1
    # Ranks of a byte and distances of four, each twice while they are decoded.
    return max(10 * voxels, (5 + lists) * voxels + framed) + 3 * int(np.prod(core))


@nb.njit(nogil=True, cache=True)
def _level(radius: Any, edge: Any) -> int:
    return int(np.ceil(np.float64(radius) / edge - ROUNDING))


@nb.njit(nogil=True, cache=True)
def _listed(framed, radii, edge, last, start, turns, kinds):  # type: ignore[no-untyped-def]
    """Voxels that are looked at up to a step, sorted by turn, and the step of each."""
    turn_of = np.zeros((2, 2, 2), np.int64)
    for turn in range(8):
        turn_of[turns[turn, 0], turns[turn, 1], turns[turn, 2]] = turn
    nz, ny, nx = radii.shape
    count = np.zeros(9, np.int64)
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                if framed[z + 1, y + 1, x + 1] and _level(radii[z, y, x], edge) <= last:
                    of = turn_of[(z + start[0]) & 1, (y + start[1]) & 1, (x + start[2]) & 1]
                    count[of + 1] += 1
    begin = np.cumsum(count)
    place, level = np.empty(begin[8], kinds[0].dtype), np.empty(begin[8], kinds[1].dtype)
    at = begin.copy()
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                if framed[z + 1, y + 1, x + 1] and _level(radii[z, y, x], edge) <= last:
                    of = turn_of[(z + start[0]) & 1, (y + start[1]) & 1, (x + start[2]) & 1]
                    place[at[of]] = ((z + 1) * (ny + 2) + y + 1) * (nx + 2) + x + 1
                    level[at[of]] = _level(radii[z, y, x], edge)
                    at[of] += 1
    return place, level, begin


@nb.njit(nogil=True, cache=True)
def _thin(framed, radii, edge, first, steps, limits, start, turns, kinds):  # type: ignore[no-untyped-def]
    place, level, begin = _listed(framed, radii, edge, first + steps - 1, start, turns, kinds)
    ny, nx = framed.shape[1], framed.shape[2]
    flat, stop, taken = framed.reshape(-1), begin[1:].copy(), np.zeros(steps, np.int64)
    tip = np.zeros(len(place), np.bool_)
    for step in range(steps):
        for turn in range(8):
            for i in range(begin[turn], stop[turn]):
                due = level[i] <= first + step
                tip[i] = due and _is_tip(flat, np.int64(place[i]), ny * nx, nx)
        for turn in range(8):
            kept = begin[turn]
            for i in range(begin[turn], stop[turn]):
                at = np.int64(place[i])
                due = level[i] <= first + step and not tip[i]
                if due and _is_taken(flat, at, ny * nx, nx):
                    flat[at] = 0
                    z, y, x = at // (ny * nx) - 1, at // nx % ny - 1, at % nx - 1
                    taken[step] += (
                        limits[0, 0] <= z < limits[1, 0]
                        and limits[0, 1] <= y < limits[1, 1]
                        and limits[0, 2] <= x < limits[1, 2]
                    )
                else:
                    place[kept], level[kept] = at, level[i]
                    kept += 1
            stop[turn] = kept
    return taken


@nb.njit(nogil=True, cache=True)
def _is_tip(flat, at, plane, row):  # type: ignore[no-untyped-def]
    """Whether a voxel has one neighbour."""
    found = -1  # the voxel itself is counted too
    for z in range(-1, 2):
        for y in range(-1, 2):
            line = at + z * plane + y * row
            for x in range(-1, 2):
                found += flat[line + x] == flat[at]
            if found > 1:
                return False
    return found == 1


@nb.njit(nogil=True, cache=True)
def _is_taken(flat, at, plane, row):  # type: ignore[no-untyped-def]
    """Whether a voxel is at the surface and simple."""
    own = flat[at]
    if (
        flat[at - 1] == own
        and flat[at + 1] == own
        and flat[at - row] == own
        and flat[at + row] == own
        and flat[at - plane] == own
        and flat[at + plane] == own
    ):
        return False
    around = 0
    for z in range(3):
        for y in range(3):
            line = at + (z - 1) * plane + (y - 1) * row - 1
            for x in range(3):
                if flat[line + x] == own:
                    around |= 1 << (9 * z + 3 * y + x)
    around &= ~CENTRE
    return around != 0 and _is_simple(around)


def _bits(chosen: Any) -> int:
    """Mask of the neighbours (dz, dy, dx), each 0 to 2, that are chosen."""
    return sum(
        1 << (9 * z + 3 * y + x)
        for z in range(3)
        for y in range(3)
        for x in range(3)
        if chosen(z, y, x)
    )


CENTRE = 1 << 13
ALL = (1 << 27) - 1
FACES = _bits(lambda z, y, x: abs(z - 1) + abs(y - 1) + abs(x - 1) == 1)
NO_CORNERS = _bits(lambda z, y, x: 0 < abs(z - 1) + abs(y - 1) + abs(x - 1) < 3)
# Neighbours that have one beyond them, and one before them, along x and y.
BELOW_X, ABOVE_X = _bits(lambda z, y, x: x < 2), _bits(lambda z, y, x: x > 0)
BELOW_Y, ABOVE_Y = _bits(lambda z, y, x: y < 2), _bits(lambda z, y, x: y > 0)


@nb.njit(nogil=True, cache=True)
def _is_simple(around):  # type: ignore[no-untyped-def]
    """Whether the neighbours hang together, and those of the surroundings that touch a face."""
    found, before = around & -around, 0
    while found != before:
        before = found
        found |= ((found & BELOW_X) << 1) | ((found & ABOVE_X) >> 1)
        found |= ((found & BELOW_Y) << 3) | ((found & ABOVE_Y) >> 3)
        found |= (found << 9) | (found >> 9)
        found &= around
    if found != around:
        return False
    free = ~around & NO_CORNERS
    faces = free & FACES
    found, before = faces & -faces, 0
    while found != before:
        before = found
        found |= (
            ((found & BELOW_X) << 1)
            | ((found & ABOVE_X) >> 1)
            | ((found & BELOW_Y) << 3)
            | ((found & ABOVE_Y) >> 3)
            | (found << 9)
            | (found >> 9)
        )
        found &= free
    return faces != 0 and (faces & ~found) == 0
