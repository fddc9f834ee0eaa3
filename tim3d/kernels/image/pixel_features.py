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
from typing import TypeAlias

import numba as nb
import numpy as np
from numpy.typing import NDArray

from tim3d.grid import Triple, triple

Floats: TypeAlias = NDArray[np.float32]

# Standard deviations after which a Gaussian is cut off.
TRUNCATE = 3.0


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
    places = np.ascontiguousarray(points, np.int64)
    _fill(grey, smooth, places, features.steps(), features.factors(), features.planar, found)
    return found


@nb.njit(nogil=True, cache=True, inline="always")
def _mirrored(place, length):  # type: ignore[no-untyped-def]
    """Place inside an array that is mirrored at its first and last voxel."""
    if 0 <= place < length:
        return place
    if length == 1:
        return 0
    period = 2 * length - 2
    place = place % period
    return period - place if place >= length else place


@nb.njit(nogil=True, cache=True)
def _along_y(values, half, out):  # type: ignore[no-untyped-def]
    nz, ny, nx = values.shape
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                out[z, y, x] = half[0] * values[z, y, x]
            for k in range(1, half.size):
                low, high = _mirrored(y - k, ny), _mirrored(y + k, ny)
                weight = half[k]
                for x in range(nx):
                    out[z, y, x] += weight * (values[z, low, x] + values[z, high, x])


@nb.njit(nogil=True, cache=True)
def _along_x(values, half, out):  # type: ignore[no-untyped-def]
    nz, ny, nx = values.shape
    reach = half.size - 1
    line = np.empty(nx + 2 * reach, np.float32)
    for z in range(nz):
        for y in range(ny):
            for x in range(reach):
                line[x] = values[z, y, _mirrored(x - reach, nx)]
                line[reach + nx + x] = values[z, y, _mirrored(nx + x, nx)]
            for x in range(nx):
                line[reach + x] = values[z, y, x]
                out[z, y, x] = half[0] * values[z, y, x]
            for k in range(1, half.size):
                weight = half[k]
                for x in range(nx):
                    out[z, y, x] += weight * (line[reach + x - k] + line[reach + x + k])


@nb.njit(nogil=True, cache=True)
def _fill(grey, smooth, points, steps, factors, planar, out):  # type: ignore[no-untyped-def]
    """Write the features of each point into its row."""
    nz = grey.shape[0]
    for n in range(points.shape[0]):
        z, y, x = points[n]
        out[n, 0] = grey[z, y, x]
        column = 1
        if not planar:
            out[n, 1] = grey[_mirrored(z - 1, nz), y, x]
            out[n, 2] = grey[_mirrored(z + 1, nz), y, x]
            column = 3
        for s in range(smooth.shape[0]):
            if planar:
                column = _planar(smooth[s, z], y, x, steps[s], factors[s], out[n], column)
            else:
                column = _solid(smooth[s], z, y, x, steps[s], factors[s], out[n], column)
        for s in range(smooth.shape[0] - 1):
            out[n, column + s] = smooth[s, z, y, x] - smooth[s + 1, z, y, x]


@nb.njit(nogil=True, cache=True)
def _planar(g, y, x, step, factor, row, column):  # type: ignore[no-untyped-def]
    """Features of one scale in a slice; the next free column."""
    dy, dx = _slope(g, y, x, step, factor)
    yy, xx, yx = _bend(g, y, x, step, factor)
    half, spread = 0.5 * (yy + xx), math.sqrt(0.25 * (yy - xx) ** 2 + yx * yx)
    row[column], row[column + 1] = g[y, x], math.sqrt(dy * dy + dx * dx)
    row[column + 2], row[column + 3] = half + spread, half - spread
    tyy, txx, tyx = 2 * dy * dy, 2 * dx * dx, 2 * dy * dx
    ny, nx = g.shape
    for n in range(4):
        j = _mirrored(y + (-step[1], step[1], 0, 0)[n], ny)
        i = _mirrored(x + (0, 0, -step[2], step[2])[n], nx)
        a, b = _slope(g, j, i, step, factor)
        tyy += a * a
        txx += b * b
        tyx += a * b
    row[column + 4] = (tyy + txx) / 12
    row[column + 5] = math.sqrt((tyy - txx) ** 2 + 4 * tyx * tyx) / 12
    return column + 6


@nb.njit(nogil=True, cache=True)
def _slope(g, y, x, step, factor):  # type: ignore[no-untyped-def]
    """Central differences along y and x, times the scale."""
    ny, nx = g.shape
    dy = np.float64(g[_mirrored(y + step[1], ny), x]) - g[_mirrored(y - step[1], ny), x]
    dx = np.float64(g[y, _mirrored(x + step[2], nx)]) - g[y, _mirrored(x - step[2], nx)]
    return 0.5 * factor[1] * dy, 0.5 * factor[2] * dx


@nb.njit(nogil=True, cache=True)
def _bend(g, y, x, step, factor):  # type: ignore[no-untyped-def]
    """Second differences yy, xx and yx, times the scale squared."""
    ny, nx = g.shape
    y1, y2 = _mirrored(y - step[1], ny), _mirrored(y + step[1], ny)
    x1, x2 = _mirrored(x - step[2], nx), _mirrored(x + step[2], nx)
    centre = 2 * np.float64(g[y, x])
    yy = np.float64(g[y2, x]) + g[y1, x] - centre
    xx = np.float64(g[y, x2]) + g[y, x1] - centre
    yx = np.float64(g[y2, x2]) + g[y1, x1] - g[y2, x1] - g[y1, x2]
    fy, fx = factor[1], factor[2]
    return fy * fy * yy, fx * fx * xx, 0.25 * fy * fx * yx


