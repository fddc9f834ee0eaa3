"""Seven-point conduction stencils on arrays with one layer of ghosts around them.

A potential `x`, a source `b` and a residual have shape (nz+2, ny+2, nx+2): voxels 1..n along each
axis, and ghosts at 0 and n+1 that a kernel reads and never writes. The caller fills them: a wall
(conductance 0), an electrode (potential 0) or the voxels of a neighbour. A kernel works on the
planes start <= z < stop.

The conductance of a face is either looked up, ``pairs[axis, code, code']`` from the codes of its
two voxels (code 0 does not conduct; the last two codes of the table are electrodes, which are ghosts
at the ends of the first axis), or stored, ``faces[axis, z, y, x]`` for the face below voxel
(z, y, x) along the axis.

Sums over voxels are returned as one float64 per plane, each added in a fixed order, so they do not
depend on the number of threads.

Common arguments: `start`, `stop` are planes; `codes` the code of each voxel; `b` the source;
`shifts` the binary logarithms of the edges of a coarse cell; `colour` 0 or 1 on the checkerboard;
`coarse`, `fine` arrays of the next coarser or finer level; `out` (nz+2) a sum for each plane.
"""

from __future__ import annotations

import numba as nb
import numpy as np

from tim3d.kernels.conduction.arrays import F32, F64, U8, Steps
from tim3d.kernels.conduction.few_codes import (
    THREE_CONDUCT,
    TWO_CONDUCT,
    add_row,
    balance_few,
    restrict_few,
    three_conduct,
    two_conduct,
)
from tim3d.kernels.conduction.relaxation import AT_ONCE as AT_ONCE
from tim3d.kernels.conduction.relaxation import relax_codes as relax_codes
from tim3d.kernels.conduction.relaxation import relax_faces as relax_faces

_kernel = nb.njit(nogil=True, cache=True, error_model="numpy")
# The compiler may reorder sums, in one fixed way at compile time, to overlap several additions.
_sum_kernel = nb.njit(nogil=True, cache=True, error_model="numpy", fastmath={"reassoc", "nsz"})


@_kernel
def restrict_codes(
    start: int, stop: int, coarse: F32, x: F32, b: F32, codes: U8, pairs: F32, shifts: Steps
) -> None:
    """Sum the residual b - A x over the voxels of coarse cells of edges 2**`shifts`."""
    (sz, sy, sx), known = shifts, pairs.shape[1] - 2
    for cz in range(start, stop):
        coarse[cz] = 0
        for z in range(((cz - 1) << sz) + 1, min(cz << sz, x.shape[0] - 2) + 1):
            inside = 1 < z < x.shape[0] - 2
            if inside and known <= TWO_CONDUCT:
                restrict_few(z, coarse[cz], x, b, codes, two_conduct(pairs), sy, sx)
            elif inside and known == THREE_CONDUCT:
                restrict_few(z, coarse[cz], x, b, codes, three_conduct(pairs), sy, sx)
            else:
                _restrict_any(z, coarse[cz], x, b, codes, pairs, sy, sx)


@_kernel
def _restrict_any(
    z: int, coarse: F32, x: F32, b: F32, codes: U8, pairs: F32, sy: int, sx: int
) -> None:
    """Add the residual of a plane to the cells of a coarse plane."""
    along_z, along_y, along_x = pairs[0], pairs[1], pairs[2]
    for y in range(1, x.shape[1] - 1):
        cells = coarse[((y - 1) >> sy) + 1]
        for i in range(1, x.shape[2] - 1):
            own = codes[z, y, i]
            if own != 0:
                here = x[z, y, i]
                rest = b[z, y, i] + along_z[own, codes[z - 1, y, i]] * (x[z - 1, y, i] - here)
                rest += along_z[own, codes[z + 1, y, i]] * (x[z + 1, y, i] - here)
                rest += along_y[own, codes[z, y - 1, i]] * (x[z, y - 1, i] - here)
                rest += along_y[own, codes[z, y + 1, i]] * (x[z, y + 1, i] - here)
                rest += along_x[own, codes[z, y, i - 1]] * (x[z, y, i - 1] - here)
                rest += along_x[own, codes[z, y, i + 1]] * (x[z, y, i + 1] - here)
                cells[((i - 1) >> sx) + 1] += rest


