"""Refinement: second-order distance along the upwind directions that the arrival determines.

On each axis the predecessor is the neighbour with the smaller arrival, if this is smaller than the
voxel's own::

    voxel        v + 2s        v + s           v          v - s        s = -1 or 1 along the axis
                   o------------o------------o------------o
    arrival        b     <=     a      <     own         >= a          v - s is not used
    value          u2    <=     u1           u (unknown)

* Second order, as drawn (b <= a, u2 <= u1): (3u - 4u1 + u2) / 2h = 3/2 (u - c) / h with the base
  c = u1 + (u1 - u2) / 3.
* First order, if b > a or u2 > u1, and if v + s is a seed (a = 0): (u - u1) / h.
* No term, if neither neighbour arrived before v.

If both neighbours have the same arrival, the predecessor is the one with the smaller value, so that
a mirrored region gives mirrored values. The value is the root u of: sum over axes of the squared
differences = 1, each taken only where u exceeds its base. This root always exists.
"""

from __future__ import annotations

import math
from typing import Any

import numba as nb
import numpy as np

from tim3d.kernels.geodesic.eikonal import UNREACHED, root

# Marks, within one call, a voxel that depends on an unknown one outside the core.
WAITS = UNREACHED - 1
# Voxels are sorted into bins of arrival, 2^SHIFT units wide, so that most predecessors are known
# first.
SHIFT = 12
BORDER = 2
# Voxels that one thread takes at a time.
PIECE = 2**9
# Rows of the buffer of a piece: base and weight of each axis, and the value.
ROWS = 7

_compiled = nb.njit(nogil=True, cache=True, error_model="numpy")
_inlined = nb.njit(nogil=True, cache=True, error_model="numpy", forceinline=True)


@_inlined
def _side(a: Any, b: Any, u: Any, w: Any, weight: float) -> tuple[float, float, bool]:
    """Base and weight of a one-sided difference, and whether one of its voxels is not known yet.

    a, b are the arrivals of the neighbour and of the voxel beyond it, u, w their exact values.
    """
    u = u if a > 0 else np.uint32(0)
    w = w if b > 0 else np.uint32(0)
    straight = (b <= a) & (a > 0)
    absent = (u >= WAITS) | (straight & (w >= WAITS))
    second = straight & (w <= u)
    base = float(u)
    extra = (base - float(w)) * (1 / 3)
    return base + (extra if second else 0.0), weight * (2.25 if second else 1.0), absent


@_inlined
def _lower(u: Any, a: float, x: float, w: Any, b: float, y: float) -> Any:
    """Return whether the side (u, a, x) is chosen: lower value, else lower base, else second order.

    u and w are values, a and b bases, x and y weights.
    """
    return (u < w) | ((u == w) & ((a < b) | ((a == b) & (x >= y))))


@_inlined
def _axis(
    exact: Any, arrival: Any, v: int, offset: int, weight: float
) -> tuple[float, float, bool, bool]:
    """Base (inf: no term) and weight of an axis; whether a predecessor is unknown, or two tie."""
    place, step = np.uint64(v), np.uint64(offset)
    below, above = place - step, place + step
    low, high = arrival[below], arrival[above]
    used = min(low, high) < arrival[place]
    near = below if low < high else above
    beyond = near + (near - place)
    base, w, absent = _side(arrival[near], arrival[beyond], exact[near], exact[beyond], weight)
    return (base if used else math.inf), w, absent & used, used & (low == high)


@_compiled
def _either(
    exact: Any, arrival: Any, v: int, offset: int, weight: float
) -> tuple[float, float, bool]:
    """Base, weight and unknown flag of an axis on which both neighbours may be predecessors."""
    b, y, absent, two = _axis(exact, arrival, v, offset, weight)
    if not two:
        return b, y, absent
    low, high = v - offset, v + offset
    a, x, missing = _side(
        arrival[low], arrival[low - offset], exact[low], exact[low - offset], weight
    )
    # Two seeds are equivalent, whether they are known or not.
    if arrival[low] == 0 or _lower(exact[low], a, x, exact[high], b, y):
        return a, x, absent | missing
    return b, y, absent | missing


