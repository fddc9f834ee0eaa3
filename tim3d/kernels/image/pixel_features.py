"""Features of voxels for a classifier: Gaussians, and what is seen of them nearby.

Of each scale s: the Gaussian G of the grey values; the length of its gradient, times s; the
eigenvalues of its Hessian, times s squared; the two invariants of its structure tensor (mean and
spread of the eigenvalues), averaged over a cross of the size of the scale. Of neighbouring scales
the difference of their Gaussians; and the grey values, in three dimensions those of the slices
before and after too. Scales are lengths, so that voxels need not be cubes.

A feature depends on voxels within `reach`, by the same operations in the same order wherever the
array begins: features of a block equal those of the volume to the last bit. At the border of the
array the values are mirrored.

References
----------
Arganda-Carreras et al., Bioinformatics 33 (2017) 2424 (features of pixels). DOI 10.1093/bioinformatics/btx180
Smith, Comm. ACM 4 (1961) 168 (eigenvalues of a symmetric matrix). DOI 10.1145/355578.366316
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import numba as nb
import numpy as np
from numpy.typing import NDArray

from tim3d.grid import Triple, triple
from tim3d.kernels.image.feature_lines import features_of_run, memory_of_run, mirrored

Floats: TypeAlias = NDArray[np.float32]

# Standard deviations after which a Gaussian is cut off.
TRUNCATE = 3.0
# Edge of the tiles in which features are handed on, and voxels of a run along x that is done at once.
TILE, RUN = 8, 512


@dataclass(frozen=True)
class FeatureSet:
    """The features of one voxel size.

    Parameters
    ----------
    scales : tuple of float
        Standard deviations of the Gaussians, ascending.
    spacing : (dz, dy, dx)
        Edges of a voxel, in the unit of the scales.
    planar : bool
        Whether slices are looked at one by one.
    """

    scales: tuple[float, ...]
    spacing: tuple[float, float, float]
    planar: bool

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each feature, in their order."""
        values = range(2 if self.planar else 3)
        found = ["grey"] if self.planar else ["grey", "grey_before", "grey_after"]
        for scale in self.scales:
            own = ["gaussian", "gradient", *(f"hessian_{n}" for n in values), "structure_mean"]
            found += [f"{name}_{scale:g}" for name in (*own, "structure_spread")]
        found += [
            f"difference_{a:g}_{b:g}" for a, b in zip(self.scales, self.scales[1:], strict=False)
        ]
        return tuple(found)

    @property
    def reach(self) -> Triple:
        """Voxels on each side that a feature depends on, along z, y, x."""
        steps = self.steps()
        found = []
        for axis in range(3):
            radii = [len(k[axis]) - 1 for k in self.kernels()]
            most = max(r + 2 * int(s) for r, s in zip(radii, steps[:, axis], strict=True))
            found.append(0 if axis == 0 and self.planar else most)
        return triple(found)

    def kernels(self) -> list[list[Floats]]:
        """Half of the Gaussian of each scale along z, y, x, from its centre outwards."""
        every = []
        for scale in self.scales:
            sigmas = [scale / edge for edge in self.spacing]
            halves = [_half_gaussian(sigma) for sigma in sigmas]
            every.append([np.ones(1, np.float32) if self.planar else halves[0], *halves[1:]])
        return every

    def steps(self) -> NDArray[np.int64]:
        """Voxels between the points of a difference, by scale and axis: half a scale, at least one."""
        steps = [[max(1, round(s / (2 * edge))) for edge in self.spacing] for s in self.scales]
        found: NDArray[np.int64] = np.array(steps, np.int64)
        if self.planar:
            found[:, 0] = 0
        return found

    def factors(self) -> NDArray[np.float64]:
        """Scale over the distance of the points of a difference, by scale and axis."""
        steps = np.maximum(self.steps(), 1) * np.array(self.spacing)
        return np.asarray(np.array(self.scales)[:, None] / steps)


def _half_gaussian(sigma: float) -> Floats:
    """Weights of a Gaussian from its centre to its end, which add up to 1 over both halves."""
    radius = max(1, math.ceil(TRUNCATE * sigma))
    weights = np.exp(-0.5 * (np.arange(radius + 1) / sigma) ** 2)
    whole: Floats = (weights / (2 * weights.sum() - weights[0])).astype(np.float32)
    return whole


def gaussians(grey: Floats, features: FeatureSet) -> Floats:
    """The Gaussian of each scale.

    Parameters
    ----------
    grey : (z, y, x) float32
        Normalised grey values.
    features : FeatureSet
        The scales.

    Returns
    -------
    (scales, z, y, x) float32
        Mirrored at the border of the array.
    """
    found = np.empty((len(features.scales), *grey.shape), np.float32)
    spare = np.empty_like(grey)
    for target, (kz, ky, kx) in zip(found, features.kernels(), strict=True):
        if len(kz) > 1:
            _along_y(_flat(grey), kz, _flat(target))  # planes as the rows of one plane
            _along_y(target, ky, spare)
        else:
            _along_y(grey, ky, spare)
        _along_x(spare, kx, target)
    return found