@_sum_kernel
def energy(start: int, stop: int, x: F32, codes: U8, pairs: F32, out: F64) -> None:
    """Dissipation x A x, in `out` (nz+2) by plane; a face counts for the voxel above it."""
    along_z, along_y, along_x = pairs[0], pairs[1], pairs[2]
    for z in range(start, stop):
        total = 0.0
        for y in range(1, x.shape[1] - 1):
            for i in range(1, x.shape[2] - 1):
                own, here = codes[z, y, i], np.float64(x[z, y, i])
                if own != 0:
                    total += along_z[own, codes[z - 1, y, i]] * (x[z - 1, y, i] - here) ** 2
                    if z < x.shape[0] - 1:
                        total += along_y[own, codes[z, y - 1, i]] * (x[z, y - 1, i] - here) ** 2
                        total += along_x[own, codes[z, y, i - 1]] * (x[z, y, i - 1] - here) ** 2
        out[z] = total


@_kernel
def balance(
    start: int, stop: int, residual: F32, flux: F64, x: F64, codes: U8, pairs: F64, drops: F64
) -> None:
    """Flux through every plane and net inflow of every voxel, for a linear profile plus `x`.

    Parameters
    ----------
    start, stop : int
        Planes to work on.
    residual : (nz+2, ny+2, nx+2)
        Output: net inflow of each voxel.
    flux : (nz+2,)
        Output, at 1..nz+1: flux through the plane of faces below each layer of voxels, upwards.
    x : (nz+2, ny+2, nx+2) float64
        Deviation from the linear profile.
    codes : (nz+2, ny+2, nx+2)
        Code of each voxel.
    pairs : (3, codes, codes)
        Conductance of the face between two voxels, by axis and codes.
    drops : (nz+2,)
        Fall of the linear profile across each of these planes.
    """
    known = pairs.shape[1] - 2
    for z in range(start, stop):
        if 1 < z < x.shape[0] - 2 and known <= TWO_CONDUCT:
            tables = two_conduct(pairs)
            flux[z] = balance_few(z, residual, x, codes, tables, drops[z], drops[z + 1])
        elif 1 < z < x.shape[0] - 2 and known == THREE_CONDUCT:
            three = three_conduct(pairs)
            flux[z] = balance_few(z, residual, x, codes, three, drops[z], drops[z + 1])
        else:
            flux[z] = _balance_any(z, residual, x, codes, pairs, drops)


@_kernel
def _balance_any(z: int, residual: F32, x: F64, codes: U8, pairs: F64, drops: F64) -> float:
    """Flux into a plane of voxels from below, and the net inflow of each."""
    along_z, along_y, along_x = pairs[0], pairs[1], pairs[2]
    total = 0.0
    for y in range(1, x.shape[1] - 1):
        for i in range(1, x.shape[2] - 1):
            own, here = codes[z, y, i], x[z, y, i]
            gain = 0.0
            if own != 0:
                gain = along_z[own, codes[z - 1, y, i]] * (drops[z] + x[z - 1, y, i] - here)
                total += gain
            if z < x.shape[0] - 1:
                if own != 0:
                    gain -= along_z[own, codes[z + 1, y, i]] * (
                        drops[z + 1] + here - x[z + 1, y, i]
                    )
                    gain += along_y[own, codes[z, y - 1, i]] * (x[z, y - 1, i] - here)
                    gain += along_y[own, codes[z, y + 1, i]] * (x[z, y + 1, i] - here)
                    gain += along_x[own, codes[z, y, i - 1]] * (x[z, y, i - 1] - here)
                    gain += along_x[own, codes[z, y, i + 1]] * (x[z, y, i + 1] - here)
                residual[z, y, i] = gain
    return total


@_kernel
def restrict_faces(
    start: int, stop: int, coarse: F32, x: F32, b: F32, faces: F32, shifts: Steps
) -> None:
    """Sum the residual over coarse cells, as `restrict_codes`, with stored conductances."""
    sz, sy, sx = shifts
    row = np.empty(x.shape[2], np.float32)
    for cz in range(start, stop):
        coarse[cz] = 0
        for z in range(((cz - 1) << sz) + 1, min(cz << sz, x.shape[0] - 2) + 1):
            for y in range(1, x.shape[1] - 1):
                _residual(z, y, x, b, faces, row)
                add_row(row, coarse[cz, ((y - 1) >> sy) + 1], sx)


