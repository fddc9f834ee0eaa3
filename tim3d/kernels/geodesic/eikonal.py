"""Arrival: update of a voxel's distance from its neighbours, and its propagation through a region.

Distances are integers, in `UNIT` parts of the shortest edge, so that convergence is exact.

A front is a ring buffer of voxels whose value was lowered and not yet propagated to their
neighbours. A round takes each voxel of the ring once: if its value is below the level, it updates
its neighbours; otherwise it is moved to the end. Then the level rises. Voxels are thus taken nearly
in the order of their distance, which saves work but does not affect the result: both updates are
monotone (a lower neighbour never raises a voxel), so lowering voxels in any order, from above, ends
in the largest of all fixed points (Tarski). A voxel that was taken too early is lowered and queued
again.

Helpers that take arrays are force-inlined: a call costs as much as the update.
"""

from __future__ import annotations

import math
from typing import Any

import numba as nb
import numpy as np

# Parts of the shortest voxel edge.
UNIT = 2**16
# Value of a voxel without a distance, and outside the region.
UNREACHED = 2**32 - 1
# Free entries that the ring must have for the neighbours of one voxel.
ROOM = 32

# State of a voxel: fixed (outside the region, or in the halo), at rest, or in the ring.
FIXED, REST, QUEUED = 0, 1, 2
# State of a march between two calls: first entry, number of entries, entries left in the round,
# entries taken from `later`, level, a lower bound of the values in the ring, whether a value is
# near the largest.
HEAD, COUNT, LEFT, FED, LEVEL, LOWEST, FAR = range(7)

_compiled = nb.njit(nogil=True, cache=True, error_model="numpy")
_inlined = nb.njit(nogil=True, cache=True, error_model="numpy", forceinline=True)


@_inlined
def root(az: float, wz: float, ay: float, wy: float, ax: float, wx: float) -> float:
    """Solve sum of w max(u - a, 0)^2 = 1 for u in floating point, without axes of a = inf."""
    swap = ay < az
    az, wz, ay, wy = (
        (ay if swap else az),
        (wy if swap else wz),
        (az if swap else ay),
        (wz if swap else wy),
    )
    swap = ax < az
    az, wz, ax, wx = (
        (ax if swap else az),
        (wx if swap else wz),
        (az if swap else ax),
        (wz if swap else wx),
    )
    swap = ax < ay
    ay, wy, ax, wx = (
        (ax if swap else ay),
        (wx if swap else wy),
        (ay if swap else ax),
        (wy if swap else wx),
    )
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
    """Sum of w max(u - a, 0)^2.

    Each operation is correctly rounded, so the sum never falls when u grows or an a falls.
    """
    ez, ey, ex = max(u - az, 0.0), max(u - ay, 0.0), max(u - ax, 0.0)
    return wz * (ez * ez) + wy * (ey * ey) + wx * (ex * ex)


@_inlined
def upwind(az: float, wz: float, ay: float, wy: float, ax: float, wx: float) -> int:
    """Smallest integer u with slope(u + 1/2) >= 1: the root rounded, exactly monotone in each a."""
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
    """Shortest path length to a voxel over one of its 26 neighbours."""
    best = np.int64(UNREACHED)
    for k in range(len(offsets)):
        best = min(best, values[v + offsets[k]] + steps[k])
    return best


@_inlined
def _queue(v: int, values: Any, state: Any, ring: Any, at: Any) -> None:
    """Append a voxel to the ring, unless it is already queued."""
    at[LOWEST] = min(at[LOWEST], values[v])
    if state[v] == REST:
        state[v] = QUEUED
        end = at[HEAD] + at[COUNT]
        ring[end if end < len(ring) else end - len(ring)] = v
        at[COUNT] += 1


@_inlined
def _push_eikonal(
    values: Any, v: int, state: Any, offsets: Any, weights: Any, ring: Any, at: Any
) -> None:
    """Update the six neighbours of a voxel from its value."""
    t = values[v]
    wz, wy, wx = weights[0], weights[1], weights[2]
    for k in range(6):
        offset = offsets[k]
        n = v + offset
        old = values[n]
        # No effect if the neighbour is not higher, or the voxel beyond it is lower.
        if old <= t or state[n] == FIXED or values[n + offset] < t:
            continue
        az = float(min(values[n - offsets[0]], values[n + offsets[0]]))
        ay = float(min(values[n - offsets[1]], values[n + offsets[1]]))
        ax = float(min(values[n - offsets[2]], values[n + offsets[2]]))
        # Testing for a lower value is cheaper than computing it.
        if slope(float(old) - 0.5, az, wz, ay, wy, ax, wx) >= 1:
            values[n] = upwind(az, wz, ay, wy, ax, wx)
            _queue(n, values, state, ring, at)


@_inlined
def _push_graph(
    values: Any, v: int, state: Any, offsets: Any, steps: Any, ring: Any, at: Any
) -> None:
    """Update the 26 neighbours of a voxel from its value."""
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
    """Run rounds until the ring is empty (True) or full (False: enlarge it and call again).

    Parameters
    ----------
    values, state : arrays
        Flat values and states of the voxels; changed in place.
    graph : bool
        Whether to update over 26 neighbours instead of by the eikonal equation.
    offsets, steps : arrays
        Offsets of the neighbours in the flat arrays; lengths of the steps, or weights of the axes.
    later : array
        Voxels to be queued when the level reaches their value, lowest first.
    width, limit : int
        Rise of the level per round; value beyond which `FAR` is set.
    ring, at : arrays
        The ring buffer, and the state of the march.
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
        while (
            at[FED] < len(later)
            and values[later[at[FED]]] < at[LEVEL]
            and at[COUNT] <= len(ring) - ROOM
        ):
            _queue(later[at[FED]], values, state, ring, at)
            at[FED] += 1
        at[LEFT] = at[COUNT]
        at[LOWEST] = UNREACHED


@_compiled
def census(values: Any, state: Any) -> tuple[int, int]:
    """Count the voxels of the core with a value, and without."""
    reached, inside = 0, 0
    for v in range(len(values)):
        reached += (state[v] != FIXED) & (values[v] != UNREACHED)
        inside += state[v] != FIXED
    return reached, inside - reached


@_compiled
def frontier(values: Any, state: Any, offsets: Any, spread: bool, found: Any) -> int:
    """Queue the voxels that have a value and a neighbour in the core without; return their number.

    The search starts from the voxels with a value (``spread``) or from those without; the caller
    chooses the smaller set.

    Parameters
    ----------
    values, state : arrays
        Flat values and states of the voxels; states are changed in place.
    offsets : array
        Offsets of the neighbours in the flat arrays.
    spread : bool
        Whether to start from the voxels with a value.
    found : array
        Output: the voxels that are queued.
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
def rim(
    values: Any, state: Any, seams: Any, graph: bool, offsets: Any, steps: Any, found: Any
) -> int:
    """Update the voxels of the seams from their neighbours; return the number that were lowered.

    Parameters
    ----------
    values, state : arrays
        Flat values and states of the voxels; values are changed in place.
    seams : three arrays
        For each axis, 1 for the planes across it that are seams.
    graph : bool
        Whether to update over 26 neighbours instead of by the eikonal equation.
    offsets, steps : arrays
        Offsets of the neighbours in the flat arrays; lengths of the steps, or weights of the axes.
    found : array
        Output: the voxels that were lowered.
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
                u = (
                    pull_graph(values, v, offsets, steps)
                    if graph
                    else pull_eikonal(values, v, offsets, steps)
                )
                if u < values[v]:
                    values[v] = u
                    found[count] = v
                    count += 1
    return count
