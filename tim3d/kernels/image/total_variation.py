"""Denoising by total variation, with a fixed number of iterations and so a finite halo."""

from __future__ import annotations

import math

import numba as nb
import numpy as np

from tim3d.errors import ArgumentError
from tim3d.grid import Triple, triple
from tim3d.kernels.image.phase_model import Floats, Grey


def total_variation(
    grey: Grey,
    weight: float,
    iterations: int = 20,
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
    planar: bool = False,
) -> Floats:
    """Minimise ``sum (u - grey)² / 2 + weight * sum |grad u|`` over u, float32 (z, y, x).

    Noise becomes flat; edges stay sharp but lose contrast: a flat region loses weight times surface
    over volume, in grey levels per voxel edge, so that small features fade first.

    Parameters
    ----------
    grey : array (z, y, x)
        Grey values.
    weight : float
        Weight of the variation in grey levels, about the standard deviation of the noise.
    iterations : int
        Number of iterations, always reached: a voxel depends on those within `iterations` + 1.
    spacing : (dz, dy, dx)
        Edge lengths of a voxel in any unit; gradients are per smallest edge.
    planar : bool
        Whether slices are denoised each by itself.

    Raises
    ------
    ArgumentError
        If the weight is negative or not finite, or there are no iterations.

    Notes
    -----
    Gradients are forward differences, so that a mirrored stack is denoised slightly otherwise.

    The dual problem by accelerated projected gradients; no gradient leads out of the volume. Every
    voxel is computed by the same operations in the same order wherever the array begins. With a
    fixed number of iterations the minimum is approached, not reached: twenty leave the mean grey
    value exact and the noise within a few percent of the minimum.

    References
    ----------
    Rudin, Osher, Fatemi, Physica D 60 (1992) 259. DOI 10.1016/0167-2789(92)90242-F (the problem);
    Beck, Teboulle, IEEE Trans. Image Process. 18 (2009) 2419. DOI 10.1109/TIP.2009.2028250 (the
    iteration).

    Examples
    --------
    >>> noisy = np.random.default_rng(0).normal(100, 10, (8, 16, 16))
    >>> bool(total_variation(noisy, weight=10.0).std() < 3)
    True
    """
    if not (math.isfinite(weight) and weight >= 0) or iterations < 1:
        raise ArgumentError(
            f"total variation needs weight >= 0 and iterations >= 1, got {weight} and {iterations}"
        )
    values = grey.astype(np.float32)
    if weight == 0:
        return values
    nearest = min(spacing[1:] if planar else spacing)
    rates = [np.float32(nearest / edge) for edge in spacing]
    if planar:
        rates[0] = np.float32(0)
    step = np.float32(1 / (4 * weight * sum(float(r) ** 2 for r in rates)))
    rz, ry, rx = rates
    return _minimise(values, np.float32(weight), iterations, rz, ry, rx, step)


def variation_halo(iterations: int, planar: bool) -> Triple:
    """Voxels beyond a core that it depends on.

    >>> variation_halo(20, planar=False)
    (21, 21, 21)
    """
    reach = iterations + 1
    return triple((0 if planar else reach, reach, reach))


def _minimise(
    grey: Floats,
    weight: np.float32,
    iterations: int,
    rz: np.float32,
    ry: np.float32,
    rx: np.float32,
    step: np.float32,
) -> Floats:
    dual = np.zeros((3, *grey.shape), np.float32)
    ahead = np.zeros_like(dual)
    out = np.empty_like(grey)
    momentum = 1.0
    for _ in range(iterations):
        following = (1 + math.sqrt(1 + 4 * momentum**2)) / 2
        _primal(grey, ahead, weight, rz, ry, rx, out)
        _ascend(out, dual, ahead, step, np.float32((momentum - 1) / following), rz, ry, rx)
        momentum = following
    _primal(grey, dual, weight, rz, ry, rx, out)
    return out


@nb.njit(nogil=True, cache=True)
def _primal(grey, dual, weight, rz, ry, rx, out):  # type: ignore[no-untyped-def]
    """Grey values plus weight times the divergence of the dual."""
    planes, rows, columns = grey.shape
    for z in range(planes):
        for y in range(rows):
            line = out[z, y]
            zs, ys, xs = dual[0, z, y], dual[1, z, y], dual[2, z, y]
            for x in range(columns):
                line[x] = rz * zs[x] + ry * ys[x] + rx * xs[x]
            if z > 0:
                before = dual[0, z - 1, y]
                for x in range(columns):
                    line[x] -= rz * before[x]
            if y > 0:
                above = dual[1, z, y - 1]
                for x in range(columns):
                    line[x] -= ry * above[x]
            for x in range(1, columns):
                line[x] -= rx * xs[x - 1]
            own = grey[z, y]
            for x in range(columns):
                line[x] = own[x] + weight * line[x]


# Without numpy's rule for a division by zero, which cannot occur, the loop is not vectorised.
@nb.njit(nogil=True, cache=True, error_model="numpy")
def _ascend(u, dual, ahead, step, push, rz, ry, rx):  # type: ignore[no-untyped-def]
    """One step of the dual along the gradient of u, back to length 1, and the point ahead of it."""
    planes, rows, columns = u.shape
    one = np.float32(1)
    slopes = np.zeros((3, columns), np.float32)
    for z in range(planes):
        for y in range(rows):
            _gradient(u, z, y, rz, ry, rx, slopes)
            gz, gy, gx = slopes[0], slopes[1], slopes[2]
            pz, py, px = dual[0, z, y], dual[1, z, y], dual[2, z, y]
            qz, qy, qx = ahead[0, z, y], ahead[1, z, y], ahead[2, z, y]
            for x in range(columns):
                a, b, c = qz[x] + step * gz[x], qy[x] + step * gy[x], qx[x] + step * gx[x]
                shrink = one / max(one, np.sqrt(a * a + b * b + c * c))
                a, b, c = a * shrink, b * shrink, c * shrink
                qz[x] = a + push * (a - pz[x])
                qy[x] = b + push * (b - py[x])
                qx[x] = c + push * (c - px[x])
                pz[x], py[x], px[x] = a, b, c


@nb.njit(nogil=True, cache=True)
def _gradient(u, z, y, rz, ry, rx, slopes):  # type: ignore[no-untyped-def]
    """Forward differences of a row along z, y and x; 0 where they would leave the volume."""
    planes, rows, columns = u.shape
    line = u[z, y]
    slopes[:] = 0
    if z + 1 < planes:
        for x in range(columns):
            slopes[0, x] = rz * (u[z + 1, y, x] - line[x])
    if y + 1 < rows:
        for x in range(columns):
            slopes[1, x] = ry * (u[z, y + 1, x] - line[x])
    for x in range(columns - 1):
        slopes[2, x] = rx * (line[x + 1] - line[x])
