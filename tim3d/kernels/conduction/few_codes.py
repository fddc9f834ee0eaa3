"""Relaxation, residual and fluxes where two or three codes conduct, with vector instructions.

A look-up in a table keeps the processor from working on several voxels at once. Of few codes the
conductance of a face is one of three or four numbers that follow from the voxel's own code, chosen by
comparisons, and a row is worked on as a whole. The operations on a voxel are those of `stencil`, in
their order, so that the bits are the same; in the cache it is 1.5 to 2.5 times as fast
(benchmarks/RESULTS.md, "Half sweeps at once").

`tables` are conductances along the three axes, from each conducting code to each code, as tuples: the
compiler makes one version of a kernel for two codes that conduct and one for three.
"""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np
from numba.extending import overload

from tim3d.kernels.conduction.arrays import F32, F64, U8

# Codes that `two_conduct` and `three_conduct` know. A table has two more, of the electrodes.
TWO_CONDUCT, THREE_CONDUCT = 3, 4
_kernel = nb.njit(nogil=True, cache=True, error_model="numpy")


@_kernel
def two_conduct(pairs: F32 | F64) -> Any:
    """Conductances from the codes 1 and 2 to the codes 0 to 2, along each axis."""
    return _two(pairs, 0), _two(pairs, 1), _two(pairs, 2)


@_kernel
def three_conduct(pairs: F32 | F64) -> Any:
    """Conductances from the codes 1 to 3 to the codes 0 to 3, along each axis."""
    return _three(pairs, 0), _three(pairs, 1), _three(pairs, 2)


@_kernel
def _two(pairs: F32 | F64, axis: int) -> Any:
    return (
        (pairs[axis, 1, 0], pairs[axis, 1, 1], pairs[axis, 1, 2]),
        (pairs[axis, 2, 0], pairs[axis, 2, 1], pairs[axis, 2, 2]),
    )


@_kernel
def _three(pairs: F32 | F64, axis: int) -> Any:
    return (
        (pairs[axis, 1, 0], pairs[axis, 1, 1], pairs[axis, 1, 2], pairs[axis, 1, 3]),
        (pairs[axis, 2, 0], pairs[axis, 2, 1], pairs[axis, 2, 2], pairs[axis, 2, 3]),
        (pairs[axis, 3, 0], pairs[axis, 3, 1], pairs[axis, 3, 2], pairs[axis, 3, 3]),
    )


def _own(code: int, table: Any) -> Any:
    """Conductances from a conducting voxel's own code, chosen without a branch."""
    return table[code - 1]


@overload(_own)
def _own_of(code: int, table: Any) -> Any:
    def of_two(code: int, table: Any) -> Any:
        one, two = table
        last = code == 2
        return (
            two[0] if last else one[0],
            two[1] if last else one[1],
            two[2] if last else one[2],
        )

    def of_three(code: int, table: Any) -> Any:
        one, two, three = table
        middle, last = code == 2, code == 3
        return (
            three[0] if last else (two[0] if middle else one[0]),
            three[1] if last else (two[1] if middle else one[1]),
            three[2] if last else (two[2] if middle else one[2]),
            three[3] if last else (two[3] if middle else one[3]),
        )

    return of_two if len(table) == 2 else of_three


def _to(code: int, own: Any) -> Any:
    """Conductance to a neighbour, by its code, chosen without a branch."""
    return own[code]


@overload(_to)
def _to_of(code: int, own: Any) -> Any:
    def of_two(code: int, own: Any) -> Any:
        return own[2] if code == 2 else (own[1] if code == 1 else own[0])

    def of_three(code: int, own: Any) -> Any:
        return own[3] if code == 3 else (own[2] if code == 2 else (own[1] if code == 1 else own[0]))

    return of_two if len(own) == 3 else of_three


