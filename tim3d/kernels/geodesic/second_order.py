"""Refinement: second-order distance along the upwind directions that the arrival has fixed.

On each axis the predecessor is the neighbour with the smaller arrival, if smaller than the voxel's own (of two equal
ones that with the smaller value, which a mirrored region decides alike). Where the voxel beyond it arrived no later and
its value is no larger, the difference is of second order, (3u - 4u1 + u2) / 2h, which is 3/2 (u - c) / h with the base
c = u1 + (u1 - u2) / 3; else, and next to a seed, of first order, (u - u1) / h. The value is the root u of the sum of
the squares of those differences = 1, each only where u exceeds its base: there is always one.
"""

from __future__ import annotations

import math
from typing import Any

import numba as nb
import numpy as np

from tim3d.kernels.geodesic.eikonal import UNREACHED, root

# Mark, within one call, of a voxel that waits for one outside the core.
WAITS = UNREACHED - 1
# Voxels are taken in classes of arrival of 2^SHIFT parts, so that most find their predecessors known.
SHIFT = 14
BORDER = 2
# Voxels of a class that one thread takes at a time.
PIECE = 2**12

_compiled = nb.njit(nogil=True, cache=True, error_model="numpy")
_inlined = nb.njit(nogil=True, cache=True, error_model="numpy", forceinline=True)


@_inlined
def _side(a: Any, b: Any, u: Any, w: Any, weight: float) -> tuple[float, float, bool]:
    """Base and weight of a one-sided difference, and whether a voxel of it is not known yet.

    a, b are arrivals of the neighbour and of the next beyond, u, w their exact values.
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
    """Whether the side of value u, base a and weight x is to be taken: lower value, else base, else second order."""
    return (u < w) | ((u == w) & ((a < b) | ((a == b) & (x >= y))))


@_inlined
def _axis(exact: Any, arrival: Any, v: int, offset: int, weight: float) -> tuple[float, float, bool, bool]:
    """Base and weight of an axis (base inf: none), whether a predecessor is not known, whether there are two."""
    low, high, own = arrival[v - offset], arrival[v + offset], arrival[v]
    used = min(low, high) < own
    s = -offset if low < high else offset
    base, w, absent = _side(arrival[v + s], arrival[v + 2 * s], exact[v + s], exact[v + 2 * s], weight)
    return (base if used else math.inf), w, absent & used, used & (low == high)


@_compiled
def _either(exact: Any, arrival: Any, v: int, offset: int, weight: float) -> tuple[float, float, bool]:
    """The same of an axis where both neighbours may be predecessors."""
    b, y, absent, two = _axis(exact, arrival, v, offset, weight)
    if not two:
        return b, y, absent
    low, high = v - offset, v + offset
    a, x, missing = _side(arrival[low], arrival[low - offset], exact[low], exact[low - offset], weight)
    # Two seeds are alike, whether they are known or not.
    if arrival[low] == 0 or _lower(exact[low], a, x, exact[high], b, y):
        return a, x, absent | missing
    return b, y, absent | missing


@_compiled
def _tied(exact: Any, arrival: Any, v: int, offsets: Any, weights: Any) -> Any:
    """`_value` of a voxel with two predecessors on an axis."""
    az, wz, first = _either(exact, arrival, v, offsets[0], weights[0])
    ay, wy, second = _either(exact, arrival, v, offsets[1], weights[1])
    ax, wx, third = _either(exact, arrival, v, offsets[2], weights[2])
    if first | second | third:
        return -1
    return math.floor(root(az, wz, ay, wy, ax, wx) + 0.5)


@_compiled
def _missing(exact: Any, arrival: Any, v: int, offsets: Any) -> Any:
    """A predecessor that is not known yet."""
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
    """`_value`, where it is seldom called."""
    return _value(exact, arrival, v, offsets, weights)


@_inlined
def _outside(v: int, shape: Any) -> Any:
    nz, ny, nx = shape
    z, y, x = v // (ny * nx), v // nx % ny, v % nx
    return z < BORDER or z >= nz - BORDER or y < BORDER or y >= ny - BORDER or x < BORDER or x >= nx - BORDER


@_compiled
def classes(exact: Any, arrival: Any, shape: Any, counts: Any) -> None:
    """Count the voxels of the core that are reached and not known yet, by class of arrival."""
    nz, ny, nx = shape
    for z in range(BORDER, nz - BORDER):
        for y in range(BORDER, ny - BORDER):
            row = (z * ny + y) * nx
            for v in range(row + BORDER, row + nx - BORDER):
                if exact[v] == UNREACHED and arrival[v] != UNREACHED:
                    counts[arrival[v] >> SHIFT] += 1


@_compiled
def listed(exact: Any, arrival: Any, shape: Any, ends: Any, order: Any) -> None:
    """Those voxels in the order of their classes; ``ends`` is where each class starts, and is moved on."""
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
    exact: Any, arrival: Any, shape: Any, offsets: Any, weights: Any, order: Any, stack: Any, first: int, threads: int
) -> bool:
    """Compute what can be known, predecessors first; False: the stack was too short for some, call again.

    Of `threads` threads this is number `first`. A voxel that two of them compute gets the same value twice.
    """
    done = True
    for start in range(first * PIECE, len(order), threads * PIECE):
        for v in order[start : start + PIECE]:
            if exact[v] == UNREACHED:
                done &= _climb(exact, arrival, shape, offsets, weights, stack, v)
    return done


@_inlined
def _climb(exact: Any, arrival: Any, shape: Any, offsets: Any, weights: Any, stack: Any, start: int) -> Any:
    """Compute a voxel, and before it what it follows from; False: the stack was too short."""
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
        if missing < 0:  # nothing leads here, or another thread has found it meanwhile
            u = _again(exact, arrival, v, offsets, weights)
            exact[v] = min(u, WAITS - 1) if u >= 0 else WAITS
            depth -= 1
            continue
        if exact[missing] == WAITS or _outside(missing, shape):
            exact[v] = WAITS
            depth -= 1
            continue
        # What is forgotten when the stack is full is found again by the next call.
        done &= depth < len(stack)
        depth = depth % len(stack)
        stack[depth] = missing
        depth += 1
    return done


@_compiled
def settle(exact: Any, order: Any) -> int:
    """Take back the marks; how many voxels are known."""
    known = 0
    for v in order:
        if exact[v] == WAITS:
            exact[v] = UNREACHED
        else:
            known += 1
    return known
