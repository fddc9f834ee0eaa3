"""Normals and curvatures of a region's interface, from its indicator smoothed by a Gaussian.

The Gaussian is a ball in units of length, whatever the edges of a voxel. Every voxel takes its
numbers from the same sums in the same order wherever a block begins, and each is rounded to a whole
number of quanta: blocks add up exactly. The volume is mirrored at its border.

Curvatures of the level sets of f, with g = grad f and the matrix H of its second derivatives
(Goldman 2005, doi:10.1016/j.cagd.2005.06.005): M = -(|g|^2 tr H - g H g) / (2 |g|^3), positive
where the region is convex, and G = g adj(H) g / |g|^4. By the coarea formula the mean over the
levels from 1/4 to 3/4 of the area is 2 sum |g| dV.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numba as nb
import numpy as np
from numpy.typing import NDArray

from tim3d.grid import Box, Triple, triple
from tim3d.kernels.morphology.phase_mask import as_core, as_labels

#: What is summed over the interface: area, M, G, |G| and M^2 times area, normals, quadrants.
SUMS = (
    *("area", "mean", "gauss", "gauss_size", "mean_square"),
    *("zz", "yy", "xx", "zy", "zx", "yx"),
    *("convex", "concave", "saddle_in", "saddle_out"),
)
# Quanta of a unit: with the shortest edge as unit of length, a power of two each.
QUANTA = np.array([2**24, 2**24, 2**20, 2**20, 2**20, *[2**24] * 10], np.float64)
# Powers of a length of the sums per volume: area, M, G, |G|, M^2, and areas again.
POWERS = np.array([-1, -2, -3, -3, -3, *[-1] * 10])
_CUT = 4.0  # standard deviations after which a Gaussian ends
_FLATTEST = 2.0**-10  # of |g| in units of the shortest edge: no interface


def reach(sigma: float, spacing: Sequence[float]) -> Triple:
    """Voxels along each axis on which a voxel's curvature depends; sigma in units of the spacing.

    >>> reach(20.0, (10.0, 5.0, 20.0))
    (9, 17, 5)
    """
    return triple(math.ceil(_CUT * sigma / d) + 1 for d in spacing)


def taps(sigma: float, edge: float) -> NDArray[np.float64]:
    """Weights of a Gaussian at voxels of an edge, with the sum 1."""
    far = math.ceil(_CUT * sigma / edge)
    weights = np.exp(-0.5 * (np.arange(-far, far + 1) * edge / sigma) ** 2)
    return np.asarray(weights / weights.sum())


def interface_sums(
    labels: NDArray[np.uint8],
    codes: Sequence[int],
    sigma: float,
    spacing: tuple[float, float, float],
    bins: int,
    limit: float,
    core: Box | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sums over the interface of a region, and its area by mean and Gaussian curvature.

    Parameters
    ----------
    labels : (z, y, x) uint8
        Label of each voxel; `reach` voxels around the core are read. The end of the array is taken
        as the end of the volume.
    codes : sequence of int
        Labels of the region.
    sigma : float
        Standard deviation of the Gaussian, in units of the spacing.
    spacing : (dz, dy, dx)
        Edges of a voxel.
    bins : int
        Bins of each curvature.
    limit : float
        Largest mean curvature and root of a Gaussian one; larger ones are in the outer bins.
    core : Box, optional
        Voxels that are summed (default: all).

    Returns
    -------
    sums : (2, 15) int64
        `SUMS` in quanta of 1 / `QUANTA` of (shortest edge)^`POWERS`: over all voxels, and over
        those at least `reach` from the border of the volume.
    areas : (bins, bins) int64
        Area by M and by the signed root of G, of the latter voxels.
    """
    labels = as_labels(labels)
    core = as_core(labels, core)
    halo, shortest = reach(sigma, spacing), min(spacing)
    before = [max(0, h - a) for h, a in zip(halo, core.start, strict=True)]
    after = [max(0, b + h - n) for h, b, n in zip(halo, core.stop, labels.shape, strict=True)]
    near = tuple(
        slice(a + p - h, b + p + h)
        for a, b, p, h in zip(core.start, core.stop, before, halo, strict=True)
    )
    padded = np.pad(labels, list(zip(before, after, strict=True)), mode="symmetric")[near]
    field = np.isin(padded, list(codes)).astype(np.float32)
    for axis, edge in enumerate(spacing):
        field = _blurred(field, taps(sigma, edge), axis)
    low = [max(h - a, 0) for h, a in zip(halo, core.start, strict=True)]
    high = [n - h - a for h, a, n in zip(halo, core.start, labels.shape, strict=True)]
    sums, areas = np.zeros((2, len(SUMS)), np.int64), np.zeros((bins, bins), np.int64)
    steps = np.array(spacing) / shortest
    inner = np.array([low, high], np.int64)
    _sum(field, steps, inner, limit * shortest, QUANTA, sums, areas)
    return sums, areas


