"""Coarser levels of a volume for viewing: factors, means for grey values, strides for labels.

A level of factor f has ceil(n / f) voxels along an axis of n: nothing is cut off, and the last
coarse voxel may cover fewer fine ones. Blocks that start at multiples of the factors give the same
voxels as the whole volume.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numba as nb
import numpy as np
import numpy.typing as npt

from tim3d.errors import ArgumentError, InputError
from tim3d.grid import Triple, triple


def level_factors(
    shape: Triple, spacing: tuple[float, float, float], smallest: int = 64
) -> list[Triple]:
    """Factors of every level relative to the full resolution, starting with (1, 1, 1).

    From level to level an axis is halved if its voxels are still shorter than twice the shortest
    edge, so that voxels become cubic; axes with fewer than 2 voxels are kept. The last level has at
    most `smallest` voxels along every axis.

    Parameters
    ----------
    shape : (z, y, x)
        Voxels at full resolution.
    spacing : (dz, dy, dx)
        Edge lengths of a voxel, in any unit.
    smallest : int
        Largest edge of the last level.

    Raises
    ------
    ArgumentError
        If a shape, an edge length or `smallest` is not positive.

    Examples
    --------
    >>> level_factors((100, 400, 400), (20.0, 5.0, 5.0), smallest=64)
    [(1, 1, 1), (1, 2, 2), (1, 4, 4), (2, 8, 8)]
    """
    if min(shape) < 1 or not min(spacing) > 0 or smallest < 1:
        raise ArgumentError(
            f"a pyramid needs positive numbers: shape {shape}, spacing {spacing}, smallest {smallest}"
        )
    levels = [(1, 1, 1)]
    while max(level_shape(shape, levels[-1])) > smallest:
        levels.append(_next_factors(shape, spacing, levels[-1]))
    return levels


def level_shape(shape: Triple, factors: Triple) -> Triple:
    """Shape of a level: ceil(n / f) voxels along every axis.

    >>> level_shape((5, 8, 1), (2, 2, 2))
    (3, 4, 1)
    """
    return triple(-(-n // f) for n, f in zip(shape, factors, strict=True))


def mean_downsample(block: npt.NDArray[np.generic], factors: Triple) -> npt.NDArray[np.generic]:
    """Downsample by the mean over every cell of `factors` voxels, fewer at the border.

    Integers: exact integer sums, rounded to the nearest, halves up. Floats: sums in float64,
    rounded once to the type. The mean of a cell does not depend on the rest of the block.

    Parameters
    ----------
    block : array (z, y, x)
        Voxels of which the first is the first of a cell: blocks start at multiples of the factors.
    factors : (z, y, x)
        Voxels of a cell.

    Returns
    -------
    array of shape ceil(n / f) and the type of the block

    Raises
    ------
    ArgumentError
        If the block is empty or not three-dimensional, or a factor is below 1.
    InputError
        If means of the type are not defined (bool, complex and others).

    Examples
    --------
    >>> mean_downsample(np.array([[[1, 2, 9]]], np.uint8), (1, 1, 2)).tolist()
    [[[2, 9]]]
    """
    _check(block, factors)
    if block.dtype.kind not in "uif":
        raise InputError(f"a mean of {block.dtype} is not defined; downsample labels by stride")
    out = np.empty(level_shape(triple(block.shape), factors), block.dtype)
    kernel = _float_means if block.dtype.kind == "f" else _integer_means
    kernel(block, factors[0], factors[1], factors[2], out)
    return out


def stride_downsample(block: npt.NDArray[np.generic], factors: Triple) -> npt.NDArray[np.generic]:
    """Downsample labels by the first voxel of every cell of `factors` voxels.

    A mean of labels is meaningless. Blocks must start at multiples of the factors. The result has
    the shape ceil(n / f) and the type of the block.

    >>> stride_downsample(np.array([[[1, 2, 9]]], np.uint8), (1, 1, 2)).tolist()
    [[[1, 9]]]
    """
    _check(block, factors)
    z, y, x = factors
    return np.ascontiguousarray(block[::z, ::y, ::x])


def _next_factors(shape: Triple, spacing: Sequence[float], factors: Triple) -> Triple:
    sizes = [f * d for f, d in zip(factors, spacing, strict=True)]
    left = level_shape(shape, factors)
    # Only axes that can still be halved count, otherwise a thin volume would never reach the last
    # level.
    shortest = min(size for size, n in zip(sizes, left, strict=True) if n > 1)
    # Slightly below 2, so that rounding of spacings such as 0.1 does not decide for an axis that is
    # exactly twice as long.
    halve = [n > 1 and size < 1.999 * shortest for n, size in zip(left, sizes, strict=True)]
    return triple(f * 2 if h else f for f, h in zip(factors, halve, strict=True))


@nb.njit(nogil=True, cache=True)
def _integer_means(block, fz, fy, fx, out):  # type: ignore[no-untyped-def]
    """Add up rows of cells, then divide them: loops over x that a compiler turns into vectors."""
    nz, ny, nx = block.shape
    whole = nx // fx
    sums = np.empty(out.shape[2], np.int64)
    for k in range(out.shape[0]):
        z_end = min((k + 1) * fz, nz)
        for j in range(out.shape[1]):
            y_end = min((j + 1) * fy, ny)
            sums[:] = 0
            for z in range(k * fz, z_end):
                for y in range(j * fy, y_end):
                    _add_row(block[z, y], fx, sums)
            rows = (z_end - k * fz) * (y_end - j * fy)
            _divide(sums[:whole], rows * fx, out[k, j, :whole])
            _divide(sums[whole:], rows * (nx - whole * fx), out[k, j, whole:])


@nb.njit(nogil=True, cache=True)
def _add_row(row, fx, sums):  # type: ignore[no-untyped-def]
    """Add a row of voxels to the sums of cells that are `fx` voxels long; the last may be shorter."""
    whole = row.size // fx
    if fx == 1:
        for i in range(whole):
            sums[i] += np.int64(row[i])
    elif fx == 2:
        for i in range(whole):
            sums[i] += np.int64(row[2 * i]) + np.int64(row[2 * i + 1])
    else:
        for i in range(whole):
            for x in range(i * fx, (i + 1) * fx):
                sums[i] += np.int64(row[x])
    for x in range(whole * fx, row.size):
        sums[whole] += np.int64(row[x])


@nb.njit(nogil=True, cache=True)
def _divide(sums, count, out):  # type: ignore[no-untyped-def]
    """Means rounded to the nearest, halves up; of 1, 2, 4, 8 ... voxels by a shift."""
    shift = 1
    while 1 << shift < 2 * count:
        shift += 1
    if 1 << shift == 2 * count:
        for i in range(out.size):
            out[i] = (2 * sums[i] + count) >> shift
    else:
        for i in range(out.size):
            out[i] = (2 * sums[i] + count) // (2 * count)


@nb.njit(nogil=True, cache=True)
def _float_means(block, fz, fy, fx, out):  # type: ignore[no-untyped-def]
    nz, ny, nx = block.shape
    for k, j, i in np.ndindex(out.shape):
        total, count = 0.0, 0
        for z in range(k * fz, min((k + 1) * fz, nz)):
            for y in range(j * fy, min((j + 1) * fy, ny)):
                for x in range(i * fx, min((i + 1) * fx, nx)):
                    total += np.float64(block[z, y, x])
                    count += 1
        out[k, j, i] = total / count


def _check(block: npt.NDArray[np.generic], factors: Triple) -> None:
    if block.ndim != 3 or math.prod(block.shape) == 0 or min(factors) < 1:
        raise ArgumentError(
            f"downsampling needs a block (z, y, x) with voxels and factors >= 1, got shape {block.shape}, "
            f"factors {factors}"
        )
