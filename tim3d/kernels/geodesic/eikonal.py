"""Arrival: one voxel's distance from its neighbours, and fronts that carry it through a region.

Distances are whole numbers of `UNIT` parts of the shortest edge, so that "nothing changes any more" is exact.

A front is a ring of voxels whose value was lowered and whose neighbours do not know yet. A round takes each voxel of
the ring once: what lies below the level hands its value on, the rest goes back to the end; then the level rises.
Order is thus nearly that of the distance, which saves work but decides nothing: both updates are monotone (a lower
neighbour never raises a voxel), so lowering voxels in any order, from above, ends in the largest of all fixed points
(Tarski). A voxel that was taken too early is lowered and queued again.

Helpers that take arrays are inlined by force: a call costs as much as the update.
"""

from __future__ import annotations

import math
from typing import Any

import numba as nb
import numpy as np

# Parts of the shortest voxel edge.
UNIT = 2**16
# No distance known; also outside the region.
UNREACHED = 2**32 - 1
# Room that the ring keeps for what one voxel can add.
ROOM = 32

# State of a voxel: not to be changed (outside the region, or in the halo), at rest, in the ring.
FIXED, REST, QUEUED = 0, 1, 2
# What a march keeps between two calls: first entry, entries, entries left in the round, entries taken from those
# that wait, level, lowest value in the ring (or below), whether a value came near the largest.
HEAD, COUNT, LEFT, FED, LEVEL, LOWEST, FAR = range(7)

_compiled = nb.njit(nogil=True, cache=True, error_model="numpy")
_inlined = nb.njit(nogil=True, cache=True, error_model="numpy", forceinline=True)


@_inlined
def root(az: float, wz: float, ay: float, wy: float, ax: float, wx: float) -> float:
    """The u with sum of w max(u - a, 0)^2 = 1, in floating point; an axis with a = inf is left out."""
    swap = ay < az
    az, wz, ay, wy = (ay if swap else az), (wy if swap else wz), (az if swap else ay), (wz if swap else wy)
    swap = ax < az
    az, wz, ax, wx = (ax if swap else az), (wx if swap else wz), (az if swap else ax), (wz if swap else wx)
    swap = ax < ay
    ay, wy, ax, wx = (ax if swap else ay), (wx if swap else wy), (ay if swap else ax), (wy if swap else wx)
    d = ay - az
    alone = wz * (d * d) >= 1
    d, wy = (0.0 if alone else d), (0.0 if alone else wy)
    w, b = wz + wy, wy * d
    u = (b + math.sqrt(w - wz * wy * (d * d))) / w
    e = ax - az
    w, b = w + wx, b + wx * e
    square = b * b - w * (wy * (d * d) + wx * (e * e) - 1)
    return az + (u if u <= e else (b + math.sqrt(max(square, 0.0))) / w)


@_inlined
def slope(u: float, az: float, wz: float, ay: float, wy: float, ax: float, wx: float) -> float:
    """Sum of w max(u - a, 0)^2. Each operation is correctly rounded, so it never falls as u grows or an a falls."""
    ez, ey, ex = max(u - az, 0.0), max(u - ay, 0.0), max(u - ax, 0.0)
    return wz * (ez * ez) + wy * (ey * ey) + wx * (ex * ex)


@_inlined
def upwind(az: float, wz: float, ay: float, wy: float, ax: float, wx: float) -> int:
    """The smallest whole u with slope(u + 1/2) >= 1: the root, rounded in a way that is exactly monotone in each a."""
    u = math.floor(root(az, wz, ay, wy, ax, wx) + 0.5)
    while slope(u - 0.5, az, wz, ay, wy, ax, wx) >= 1:
        u -= 1
    while slope(u + 0.5, az, wz, ay, wy, ax, wx) < 1:
        u += 1
    return int(u)


@_inlined
def pull_eikonal(values: Any, v: int, offsets: Any, weights: Any) -> int:
    """First-order distance of a voxel from its six neighbours."""
    az = min(values[v - offsets[0]], values[v + offsets[0]])
    ay = min(values[v - offsets[1]], values[v + offsets[1]])
    ax = min(values[v - offsets[2]], values[v + offsets[2]])
    if min(az, min(ay, ax)) == UNREACHED:
        return UNREACHED
    return upwind(float(az), weights[0], float(ay), weights[1], float(ax), weights[2])


@_inlined
def pull_graph(values: Any, v: int, offsets: Any, steps: Any) -> Any:
    """Shortest way to a voxel over one of its 26 neighbours."""
    best = np.int64(UNREACHED)
    for k in range(len(offsets)):
        best = min(best, values[v + offsets[k]] + steps[k])
    return best


@_inlined
def _queue(v: int, values: Any, state: Any, ring: Any, at: Any) -> None:
    """Put a voxel at the end of the ring, unless it is there."""
    at[LOWEST] = min(at[LOWEST], values[v])
    if state[v] == REST:
        state[v] = QUEUED
        end = at[HEAD] + at[COUNT]
        ring[end if end < len(ring) else end - len(ring)] = v
        at[COUNT] += 1


