"""Statistics of a representative-volume study: spread of window values, variance law, and verdict.

Values of windows of one size are treated as samples of one material. Their variance falls as a
power of the volume, ``s^2(V) = D^2 (A3 / V)^a`` with the variance D^2 of single points and the
integral range A3; a = 1 for windows much larger than the structure. Kanit et al., Int. J. Solids
Struct. 40 (2003) 3647, doi:10.1016/S0020-7683(03)00143-4; Lantuejoul, J. Microsc. 161 (1991) 387,
doi:10.1111/j.1365-2818.1991.tb03099.x.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import digamma, polygamma

from tim3d.errors import ArgumentError

# From 8 windows (2 x 2 x 2) a standard deviation has an error of 27 %; sizes with fewer windows are
# reported, but do not affect the verdict.
FEWEST_WINDOWS = 8
# The law is fitted to windows of at least this fraction of the largest volume: smaller windows,
# which do not contain the structure, deviate from it.
SMALLEST_FITTED = 1 / 64
# The integral range follows from windows that contain this many of it: in smaller ones the variance
# falls more slowly than 1 / V.
RANGES_HELD = 30.0
# About 95 % of the windows lie within two standard deviations.
COVERAGE = 2.0

VERDICTS = {
    "representative": "a size and all larger ones keep the tolerance",
    "not reached": "no size below the largest keeps the tolerance",
    "too few windows": "fewer than two sizes, or no size below the largest with 8 windows: the volume is too small",
}


@dataclass(frozen=True)
class Spread:
    """Values of the windows of one size.

    Attributes
    ----------
    count, excluded : int
        Windows that are in the mean, and windows without a finite value, which are not.
    mean, deviation, error : float
        Mean, standard deviation between windows (divisor n - 1) and standard error of the mean; nan
        with too few windows.
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
        Value of each window; inf or nan if a window has none (as a tortuosity without percolation).

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
    return Spread(
        n, int(every.size) - n, mean, deviation, deviation / math.sqrt(n) if n > 1 else math.nan
    )