@nb.njit(nogil=True, cache=True)
def _gradient(g, z, y, x, step, factor):  # type: ignore[no-untyped-def]
    """Central differences along z, y, x, times the scale."""
    nz, ny, nx = g.shape
    dz = np.float64(g[_mirrored(z + step[0], nz), y, x]) - np.float64(
        g[_mirrored(z - step[0], nz), y, x]
    )
    dy = np.float64(g[z, _mirrored(y + step[1], ny), x]) - np.float64(
        g[z, _mirrored(y - step[1], ny), x]
    )
    dx = np.float64(g[z, y, _mirrored(x + step[2], nx)]) - np.float64(
        g[z, y, _mirrored(x - step[2], nx)]
    )
    return 0.5 * factor[0] * dz, 0.5 * factor[1] * dy, 0.5 * factor[2] * dx


@nb.njit(nogil=True, cache=True)
def _solid(g, z, y, x, step, factor, row, column):  # type: ignore[no-untyped-def]
    """Features of one scale in three dimensions; the next free column."""
    dz, dy, dx = _gradient(g, z, y, x, step, factor)
    row[column], row[column + 1] = g[z, y, x], math.sqrt(dz * dz + dy * dy + dx * dx)
    yy, xx, yx = _bend(g[z], y, x, step, factor)
    zz, zy, zx = _bend_along_z(g, z, y, x, step, factor)
    high, middle, low = eigenvalues(zz, yy, xx, zy, zx, yx)
    row[column + 2], row[column + 3], row[column + 4] = high, middle, low
    mean, spread = _structure(g, z, y, x, step, factor)
    row[column + 5], row[column + 6] = mean, spread
    return column + 7


@nb.njit(nogil=True, cache=True)
def _bend_along_z(g, z, y, x, step, factor):  # type: ignore[no-untyped-def]
    """Second differences zz, zy and zx, times the scale squared."""
    nz, ny, nx = g.shape
    low, high = g[_mirrored(z - step[0], nz)], g[_mirrored(z + step[0], nz)]
    y1, y2 = _mirrored(y - step[1], ny), _mirrored(y + step[1], ny)
    x1, x2 = _mirrored(x - step[2], nx), _mirrored(x + step[2], nx)
    zz = np.float64(high[y, x]) + low[y, x] - 2 * np.float64(g[z, y, x])
    zy = np.float64(high[y2, x]) + low[y1, x] - high[y1, x] - low[y2, x]
    zx = np.float64(high[y, x2]) + low[y, x1] - high[y, x1] - low[y, x2]
    fz, fy, fx = factor
    return fz * fz * zz, 0.25 * fz * fy * zy, 0.25 * fz * fx * zx


@nb.njit(nogil=True, cache=True)
def _structure(g, z, y, x, step, factor):  # type: ignore[no-untyped-def]
    """Mean and spread of the eigenvalues of the structure tensor, averaged over a cross."""
    nz, ny, nx = g.shape
    tzz, tyy, txx, tzy, tzx, tyx = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for n in range(7):
        k = _mirrored(z + (0, -step[0], step[0], 0, 0, 0, 0)[n], nz)
        j = _mirrored(y + (0, 0, 0, -step[1], step[1], 0, 0)[n], ny)
        i = _mirrored(x + (0, 0, 0, 0, 0, -step[2], step[2])[n], nx)
        a, b, c = _gradient(g, k, j, i, step, factor)
        weight = 2.0 if n == 0 else 1.0
        tzz += weight * a * a
        tyy += weight * b * b
        txx += weight * c * c
        tzy += weight * a * b
        tzx += weight * a * c
        tyx += weight * b * c
    mean = (tzz + tyy + txx) / 3
    spread = (tzz - mean) ** 2 + (tyy - mean) ** 2 + (txx - mean) ** 2
    spread += 2 * (tzy * tzy + tzx * tzx + tyx * tyx)
    return mean / 8, math.sqrt(spread) / 8


@nb.njit(nogil=True, cache=True)
def eigenvalues(zz, yy, xx, zy, zx, yx):  # type: ignore[no-untyped-def]
    """Eigenvalues of a symmetric matrix, in descending order."""
    mean = (zz + yy + xx) / 3
    a, b, c = zz - mean, yy - mean, xx - mean
    power = (a * a + b * b + c * c + 2 * (zy * zy + zx * zx + yx * yx)) / 6
    if power <= 0:
        return mean, mean, mean
    p = math.sqrt(power)
    det = a * (b * c - yx * yx) - zy * (zy * c - yx * zx) + zx * (zy * yx - b * zx)
    angle = math.acos(min(1.0, max(-1.0, det / (2 * p * p * p)))) / 3
    high = mean + 2 * p * math.cos(angle)
    low = mean + 2 * p * math.cos(angle + 2 * math.pi / 3)
    return high, 3 * mean - high - low, low