def _blurred(
    field: NDArray[np.float32], weights: NDArray[np.float64], axis: int
) -> NDArray[np.float32]:
    """Field after one pass of a Gaussian, shorter by its reach less one voxel at either end."""
    far = len(weights) // 2
    out = np.empty([n - 2 * far * (a == axis) for a, n in enumerate(field.shape)], np.float32)
    _blur(np.ascontiguousarray(field), weights, np.eye(3, dtype=np.int64)[axis], out)
    return out


@nb.njit(nogil=True, cache=True)
def _blur(
    field: NDArray[np.float32],
    weights: NDArray[np.float64],
    step: NDArray[np.int64],
    out: NDArray[np.float32],
) -> None:
    depth, height, width = out.shape
    total = np.empty(width, np.float64)
    for z in range(depth):
        for y in range(height):
            total[:] = 0.0
            for k in range(weights.size):
                row = field[z + k * step[0], y + k * step[1], k * step[2] :]
                weight = weights[k]
                for x in range(width):
                    total[x] += weight * row[x]
            for x in range(width):
                out[z, y, x] = total[x]


@nb.njit(nogil=True, cache=True)
def _gradient(f, z, y, x, steps):  # type: ignore[no-untyped-def]
    gz = (np.float64(f[z + 1, y, x]) - f[z - 1, y, x]) / (2 * steps[0])
    gy = (np.float64(f[z, y + 1, x]) - f[z, y - 1, x]) / (2 * steps[1])
    gx = (np.float64(f[z, y, x + 1]) - f[z, y, x - 1]) / (2 * steps[2])
    return gz, gy, gx


@nb.njit(nogil=True, cache=True)
def _straight(f, z, y, x, steps):  # type: ignore[no-untyped-def]
    """Second derivatives along the axes."""
    here = np.float64(f[z, y, x])
    zz = (np.float64(f[z + 1, y, x]) + f[z - 1, y, x] - 2 * here) / (steps[0] * steps[0])
    yy = (np.float64(f[z, y + 1, x]) + f[z, y - 1, x] - 2 * here) / (steps[1] * steps[1])
    xx = (np.float64(f[z, y, x + 1]) + f[z, y, x - 1] - 2 * here) / (steps[2] * steps[2])
    return zz, yy, xx


@nb.njit(nogil=True, cache=True)
def _mixed(f, z, y, x, steps):  # type: ignore[no-untyped-def]
    """Second derivatives along two axes."""
    zy = np.float64(f[z + 1, y + 1, x]) + f[z - 1, y - 1, x]
    zy = (zy - f[z + 1, y - 1, x] - f[z - 1, y + 1, x]) / (4 * steps[0] * steps[1])
    zx = np.float64(f[z + 1, y, x + 1]) + f[z - 1, y, x - 1]
    zx = (zx - f[z + 1, y, x - 1] - f[z - 1, y, x + 1]) / (4 * steps[0] * steps[2])
    yx = np.float64(f[z, y + 1, x + 1]) + f[z, y - 1, x - 1]
    yx = (yx - f[z, y + 1, x - 1] - f[z, y - 1, x + 1]) / (4 * steps[1] * steps[2])
    return zy, zx, yx


