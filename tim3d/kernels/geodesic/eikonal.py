"""Arrival: update of a voxel's distance from its neighbours, and its propagation through a region.

Distances are integers, in `UNIT` parts of the shortest edge, so that convergence is exact.

A front is a ring buffer of voxels whose value was lowered and not yet propagated to their
neighbours. A round takes each voxel of the ring once: if its value is below the level, it updates
its neighbours; otherwise it is moved to the end. Then the level rises. Voxels are thus taken nearly
in the order of their distance, which saves work but does not affect the result: both updates are
monotone (a lower neighbour never raises a voxel), so lowering voxels in any order, from above, ends
in the largest of all fixed points (Tarski). A voxel that was taken too early is lowered and queued
again.

What one voxel costs is saved twice. The eikonal takes a batch of voxels, gathers the neighbours
that they may lower, each once, and computes these together, in a loop without branches. In the
graph a voxel that was lowered by a step passes over the neighbours that the same voxel reaches by
one step not longer than the two: they were offered that value already (`passes`).

Helpers that take arrays are force-inlined: a call costs as much as the update.
"""

from __future__ import annotations

import math
from typing import Any

import numba as nb
import numpy as np
from numpy.typing import NDArray

# Parts of the shortest voxel edge.
UNIT = 2**16
# Value of a voxel without a distance, and outside the region.
UNREACHED = 2**32 - 1
# Free entries that the ring must have for the neighbours of one voxel.
ROOM = 32
# Voxels of the ring that are taken together, and neighbours that are computed together.
BATCH = 2**12
LANES = 2**9

# State of a voxel: fixed (outside the region, or in the halo), at rest, in the ring; and, beside
# one of these, listed to be computed.
FIXED, REST, QUEUED, LISTED = 0, 1, 2, 4
# The graph keeps beside the state the step that lowered a voxel last, times `STEP`, counted from 1.
STEP = 4
MOVES = 26
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


@_compiled
def _computed(lows: Any, weights: Any, count: int) -> None:
    """Compute `upwind` of all lows, and whether it has to be computed alone, without branches."""
    wz, wy, wx = weights[0], weights[1], weights[2]
    for i in range(count):
        az, ay, ax = lows[0, i], lows[1, i], lows[2, i]
        u = math.floor(root(az, wz, ay, wy, ax, wx) + 0.5)
        lows[3, i] = u
        lows[4, i] = (slope(u - 0.5, az, wz, ay, wy, ax, wx) >= 1) | (
            slope(u + 0.5, az, wz, ay, wy, ax, wx) < 1
        )


@_compiled
def _lower_eikonal(
    values: Any,
    state: Any,
    offsets: Any,
    weights: Any,
    found: Any,
    lows: Any,
    ring: Any,
    end: int,
    lowest: Any,
) -> tuple[int, int]:
    """Lower the listed voxels; return the end of the ring, and a bound of the values in it."""
    oz, oy, ox = np.uint64(offsets[0]), np.uint64(offsets[1]), np.uint64(offsets[2])
    for start in range(0, len(found), LANES):
        part = found[start : start + LANES]
        for i in range(len(part)):
            n = np.uint64(part[i])
            lows[0, i] = min(values[n - oz], values[n + oz])
            lows[1, i] = min(values[n - oy], values[n + oy])
            lows[2, i] = min(values[n - ox], values[n + ox])
        _computed(lows, weights, len(part))
        for i in range(len(part)):
            n = np.uint64(part[i])
            state[n] &= REST + QUEUED
            u: Any = np.int64(lows[3, i])
            if lows[4, i] != 0:
                u = upwind(lows[0, i], weights[0], lows[1, i], weights[1], lows[2, i], weights[2])
            if u < values[n]:
                values[n] = u
                lowest = min(lowest, u)
                if state[n] == REST:
                    state[n] = QUEUED
                    ring[np.uint64(end)] = n
                    end = end + 1 if end + 1 < len(ring) else 0
    return end, lowest


