"""Bootstrap weights of slices or images: how often each is drawn in a resample.

Neighbouring slices of a stack are alike. So they are drawn in runs of consecutive slices, on a
circle, which keeps their dependence within a run.

References
----------
Efron, Ann. Stat. 7 (1979) 1 (bootstrap). DOI 10.1214/aos/1176344552
Politis, Romano, in LePage, Billard (eds), Exploring the Limits of Bootstrap (1992) 263 (circular)
Geyer, Stat. Sci. 7 (1992) 473 (positive sequence). DOI 10.1214/ss/1177011137
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Weights: TypeAlias = NDArray[np.int64]
Reals: TypeAlias = NDArray[np.float64]

# Rounding of a correlation: one this near to 0 is 0.
ROUNDING = 1e-9


def weights(units: int, resamples: int, run: int, seed: int) -> Weights:
    """How often each unit is drawn in each resample.

    Parameters
    ----------
    units : int
        Number of slices or images.
    resamples : int
        Number of resamples.
    run : int
        Consecutive units that are drawn together; 1 for units that are independent.
    seed : int
        Seed of the random numbers.

    Returns
    -------
    (resamples, units) int64
        Every row adds up to `units`.

    Examples
    --------
    >>> weights(4, 3, 2, seed=0).sum(axis=1).tolist()
    [4, 4, 4]
    """
    random = np.random.Generator(np.random.Philox(seed))
    starts = random.integers(0, units, (resamples, math.ceil(units / run)))
    drawn = (starts[:, :, None] + np.arange(run)) % units
    drawn = drawn.reshape(resamples, -1)[:, :units]
    drawn += np.arange(resamples)[:, None] * units
    return np.bincount(drawn.ravel(), minlength=resamples * units).reshape(resamples, units)


def run_length(values: Reals) -> int:
    """Number of consecutive slices that vary together: the integrated autocorrelation, rounded up.

    Autocorrelations are summed up to the first that is not positive. At most a fourth of the slices
    form a run. Sums are exact, so that every machine finds the same number.

    Parameters
    ----------
    values : (n,) float64
        A number of each slice.

    Examples
    --------
    >>> run_length(np.array([1.0, -1.0] * 8)), run_length(np.repeat([0.0, 1.0, 0.0, 1.0], 8))
    (1, 5)
    """
    centred = values - math.fsum(values) / max(len(values), 1)
    power = math.fsum(centred**2)
    if len(values) < 8 or power <= 1e-24 * len(values):
        return 1
    total, longest = 1.0, len(values) // 4
    for lag in range(1, longest + 1):
        correlation = math.fsum(centred[:-lag] * centred[lag:]) / power
        if correlation <= ROUNDING:
            break
        total += 2 * correlation
    return min(math.ceil(total - ROUNDING), longest)


def interval(values: Reals, confidence: float) -> tuple[Reals, Reals]:
    """Lower and upper limit of the percentile interval over the first axis.

    >>> low, high = interval(np.arange(101.0), 0.9)
    >>> round(float(low), 9), round(float(high), 9)
    (5.0, 95.0)
    """
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail], axis=0)
    return low, high