@_kernel
def _residual(z: int, y: int, x: F32, b: F32, faces: F32, row: F32) -> None:
    """Residual of a row of cells, in `row`."""
    under, over = faces[0, z, y], faces[0, z + 1, y]
    behind, before, along = faces[1, z, y], faces[1, z, y + 1], faces[2, z, y]
    mine, source, lower, upper = x[z, y], b[z, y], x[z - 1, y], x[z + 1, y]
    back, front = x[z, y - 1], x[z, y + 1]
    for i in range(1, x.shape[2] - 1):
        here = mine[i]
        rest = source[i] + under[i] * (lower[i] - here)
        rest += over[i] * (upper[i] - here)
        rest += behind[i] * (back[i] - here)
        rest += before[i] * (front[i] - here)
        rest += along[i] * (mine[i - 1] - here)
        rest += along[i + 1] * (mine[i + 1] - here)
        row[i] = rest


@_kernel
def prolong(start: int, stop: int, x: F32, coarse: F32, shifts: Steps) -> None:
    """Add to every voxel the value of its coarse cell."""
    for z in range(start, stop):
        cz = ((z - 1) >> shifts[0]) + 1
        for y in range(1, x.shape[1] - 1):
            cy = ((y - 1) >> shifts[1]) + 1
            for i in range(1, x.shape[2] - 1):
                x[z, y, i] += coarse[cz, cy, ((i - 1) >> shifts[2]) + 1]


# Called once per axis, with the axes of all arrays permuted so that the first is normal to the
# faces.
@_kernel
def coarsen_codes(start: int, stop: int, out: F32, codes: U8, pairs: F32, shifts: Steps) -> None:
    """Conductance of coarse faces: sum over their voxel faces, over the voxels between centres."""
    share = np.float32(1) / (1 << shifts[0])
    for face in range(start, stop):
        z = min(((face - 1) << shifts[0]) + 1, codes.shape[0] - 1)
        for y in range(1, codes.shape[1] - 1):
            for i in range(1, codes.shape[2] - 1):
                value = pairs[codes[z - 1, y, i], codes[z, y, i]] * share
                out[face, ((y - 1) >> shifts[1]) + 1, ((i - 1) >> shifts[2]) + 1] += value


@_kernel
def coarsen_faces(start: int, stop: int, out: F32, fine: F32, shifts: Steps) -> None:
    """Conductance of coarse faces, as `coarsen_codes`, from stored conductances."""
    share = np.float32(1) / (1 << shifts[0])
    for face in range(start, stop):
        z = min(((face - 1) << shifts[0]) + 1, fine.shape[0] - 1)
        for y in range(1, fine.shape[1] - 1):
            for i in range(1, fine.shape[2] - 1):
                value = fine[z, y, i] * share
                out[face, ((y - 1) >> shifts[1]) + 1, ((i - 1) >> shifts[2]) + 1] += value


@_sum_kernel
def dot(start: int, stop: int, a: F32, b: F32, out: F64) -> None:
    """Scalar product of two arrays, in `out` by plane."""
    for z in range(start, stop):
        total = 0.0
        for y in range(1, a.shape[1] - 1):
            for i in range(1, a.shape[2] - 1):
                total += np.float64(a[z, y, i]) * np.float64(b[z, y, i])
        out[z] = total


@_kernel
def add_scaled(start: int, stop: int, x: F32 | F64, factor: float, y: F32) -> None:
    """``x += factor * y``."""
    for z in range(start, stop):
        for row in range(1, x.shape[1] - 1):
            for i in range(1, x.shape[2] - 1):
                x[z, row, i] += factor * y[z, row, i]


@_kernel
def scale_add(start: int, stop: int, x: F32, factor: float, y: F32) -> None:
    """``x = factor * x + y``."""
    for z in range(start, stop):
        for row in range(1, x.shape[1] - 1):
            for i in range(1, x.shape[2] - 1):
                x[z, row, i] = factor * x[z, row, i] + y[z, row, i]


@_sum_kernel
def crossflow(start: int, stop: int, x: F64, codes: U8, pairs: F64, north: F64, west: F64) -> None:
    """Flux through all faces below voxels along the second and the third axis, summed by plane."""
    along_y, along_x = pairs[1], pairs[2]
    for z in range(start, stop):
        across_y, across_x = 0.0, 0.0
        for y in range(1, x.shape[1] - 1):
            for i in range(1, x.shape[2] - 1):
                own, here = codes[z, y, i], x[z, y, i]
                if own != 0:
                    across_y += along_y[own, codes[z, y - 1, i]] * (x[z, y - 1, i] - here)
                    across_x += along_x[own, codes[z, y, i - 1]] * (x[z, y, i - 1] - here)
        north[z], west[z] = across_y, across_x
