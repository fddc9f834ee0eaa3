"""Field of the local fraction of a phase: a law, and a draw of it at any coordinates.

The local fraction is Phi(a + b g) of a Gaussian field g of unit variance, so that it lies between 0
and 1, and mean, variance and covariance follow from those of level cuts. g is the sum of two fields:
one as the short structure makes it in a window, and a slower one. Each is white noise on a lattice
as fine as its kernel, summed with Gaussian weights, and so a function of the coordinates.

References
----------
Berk, Phys. Rev. Lett. 58 (1987) 2718 (level cuts). DOI 10.1103/PhysRevLett.58.2718
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, ClassVar, Literal, Protocol, TypeAlias, cast

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from tim3d.errors import ArgumentError
from tim3d.grid import Box, Triple, triple
from tim3d.kernels.generation.generator import as_data
from tim3d.kernels.generation.lattice_weights import (
    REACH,
    Three,
    Weights,
    gaussian_weights,
    sums,
)
from tim3d.kernels.generation.philox import STREAM_BITS, Noise
from tim3d.kernels.generation.spectral_field import correlation_of, two_point

Floats: TypeAlias = npt.NDArray[np.float64]
Reals: TypeAlias = npt.NDArray[np.float32]
Parts = Literal["all", "slow"]
# Weights for an axis, its first voxel and the one after the last, and a correlation length in nm.
Along = Callable[[int, int, int, float], Weights]
# Streams of noise, which the noise of a generator counts from 0.
SLOW, SHORT = 2**STREAM_BITS - 1, 2**STREAM_BITS - 2


@dataclass(frozen=True, slots=True)
class CoarseLaw:
    """Law of the local fraction of a phase: its mean in a Gaussian window, at every place.

    The covariance at a distance r is v exp(-(r / 2s)²) + w exp(-(r / l)²), with s the standard
    deviation of the window: what structures much shorter than the window leave of themselves in it,
    and what varies more slowly.

    Parameters
    ----------
    window_nm : float
        Edge in nm of a box with the second moment of the Gaussian window.
    mean : float
        Fraction of the phase.
    short_variance, slow_variance : float
        The variances v and w.
    correlation_nm : float
        The length l in nm.
    windows : float
        Number of independent windows that it was fitted to: the variance has a relative standard
        error of sqrt(2 / windows).

    Raises
    ------
    ArgumentError
        If a number is out of range, or the variance is not that of a fraction.

    Examples
    --------
    >>> law = CoarseLaw(120.0, 0.4, 0.001, 0.004, 400.0, 50.0)
    >>> round(law.deviation_nm, 2), law.variance, round(law.covariance(400.0), 6)
    (34.64, 0.005, 0.001472)
    """

    window_nm: float
    mean: float
    short_variance: float
    slow_variance: float
    correlation_nm: float
    windows: float

    def __post_init__(self) -> None:
        lengths = (self.window_nm, self.correlation_nm, self.windows)
        if not all(0 < v < math.inf for v in lengths) or not 0 < self.mean < 1:
            raise ArgumentError(
                f"a local fraction needs positive lengths and a mean between 0 and 1; given: {self}"
            )
        if not min(self.short_variance, self.slow_variance) >= 0 or not 0 < self.variance < (
            self.mean * (1 - self.mean)
        ):
            raise ArgumentError(
                f"a local fraction of mean {self.mean:g} has a variance between 0 and {self.mean * (1 - self.mean):g}, "
                f"and this one would have {self.variance:g}"
            )

    @property
    def variance(self) -> float:
        """Variance of the local fraction."""
        return self.short_variance + self.slow_variance

    @property
    def deviation(self) -> float:
        """Standard deviation of the local fraction."""
        return math.sqrt(self.variance)

    @property
    def deviation_nm(self) -> float:
        """Standard deviation of the Gaussian window in nm."""
        return window_deviation(self.window_nm)

    def covariance(self, distance_nm: float) -> float:
        """Covariance of the local fraction at two places of a distance in nm."""
        short = self.short_variance * math.exp(-((distance_nm / 2 / self.deviation_nm) ** 2))
        return short + self.slow_variance * math.exp(-((distance_nm / self.correlation_nm) ** 2))

    def standardised(self, fraction: Floats) -> Reals:
        """Deviation of a local fraction from the mean over its standard deviation: what a network is given."""
        return np.asarray((fraction - self.mean) / self.deviation, np.float32)


class LocalFraction(Protocol):
    """A local fraction at every voxel, as a network is given it."""

    def standardised(self, box: Box, /) -> Reals:
        """Deviations from the mean over the standard deviation; float32 of a box."""

    def described(self) -> dict[str, Any]:
        """All that determines the values."""

    def bytes(self, shape: Triple, /) -> int:
        """Bytes of a box, and of what is needed to compute it."""

    def text(self) -> str:
        """A line for the user."""


def window_deviation(window: float) -> float:
    """Standard deviation of a Gaussian with the second moment of a box of an edge.

    >>> round(window_deviation(12.0), 3)
    3.464
    """
    return window / math.sqrt(12)


@dataclass(frozen=True, slots=True)
class CoarseField:
    """A draw of the local fraction of a phase, at any voxel.

    Parameters
    ----------
    law : CoarseLaw
        Its law.
    spacing_nm : (dz, dy, dx)
        Edges of a voxel.
    seed : int
        Seed of the draw.
    period : (z, y, x), optional
        Period in voxels; 0 makes an axis endless.
    amount : float
        Factor of the standard deviation: 0 makes the fraction the same everywhere.
    parts : {"all", "slow"}
        Whether what the short structure leaves in a window is part of it.

    Raises
    ------
    ArgumentError
        If the amount is out of range, or the variance would not be that of a fraction.

    Examples
    --------
    >>> law = CoarseLaw(40.0, 0.4, 0.001, 0.004, 100.0, 50.0)
    >>> field = CoarseField(law, (10.0, 5.0, 5.0), seed=1)
    >>> whole = field.values(Box((0, 0, 0), (4, 6, 20)))
    >>> bool((whole[1:3, 2:5, 7:] == field.values(Box((1, 2, 7), (3, 5, 20)))).all())
    True
    """

    kind: ClassVar[str] = "coarse"
    version: ClassVar[int] = 1

    law: CoarseLaw
    spacing_nm: tuple[float, float, float]
    seed: int
    period: Triple = (0, 0, 0)
    amount: float = 1.0
    parts: Parts = "all"

    def __post_init__(self) -> None:
        Noise(self.seed, period=self.period)  # raises if the seed is out of range
        if not all(0 < edge < math.inf for edge in self.spacing_nm):
            raise ArgumentError(
                f"a coarse field has voxels of positive edges, not {self.spacing_nm}"
            )
        mean = self.law.mean
        if not 0 <= self.amount < math.inf or not self.variance < mean * (1 - mean):
            most = math.sqrt(mean * (1 - mean) / self.law.variance)
            raise ArgumentError(
                f"a coarse field of {self.amount:g} times the standard deviation {self.law.deviation:.3g} about the "
                f"fraction {mean:.3g} would leave 0 to 1: give a number from 0 to below {most:.3g}"
            )

    @property
    def variance(self) -> float:
        """Variance of the fraction that is drawn."""
        return self.amount**2 * sum(variance for _, variance, _ in self._terms())

    def values(self, box: Box) -> Reals:
        """Local fractions in a box; float32 of its shape."""
        return self._values(box, self._along)

    def image(self, number: int, box: Box) -> Reals:
        """Local fractions of an image, independent of those of other numbers; float32 (1, y, x).

        Parameters
        ----------
        number : int
            Number of the image.
        box : Box
            Its pixels, a plane z = 0.
        """
        alone = Weights(np.array([[number]]), np.ones((1, 1)))

        def along(axis: int, start: int, stop: int, length: float) -> Weights:
            return self._along(axis, start, stop, length) if axis else alone

        return self._values(box, along)

    def standardised(self, box: Box) -> Reals:
        """Deviations from the mean over the standard deviation, as a network is given them; float32 of a box."""
        return self._values(box, self._along, self.law.standardised)

    def described(self) -> dict[str, Any]:
        """All fields, as data."""
        found: dict[str, Any] = as_data(self)
        return found

    def bytes(self, shape: Triple) -> int:
        """Bytes of a box in float32, and of planes, nodes and sums along z in double precision."""
        inner = 0
        for _, _, length in self._terms():
            steps = (self._nodes(axis, length)[1] for axis in range(3))
            wide = [n / step + 2 * REACH + 2 for n, step in zip(shape, steps, strict=True)]
            inner += 8 * int(wide[1] * wide[2] * (2 * wide[0] + 3 * shape[0]))
        return 4 * math.prod(shape) + 64 * math.prod(shape[1:]) + inner

    def text(self) -> str:
        """A line for the user."""
        law, slow = self.law, "slow part of the " if self.parts == "slow" else ""
        return (
            f"{slow}local fraction about {law.mean:.3f}, standard deviation {math.sqrt(self.variance):.3f}, "
            f"correlation length {law.correlation_nm:.4g} nm, drawn by coordinate"
        )

    def _values(
        self, box: Box, along: Along, as_given: Callable[[Floats], Floats | Reals] = np.asarray
    ) -> Reals:
        level, slope = _link(self.law.mean, self.variance)
        out = np.empty(box.shape, np.float32)
        planes = [self._planes(box, along, *term) for term in self._terms()]
        for place, *parts in zip(out, *planes, strict=True):
            place[...] = as_given(ndtr(level + slope * sum(parts)))
        return out

    def _terms(self) -> list[tuple[int, float, float]]:
        """Stream, variance and correlation length in nm of each of the two fields."""
        law = self.law
        short = (SHORT, law.short_variance, 2 * law.deviation_nm)
        slow = (SLOW, law.slow_variance, law.correlation_nm)
        return [short, slow] if self.parts == "all" else [slow]

    def _planes(
        self, box: Box, along: Along, stream: int, variance: float, length: float
    ) -> Iterator[Floats]:
        """Planes of one of the fields, with its share of the unit variance."""
        of_all = sum(v for _, v, _ in self._terms())
        root = math.sqrt(variance / of_all) if variance else 0.0
        weights = cast(
            Three,
            tuple(
                along(axis, start, stop, length)
                for axis, start, stop in zip(range(3), box.start, box.stop, strict=True)
            ),
        )
        low, high = (triple(one.span[end] for one in weights) for end in range(2))
        nodes = triple(
            self._nodes(axis, length)[0] if period else 0 for axis, period in enumerate(self.period)
        )
        noise = Noise(self.seed, stream, nodes).normals(Box(low, high)).astype(np.float64)
        return (root * plane for plane in sums(noise, low, weights))

    def _nodes(self, axis: int, length: float) -> tuple[int, float]:
        """Nodes in a period of an axis, 0 of an endless one, and their distance in voxels."""
        step, period = length / 2 / self.spacing_nm[axis], self.period[axis]
        count = math.ceil(period / step)
        return (count, period / count) if period else (0, step)

    def _along(self, axis: int, start: int, stop: int, length: float) -> Weights:
        """Weights of unit variance along an axis; the noise has a kernel of half the correlation length."""
        places, (count, step) = np.arange(start, stop), self._nodes(axis, length)
        if count:
            places = places % self.period[axis]
        found = gaussian_weights(
            places.astype(np.float64), length / 2 / self.spacing_nm[axis], step
        )
        return Weights(found.nodes, found.weights / _norms(found, count)[:, None])


def _norms(one: Weights, count: int) -> Floats:
    """Root of the sum of the squares of the weights, those of one node of a period taken together."""
    if not count or one.nodes.shape[1] <= count:
        return np.asarray(np.sqrt((one.weights**2).sum(1)))
    folded = np.zeros((len(one.nodes), count))
    for number in range(one.nodes.shape[1]):
        folded[np.arange(len(folded)), one.nodes[:, number] % count] += one.weights[:, number]
    return np.asarray(np.sqrt((folded**2).sum(1)))


def _link(mean: float, variance: float) -> tuple[float, float]:
    """a and b for which Phi(a + b g), g standard normal, has this mean and variance.

    The mean is that of a level cut at u with Phi(u) = mean, and the second moment its S2 at the
    correlation b² / (1 + b²).

    >>> a, b = _link(0.3, 0.01)
    >>> g = np.polynomial.hermite_e.hermegauss(60)
    >>> values, weights = ndtr(a + b * g[0]), g[1] / g[1].sum()
    >>> m = float((values * weights).sum())
    >>> round(m, 6), round(float((values**2 * weights).sum()) - m * m, 6)
    (0.3, 0.01)
    """
    level = NormalDist().inv_cdf(mean)
    if not variance:
        return level, 0.0
    shared = _correlation(mean, variance)
    slope = math.sqrt(shared / (1 - shared))
    return level * math.sqrt(1 + slope**2), slope


def _correlation(mean: float, variance: float) -> float:
    """Correlation of two points of a Gaussian field at which its cut has this covariance."""
    wanted = mean**2 + variance
    found = float(correlation_of(np.array([wanted]), mean)[0])
    for _ in range(3):  # Newton: the derivative of S2 is the density of both at the level
        level = NormalDist().inv_cdf(mean)
        density = math.exp(-(level**2) / (1 + found)) / (2 * math.pi * math.sqrt(1 - found**2))
        found -= (float(two_point(np.array([found]), mean)[0]) - wanted) / density
    return found
