"""Standard error of a mean over one volume, from how its parts differ: the law of the integral range.

Parts that are much larger than the structure are independent samples: the variance of their values
falls as one over the volume, ``s^2(V) = D^2 A3 / V`` with the integral range A3. The variance of the
whole then follows from that of its parts, whatever D^2 and A3 are (Lantuejoul, J. Microsc. 161 (1991)
387, doi:10.1111/j.1365-2818.1991.tb03099.x). Parts that are not much larger agree too well with each
other: the error is then a lower bound.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

from tim3d.kernels.statistics.representative import FEWEST_WINDOWS

# Slabs along an axis, by the number of axes that are long enough: 9 and 8 degrees of freedom.
SLABS = {3: 4, 2: 5, 1: 9}


def parts_error(values: ArrayLike, volumes: ArrayLike) -> NDArray[np.float64]:
    """Standard error of the mean over all parts of a volume.

    Parameters
    ----------
    values : (n, ...) array of float
        Value of each part.
    volumes : (n,) array of float
        Volume of each part.

    Returns
    -------
    (...) float64
        Standard error in the unit of the values; nan of fewer than 8 parts.

    Examples
    --------
    >>> float(parts_error([1.0, 2.0] * 8, [5.0] * 16).round(4))
    0.1291
    """
    found, weight = np.asarray(values, np.float64), np.asarray(volumes, np.float64)
    if len(found) < FEWEST_WINDOWS:
        return np.full(found.shape[1:], np.nan)
    return np.sqrt(_variance_of_mean(found, weight))


def _variance_of_mean(
    values: NDArray[np.float64], volumes: NDArray[np.float64]
) -> NDArray[np.float64]:
    mean = np.tensordot(volumes, values, 1) / volumes.sum()
    squares = np.tensordot(volumes, (values - mean) ** 2, 1)
    return np.asarray(squares / ((len(values) - 1) * volumes.sum()))


def slabs_error(profiles: Sequence[ArrayLike]) -> NDArray[np.float64]:
    """Standard error of the mean of a volume, from its mean in every plane along each axis.

    The planes of an axis are joined to four slabs (five where two axes are long enough, nine of one),
    and the variances along the axes are averaged.

    Parameters
    ----------
    profiles : sequence of (planes, ...) arrays of float
        Mean of each plane, along each axis.

    Returns
    -------
    (...) float64
        Standard error; nan where no axis has two planes for each slab.

    Examples
    --------
    >>> noise = np.random.default_rng(0).normal(0.5, 0.1, (24, 24, 24))
    >>> means = [noise.mean(axes) for axes in ((1, 2), (0, 2), (0, 1))]
    >>> 0.5 < float(slabs_error(means)) / (0.1 / 24**1.5) < 2
    True
    """
    planes = [np.asarray(one, np.float64) for one in profiles]
    long = [one for one in planes if len(one) >= 2 * max(SLABS.values())]
    if not long:
        return np.full(planes[0].shape[1:] if planes else (), np.nan)
    variances = [_slab_variance(one, SLABS[len(long)]) for one in long]
    return np.asarray(np.sqrt(np.mean(variances, axis=0)))


def _slab_variance(planes: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    edges = np.arange(count) * len(planes) // count
    thick = np.diff([*edges, len(planes)]).astype(np.float64)
    sums = np.add.reduceat(planes, edges, axis=0)
    return _variance_of_mean(sums / thick.reshape(-1, *[1] * (planes.ndim - 1)), thick)


def prediction_interval(
    values: NDArray[np.float64], level: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Limits between which a further value of the same normal law lies, from a few of them.

    ``mean -+ t s sqrt(1 + 1 / n)`` over the first axis, t the quantile of Student's law of n - 1
    degrees of freedom. Not a number where a value is not one.

    References
    ----------
    Hahn, Meeker, Statistical Intervals (Wiley, 1991). DOI 10.1002/9780470316771

    Examples
    --------
    >>> low, high = prediction_interval(np.array([1.0, 2.0, 3.0]), 0.9)
    >>> round(float(low), 3), round(float(high), 3)
    (-1.372, 5.372)
    """
    width = prediction_factor(len(values), level)
    mean, spread = values.mean(axis=0), values.std(axis=0, ddof=1)
    return np.asarray(mean - width * spread), np.asarray(mean + width * spread)


def prediction_factor(count: int, level: float) -> float:
    """Half width of the interval of `prediction_interval` over the standard deviation of the values."""
    return float(stdtrit(count - 1, (1 + level) / 2)) * math.sqrt(1 + 1 / count)