@_inlined
def _push_eikonal(values: Any, v: int, state: Any, offsets: Any, weights: Any, ring: Any, at: Any) -> None:
    """Hand the value of a voxel on to its six neighbours."""
    t = values[v]
    wz, wy, wx = weights[0], weights[1], weights[2]
    for k in range(6):
        offset = offsets[k]
        n = v + offset
        old = values[n]
        # From behind, or where the neighbour beyond is lower, it changes nothing.
        if old <= t or state[n] == FIXED or values[n + offset] < t:
            continue
        az = float(min(values[n - offsets[0]], values[n + offsets[0]]))
        ay = float(min(values[n - offsets[1]], values[n + offsets[1]]))
        ax = float(min(values[n - offsets[2]], values[n + offsets[2]]))
        # Whether there is a lower value is cheaper to ask than to find it.
        if slope(float(old) - 0.5, az, wz, ay, wy, ax, wx) >= 1:
            values[n] = upwind(az, wz, ay, wy, ax, wx)
            _queue(n, values, state, ring, at)


@_inlined
def _push_graph(values: Any, v: int, state: Any, offsets: Any, steps: Any, ring: Any, at: Any) -> None:
    """Hand the value of a voxel on to its 26 neighbours."""
    t = np.int64(values[v])
    for k in range(len(offsets)):
        n = v + offsets[k]
        u = t + steps[k]
        if u < values[n] and state[n] != FIXED:
            values[n] = u
            _queue(n, values, state, ring, at)


@_compiled
def march(
    values: Any,
    state: Any,
    graph: bool,
    offsets: Any,
    steps: Any,
    later: Any,
    width: int,
    limit: int,
    ring: Any,
    at: Any,
) -> bool:
    """Run rounds until the ring is empty (True), or has no room left (False: give it more and call again).

    ``later`` are voxels to be queued when the level comes to their value, lowest first.
    """
    while True:
        while at[LEFT] > 0:
            if at[COUNT] > len(ring) - ROOM:
                return False
            v = ring[at[HEAD]]
            at[HEAD] = at[HEAD] + 1 if at[HEAD] + 1 < len(ring) else 0
            at[COUNT] -= 1
            at[LEFT] -= 1
            state[v] = REST
            t = np.int64(values[v])
            if t >= at[LEVEL]:
                _queue(v, values, state, ring, at)
                continue
            at[FAR] |= t > limit
            if graph:
                _push_graph(values, v, state, offsets, steps, ring, at)
            else:
                _push_eikonal(values, v, state, offsets, steps, ring, at)
        if at[FED] < len(later):
            at[LOWEST] = min(at[LOWEST], values[later[at[FED]]])
        elif at[COUNT] == 0:
            return True
        at[LEVEL] = at[LOWEST] + width
        at[LOWEST] = UNREACHED
        while at[FED] < len(later) and values[later[at[FED]]] < at[LEVEL] and at[COUNT] <= len(ring) - ROOM:
            _queue(later[at[FED]], values, state, ring, at)
            at[FED] += 1
        at[LEFT] = at[COUNT]
        at[LOWEST] = UNREACHED


@_compiled
def census(values: Any, state: Any) -> tuple[int, int]:
    """Voxels of the core with a value, and without."""
    reached, inside = 0, 0
    for v in range(len(values)):
        reached += (state[v] != FIXED) & (values[v] != UNREACHED)
        inside += state[v] != FIXED
    return reached, inside - reached


@_compiled
def frontier(values: Any, state: Any, offsets: Any, spread: bool, found: Any) -> int:
    """Queue the voxels that have a value and a neighbour in the core without; their number.

    Looked for from the side of those with a value (``spread``) or of those without, whichever are fewer.
    """
    count = 0
    for v in range(len(values)):
        if state[v] == FIXED or (values[v] != UNREACHED) != spread:
            continue
        for k in range(len(offsets)):
            n = v + offsets[k]
            if state[n] != FIXED and (values[n] != UNREACHED) != spread:
                known = v if spread else n
                if state[known] == REST:
                    state[known] = QUEUED
                    found[count] = known
                    count += 1
                if spread:
                    break
    return count


@_compiled
def rim(values: Any, state: Any, seams: Any, graph: bool, offsets: Any, steps: Any, found: Any) -> int:
    """Bring the voxels of the seams up to date with their neighbours; how many were lowered, written to ``found``.

    ``seams``: for each axis, 1 for the planes across it that are seams.
    """
    count = 0
    in_z, in_y, in_x = seams
    ny, nx = len(in_y), len(in_x)
    lines: Any = np.flatnonzero(in_x)
    every: Any = np.arange(nx)
    for z in range(1, len(in_z) - 1):
        for y in range(1, ny - 1):
            for x in every if in_z[z] or in_y[y] else lines:
                v = (z * ny + y) * nx + x
                if state[v] == FIXED:
                    continue
                u = pull_graph(values, v, offsets, steps) if graph else pull_eikonal(values, v, offsets, steps)
                if u < values[v]:
                    values[v] = u
                    found[count] = v
                    count += 1
    return count
