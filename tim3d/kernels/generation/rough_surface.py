"""Heights of self-affine rough surfaces by coordinate: sums of waves that repeat after a period.

Each wave has an amplitude and a phase from the counter of its own wave numbers, so that the heights
of a window do not depend on the window, and smaller pixels show the same surface. As the waves are
known, so are the rms height and the moments of the spectrum of the surface that was drawn.

References
----------
Jacobs, Junge, Pastewka, Surf. Topogr.: Metrol. Prop. 5 (2017) 013001 (spectra of rough surfaces).
DOI 10.1088/2051-672X/aa51f8
Nayak, J. Lubr. Technol. 93 (1971) 398 (moments and what follows). DOI 10.1115/1.3451608
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, TypeAlias

import numba as nb
import numpy as np
import numpy.typing as npt

from tim3d.errors import ArgumentError
from tim3d.grid import Box
from tim3d.kernels.generation.philox import Noise

Floats: TypeAlias = npt.NDArray[np.float64]
Waves: TypeAlias = npt.NDArray[np.complex128]
Pair: TypeAlias = tuple[int, int]

# Wave lengths are compared up to rounding.
NEAR = 1 + 1e-9


@dataclass(frozen=True, slots=True)
class RoughSurface:
    """Gaussian heights of zero mean whose spectrum falls as q^(-2 - 2 hurst).

    The power of a wave depends on its wave vector q = 2 pi / length only: constant for waves longer
    than the roll-off, then falling up to the cut-off, and none beyond. The amplitudes are scaled so
    that the surface that was drawn has exactly the rms height.

    Parameters
    ----------
    rms_nm : float
        Root mean square of the heights in nm; 0 makes the surface flat.
    hurst : float
        Hurst exponent, above 0 (jagged) and up to 1 (smooth).
    roll_off_nm, cut_off_nm : float
        Longest and shortest wavelength of the self-affine range, in nm.
    spacing_nm : (dy, dx)
        Edges of a pixel.
    period : (y, x)
        Pixels after which the surface repeats itself.
    seed, stream : int
        See `Noise`; another stream of a seed is another surface.

    Raises
    ------
    ArgumentError
        If a parameter is out of its range, or the pixels or the period cannot hold the waves.

    Examples
    --------
    >>> surface = RoughSurface(30.0, 0.8, 640.0, 80.0, (10.0, 20.0), (128, 64), seed=1)
    >>> whole = surface.heights((0, 0), surface.period)
    >>> round(float(whole.std()), 9)
    30.0
    >>> bool((whole[5:9, 3:7] == surface.heights((5, 3), (9, 7))).all())
    True
    """

    kind: ClassVar[str] = "self-affine"

    rms_nm: float
    hurst: float
    roll_off_nm: float
    cut_off_nm: float
    spacing_nm: tuple[float, float]
    period: Pair
    seed: int
    stream: int = 0

    def __post_init__(self) -> None:
        Noise(self.seed, self.stream)  # raises if the seed is out of range
        if not 0 <= self.rms_nm < math.inf or not 0 < self.hurst <= 1:
            raise ArgumentError(
                "a rough surface needs an rms height from 0 nm on and a Hurst exponent above 0 and up to 1, "
                f"got {self.rms_nm:g} nm and {self.hurst:g}"
            )
        if not all(0 < edge < math.inf for edge in (*self.spacing_nm, *self.period)):
            raise ArgumentError(
                f"a rough surface needs pixels and a period, got {self.spacing_nm} nm and {self.period} pixels"
            )
        coarse, longest = 2 * max(self.spacing_nm), min(self.period_nm)
        if not coarse < self.cut_off_nm <= self.roll_off_nm <= longest:
            raise ArgumentError(
                f"a rough surface with waves from {self.cut_off_nm:g} (cut-off) to {self.roll_off_nm:g} nm (roll-off) "
                f"does not fit: the cut-off must be above two pixels, {coarse:g} nm, and the roll-off at most the "
                f"period, {longest:g} nm"
            )

    @property
    def period_nm(self) -> tuple[float, float]:
        """Lengths along y and x after which the surface repeats itself, in nm."""
        (dy, dx), (ny, nx) = self.spacing_nm, self.period
        return dy * ny, dx * nx

    @property
    def highest(self) -> Pair:
        """Waves of the shortest length in a period, along y and x."""
        y, x = (math.floor(length / self.cut_off_nm * NEAR) for length in self.period_nm)
        return y, x

    def heights(self, start: Pair, stop: Pair) -> Floats:
        """Heights in nm at the centres of the pixels `start` <= (y, x) < `stop`; float64.

        The same bits wherever two windows overlap, and where the surface repeats itself.
        """
        waves = _waves(self)
        rows, columns = (np.arange(a, b) for a, b in zip(start, stop, strict=True))
        out = np.zeros((len(rows), len(columns)))
        if self.rms_nm:
            _sum(out, waves, rows, columns, _turns(self.period[0]), _turns(self.period[1]))
        return out

    def moment(self, along_y: int, along_x: int) -> float:
        """Mean of |h(q)|^2 qy^a qx^b over the spectrum: nm^2 for (0, 0), slopes squared for sum 2.

        ``moment(2, 0)`` is the mean square of the slope along y, ``moment(4, 0)`` of the second
        derivative in 1/nm^2.
        """
        y, x = self._vectors()
        power = np.abs(_waves(self)) ** 2 / 2
        return float((power * y**along_y * x**along_x).sum())

    @property
    def rms_slope(self) -> float:
        """Root mean square of the size of the gradient, dimensionless."""
        return math.sqrt(self.moment(2, 0) + self.moment(0, 2))

    @property
    def mean_slope(self) -> float:
        """Expected mean of the absolute slope of a profile, which models of contacts call m.

        sqrt(2 / pi) times the rms slope of a profile, as the heights are Gaussian.
        """
        return self.rms_slope / math.sqrt(math.pi)

    def _vectors(self) -> tuple[Floats, Floats]:
        """Wave vectors along y (waves, 1) and x (1, waves), in 1/nm."""
        (ly, lx), (my, mx) = self.period_nm, self.highest
        y, x = np.arange(-my, my + 1) / ly, np.arange(mx + 1) / lx
        return 2 * math.pi * y[:, None], 2 * math.pi * x[None]

    def _amplitudes(self) -> Waves:
        """Amplitudes of the waves (2 my + 1, mx + 1) in nm; those of the other half are implied."""
        (y, x), (my, mx) = self._vectors(), self.highest
        size = np.hypot(y, x)
        bend, end = 2 * math.pi / self.roll_off_nm, 2 * math.pi / self.cut_off_nm
        drop = np.maximum(size / bend, 1.0) ** (-1 - self.hurst)
        half = (x > 0) | (y > 0)
        box = Box((0, -my, 0), (2, my + 1, mx + 1))
        real, imaginary = Noise(self.seed, self.stream).normals(box).astype(np.float64)
        drawn = np.where(half & (size <= end * NEAR), drop, 0.0) * (real + 1j * imaginary)
        return np.asarray(self.rms_nm * drawn / math.sqrt((np.abs(drawn) ** 2).sum() / 2))


@lru_cache(maxsize=8)
def _waves(surface: RoughSurface) -> Waves:
    return surface._amplitudes()


@lru_cache(maxsize=8)
def _turns(pixels: int) -> Waves:
    """e^(i pi n / pixels) for n from 0 to 2 pixels - 1: all phases at the centres of pixels."""
    return np.asarray(np.exp(1j * math.pi / pixels * np.arange(2 * pixels)))


@nb.njit(nogil=True, cache=True, error_model="numpy")
def _sum(out, waves, rows, columns, y_turns, x_turns):  # type: ignore[no-untyped-def]
    """Add up the waves in one order, first along x, then along y."""
    my, mx = waves.shape[0] // 2, waves.shape[1] - 1
    real, imaginary = np.zeros((2 * my + 1, out.shape[1])), np.zeros((2 * my + 1, out.shape[1]))
    for n in range(2 * my + 1):
        for i in range(len(columns)):
            total = 0j
            for m in range(mx + 1):
                total += waves[n, m] * x_turns[m * (2 * columns[i] + 1) % len(x_turns)]
            real[n, i], imaginary[n, i] = total.real, total.imag
    for j in range(len(rows)):
        row = out[j]
        for n in range(2 * my + 1):
            turn = y_turns[(n - my) * (2 * rows[j] + 1) % len(y_turns)]
            for i in range(len(row)):
                row[i] += turn.real * real[n, i] - turn.imag * imaginary[n, i]
