"""Spinodal decomposition by the Cahn-Hilliard equation, in a periodic cell, by Fourier transforms.

The concentration c of one of two phases lowers the free energy

    F = sum over voxels of  c^2 (1 - c)^2  +  kappa / 2 |grad c|^2

and is conserved: dc/dt = laplacian(mu), mu = 2 c (1 - c) (1 - 2 c) - kappa laplacian(c). A step is
implicit in the stiff terms; A is the stabiliser, with which the energy of no step rises:

    c_k <- (c_k - dt k^2 (mu' - A c)_k) / (1 + dt (A k^2 + kappa k^4)),    mu' = 2 c (1 - c) (1 - 2 c)

    real space          c ──── mu' - A c            one sweep over the voxels
                        ↑            ↓
                  inverse FFT       FFT             two real transforms a step
                        ↑            ↓
    Fourier space      c_k ←──── the step           one sweep; k = 0, the mean, keeps its bits

The length of the equation is the half width delta = sqrt(2 kappa) of an interface, whose profile is
(1 + tanh(x / delta)) / 2. All else follows from the wavelength that is wanted over delta.

References
----------
Cahn, Hilliard, J. Chem. Phys. 28 (1958) 258. DOI 10.1063/1.1744102 (the equation); Chen, Shen,
Comput. Phys. Commun. 108 (1998) 147. DOI 10.1016/S0010-4655(97)00115-X (semi-implicit spectral
steps); Shen, Yang, Discrete Contin. Dyn. Syst. 28 (2010) 1669. DOI 10.3934/dcds.2010.28.1669
(stabiliser).
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import TypeAlias

import numba as nb
import numpy as np
import numpy.typing as npt

from tim3d.grid import Triple
from tim3d.lazy import fft

Reals: TypeAlias = npt.NDArray[np.float32]
Labels: TypeAlias = npt.NDArray[np.uint8]
Waves: TypeAlias = npt.NDArray[np.complex64]
Floats: TypeAlias = npt.NDArray[np.float64]
Point: TypeAlias = tuple[float, float, float]

# Half of the largest curvature of c^2 (1 - c)^2 between -0.05 and 1.05: no step raises the energy.
STABILISER = 1.32
# Step in units of delta^2: quick, and short beside the time in which an interface moves its width.
TIME_STEP = 1.0


@dataclass(frozen=True)
class Cell:
    """Periodic cell of the equation.

    Parameters
    ----------
    shape : (z, y, x)
        Voxels; an axis of one voxel makes it plane.
    edges : (z, y, x)
        Edges of a voxel in a unit of length that is free.
    delta : float
        Half width of an interface in that unit.
    """

    shape: Triple
    edges: Point
    delta: float

    @property
    def kappa(self) -> float:
        """Coefficient of the gradient."""
        return self.delta**2 / 2

    @property
    def waves(self) -> tuple[Floats, Floats, Floats]:
        """Squares of the wave numbers along z, y and x; along x of the half that is stored."""
        z, y, x = self.shape
        dz, dy, dx = self.edges
        kz, ky = fft.fftfreq(z, dz), fft.fftfreq(y, dy)
        kx = fft.rfftfreq(x, dx)
        squares = [(2 * math.pi * k) ** 2 for k in (kz, ky, kx)]
        return squares[0], squares[1], squares[2]

    def begin(self, mean: float, noise: Reals) -> Waves:
        """Waves of the concentration at the start: a mean, and noise of whatever mean about it."""
        waves = _forward(noise.astype(np.float32))
        waves[0, 0, 0] = mean * noise.size
        return waves

    def concentration(self, waves: Waves) -> Reals:
        """Concentration, float32 of the shape of the cell."""
        return _backward(waves, self.shape)

    def step(self, waves: Waves) -> None:
        """Replace the waves by those a time step later."""
        force = self.concentration(waves)
        _bulk_force(force.reshape(-1), np.float32(STABILISER))
        dt = np.float32(TIME_STEP * self.delta**2)
        _advance(waves, _forward(force), *self.waves, dt, STABILISER, self.kappa)

    def wavelength(self, waves: Waves) -> float:
        """Mean wavelength 2 pi / <k>, the mean weighted by the power of the waves, in the unit of the edges."""
        weight, weighted = _moments(waves, *self.waves, self.shape[2] % 2 == 0)
        return 2 * math.pi * weight / weighted if weighted else math.inf

    def is_separated(self, waves: Waves) -> bool:
        """Whether two phases have formed: the variance of the concentration is half of that of pure phases."""
        mean = float(waves[0, 0, 0].real) / math.prod(self.shape)
        power, _ = _moments(waves, *self.waves, self.shape[2] % 2 == 0)
        return bool(power / math.prod(self.shape) ** 2 > mean * (1 - mean) / 2)

    def energy(self, waves: Waves) -> float:
        """Free energy of a voxel, in units of 16 times the height of the wall between the phases."""
        c = self.concentration(waves).astype(np.float64)
        gradient = _gradient_power(waves, *self.waves, self.shape[2] % 2 == 0) / c.size**2
        return float((c**2 * (1 - c) ** 2).mean() + self.kappa / 2 * gradient)


def step_bytes(shape: Triple) -> int:
    """Memory in bytes of a step: waves, transform of the force, the force and a transform's copy."""
    z, y, x = shape
    return 4 * 8 * z * y * (x // 2 + 1)


def lowest(values: Reals, count: int) -> Labels:
    """Labels 0 of that many of the lowest values, 1 of the others; equal values in the order of the voxels.

    >>> lowest(np.array([0.3, 0.1, 0.1, 0.9], np.float32), 2).tolist()
    [1, 0, 0, 1]
    """
    flat = values.reshape(-1)
    level = np.partition(flat, count)[count] if count < flat.size else np.float32(math.inf)
    out = (flat >= level).astype(np.uint8)
    spare = count - int(np.count_nonzero(out == 0))
    out[np.flatnonzero(flat == level)[:spare]] = 0
    return out.reshape(values.shape)


def _threads() -> int:
    """Cores of this process; transforms have the same bits for any number of threads."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1


def _forward(values: Reals) -> Waves:
    return np.asarray(fft.rfftn(values, workers=_threads(), overwrite_x=True), np.complex64)


def _backward(waves: Waves, shape: Triple) -> Reals:
    return np.asarray(fft.irfftn(waves, shape, workers=_threads()), np.float32)


@nb.njit(nogil=True, cache=True, error_model="numpy")
def _bulk_force(c, a):  # type: ignore[no-untyped-def]
    """Replace c by mu' - A c."""
    one, two = np.float32(1), np.float32(2)
    for i in range(len(c)):
        v = c[i]
        c[i] = two * v * (one - v) * (one - two * v) - a * v


@nb.njit(nogil=True, cache=True, error_model="numpy")
def _advance(c, force, kz, ky, kx, dt, a, kappa):  # type: ignore[no-untyped-def]
    for z in range(c.shape[0]):
        for y in range(c.shape[1]):
            across = kz[z] + ky[y]
            for x in range(c.shape[2]):
                k = np.float32(across + kx[x])
                stiff = np.float32(1) + dt * k * (np.float32(a) + np.float32(kappa) * k)
                c[z, y, x] = (c[z, y, x] - dt * k * force[z, y, x]) / stiff


@nb.njit(nogil=True, cache=True, error_model="numpy")
def _moments(c, kz, ky, kx, even):  # type: ignore[no-untyped-def]
    """Sums of the power, and of the power times |k|, over all waves but the mean."""
    power, weighted = 0.0, 0.0
    for z in range(c.shape[0]):
        for y in range(c.shape[1]):
            for x in range(c.shape[2]):
                twin = 1.0 if x == 0 or (even and x == c.shape[2] - 1) else 2.0
                one = twin * (np.float64(c[z, y, x].real) ** 2 + np.float64(c[z, y, x].imag) ** 2)
                k = math.sqrt(kz[z] + ky[y] + kx[x])
                if k > 0:
                    power += one
                    weighted += one * k
    return power, weighted


@nb.njit(nogil=True, cache=True, error_model="numpy")
def _gradient_power(c, kz, ky, kx, even):  # type: ignore[no-untyped-def]
    total = 0.0
    for z in range(c.shape[0]):
        for y in range(c.shape[1]):
            for x in range(c.shape[2]):
                twin = 1.0 if x == 0 or (even and x == c.shape[2] - 1) else 2.0
                one = twin * (np.float64(c[z, y, x].real) ** 2 + np.float64(c[z, y, x].imag) ** 2)
                total += one * (kz[z] + ky[y] + kx[x])
    return total