@_compiled
def _tied(exact: Any, arrival: Any, v: int, offsets: Any, weights: Any) -> Any:
    """Compute `_value` for a voxel with two predecessors on an axis."""
    az, wz, first = _either(exact, arrival, v, offsets[0], weights[0])
    ay, wy, second = _either(exact, arrival, v, offsets[1], weights[1])
    ax, wx, third = _either(exact, arrival, v, offsets[2], weights[2])
    if first | second | third:
        return -1
    return math.floor(root(az, wz, ay, wy, ax, wx) + 0.5)


@_compiled
def _missing(exact: Any, arrival: Any, v: int, offsets: Any) -> Any:
    """Index of a predecessor that is not known yet, or -1."""
    for k in range(3):
        low, high = arrival[v - offsets[k]], arrival[v + offsets[k]]
        for offset in (-offsets[k], offsets[k]):
            n = v + offset
            a, b = arrival[n], arrival[n + offset]
            if a == min(low, high) and 0 < a < arrival[v]:
                if exact[n] >= WAITS:
                    return n
                if 0 < b <= a and exact[n + offset] >= WAITS:
                    return n + offset
    return -1


@_inlined
def _value(exact: Any, arrival: Any, v: int, offsets: Any, weights: Any) -> Any:
    """Second-order distance of a voxel, or -1 if a predecessor is not known yet."""
    az, wz, first, two_z = _axis(exact, arrival, v, offsets[0], weights[0])
    ay, wy, second, two_y = _axis(exact, arrival, v, offsets[1], weights[1])
    ax, wx, third, two_x = _axis(exact, arrival, v, offsets[2], weights[2])
    if two_z | two_y | two_x:
        return _tied(exact, arrival, v, offsets, weights)
    if first | second | third:
        return -1
    return math.floor(root(az, wz, ay, wy, ax, wx) + 0.5)


@_compiled
def _again(exact: Any, arrival: Any, v: int, offsets: Any, weights: Any) -> Any:
    """Compute `_value` without inlining, for a call that is rare."""
    return _value(exact, arrival, v, offsets, weights)


@_inlined
def _outside(v: int, shape: Any) -> Any:
    nz, ny, nx = shape
    z, y, x = v // (ny * nx), v // nx % ny, v % nx
    return (
        z < BORDER
        or z >= nz - BORDER
        or y < BORDER
        or y >= ny - BORDER
        or x < BORDER
        or x >= nx - BORDER
    )


@_compiled
def classes(exact: Any, arrival: Any, shape: Any, counts: Any) -> None:
    """Count the voxels of the core that are reached and not known yet, by bin of arrival."""
    nz, ny, nx = shape
    for z in range(BORDER, nz - BORDER):
        for y in range(BORDER, ny - BORDER):
            row = (z * ny + y) * nx
            for v in range(row + BORDER, row + nx - BORDER):
                if exact[v] == UNREACHED and arrival[v] != UNREACHED:
                    counts[arrival[v] >> SHIFT] += 1


@_compiled
def listed(exact: Any, arrival: Any, shape: Any, ends: Any, order: Any) -> None:
    """List the voxels that `classes` counts, bin by bin; ``ends`` moves from starts to ends."""
    nz, ny, nx = shape
    for z in range(BORDER, nz - BORDER):
        for y in range(BORDER, ny - BORDER):
            row = (z * ny + y) * nx
            for v in range(row + BORDER, row + nx - BORDER):
                if exact[v] == UNREACHED and arrival[v] != UNREACHED:
                    order[ends[arrival[v] >> SHIFT]] = v
                    ends[arrival[v] >> SHIFT] += 1


