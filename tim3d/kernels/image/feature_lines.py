"""Features of the voxels of a run along x, all of them by loops over short lines of float32.

Every loop writes one line from a few others, so that a compiler does eight voxels at a time. Each
voxel goes through the same operations in the same order whatever the run, which is why a run, and a
block of runs, does not show in a bit. No sum is reordered and no product is joined to a sum.
"""

from __future__ import annotations

import math
from typing import Any

import numba as nb
import numpy as np
from numpy.typing import NDArray

# Chebyshev series of cos(2/3 acos t) on 0 <= t <= 1 in powers of t, good to 2e-12: the function has
# its next singularity at t = -1.
_THIRD = (
    0.5000000000018541, 0.5773502685611529, -0.1111110754645799, 0.05345755528620861,
    -0.03291229385470693, 0.022800092969552006, -0.01674996633178135, 0.012328326497268971,
    -0.00840851371230002, 0.004813966830499325, -0.0020618454166501598, 0.0005670695023061924,
    -7.358486982515204e-05,
)  # fmt: skip


@nb.njit(nogil=True, cache=True)
def mirrored(place, length):  # type: ignore[no-untyped-def]
    """Place inside an array that is mirrored at its first and last voxel."""
    if 0 <= place < length:
        return place
    if length == 1:
        return 0
    period = 2 * length - 2
    place = place % period
    return period - place if place >= length else place


# Rows of the lines in float32 to work in: slopes along z, y, x, and two symmetric matrices.
_SLOPE, _BEND, _TENSOR = 0, 3, 9


def memory_of_run(longest: int, steps: NDArray[np.int64]) -> tuple[NDArray[Any], ...]:
    """Memory for runs: lines around them, slopes and matrices, and what is found in float64."""
    width = longest + 4 * int(steps[:, 2].max())
    return (
        np.zeros((5, 5, width), np.float32),
        np.zeros((15, longest), np.float32),
        np.zeros((2, longest)),
    )


@nb.njit(nogil=True, cache=True)
def features_of_run(grey, smooth, z, y, x, n, steps, factors, planar, work, out):  # type: ignore[no-untyped-def]
    """Write the features of the voxels (z, y, x), (z, y, x + 1), ... into the columns of `out`.

    Parameters
    ----------
    grey, smooth : (z, y, x) and (scales, z, y, x) float32
        Normalised grey values, and their Gaussians.
    z, y, x, n : int
        First voxel of the run, and how many they are.
    steps, factors : (scales, 3)
        Points of the differences, and scale over their distance, float32.
    planar : bool
        Whether slices are looked at one by one.
    work : tuple of arrays
        From `memory_of_run`.
    out : (features, n or more) float32
        Features by voxel.
    """
    out[0, :n] = grey[z, y, x : x + n]
    row = 1
    if not planar:
        out[1, :n] = grey[mirrored(z - 1, grey.shape[0]), y, x : x + n]
        out[2, :n] = grey[mirrored(z + 1, grey.shape[0]), y, x : x + n]
        row = 3
    for s in range(smooth.shape[0]):
        _read(smooth[s], z, y, x, steps[s], planar, n, work[0])
        row = _of_scale(work, n, steps[s, 2], factors[s], planar, out, row)
    for s in range(smooth.shape[0] - 1):
        _less(smooth[s, z, y, x : x + n], smooth[s + 1, z, y, x : x + n], out[row + s, :n])


@nb.njit(nogil=True, cache=True)
def _read(values, z, y, x, step, planar, n, lines):  # type: ignore[no-untyped-def]
    """Copy the lines around a run: up to two steps off along z and y, longer by two steps in x."""
    nz, ny, _ = values.shape
    width = n + 4 * step[2]
    for k in range(-2, 3):
        for j in range(-2, 3):
            if abs(k) + abs(j) > 2 or (planar and k):
                continue
            source = values[mirrored(z + k * step[0], nz), mirrored(y + j * step[1], ny)]
            _copy(source, x - 2 * step[2], lines[2 + k, 2 + j, :width])


