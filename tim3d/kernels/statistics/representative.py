"""Statistics of a representative-volume study: spread of window values, the law by which it falls, and a verdict.

Values of windows of one size are taken as draws from one material. Their variance falls as a power of the volume,
``s^2(V) = D^2 (A3 / V)^a`` with the variance D^2 of single points and the integral range A3; a = 1 for windows much
larger than the structure. Kanit et al., Int. J. Solids Struct. 40 (2003) 3647, doi:10.1016/S0020-7683(03)00143-4;
Lantuejoul, J. Microsc. 161 (1991) 387, doi:10.1111/j.1365-2818.1991.tb03099.x.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import digamma, polygamma

from tim3d.errors import ArgumentError

# With 8 windows (2 x 2 x 2) a standard deviation is known to 27 %; fewer are shown, but decide nothing.
FEWEST_WINDOWS = 8
# The law is fitted to windows with at least this share of the volume of the largest ones: smaller ones bend it, for
# they do not hold the structure.
SMALLEST_FITTED = 1 / 64
# Windows that hold this many integral ranges tell it: below, the variance falls more slowly than with 1 / V.
RANGES_HELD = 30.0
# About 95 % of the windows lie within two standard deviations.
COVERAGE = 2.0

VERDICTS = {
    "representative": "a size and all larger ones keep the tolerance",
    "not reached": "no size below the largest keeps the tolerance",
    "too few windows": "fewer than two sizes, or no size below the largest with 8 windows: the volume cannot tell",
}


@dataclass(frozen=True)
class Spread:
    """Values of the windows of one size.

    Attributes
    ----------
    count, excluded : int
        Windows that are in the mean, and windows without a finite value, which are not.
    mean, deviation, error : float
        Mean, standard deviation between windows (n - 1 below) and standard error of the mean; nan for want of windows.
    """

    count: int
    excluded: int
    mean: float
    deviation: float
    error: float

    @property
    def variation(self) -> float:
        """Coefficient of variation, deviation / abs(mean); nan if the mean is 0."""
        return self.deviation / abs(self.mean) if self.mean else math.nan

    @property
    def relative(self) -> float:
        """Relative spread, 2 deviation / abs(mean): about 95 % of the windows lie within it."""
        return COVERAGE * self.variation


def spread(values: ArrayLike) -> Spread:
    """Mean and spread of the finite values of windows.

    Parameters
    ----------
    values : array of float
        One for each window; inf or nan where a window has no value (as the tortuosity of one that does not percolate).

    Examples
    --------
    >>> spread([1.0, 2.0, 3.0, math.inf])
    Spread(count=3, excluded=1, mean=2.0, deviation=1.0, error=0.577...)
    """
    every = np.asarray(values, np.float64).ravel()
    kept = every[np.isfinite(every)]
    n = int(kept.size)
    mean = float(kept.mean()) if n else math.nan
    deviation = float(kept.std(ddof=1)) if n > 1 else math.nan
    return Spread(n, int(every.size) - n, mean, deviation, deviation / math.sqrt(n) if n > 1 else math.nan)


@dataclass(frozen=True)
class VarianceLaw:
    """``s^2(V) = variance (V / volume)^-exponent``, fitted.

    Attributes
    ----------
    volume, variance : float
        A point of the fitted line, in the middle of the data.
    exponent, exponent_error : float
        Power by which the variance falls, and its standard error.
    sizes : int
        Window sizes that were fitted.
    """

    volume: float
    variance: float
    exponent: float
    exponent_error: float
    sizes: int

    def deviation(self, volume: float) -> float:
        """Standard deviation between windows of this volume."""
        return math.sqrt(self.variance * math.pow(volume / self.volume, -self.exponent))

    def volume_for(self, deviation: float) -> float:
        """Volume of a window at which the standard deviation is this; nan if the variance is not seen to fall."""
        if not (deviation > 0 and self.exponent > COVERAGE * self.exponent_error):
            return math.nan
        return self.volume * math.pow(self.variance / deviation**2, 1 / self.exponent)


def fit_variance(volumes: Sequence[float], spreads: Sequence[Spread]) -> VarianceLaw | None:
    """Fit the variance against the volume in log-log, with free exponent.

    Parameters
    ----------
    volumes : sequence of float
        Volume of a window of each size.
    spreads : sequence of Spread
        What was found for each size. Those with fewer than 8 values or without variance are left out, and those below
        1/64 of the largest volume that is left (a quarter of its edge).

    Returns
    -------
    VarianceLaw or None
        None if fewer than two sizes are left.

    Notes
    -----
    The logarithm of a variance of n Gaussian values has the bias ``digamma((n-1)/2) - log((n-1)/2)``, which is taken
    off, and the variance ``trigamma((n-1)/2)``, whose inverse is the weight. The sizes share one volume and are not
    independent, therefore `exponent_error` is a lower bound.

    Examples
    --------
    >>> law = fit_variance([1e3, 8e3], [Spread(10**6, 0, 1.0, 0.08, 0.0), Spread(10**6, 0, 1.0, 0.02, 0.0)])
    >>> round(law.exponent, 3), round(law.volume_for(0.01))
    (1.333, 22627)
    """
    x, y, weight = _points(volumes, spreads)
    if x.size:
        kept = x >= x.max() + math.log(SMALLEST_FITTED) - 1e-9
        x, y, weight = x[kept], y[kept], weight[kept]
    if x.size < 2:
        return None
    middle, level = float(np.average(x, weights=weight)), float(np.average(y, weights=weight))
    along = float(weight @ (x - middle) ** 2)
    slope = float(weight @ ((x - middle) * (y - level))) / along
    return VarianceLaw(math.exp(middle), math.exp(level), -slope, 1 / math.sqrt(along), int(x.size))


Points = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


def _points(volumes: Sequence[float], spreads: Sequence[Spread]) -> Points:
    """Logarithm of volume and of variance, and weight, of every size that can be fitted."""
    if len(volumes) != len(spreads):
        raise ArgumentError(f"{len(volumes)} volumes for {len(spreads)} spreads; give one for each size")
    used = [(v, s) for v, s in zip(volumes, spreads, strict=True) if s.count >= FEWEST_WINDOWS and _varies(s)]
    half = np.array([(s.count - 1) / 2 for _, s in used])
    x = np.log(np.array([v for v, _ in used]))
    y = 2 * np.log(np.array([s.deviation for _, s in used])) - (digamma(half) - np.log(half))
    return x, y, 1 / polygamma(1, half)


def _varies(found: Spread) -> bool:
    """Whether values differ by more than rounding."""
    return found.deviation > 1e-12 * abs(found.mean)


def integral_range(volumes: Sequence[float], spreads: Sequence[Spread], point_variance: float) -> float:
    """Integral range A3 from ``s^2(V) = D^2 A3 / V``, the law with exponent 1.

    Parameters
    ----------
    point_variance : float
        Variance D^2 of the quantity at single points: p (1 - p) for the fraction of a phase.

    Returns
    -------
    float
        A volume, in the unit of `volumes`: ``V / A3`` is the number of independent samples in a window. Nan if no size
        has 8 windows that hold 30 integral ranges, or the point variance is not known or 0.

    Examples
    --------
    >>> round(integral_range([1000.0], [Spread(10**6, 0, 0.5, math.sqrt(0.25 * 7 / 1000), 0.0)], 0.25), 4)
    7.0
    """
    x, y, weight = _points(volumes, spreads)
    held = y <= math.log(point_variance / RANGES_HELD) if point_variance > 0 else np.zeros(x.size, bool)
    if not held.any():
        return math.nan
    return math.exp(float(np.average((x + y)[held], weights=weight[held]))) / point_variance


def relative_error(found: Spread, realisations: int) -> float:
    """Relative error ``2 s / (mean sqrt(n))`` of the mean over n windows (Kanit et al. 2003).

    >>> relative_error(Spread(8, 0, 2.0, 0.2, 0.07), 4)
    0.1
    """
    return found.relative / math.sqrt(realisations)


def required_volume(law: VarianceLaw | None, mean: float, tolerance: float, realisations: int) -> float:
    """Volume of a window such that the mean over n windows has the relative error `tolerance`, by the fitted law.

    Nan without a law, if the variance is not seen to fall, or if the mean is 0.

    >>> law = VarianceLaw(1000.0, 0.01, 1.0, 0.1, 3)
    >>> [round(required_volume(law, 1.0, 0.1, n), 6) for n in (1, 4)]
    [4000.0, 1000.0]
    """
    if law is None or not math.isfinite(mean):
        return math.nan
    return law.volume_for(tolerance * abs(mean) * math.sqrt(realisations) / COVERAGE)


@dataclass(frozen=True)
class Judgement:
    """What the sizes say, in their order from the smallest.

    Attributes
    ----------
    judged : tuple of bool
        The size has at least 8 windows with a value.
    within_spread : tuple of bool
        ``2 s.d. / mean`` is within the tolerance, and no window was left out.
    within_bias : tuple of bool
        The mean differs from that of the largest size by no more than the tolerance.
    smallest : int or None
        Place of the smallest size that is representative.
    verdict : str
        A key of `VERDICTS`.
    """

    judged: tuple[bool, ...]
    within_spread: tuple[bool, ...]
    within_bias: tuple[bool, ...]
    smallest: int | None
    verdict: str


def judge(spreads: Sequence[Spread], tolerance: float) -> Judgement:
    """The smallest size that, with all larger ones, keeps the tolerance in spread and in mean.

    The largest size is what the means are compared with, so that it cannot be the answer itself. Sizes with fewer than
    8 windows decide nothing.

    Parameters
    ----------
    spreads : sequence of Spread
        From the smallest size to the largest.
    tolerance : float
        Relative: 0.1 asks that about 95 % of the windows lie within 10 % of their mean.

    Raises
    ------
    ArgumentError
        If there is no size, or the tolerance is not between 0 and 1.

    Examples
    --------
    >>> found = [Spread(512, 0, 1.1, 0.2, 0.01), Spread(64, 0, 1.0, 0.02, 0.01), Spread(1, 0, 1.0, 0.0, 0.0)]
    >>> judge(found, 0.1).smallest
    1
    """
    check_tolerance(tolerance)
    if not spreads:
        raise ArgumentError("no window size; give at least one")
    reference = spreads[-1].mean
    judged = tuple(s.count >= FEWEST_WINDOWS for s in spreads)
    within_spread = tuple(s.relative <= tolerance and not s.excluded for s in spreads)
    within_bias = tuple(abs(s.mean - reference) <= tolerance * abs(reference) for s in spreads)
    smallest = None
    for place in reversed(range(len(spreads))):
        if not judged[place]:
            continue
        if not (within_spread[place] and within_bias[place]):
            break
        smallest = place if place < len(spreads) - 1 else None
    told = any(judged[:-1])
    verdict = "too few windows" if not told else "not reached" if smallest is None else "representative"
    return Judgement(judged, within_spread, within_bias, smallest, verdict)


def check_tolerance(tolerance: float) -> None:
    """Raise `ArgumentError` unless the relative tolerance is between 0 and 1."""
    if not 0 < tolerance < 1:
        raise ArgumentError(f"tolerance is {tolerance!r}; use a number between 0 and 1, for example 0.1 for 10 %")