@_compiled
def fill(
    exact: Any,
    arrival: Any,
    shape: Any,
    offsets: Any,
    weights: Any,
    order: Any,
    stack: Any,
    first: int,
    threads: int,
) -> bool:
    """Compute all values that can be known, predecessors first; False if the stack was too short.

    After False, call again. This is thread number `first` of `threads`. A voxel that two threads
    compute gets the same value twice. Voxels of a piece whose predecessors are known are computed
    together, the others after them, one by one.
    """
    done = True
    terms = np.empty((ROWS, PIECE), np.float64)
    ready, behind = np.empty(PIECE, np.int32), np.empty(PIECE, np.int32)
    for start in range(first * PIECE, len(order), threads * PIECE):
        piece = order[start : start + PIECE]
        count, others = _gather(exact, arrival, offsets, weights, piece, terms, ready, behind)
        _roots(terms, count)
        for i in range(count):
            exact[ready[i]] = min(np.int64(terms[6, i]), WAITS - 1)
        for v in behind[:others]:
            if exact[v] == UNREACHED:
                done &= _climb(exact, arrival, shape, offsets, weights, stack, v)
    return done


@_compiled
def _gather(
    exact: Any,
    arrival: Any,
    offsets: Any,
    weights: Any,
    piece: Any,
    terms: Any,
    ready: Any,
    behind: Any,
) -> tuple[int, int]:
    """Write the terms of the voxels whose predecessors are known; list these, and the others."""
    count, others = 0, 0
    for v in piece:
        if exact[v] != UNREACHED:
            continue
        az, wz, first, two_z = _axis(exact, arrival, v, offsets[0], weights[0])
        ay, wy, second, two_y = _axis(exact, arrival, v, offsets[1], weights[1])
        ax, wx, third, two_x = _axis(exact, arrival, v, offsets[2], weights[2])
        terms[0, count], terms[1, count] = az, wz
        terms[2, count], terms[3, count] = ay, wy
        terms[4, count], terms[5, count] = ax, wx
        ready[count], behind[others] = v, v
        lone = (az == math.inf) & (ay == math.inf) & (ax == math.inf)
        late = first | second | third | two_z | two_y | two_x | lone
        count += not late
        others += late
    return count, others


@_compiled
def _roots(terms: Any, count: int) -> None:
    """Compute the values of all terms, in one loop without branches."""
    for i in range(count):
        u = root(terms[0, i], terms[1, i], terms[2, i], terms[3, i], terms[4, i], terms[5, i])
        terms[6, i] = math.floor(u + 0.5)


@_inlined
def _climb(
    exact: Any, arrival: Any, shape: Any, offsets: Any, weights: Any, stack: Any, start: int
) -> Any:
    """Compute a voxel after its predecessors; False if the stack was too short."""
    done = True
    stack[0] = start
    depth = 1
    while depth > 0:
        v = stack[depth - 1]
        u = 0 if arrival[v] == 0 else _value(exact, arrival, v, offsets, weights)
        if u >= 0:
            exact[v] = min(u, WAITS - 1)
            depth -= 1
            continue
        missing = _missing(exact, arrival, v, offsets)
        if missing < 0:  # without a predecessor, or another thread has computed it in the meantime
            u = _again(exact, arrival, v, offsets, weights)
            exact[v] = min(u, WAITS - 1) if u >= 0 else WAITS
            depth -= 1
            continue
        if exact[missing] == WAITS or _outside(missing, shape):
            exact[v] = WAITS
            depth -= 1
            continue
        # Voxels that are dropped when the stack is full are found again by the next call.
        done &= depth < len(stack)
        depth = depth % len(stack)
        stack[depth] = missing
        depth += 1
    return done


@_compiled
def settle(exact: Any, order: Any) -> int:
    """Remove the marks `WAITS`, and return the number of known voxels."""
    known = 0
    for v in order:
        if exact[v] == WAITS:
            exact[v] = UNREACHED
        else:
            known += 1
    return known