@nb.njit(nogil=True, cache=True)
def _copy(source, first, target):  # type: ignore[no-untyped-def]
    """Copy a stretch of a line that is mirrored beyond its ends."""
    nx, width = source.size, target.size
    inside, after = min(max(0, -first), width), max(0, min(width, nx - first))
    for i in range(inside):
        target[i] = source[mirrored(first + i, nx)]
    if after > inside:
        target[inside:after] = source[first + inside : first + after]
    for i in range(max(after, inside), width):
        target[i] = source[mirrored(first + i, nx)]


@nb.njit(nogil=True, cache=True)
def _of_scale(work, n, step, factor, planar, out, row):  # type: ignore[no-untyped-def]
    """Features of one scale; the next free row."""
    lines, own = work[0], work[1]
    out[row, :n] = _at(lines, 0, 0, 0, step, n)
    _slopes(lines, 0, 0, 0, n, step, factor, planar, own)
    _length(own, n, planar, out[row + 1, :n])
    _bends(lines, n, step, factor, planar, own)
    if planar:
        _two_eigenvalues(own, n, out[row + 2, :n], out[row + 3, :n])
        row += 4
    else:
        _three_eigenvalues(own[_BEND : _BEND + 6], n, work[2], out, row + 2)
        row += 5
    _structure(lines, n, step, factor, planar, own)
    _mean(own, n, planar, out[row, :n])
    _spread(own, n, planar, out[row + 1, :n])
    return row + 2


@nb.njit(nogil=True, cache=True)
def _at(lines, dz, dy, dx, step, n):  # type: ignore[no-untyped-def]
    """Line of the run, some steps off along z, y and x."""
    return lines[2 + dz, 2 + dy, (2 + dx) * step : (2 + dx) * step + n]


@nb.njit(nogil=True, cache=True)
def _slopes(lines, dz, dy, dx, n, step, factor, planar, own):  # type: ignore[no-untyped-def]
    """Central differences along z, y, x at some place, times the scale."""
    half = np.float32(0.5)
    for axis in range(1 if planar else 0, 3):
        k, j, i = (axis == 0) * 1, (axis == 1) * 1, (axis == 2) * 1
        above = _at(lines, dz + k, dy + j, dx + i, step, n)
        below = _at(lines, dz - k, dy - j, dx - i, step, n)
        _difference(above, below, half * factor[axis], own[_SLOPE + axis, :n])


@nb.njit(nogil=True, cache=True)
def _bends(lines, n, step, factor, planar, own):  # type: ignore[no-untyped-def]
    """Second differences zz, yy, xx, zy, zx, yx, times the scale squared."""
    quarter, centre = np.float32(0.25), _at(lines, 0, 0, 0, step, n)
    for axis in range(1 if planar else 0, 3):
        k, j, i = (axis == 0) * 1, (axis == 1) * 1, (axis == 2) * 1
        above, below = _at(lines, k, j, i, step, n), _at(lines, -k, -j, -i, step, n)
        _second(above, centre, below, factor[axis] * factor[axis], own[_BEND + axis, :n])
    for pair in range(2 if planar else 0, 3):
        one, other = (0, 0, 1)[pair], (1, 2, 2)[pair]
        az, ay, bx, by = (one == 0) * 1, (one == 1) * 1, (other == 2) * 1, (other == 1) * 1
        _mixed(
            _at(lines, az, ay + by, bx, step, n), _at(lines, az, ay - by, -bx, step, n),
            _at(lines, -az, -ay - by, -bx, step, n), _at(lines, -az, by - ay, bx, step, n),
            quarter * factor[one] * factor[other], own[_BEND + 3 + pair, :n],
        )  # fmt: skip


@nb.njit(nogil=True, cache=True)
def _structure(lines, n, step, factor, planar, own):  # type: ignore[no-untyped-def]
    """Sum of the products of slopes over a cross, whose centre counts twice."""
    for entry in range(6):
        own[_TENSOR + entry, :n] = np.float32(0)
    for place in range(8):
        dz = (0, 0, 0, 0, 0, 0, -1, 1)[place]
        dy = (0, 0, -1, 1, 0, 0, 0, 0)[place]
        dx = (0, 0, 0, 0, -1, 1, 0, 0)[place]
        if planar and dz:
            continue
        _slopes(lines, dz, dy, dx, n, step, factor, planar, own)
        for entry in range(6):
            one, other = (0, 1, 2, 0, 0, 1)[entry], (0, 1, 2, 1, 2, 2)[entry]
            if not (planar and one == 0):
                _add_product(own[one, :n], own[other, :n], own[_TENSOR + entry, :n])