def _flat(values: Floats) -> Floats:
    """Values (z, y, x) as (1, z, y x), without a copy."""
    return values.reshape(1, len(values), -1)


def features_of(
    grey: Floats, smooth: Floats, points: NDArray[np.int64], features: FeatureSet
) -> Floats:
    """Features of some voxels.

    Parameters
    ----------
    grey : (z, y, x) float32
        Normalised grey values.
    smooth : (scales, z, y, x) float32
        From `gaussians`.
    points : (n, 3) int64
        The voxels.
    features : FeatureSet
        The features.

    Returns
    -------
    (n, features) float32
        In the order of their names.

    Examples
    --------
    >>> ramp = np.tile(np.arange(9, dtype=np.float32), (1, 9, 1))
    >>> flat = FeatureSet((1.0,), (1.0, 1.0, 1.0), planar=True)
    >>> found = features_of(ramp, gaussians(ramp, flat), np.array([[0, 4, 4]]), flat)
    >>> dict(zip(flat.names, found[0].round(4).tolist()))["gradient_1"]
    1.0
    """
    found = np.empty((len(points), len(features.names)), np.float32)
    run = np.empty((found.shape[1], 1), np.float32)
    steps, factors, planar, work = _how(features, 1)
    for row, (z, y, x) in zip(found, points.tolist(), strict=True):
        features_of_run(grey, smooth, z, y, x, 1, steps, factors, planar, work, run)
        row[:] = run[:, 0]
    return found


def features_of_band(
    grey: Floats, smooth: Floats, corner: Triple, width: int, features: FeatureSet
) -> Floats:
    """Features of eight lines of voxels, in tiles of 8 x 8.

    Parameters
    ----------
    grey, smooth : arrays
        As in `features_of`.
    corner : (z, y, x)
        First voxel of the first line.
    width : int
        Voxels of each line.
    features : FeatureSet
        The features.

    Returns
    -------
    (tiles, features, 64) float32
        The voxels of a tile in C order. Places beyond the width, and beyond the last line of the
        array, are 0.
    """
    found = np.zeros((-(-width // TILE), len(features.names), TILE * TILE), np.float32)
    (z, y, x), longest = corner, min(width, RUN)
    run = np.empty((found.shape[1], longest), np.float32)
    steps, factors, planar, work = _how(features, longest)
    for line in range(min(TILE, grey.shape[1] - y)):
        for first in range(0, width, longest):
            n = min(longest, width - first)
            features_of_run(
                grey, smooth, z, y + line, x + first, n, steps, factors, planar, work, run
            )
            _put(run, n, first, line, found)
    return found


def _how(features: FeatureSet, longest: int) -> tuple[Any, ...]:
    """Arguments of `features_of_run` that are the same for all runs of voxels of a size."""
    steps, factors = features.steps(), features.factors().astype(np.float32)
    return steps, factors, features.planar, memory_of_run(longest, steps)


@nb.njit(nogil=True, cache=True)
def _put(run, n, first, line, out):  # type: ignore[no-untyped-def]
    """Write a run, which begins at a tile, into one line of its tiles."""
    for start in range(0, n, TILE):
        tile = out[(first + start) // TILE]
        for f in range(run.shape[0]):
            for i in range(min(TILE, n - start)):
                tile[f, line * TILE + i] = run[f, start + i]


@nb.njit(nogil=True, cache=True)
def _along_y(values, half, out):  # type: ignore[no-untyped-def]
    """Sum along y; lines are cut into pieces that stay in the cache."""
    nz, ny, nx = values.shape
    for z in range(nz):
        for x in range(0, nx, RUN):
            end = min(x + RUN, nx)
            for y in range(ny):
                own = out[z, y, x:end]
                _scaled(values[z, y, x:end], half[0], own)
                for k in range(1, half.size):
                    low, high = mirrored(y - k, ny), mirrored(y + k, ny)
                    _add_pair(values[z, low, x:end], values[z, high, x:end], half[k], own)


@nb.njit(nogil=True, cache=True)
def _along_x(values, half, out):  # type: ignore[no-untyped-def]
    """Sum along x, from a line that is longer by what is mirrored at its ends."""
    nz, ny, nx = values.shape
    reach = half.size - 1
    line = np.empty(nx + 2 * reach, np.float32)
    for z in range(nz):
        for y in range(ny):
            for x in range(reach):
                line[x] = values[z, y, mirrored(x - reach, nx)]
                line[reach + nx + x] = values[z, y, mirrored(nx + x, nx)]
            line[reach : reach + nx] = values[z, y]
            _scaled(values[z, y], half[0], out[z, y])
            for k in range(1, half.size):
                low, high = line[reach - k : reach - k + nx], line[reach + k : reach + k + nx]
                _add_pair(low, high, half[k], out[z, y])


@nb.njit(nogil=True, cache=True)
def _scaled(values, weight, out):  # type: ignore[no-untyped-def]
    for i in range(out.size):
        out[i] = weight * values[i]


@nb.njit(nogil=True, cache=True)
def _add_pair(low, high, weight, out):  # type: ignore[no-untyped-def]
    for i in range(out.size):
        out[i] += weight * (low[i] + high[i])