@dataclass(frozen=True)
class VarianceLaw:
    """Fitted law ``s^2(V) = variance (V / volume)^-exponent``.

    Attributes
    ----------
    volume, variance : float
        A point on the fitted line, in the middle of the data.
    exponent, exponent_error : float
        Exponent with which the variance falls, and its standard error.
    sizes : int
        Number of window sizes that were fitted.
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
        """Window volume with this standard deviation; nan if the fitted variance does not fall."""
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
        Spread of each size. Sizes with fewer than 8 values or without variance are excluded, then
        those below 1/64 of the largest remaining volume (a quarter of its edge).

    Returns
    -------
    VarianceLaw or None
        None if fewer than two sizes are left.

    Notes
    -----
    The logarithm of the variance of n Gaussian values has the bias ``digamma((n-1)/2) -
    log((n-1)/2)``, which is subtracted, and the variance ``trigamma((n-1)/2)``, whose inverse is
    the weight. The sizes share one volume and are not independent, therefore `exponent_error` is a
    lower bound.

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
    """Logarithms of volume and variance, and weight, of every size that can be fitted."""
    if len(volumes) != len(spreads):
        raise ArgumentError(
            f"{len(volumes)} volumes for {len(spreads)} spreads; give one for each size"
        )
    used = [
        (v, s)
        for v, s in zip(volumes, spreads, strict=True)
        if s.count >= FEWEST_WINDOWS and _varies(s)
    ]
    half = np.array([(s.count - 1) / 2 for _, s in used])
    x = np.log(np.array([v for v, _ in used]))
    y = 2 * np.log(np.array([s.deviation for _, s in used])) - (digamma(half) - np.log(half))
    return x, y, 1 / polygamma(1, half)


def _varies(found: Spread) -> bool:
    """Return whether values differ by more than rounding errors."""
    return found.deviation > 1e-12 * abs(found.mean)


def integral_range(
    volumes: Sequence[float], spreads: Sequence[Spread], point_variance: float
) -> float:
    """Integral range A3 from ``s^2(V) = D^2 A3 / V``, the law with exponent 1.

    Parameters
    ----------
    volumes : sequence of float
        Volume of a window of each size.
    spreads : sequence of Spread
        Spread of each size.
    point_variance : float
        Variance D^2 of the quantity at single points: p (1 - p) for the fraction of a phase.

    Returns
    -------
    float
        Volume in the unit of `volumes`: ``V / A3`` is the number of independent samples in a
        window. Nan if no size has 8 windows that contain 30 integral ranges, or the point variance
        is unknown or 0.

    Examples
    --------
    >>> round(integral_range([1000.0], [Spread(10**6, 0, 0.5, math.sqrt(0.25 * 7 / 1000), 0.0)], 0.25), 4)
    7.0
    """
    x, y, weight = _points(volumes, spreads)
    held = (
        y <= math.log(point_variance / RANGES_HELD)
        if point_variance > 0
        else np.zeros(x.size, bool)
    )
    if not held.any():
        return math.nan
    return math.exp(float(np.average((x + y)[held], weights=weight[held]))) / point_variance


def relative_error(found: Spread, realisations: int) -> float:
    """Relative error ``2 s / (mean sqrt(n))`` of the mean over n windows (Kanit et al. 2003).

    >>> relative_error(Spread(8, 0, 2.0, 0.2, 0.07), 4)
    0.1
    """
    return found.relative / math.sqrt(realisations)


def required_volume(
    law: VarianceLaw | None, mean: float, tolerance: float, realisations: int
) -> float:
    """Window volume for which the mean over n windows has the relative error `tolerance`.

    Nan without a law, if the fitted variance does not fall, or if the mean is 0.

    Parameters
    ----------
    law : VarianceLaw or None
        The fitted law.
    mean : float
        Mean of the quantity.
    tolerance : float
        Relative error, ``2 s / (mean sqrt(n))``.
    realisations : int
        Number n of windows.

    Examples
    --------
    >>> law = VarianceLaw(1000.0, 0.01, 1.0, 0.1, 3)
    >>> [round(required_volume(law, 1.0, 0.1, n), 6) for n in (1, 4)]
    [4000.0, 1000.0]
    """
    if law is None or not math.isfinite(mean):
        return math.nan
    return law.volume_for(tolerance * abs(mean) * math.sqrt(realisations) / COVERAGE)


@dataclass(frozen=True)
class Judgement:
    """Result of a study for each size, in the order from the smallest, and its verdict.

    Attributes
    ----------
    judged : tuple of bool
        Whether the size has at least 8 windows with a value.
    within_spread : tuple of bool
        Whether ``2 s.d. / mean`` is within the tolerance, and no window was excluded.
    within_bias : tuple of bool
        Whether the mean differs from the mean of the largest size by no more than the tolerance.
    smallest : int or None
        Index of the smallest size that is representative.
    verdict : str
        A key of `VERDICTS`.
    """

    judged: tuple[bool, ...]
    within_spread: tuple[bool, ...]
    within_bias: tuple[bool, ...]
    smallest: int | None
    verdict: str


def judge(spreads: Sequence[Spread], tolerance: float) -> Judgement:
    """Find the smallest size that, with all larger ones, keeps the tolerance in spread and in mean.

    The largest size is the reference for the means, so that it cannot be the answer itself. Sizes
    with fewer than 8 windows are ignored.

    Parameters
    ----------
    spreads : sequence of Spread
        Spread of each size, from the smallest to the largest.
    tolerance : float
        Relative tolerance: 0.1 requires that about 95 % of the windows lie within 10 % of their
        mean.

    Raises
    ------
    ArgumentError
        If no size is given, or the tolerance is not between 0 and 1.

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
    decided = any(judged[:-1])
    verdict = (
        "too few windows"
        if not decided
        else "not reached"
        if smallest is None
        else "representative"
    )
    return Judgement(judged, within_spread, within_bias, smallest, verdict)


def check_tolerance(tolerance: float) -> None:
    """Raise `ArgumentError` unless the relative tolerance is between 0 and 1."""
    if not 0 < tolerance < 1:
        raise ArgumentError(
            f"tolerance is {tolerance!r}; use a number between 0 and 1, for example 0.1 for 10 %"
        )