@nb.njit(nogil=True, cache=True)
def _difference(above, below, factor, out):  # type: ignore[no-untyped-def]
    for i in range(out.size):
        out[i] = factor * (above[i] - below[i])


@nb.njit(nogil=True, cache=True)
def _less(a, b, out):  # type: ignore[no-untyped-def]
    for i in range(out.size):
        out[i] = a[i] - b[i]


@nb.njit(nogil=True, cache=True)
def _add_product(a, b, out):  # type: ignore[no-untyped-def]
    for i in range(out.size):
        out[i] += a[i] * b[i]


@nb.njit(nogil=True, cache=True)
def _second(above, centre, below, factor, out):  # type: ignore[no-untyped-def]
    for i in range(out.size):
        out[i] = factor * ((above[i] - centre[i]) + (below[i] - centre[i]))


@nb.njit(nogil=True, cache=True)
def _mixed(one, two, three, four, factor, out):  # type: ignore[no-untyped-def]
    """Difference of the corners on one diagonal and those on the other, one after the other around."""
    for i in range(out.size):
        out[i] = factor * ((one[i] - two[i]) + (three[i] - four[i]))


@nb.njit(nogil=True, cache=True)
def _length(own, n, planar, out):  # type: ignore[no-untyped-def]
    z, y, x = own[_SLOPE, :n], own[_SLOPE + 1, :n], own[_SLOPE + 2, :n]
    if planar:
        for i in range(n):
            out[i] = math.sqrt(y[i] * y[i] + x[i] * x[i])
    else:
        for i in range(n):
            out[i] = math.sqrt(z[i] * z[i] + y[i] * y[i] + x[i] * x[i])


@nb.njit(nogil=True, cache=True)
def _mean(own, n, planar, out):  # type: ignore[no-untyped-def]
    """Mean of the eigenvalues of a tensor that was summed over a cross."""
    zz, yy, xx = own[_TENSOR, :n], own[_TENSOR + 1, :n], own[_TENSOR + 2, :n]
    if planar:
        for i in range(n):
            out[i] = (yy[i] + xx[i]) * np.float32(1 / 12)
    else:
        for i in range(n):
            out[i] = (zz[i] + yy[i] + xx[i]) * np.float32(1 / 24)


@nb.njit(nogil=True, cache=True)
def _spread(own, n, planar, out):  # type: ignore[no-untyped-def]
    """Spread of the eigenvalues: their difference in a slice, the length of the deviator in 3-D."""
    zz, yy, xx = own[_TENSOR, :n], own[_TENSOR + 1, :n], own[_TENSOR + 2, :n]
    zy, zx, yx = own[_TENSOR + 3, :n], own[_TENSOR + 4, :n], own[_TENSOR + 5, :n]
    if planar:
        for i in range(n):
            apart, mixed = yy[i] - xx[i], yx[i] + yx[i]
            out[i] = math.sqrt(apart * apart + mixed * mixed) * np.float32(1 / 12)
    else:
        for i in range(n):
            mean = (zz[i] + yy[i] + xx[i]) * np.float32(1 / 3)
            a, b, c = zz[i] - mean, yy[i] - mean, xx[i] - mean
            mixed = zy[i] * zy[i] + zx[i] * zx[i] + yx[i] * yx[i]
            out[i] = math.sqrt(a * a + b * b + c * c + (mixed + mixed)) * np.float32(1 / 8)


@nb.njit(nogil=True, cache=True)
def _two_eigenvalues(own, n, high, low):  # type: ignore[no-untyped-def]
    yy, xx, yx = own[_BEND + 1, :n], own[_BEND + 2, :n], own[_BEND + 5, :n]
    half = np.float32(0.5)
    for i in range(n):
        apart = half * (yy[i] - xx[i])
        high[i] = math.sqrt(apart * apart + yx[i] * yx[i])
    for i in range(n):
        low[i] = half * (yy[i] + xx[i]) - high[i]
    for i in range(n):
        high[i] = half * (yy[i] + xx[i]) + high[i]


