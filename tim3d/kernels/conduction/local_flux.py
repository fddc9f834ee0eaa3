"""Flux in each voxel: its magnitude, its distribution and the dissipation of each phase."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numba as nb
import numpy as np
from numpy.typing import NDArray

from tim3d.kernels.conduction.arrays import F32, F64, U8

# Bins of the histogram: a factor 2^(1/4) each, from 2^-12 to 2^12 times the mean flux; values
# beyond count in the first and the last bin.
PER_OCTAVE = 4
OCTAVES = 12
CLASSES = 2 * OCTAVES * PER_OCTAVE
_kernel = nb.njit(nogil=True, cache=True, error_model="numpy")


def class_edges() -> F64:
    """Edges of the histogram's bins, as multiples of the mean flux."""
    return np.asarray(
        2.0 ** (np.arange(-OCTAVES * PER_OCTAVE, OCTAVES * PER_OCTAVE + 1) / PER_OCTAVE)
    )


@dataclass(frozen=True)
class LocalFlux:
    """Statistics of the flux magnitude in the voxels of each code; additive over slabs.

    Attributes
    ----------
    voxels : (codes,) int64
        Voxels with a flux.
    total, squares : (codes,) float64
        Sums of the magnitude of the flux density and of its square, in units of conductivity times
        mean gradient.
    dissipation : (codes,) float64
        Dissipation in the halves of faces that belong to the voxels of each code, in the same
        units.
    histogram : (codes, bins) int64
        Voxels by the magnitude of the flux over its mean.
    """

    voxels: NDArray[np.int64]
    total: F64
    squares: F64
    dissipation: F64
    histogram: NDArray[np.int64]

    def by_label(self, labels: Sequence[int]) -> LocalFlux:
        """Statistics of each label, in increasing order, from those of its codes 1, 2, ..."""
        each = sorted(set(labels))
        if len(each) == len(labels):
            return self
        rows = np.concatenate([[0], 1 + np.searchsorted(each, labels)])

        def merged(values: NDArray[Any]) -> NDArray[Any]:
            out = np.zeros((len(each) + 1, *values.shape[1:]), values.dtype)
            np.add.at(out, rows, values)
            return out

        return LocalFlux(*(merged(values) for values in vars(self).values()))


@_kernel
def flux_size(
    start: int,
    stop: int,
    size: F32,
    dissipation: F64,
    x: F64,
    codes: U8,
    pairs: F64,
    drops: F64,
    half: F64,
    scale: F64,
) -> None:
    """Compute the flux magnitude in each voxel, and the dissipation by plane and code.

    The flux density of a voxel is the mean over opposite faces.

    Parameters
    ----------
    start, stop : int
        Planes to work on.
    size : (nz+2, ny+2, nx+2)
        Output: sqrt(qz^2 + qy^2 + qx^2), in units in which conductivity 1 under the mean gradient
        carries 1.
    dissipation : (nz+2, codes)
        Output: sum over the halves of faces that belong to the voxels of each code.
    x : (nz+2, ny+2, nx+2)
        Deviation of the potential from the linear profile.
    codes : (nz+2, ny+2, nx+2)
        Code of each voxel.
    pairs : (3, codes, codes)
        Conductance of the face between two voxels, by axis and codes.
    drops : (nz+2,)
        Fall of the linear profile across the plane of faces below each plane of voxels.
    half : (codes, 3)
        Resistance of half a voxel along each axis, 1 / (2 k).
    scale : (3,)
        Edge of a voxel along each axis, relative to the first axis.
    """
    for z in range(start, stop):
        for y in range(1, x.shape[1] - 1):
            for i in range(1, x.shape[2] - 1):
                own, here = codes[z, y, i], x[z, y, i]
                size[z, y, i] = 0
                if own != 0:
                    below = pairs[0, own, codes[z - 1, y, i]] * (drops[z] + x[z - 1, y, i] - here)
                    above = pairs[0, own, codes[z + 1, y, i]] * (
                        drops[z + 1] + here - x[z + 1, y, i]
                    )
                    north = pairs[1, own, codes[z, y - 1, i]] * (x[z, y - 1, i] - here) * scale[1]
                    south = pairs[1, own, codes[z, y + 1, i]] * (here - x[z, y + 1, i]) * scale[1]
                    west = pairs[2, own, codes[z, y, i - 1]] * (x[z, y, i - 1] - here) * scale[2]
                    east = pairs[2, own, codes[z, y, i + 1]] * (here - x[z, y, i + 1]) * scale[2]
                    square = (below + above) ** 2 + (north + south) ** 2 + (west + east) ** 2
                    size[z, y, i] = 0.5 * math.sqrt(square)
                    lost = half[own, 0] * (below * below + above * above)
                    lost += half[own, 1] * (north * north + south * south)
                    lost += half[own, 2] * (west * west + east * east)
                    dissipation[z, own] += lost


@_kernel
def tally(
    start: int, stop: int, size: F32, codes: U8, mean: float, voxels: NDArray[np.int64], sums: F64,
    histogram: NDArray[np.int64],
) -> None:  # fmt: skip
    """Count voxels, and add up flux magnitudes, their squares and histograms, by plane and code.

    Parameters
    ----------
    start, stop : int
        Planes to work on.
    size : (nz+2, ny+2, nx+2)
        Flux magnitude in each voxel.
    codes : (nz+2, ny+2, nx+2)
        Code of each voxel.
    mean : float
        Mean flux, to which the bins of the histogram are relative.
    voxels : (nz+2, codes)
        Output: voxels with a flux.
    sums : (nz+2, codes, 2)
        Output: sums of the magnitude and of its square.
    histogram : (nz+2, codes, bins)
        Output: voxels by magnitude.
    """
    for z in range(start, stop):
        for y in range(1, size.shape[1] - 1):
            for i in range(1, size.shape[2] - 1):
                own = codes[z, y, i]
                if own != 0:
                    value = np.float64(size[z, y, i])
                    voxels[z, own] += 1
                    sums[z, own, 0] += value
                    sums[z, own, 1] += value * value
                    histogram[z, own, class_of(value / mean)] += 1


@_kernel
def class_of(ratio: float) -> int:
    """Class of the histogram that a flux divided by the mean flux belongs to."""
    if ratio <= 2.0**-OCTAVES:
        return 0
    return min(int((math.log2(ratio) + OCTAVES) * PER_OCTAVE), CLASSES - 1)


def together(parts: Sequence[tuple[NDArray[np.int64], F64, F64, NDArray[np.int64]]]) -> LocalFlux:
    """Merge the tables of all slabs into one set of statistics, plane by plane in a fixed order."""
    voxels, sums, dissipation, histogram = (
        np.concatenate([part[n] for part in parts]) for n in range(4)
    )
    added = in_order(sums)
    return LocalFlux(
        voxels.sum(0), added[:, 0], added[:, 1], in_order(dissipation), histogram.sum(0)
    )


def in_order(planes: F64) -> F64:
    """Sum over the first axis, in an order that depends on its length only."""
    return np.asarray(np.ascontiguousarray(np.moveaxis(planes, 0, -1)).sum(-1))
