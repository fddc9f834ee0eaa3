"""Gaussian fields whose level cut has a given S2: the underlying correlation, and a kernel for it.

References
----------
Roberts, Torquato, Phys. Rev. E 59 (1999) 4953 (S2 of level cuts). DOI 10.1103/PhysRevE.59.4953
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from statistics import NormalDist
from typing import ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt

from tim3d.errors import ArgumentError
from tim3d.grid import Box, Triple, triple
from tim3d.kernels.generation.philox import Noise
from tim3d.lazy import fft, interpolate

Floats: TypeAlias = npt.NDArray[np.float64]
Reals: TypeAlias = npt.NDArray[np.float32]
Labels: TypeAlias = npt.NDArray[np.uint8]
Point: TypeAlias = tuple[float, float, float]

# Largest range of a correlation, and edge of the lattice on which the kernel is computed, in
# voxels.
FARTHEST, KERNEL_EDGE = 32, 96
# A correlation that stays below NEGLIGIBLE is tapered to zero over the last part TAPER of its
# range. If it were truncated instead, its spectrum would oscillate below zero, and dropping the
# negative part would add roughness: 8 % of the correlation of a Debye medium at one voxel, against
# 0.05 %.
NEGLIGIBLE, TAPER = 0.01, 0.25


def two_point(correlation: float | Floats, fraction: float) -> Floats:
    """S2 of a one-level cut: probability that two points of a given correlation are in the phase.

    phi^2 + 1/(2 pi) int_0^rho exp(-u^2 / (1 + t)) / sqrt(1 - t^2) dt, with the level u of fraction
    phi.

    Parameters
    ----------
    correlation : float or array
        Correlation rho of the field at two points.
    fraction : float
        Volume fraction phi of the phase.

    Examples
    --------
    >>> two_point(np.array([0.0, 1.0]), 0.3).round(6).tolist()
    [0.09, 0.3]
    """
    u = NormalDist().inv_cdf(fraction)
    # t = sin(a) removes the root from the integrand; with 64 Gauss points the error is below 1e-12.
    nodes, weights = np.polynomial.legendre.leggauss(64)
    end = (
        np.arcsin(np.clip(correlation, -1.0, 1.0))[..., None]
        if np.ndim(correlation)
        else np.arcsin(correlation)
    )
    angles = end * (nodes + 1) / 2
    # At rho = -1 the exponent has a removable singularity.
    inner = np.exp(-(u**2) / np.maximum(1 + np.sin(angles), 1e-300))
    return np.asarray(fraction**2 + (inner * weights).sum(-1) * np.squeeze(end) / (4 * math.pi))


def correlation_of(s2: Floats, fraction: float) -> Floats:
    """Correlation of the field whose one-level cut has this S2: the inverse of `two_point`.

    Parameters
    ----------
    s2 : array
        Probability that two points are both in the phase.
    fraction : float
        Volume fraction of the phase.

    Raises
    ------
    ArgumentError
        If a value is impossible as S2 at this fraction.
    """
    table = np.sin(np.linspace(-math.pi / 2, math.pi / 2, 4001))
    values = two_point(table, fraction)
    if s2.min() < values[0] - 1e-9 or s2.max() > fraction + 1e-9:
        raise ArgumentError(
            f"S2 runs from {s2.min():g} to {s2.max():g}; a level cut with a fraction of {fraction:g} has "
            f"{values[0]:.4g} to {fraction:g}"
        )
    return np.asarray(np.interp(s2, values, table))


def classes(values: Reals, steps: tuple[float, ...]) -> Labels:
    """Number of levels below each value; uint8."""
    out = np.zeros(values.shape, np.uint8)
    for step in steps:
        out += values > np.float32(step)
    return out


@dataclass(frozen=True, slots=True)
class SpectralField:
    """Field of zero mean and unit variance with a given isotropic correlation over distance in nm.

    The kernel is the inverse Fourier transform of the square root of the spectrum. The negative
    part of the spectrum, which no field can have, is set to zero (`lost` is its fraction); the
    kernel is truncated at the reach, and scaled so that its squares add up to 1.

    Parameters
    ----------
    distances_nm, correlation : tuples of float
        Correlation as a cubic spline through these points, 1 at the first (distance 0); over the
        last quarter of `range_nm` it is tapered to zero by a squared cosine.
    spacing_nm, seed, period
        See `GaussianField`.

    Raises
    ------
    ArgumentError
        If the distances do not start at 0 and increase, or the correlation exceeds the largest
        range.
    """

    kind: ClassVar[str] = "spectral"

    distances_nm: tuple[float, ...]
    correlation: tuple[float, ...]
    spacing_nm: Point
    seed: int
    period: Triple = (0, 0, 0)

    def __post_init__(self) -> None:
        Noise(self.seed, period=self.period)  # raises if the seed is out of range
        steps = np.diff(self.distances_nm)
        if len(steps) < 1 or self.distances_nm[0] != 0 or not steps.min() > 0:
            raise ArgumentError("the distances of a correlation must begin at 0 and rise")
        if not all(0 < edge < math.inf for edge in self.spacing_nm):
            raise ArgumentError(f"a voxel has edges {self.spacing_nm}; all three must be positive")
        if max(self.reach) > FARTHEST:
            raise ArgumentError(
                f"the correlation reaches {self.range_nm:g} nm, {max(self.reach)} voxels; at most {FARTHEST} are "
                "possible. Use larger voxels"
            )

    @property
    def range_nm(self) -> float:
        """Distance in nm at which the correlation ends.

        The last of the table, or a third beyond the distance from which it stays below 1 %.
        """
        large = np.flatnonzero(np.abs(self.correlation) >= NEGLIGIBLE)
        last = min(int(large.max(initial=0)) + 1, len(self.distances_nm) - 1)
        return min(self.distances_nm[-1], self.distances_nm[last] / (1 - TAPER))

    @property
    def reach(self) -> Triple:
        """Range of the noise that a voxel depends on, in voxels on each side."""
        return triple(max(1, math.ceil(self.range_nm / d)) for d in self.spacing_nm)

    @property
    def lost(self) -> float:
        """Negative part of the spectrum, as a fraction of the sum of its absolute values."""
        return _kernel(replace(self, seed=0))[1]

    def kernel(self) -> Floats:
        """Convolution kernel with edges 2 reach + 1, whose squares add up to 1."""
        return _kernel(replace(self, seed=0))[0]

    def made_correlation(self, lag: Triple) -> float:
        """Exact expected correlation of the truncated kernel at a lag in voxels."""
        kernel = self.kernel()
        low = tuple(slice(0, n - abs(d)) for n, d in zip(kernel.shape, lag, strict=True))
        high = tuple(slice(abs(d), n) for n, d in zip(kernel.shape, lag, strict=True))
        # Mirror symmetric along every axis: the sign of a lag does not matter.
        return float((kernel[low] * kernel[high]).sum())

    @property
    def window(self) -> Triple:
        """Edges of the Fourier windows, which depend on the kernel only, never on a block."""
        return triple(fft.next_fast_len(max(48, 6 * r), real=True) for r in self.reach)

    @property
    def tile(self) -> Triple:
        """Shape of the part of a Fourier window that is used, in voxels."""
        return triple(n - 2 * r for n, r in zip(self.window, self.reach, strict=True))

    def tiles(self, box: Box):  # type: ignore[no-untyped-def]
        """Yield the fixed tiles that intersect a box, each with its values, float32."""
        transform = fft.rfftn(self._padded())
        ranges = [
            range(a // t, -(-b // t))
            for a, b, t in zip(box.start, box.stop, self.tile, strict=True)
        ]
        noise = Noise(self.seed, period=self.period)
        for index in product(*ranges):
            start = triple(i * t for i, t in zip(index, self.tile, strict=True))
            core = Box(start, triple(a + t for a, t in zip(start, self.tile, strict=True)))
            spectrum = fft.rfftn(noise.normals(core.grow(self.reach)))
            spectrum *= transform
            values = fft.irfftn(spectrum, self.window, overwrite_x=True)
            yield core, values[tuple(slice(2 * r, None) for r in self.reach)]

    def _padded(self) -> Reals:
        kernel = self.kernel().astype(np.float32)
        return np.pad(kernel, [(0, n - k) for n, k in zip(self.window, kernel.shape, strict=True)])

    def values(self, box: Box) -> Reals:
        """Values of the field in a box; float32 of shape `box.shape`."""
        out = np.empty(box.shape, np.float32)
        for core, values in self.tiles(box):
            part = core.clip(box)
            out[part.within(box).slices] = values[part.within(core).slices]
        return out

    def cut(self, box: Box, steps: tuple[float, ...]) -> Labels:
        """Number of levels below the field at each voxel, uint8 of shape `box.shape`."""
        out = np.empty(box.shape, np.uint8)
        for core, values in self.tiles(box):
            part = core.clip(box)
            out[part.within(box).slices] = classes(values[part.within(core).slices], steps)
        return out

    def block_bytes(self, core: Triple) -> int:
        """Memory besides the labels in bytes: a window, its spectrum, the kernel's, and a copy."""
        return 24 * math.prod(self.window)


@lru_cache(maxsize=2)
def _kernel(field: SpectralField) -> tuple[Floats, float]:
    """Truncated kernel, and the negative fraction of the spectrum."""
    lags = [fft.fftfreq(KERNEL_EDGE, 1 / KERNEL_EDGE) * d for d in field.spacing_nm]
    z, y, x = np.meshgrid(*lags, indexing="ij", sparse=True)
    distance, end = np.sqrt(z**2 + y**2 + x**2), field.range_nm
    spline = interpolate.CubicSpline(field.distances_nm, field.correlation)
    taper = np.cos(math.pi / 2 * np.clip((distance / end - 1) / TAPER + 1, 0, 1)) ** 2
    wanted = np.where(distance < end, spline(np.minimum(distance, end)) * taper, 0.0)
    spectrum = fft.fftn(wanted).real
    lost = float(-spectrum[spectrum < 0].sum() / np.abs(spectrum).sum())
    kernel = fft.fftshift(fft.ifftn(np.sqrt(spectrum.clip(0))).real)
    middle = KERNEL_EDGE // 2
    cut = kernel[tuple(slice(middle - r, middle + r + 1) for r in field.reach)]
    return cut / math.sqrt((cut**2).sum()), lost