@_compiled
def _round_eikonal(
    values: Any, state: Any, offsets: Any, weights: Any, limit: int, ring: Any, at: Any
) -> bool:
    """Take the voxels that are left in the round; False if the ring is full."""
    found = np.empty(6 * BATCH, np.int32)
    lows = np.empty((5, LANES), np.float64)
    size, level = len(ring), at[LEVEL]
    while at[LEFT] > 0:
        if at[COUNT] > size - ROOM:
            return False
        # Each voxel that is taken fills six entries at most.
        taken = min(at[LEFT], BATCH, (size - at[COUNT]) // 6)
        head, end, lowest = at[HEAD], at[HEAD] + at[COUNT], at[LOWEST]
        end = end if end < size else end - size
        count: Any = 0
        far: Any = False
        for _ in range(taken):
            v = np.uint64(ring[np.uint64(head)])
            head = head + 1 if head + 1 < size else 0
            t = np.int64(values[v])
            if t >= level:
                lowest = min(lowest, t)
                ring[np.uint64(end)] = v
                end = end + 1 if end + 1 < size else 0
                continue
            far |= t > limit
            state[v] ^= REST ^ QUEUED
            for k in range(6):
                offset = np.uint64(offsets[k])
                n = v + offset
                # No effect if the neighbour is not higher, or the voxel beyond it is lower.
                if (
                    values[n] > t
                    and (state[n] == REST or state[n] == QUEUED)
                    and values[n + offset] >= t
                ):
                    state[n] |= LISTED
                    found[np.uint64(count)] = n
                    count += 1
        end, lowest = _lower_eikonal(
            values, state, offsets, weights, found[:count], lows, ring, end, lowest
        )
        at[HEAD], at[LOWEST] = head, lowest
        at[COUNT] = end - head if end >= head else end - head + size
        at[LEFT] -= taken
        at[FAR] |= far
    return True


@_compiled
def _round_graph(values: Any, state: Any, ways: Any, limit: int, ring: Any, at: Any) -> bool:
    """Take the voxels that are left in the round; False if the ring is full."""
    counts, offsets, steps, names = ways
    size, level, far = len(ring), at[LEVEL], False
    head, count, left, lowest = at[HEAD], at[COUNT], at[LEFT], at[LOWEST]
    while left > 0 and count <= size - ROOM:
        v = np.uint64(ring[np.uint64(head)])
        head = head + 1 if head + 1 < size else 0
        count -= 1
        left -= 1
        end = head + count if head + count < size else head + count - size
        t = values[v]
        if t >= level:
            lowest = min(lowest, np.int64(t))
            ring[np.uint64(end)] = v
            count += 1
            continue
        if t > limit:  # refused by the caller; a longer way would not fit
            far = True
            continue
        way = np.uint64(state[v] // STEP)
        state[v] ^= REST ^ QUEUED
        first = way * np.uint64(MOVES)
        for k in range(first, first + counts[way]):
            n, u = v + offsets[k], np.uint32(t + steps[k])
            if u < values[n] and state[n] != FIXED:
                values[n] = u
                lowest = min(lowest, np.int64(u))
                if state[n] & REST:
                    ring[np.uint64(end)] = n
                    end = end + 1 if end + 1 < size else 0
                    count += 1
                state[n] = names[k]
    at[HEAD], at[COUNT], at[LEFT], at[LOWEST] = head, count, left, lowest
    at[FAR] |= far
    return bool(left == 0)


@_compiled
def close(values: Any, region: Any, before: int, after: int) -> None:
    """Change one value to another outside of the region."""
    for v in range(len(values)):
        values[v] = after if (region[v] == 0) & (values[v] == before) else values[v]


@_compiled
def _next_level(values: Any, state: Any, later: Any, width: int, ring: Any, at: Any) -> bool:
    """Raise the level and queue the voxels of `later` below it; False if nothing is left."""
    if at[FED] < len(later):
        at[LOWEST] = min(at[LOWEST], values[later[at[FED]]])
    elif at[COUNT] == 0:
        return False
    at[LEVEL] = at[LOWEST] + width
    while (
        at[FED] < len(later)
        and values[later[at[FED]]] < at[LEVEL]
        and at[COUNT] <= len(ring) - ROOM
    ):
        _queue(later[at[FED]], values, state, ring, at)
        at[FED] += 1
    at[LEFT] = at[COUNT]
    at[LOWEST] = UNREACHED
    return True


@_compiled
def march_eikonal(
    values: Any,
    state: Any,
    offsets: Any,
    weights: Any,
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
    offsets, weights : arrays
        Offsets of the six neighbours in the flat arrays, and weights of the axes.
    later : array
        Voxels to be queued when the level reaches their value, lowest first.
    width, limit : int
        Rise of the level per round; value beyond which `FAR` is set.
    ring, at : arrays
        The ring buffer, and the state of the march.
    """
    while _round_eikonal(values, state, offsets, weights, limit, ring, at):
        if not _next_level(values, state, later, width, ring, at):
            return True
    return False


@_compiled
def march_graph(
    values: Any, state: Any, ways: Any, later: Any, width: int, limit: int, ring: Any, at: Any
) -> bool:
    """Run rounds over 26 neighbours, as `march_eikonal`; `ways` are made by `ways_of`."""
    while _round_graph(values, state, ways, limit, ring, at):
        if not _next_level(values, state, later, width, ring, at):
            return True
    return False


def ways_of(
    moves: NDArray[np.int64], strides: NDArray[np.int64], steps: NDArray[np.int64]
) -> tuple[NDArray[Any], ...]:
    """Return the neighbours that a voxel updates, by the move that lowered it (0: none).

    For each: number, offsets, steps, and the state that they get. Passed over are those that the
    voxel before reaches by a move not longer than the two together, compared in whole units.
    """
    length = {tuple(move): int(step) for move, step in zip(moves.tolist(), steps, strict=True)}
    counts = np.zeros(len(moves) + 1, np.int64)
    offsets, lengths = (np.zeros((len(moves) + 1, len(moves)), np.int64) for _ in range(2))
    names = np.zeros((len(moves) + 1, len(moves)), np.uint8)
    for way, before in enumerate([None, *moves.tolist()]):
        kept = [
            k
            for k, move in enumerate(moves.tolist())
            if before is None or not _passes(before, move, length)
        ]
        counts[way] = len(kept)
        offsets[way, : len(kept)] = (moves @ strides)[kept]
        lengths[way, : len(kept)] = steps[kept]
        names[way, : len(kept)] = QUEUED + STEP * (np.array(kept) + 1)
    flat = offsets.reshape(-1).view(np.uint64), lengths.reshape(-1).astype(np.uint32)
    return counts.view(np.uint64), *flat, names.reshape(-1)


def _passes(before: list[int], move: list[int], length: dict[tuple[int, ...], int]) -> bool:
    """Whether one move, not longer, leads where the two lead, or nothing is left to go."""
    both = tuple(a + b for a, b in zip(before, move, strict=True))
    if not any(both):
        return True
    return both in length and length[both] <= length[tuple(before)] + length[tuple(move)]


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
