"""Two-phase level cuts of a Gaussian random field, endless, with truth in closed form.

The field is a sum of plane waves, so a voxel's value depends on its coordinates only: computed
block by block, the volume has the same bits as in one piece, and there is material behind the last
slice.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import TypeAlias

import numba
import numpy as np
import numpy.typing as npt

from tim3d.errors import ArgumentError
from tim3d.grid import Box

Floats: TypeAlias = npt.NDArray[np.float64]
Waves: TypeAlias = npt.NDArray[np.complex128]
Point: TypeAlias = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class LevelCut:
    """Solid where a Gaussian field of zero mean and unit variance exceeds a level.

    The field is isotropic, with the correlation rho(r) = exp(-(r / correlation_nm)^2).

    Parameters
    ----------
    solid_fraction : float
        Expected volume fraction of the solid, 0 to 1.
    correlation_nm : float
        Distance at which the correlation of the field falls to 1/e; features are about twice as
        thick.
    seed : int
        Seed of the structure.
    waves : int
        Number of plane waves; the kurtosis of the field differs from a Gaussian's by 1.5 / waves.

    Raises
    ------
    ArgumentError
        If a parameter is out of its range.

    References
    ----------
    Adler, Taylor: Random Fields and Geometry, Springer (2007). DOI 10.1007/978-0-387-48116-6
    Roberts, Torquato, Phys. Rev. E 59 (1999) 4953 (surface of level cuts). DOI
    10.1103/PhysRevE.59.4953

    Examples
    --------
    >>> cut = LevelCut(solid_fraction=0.5, correlation_nm=50.0, seed=1)
    >>> round(cut.specific_surface, 6), cut.level
    (0.018006, 0.0)
    >>> solid = cut.labels(Box.whole((4, 32, 32)), spacing=(10.0, 5.0, 5.0))
    >>> solid.shape, solid.dtype.name
    ((4, 32, 32), 'uint8')
    """

    solid_fraction: float
    correlation_nm: float
    seed: int
    waves: int = 512

    def __post_init__(self) -> None:
        if (
            not 0 < self.solid_fraction < 1
            or not 0 < self.correlation_nm < math.inf
            or self.waves < 8
            or self.seed < 0
        ):
            raise ArgumentError(
                "a level cut needs a solid fraction between 0 and 1, a finite correlation length above 0 nm, 8 waves "
                f"or more and a seed from 0: got {self.solid_fraction:g}, {self.correlation_nm:g} nm, {self.waves} "
                f"waves and seed {self.seed}"
            )

    @property
    def level(self) -> float:
        """Level u above which the field is solid: P(g > u) = solid_fraction."""
        return NormalDist().inv_cdf(1 - self.solid_fraction)

    @property
    def _steepness(self) -> float:
        # -rho''(0): variance of one component of the gradient, in 1/nm2.
        return 2.0 / (self.correlation_nm * self.correlation_nm)

    @property
    def specific_surface(self) -> float:
        """Expected interface area per volume in 1/nm.

        (2/pi) sqrt(lambda) exp(-u^2/2) with lambda = -rho''(0).
        """
        return 2 / math.pi * math.sqrt(self._steepness) * math.exp(-(self.level**2) / 2)

    @property
    def mean_curvature_density(self) -> float:
        """Expected integral of (k1 + k2)/2 over the interface per volume, in 1/nm2.

        lambda u exp(-u^2/2) / sqrt(2 pi); positive if the solid is convex.
        """
        return (
            self._steepness * self.level * math.exp(-(self.level**2) / 2) / math.sqrt(2 * math.pi)
        )

    @property
    def euler_density(self) -> float:
        """Expected Euler number of the solid per volume, in 1/nm3.

        lambda^(3/2) (u^2 - 1) exp(-u^2/2) / (2 pi)^2.
        """
        u = self.level
        return (
            math.sqrt(self._steepness) ** 3
            * (u**2 - 1)
            * math.exp(-(u**2) / 2)
            / (2 * math.pi) ** 2
        )

    def field(self, box: Box, spacing: Point) -> Floats:
        """Values of the field at the voxel centres (index + 1/2) x spacing of a box, float64."""
        vectors, phases = plane_waves(self.waves, self.correlation_nm, self.seed)
        axes = [
            (np.arange(a, b) + 0.5) * d
            for a, b, d in zip(box.start, box.stop, spacing, strict=True)
        ]
        tables = [np.exp(1j * np.outer(axis, vectors[:, i])) for i, axis in enumerate(axes)]
        tables[0] *= np.exp(1j * phases) * math.sqrt(2 / self.waves)
        return np.asarray(
            _sum_waves(tables[0], tables[1], tables[2].T.real.copy(), tables[2].T.imag.copy())
        )

    def labels(self, box: Box, spacing: Point) -> npt.NDArray[np.uint8]:
        """Labels of the voxels of a box: 1 solid, 0 pore."""
        out = np.empty(box.shape, dtype=np.uint8)
        for z in range(box.shape[0]):
            # One plane at a time, so that the float64 field of a large box is never in memory as a
            # whole.
            start, stop = (box.start[0] + z, *box.start[1:]), (box.start[0] + z + 1, *box.stop[1:])
            out[z] = self.field(Box(start, stop), spacing)[0] > self.level
        return out


@lru_cache(maxsize=8)
def plane_waves(count: int, correlation_nm: float, seed: int) -> tuple[Floats, Floats]:
    """Wave vectors (count, 3) in 1/nm and phases (count,) for the correlation exp(-(r/l)^2).

    The vectors, along z, y, x, are drawn from the Gaussian spectrum of the correlation and then
    stretched so that their second moments are exactly 2 / l^2 in every direction: the expected
    surface then follows the law and does not depend on the draw.

    Parameters
    ----------
    count : int
        Number of waves.
    correlation_nm : float
        Distance l at which the correlation falls to 1/e.
    seed : int
        Seed of the draw.

    Examples
    --------
    >>> vectors, phases = plane_waves(64, 10.0, seed=3)
    >>> bool(np.allclose(vectors.T @ vectors / 64, 0.02 * np.eye(3)))
    True
    """
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((count, 3))
    moments = vectors.T @ vectors / count
    vectors = (
        vectors @ np.linalg.inv(np.linalg.cholesky(moments)).T * (math.sqrt(2) / correlation_nm)
    )
    phases = rng.uniform(0, 2 * math.pi, count)
    return vectors, phases


@numba.njit(cache=True, nogil=True)
def _sum_waves(z_waves: Waves, y_waves: Waves, x_real: Floats, x_imag: Floats) -> Floats:
    """Real part of sum_n z_waves[z,n] y_waves[y,n] x_waves[n,x], added in the order of n."""
    nz, ny, (n_waves, nx) = len(z_waves), len(y_waves), x_real.shape
    out = np.zeros((nz, ny, nx))
    for z in range(nz):
        for y in range(ny):
            row = out[z, y]
            for n in range(n_waves):
                wave = z_waves[z, n] * y_waves[y, n]
                a, b = wave.real, wave.imag
                for x in range(nx):
                    row[x] += a * x_real[n, x] - b * x_imag[n, x]
    return out