@nb.njit(nogil=True, cache=True)
def _curvatures(f, z, y, x, steps):  # type: ignore[no-untyped-def]
    """Gradient and its length, M and G times the length, in units of the steps."""
    gz, gy, gx = _gradient(f, z, y, x, steps)
    size = math.sqrt(gz * gz + gy * gy + gx * gx)
    if size < _FLATTEST:
        return gz, gy, gx, size, 0.0, 0.0
    zz, yy, xx = _straight(f, z, y, x, steps)
    zy, zx, yx = _mixed(f, z, y, x, steps)
    nz, ny, nx = gz / size, gy / size, gx / size
    along = nz * nz * zz + ny * ny * yy + nx * nx * xx
    along += 2 * (nz * ny * zy + nz * nx * zx + ny * nx * yx)
    gauss = nz * nz * (yy * xx - yx * yx) + ny * ny * (zz * xx - zx * zx)
    gauss += nx * nx * (zz * yy - zy * zy) + 2 * nz * ny * (zx * yx - zy * xx)
    gauss += 2 * nz * nx * (zy * yx - zx * yy) + 2 * ny * nx * (zy * zx - yx * zz)
    return gz, gy, gx, size, -(zz + yy + xx - along) / 2, gauss / size


@nb.njit(nogil=True, cache=True)
def _place(value: float, limit: float, bins: int) -> int:
    return min(max(math.floor((value / limit + 1) / 2 * bins), 0), bins - 1)


@nb.njit(nogil=True, cache=True)
def _quadrant(mean: float, gauss: float) -> int:
    """Place among `SUMS`: convex, concave, and saddles that curve inwards and outwards."""
    if gauss > 0:
        return 11 if mean > 0 else 12
    return 13 if mean < 0 else 14


@nb.njit(nogil=True, cache=True)
def _sum(
    f: NDArray[np.float32],
    steps: NDArray[np.float64],
    inner: NDArray[np.int64],
    limit: float,
    quanta: NDArray[np.float64],
    sums: NDArray[np.int64],
    areas: NDArray[np.int64],
) -> None:
    bins = areas.shape[0]
    values = np.empty(sums.shape[1], np.float64)
    for z in range(1, f.shape[0] - 1):
        for y in range(1, f.shape[1] - 1):
            for x in range(1, f.shape[2] - 1):
                if abs(f[z, y, x] - 0.5) >= 0.25:
                    continue
                gz, gy, gx, size, mean, gauss = _curvatures(f, z, y, x, steps)
                if size < _FLATTEST:
                    continue
                values[:] = 0.0
                values[0], values[1], values[2] = size, mean, gauss
                values[3], values[4] = abs(gauss), mean * mean / size
                values[5], values[6], values[7] = gz * gz / size, gy * gy / size, gx * gx / size
                values[8], values[9], values[10] = gz * gy / size, gz * gx / size, gy * gx / size
                values[_quadrant(mean, gauss)] = size
                away = (
                    inner[0, 0] <= z - 1 < inner[1, 0]
                    and inner[0, 1] <= y - 1 < inner[1, 1]
                    and inner[0, 2] <= x - 1 < inner[1, 2]
                )
                for n in range(values.size):
                    count = np.int64(np.rint(values[n] * quanta[n]))
                    sums[0, n] += count
                    if away:
                        sums[1, n] += count
                if away:
                    m, k = mean / size, gauss / size
                    root = math.sqrt(abs(k)) if k > 0 else -math.sqrt(abs(k))
                    area = np.int64(np.rint(size * quanta[0]))
                    areas[_place(m, limit, bins), _place(root, limit, bins)] += area