@_kernel
def relax_few(
    z: int, low: int, high: int, x: F32, b: F32, codes: U8, tables: Any, colour: int
) -> None:
    """Balance voxels of one colour in the rows low <= y < high of a plane, as `stencil.relax_codes`."""
    along_z, along_y, along_x = tables
    row = np.empty(x.shape[2], np.float32)
    for y in range(low, high):
        ours, under, over = codes[z, y], codes[z - 1, y], codes[z + 1, y]
        behind, before = codes[z, y - 1], codes[z, y + 1]
        mine, source, lower, upper = x[z, y], b[z, y], x[z - 1, y], x[z + 1, y]
        back, front = x[z, y - 1], x[z, y + 1]
        for i in range(1, x.shape[2] - 1):
            own = ours[i]
            in_z, in_y, in_x = _own(own, along_z), _own(own, along_y), _own(own, along_x)
            below, above = _to(under[i], in_z), _to(over[i], in_z)
            north, south = _to(behind[i], in_y), _to(before[i], in_y)
            west, east = _to(ours[i - 1], in_x), _to(ours[i + 1], in_x)
            inflow = source[i] + below * lower[i] + above * upper[i]
            inflow += north * back[i] + south * front[i]
            inflow += west * mine[i - 1] + east * mine[i + 1]
            total = below + above + north + south + west + east
            row[i] = inflow / total if ours[i] else mine[i]
        for i in range(1 + (z + y + colour) % 2, x.shape[2] - 1, 2):
            mine[i] = row[i]


@_kernel
def restrict_few(
    z: int, coarse: F32, x: F32, b: F32, codes: U8, tables: Any, sy: int, sx: int
) -> None:
    """Add the residual of a plane to the cells of a coarse plane, as `stencil.restrict_codes`."""
    along_z, along_y, along_x = tables
    row = np.empty(x.shape[2], np.float32)
    for y in range(1, x.shape[1] - 1):
        ours, under, over = codes[z, y], codes[z - 1, y], codes[z + 1, y]
        behind, before = codes[z, y - 1], codes[z, y + 1]
        mine, source, lower, upper = x[z, y], b[z, y], x[z - 1, y], x[z + 1, y]
        back, front = x[z, y - 1], x[z, y + 1]
        for i in range(1, x.shape[2] - 1):
            own, here = ours[i], mine[i]
            in_z, in_y, in_x = _own(own, along_z), _own(own, along_y), _own(own, along_x)
            rest = source[i] + _to(under[i], in_z) * (lower[i] - here)
            rest += _to(over[i], in_z) * (upper[i] - here)
            rest += _to(behind[i], in_y) * (back[i] - here)
            rest += _to(before[i], in_y) * (front[i] - here)
            rest += _to(ours[i - 1], in_x) * (mine[i - 1] - here)
            rest += _to(ours[i + 1], in_x) * (mine[i + 1] - here)
            row[i] = rest if ours[i] else np.float32(0)
        add_row(row, coarse[((y - 1) >> sy) + 1], sx)


@_kernel
def add_row(row: F32, cells: F32, shift: int) -> None:
    """Add the voxels of a row to the cells of edge 2**`shift` that hold them, one after the other."""
    for i in range(1, len(row) - 1):
        cells[((i - 1) >> shift) + 1] += row[i]


@_kernel
def balance_few(
    z: int, residual: F32, x: F64, codes: U8, tables: Any, drop: float, next_drop: float
) -> float:
    """Flux into a plane from below, and the net inflow of each voxel, as `stencil.balance`."""
    along_z, along_y, along_x = tables
    row, total = np.empty(x.shape[2]), 0.0
    for y in range(1, x.shape[1] - 1):
        ours, under, over = codes[z, y], codes[z - 1, y], codes[z + 1, y]
        behind, before = codes[z, y - 1], codes[z, y + 1]
        mine, lower, upper, net = x[z, y], x[z - 1, y], x[z + 1, y], residual[z, y]
        back, front = x[z, y - 1], x[z, y + 1]
        for i in range(1, x.shape[2] - 1):
            own, here = ours[i], mine[i]
            in_z, in_y, in_x = _own(own, along_z), _own(own, along_y), _own(own, along_x)
            gain = _to(under[i], in_z) * (drop + lower[i] - here)
            row[i] = gain if ours[i] else 0.0
            gain -= _to(over[i], in_z) * (next_drop + here - upper[i])
            gain += _to(behind[i], in_y) * (back[i] - here)
            gain += _to(before[i], in_y) * (front[i] - here)
            gain += _to(ours[i - 1], in_x) * (mine[i - 1] - here)
            gain += _to(ours[i + 1], in_x) * (mine[i + 1] - here)
            net[i] = gain if ours[i] else 0.0
        for i in range(1, x.shape[2] - 1):
            total += row[i]
    return total