@nb.njit(nogil=True, cache=True)
def _three_eigenvalues(matrix, n, work, out, row):  # type: ignore[no-untyped-def]
    """Eigenvalues of symmetric matrices zz, yy, xx, zy, zx, yx, in descending order.

    With p the root mean square of the deviator and r half the determinant of the deviator over p
    they are mean + 2 p cos(acos(r) / 3), mean - 2 p cos(acos(-r) / 3), and what is left of the sum.
    """
    zz, yy, xx = matrix[0, :n], matrix[1, :n], matrix[2, :n]
    length, shape = work[0, :n], work[1, :n]
    _deviator(matrix, n, length, shape)
    high, middle, low = out[row, :n], out[row + 1, :n], out[row + 2, :n]
    for i in range(n):
        above = 2 * length[i] * _third(math.sqrt(0.5 + 0.5 * shape[i]))
        high[i] = (np.float64(zz[i]) + yy[i] + xx[i]) / 3 + above
    for i in range(n):
        below = 2 * length[i] * _third(math.sqrt(0.5 - 0.5 * shape[i]))
        low[i] = (np.float64(zz[i]) + yy[i] + xx[i]) / 3 - below
    for i in range(n):
        middle[i] = (np.float64(zz[i]) + yy[i] + xx[i]) - high[i] - low[i]


@nb.njit(nogil=True, cache=True, error_model="numpy")
def _deviator(matrix, n, length, shape):  # type: ignore[no-untyped-def]
    """Root mean square of the deviator, and half its determinant where that is 1."""
    zz, yy, xx = matrix[0, :n], matrix[1, :n], matrix[2, :n]
    zy, zx, yx = matrix[3, :n], matrix[4, :n], matrix[5, :n]
    for i in range(n):
        mean = (np.float64(zz[i]) + yy[i] + xx[i]) / 3
        a, b, c = zz[i] - mean, yy[i] - mean, xx[i] - mean
        mixed = np.float64(zy[i]) * zy[i] + np.float64(zx[i]) * zx[i] + np.float64(yx[i]) * yx[i]
        length[i] = math.sqrt((a * a + b * b + c * c + 2 * mixed) / 6)
    for i in range(n):
        mean = (np.float64(zz[i]) + yy[i] + xx[i]) / 3
        a, b, c = zz[i] - mean, yy[i] - mean, xx[i] - mean
        d, e, f = np.float64(zy[i]), np.float64(zx[i]), np.float64(yx[i])
        found = a * (b * c - f * f) - d * (d * c - f * e) + e * (d * f - b * e)
        found = found / (2 * length[i] * length[i] * length[i])
        found = found if found < 1 else 1.0
        shape[i] = found if found > -1 else -1.0  # where all is zero it is nan, and becomes 1


@nb.njit(nogil=True, cache=True)
def _third(t):  # type: ignore[no-untyped-def]
    """Cosine of a third of an angle whose half has the cosine t."""
    found = _THIRD[12]
    for n in range(11, -1, -1):
        found = found * t + _THIRD[n]
    return found


def eigenvalues(matrices: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Eigenvalues of symmetric matrices, in descending order.

    Parameters
    ----------
    matrices : (n, 3, 3) array
        Taken in float32.

    Returns
    -------
    (n, 3) float32
        Good to 1e-6 of the largest entry of each.

    Examples
    --------
    >>> eigenvalues(np.array([[[2, 1, 0], [1, 2, 0], [0, 0, 5]]])).tolist()
    [[5.0, 3.0, 1.0]]
    """
    rows, columns = (0, 1, 2, 0, 0, 1), (0, 1, 2, 1, 2, 2)
    parts = np.ascontiguousarray(np.asarray(matrices, np.float32)[:, rows, columns].T)
    found = np.empty((3, parts.shape[1]), np.float32)
    _three_eigenvalues(parts, parts.shape[1], np.empty((2, parts.shape[1])), found, 0)
    return np.ascontiguousarray(found.T)
