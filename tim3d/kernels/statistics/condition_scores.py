"""How well generated samples follow real ones over conditions, and how well real ones would.

R^2 over conditions says little where the material hardly changes with them: then two halves of the
real samples do not agree either. So each is given beside its ceiling, that of real against real.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tim3d.kernels.statistics.bootstrap import weights

Reals: TypeAlias = NDArray[np.float64]


def r_squared(real: Reals, generated: Reals) -> float:
    """Coefficient of determination of generated means over conditions, at most 1.

    1 - sum (real - generated)^2 / sum (real - mean of real)^2: an offset counts as an error. nan for
    fewer than two conditions, or where real means do not differ.

    Parameters
    ----------
    real, generated : (conditions,) float64
        Mean of each condition.

    Examples
    --------
    >>> r_squared(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 3.5]))
    0.875
    """
    scatter = float(((real - real.mean()) ** 2).sum()) if len(real) > 1 else 0.0
    return 1 - float(((real - generated) ** 2).sum()) / scatter if scatter > 0 else math.nan


def correlation_squared(real: Reals, generated: Reals) -> float:
    """Squared correlation (Pearson) of generated means over conditions, 0 to 1.

    Blind to an offset and to a factor, other than `r_squared`; nan where one of both does not vary.

    Parameters
    ----------
    real, generated : (conditions,) float64
        Mean of each condition.

    Examples
    --------
    >>> correlation_squared(np.array([1.0, 2.0, 3.0]), np.array([21.0, 22.0, 23.0]))
    1.0
    """
    one, other = real - real.mean(), generated - generated.mean()
    power = float((one**2).sum() * (other**2).sum())
    return float((one * other).sum()) ** 2 / power if power > 0 else math.nan


def ceiling(
    real: Sequence[Reals], counts: Sequence[int], draws: int, random: np.random.Generator
) -> Reals:
    """R^2 of real samples against other real samples, the best that a generator can be expected to reach.

    For each draw, `counts` samples of every condition, but at most half of them, take the place of
    generated ones, and the rest are the real ones.

    Parameters
    ----------
    real : sequence of (samples,) float64
        Values of the real samples of each condition, at least two.
    counts : sequence of int
        Number of generated samples of each condition.
    draws : int
        How often samples are dealt out.
    random : Generator
        Decides the draws.

    Returns
    -------
    (draws,) float64
    """
    found = np.empty(draws)
    for draw in range(draws):
        means = np.array(
            [_two_means(one, count, random) for one, count in zip(real, counts, strict=True)]
        )
        found[draw] = r_squared(means[:, 1], means[:, 0])
    return found


def _two_means(values: Reals, count: int, random: np.random.Generator) -> tuple[float, float]:
    """Means of some samples, and of the others."""
    order = random.permutation(values)
    taken = min(count, len(values) // 2)
    return float(order[:taken].mean()), float(order[taken:].mean())


def deviation(real: Reals, generated: Reals, resamples: int, seed: int) -> tuple[float, Reals]:
    """Difference of means over the standard deviation between real samples, and its resamples.

    Both sets are drawn with replacement (B. Efron, DOI 10.1214/aos/1176344552).

    Parameters
    ----------
    real, generated : (samples,) float64
        A number of each sample, at least two.
    resamples : int
        Number of resamples.
    seed : int
        Seed of the resamples.

    Returns
    -------
    value : float
        (mean generated - mean real) / standard deviation of real; nan where real ones are all equal.
    draws : (resamples,) float64

    Examples
    --------
    >>> round(deviation(np.array([1.0, 3.0]), np.array([4.0, 4.0]), 1, 0)[0], 3)
    1.414
    """
    spread = float(real.std(ddof=1))
    scale = spread if spread > 0 else math.nan
    means = [
        weights(len(one), resamples, 1, seed + n) @ one / len(one)
        for n, one in enumerate((real, generated))
    ]
    return float((generated.mean() - real.mean()) / scale), (means[1] - means[0]) / scale


def wasserstein(one: Reals, other: Reals) -> float:
    """Distance W1 of two distributions, in the unit of the values.

    The area between both distribution functions.

    Parameters
    ----------
    one, other : (samples,) float64
        Samples of each, at least one.

    Examples
    --------
    >>> wasserstein(np.array([0.0, 1.0]), np.array([3.0]))
    2.5
    """
    values = np.sort(np.concatenate([one, other]))
    shares = [
        np.searchsorted(np.sort(part), values[:-1], "right") / len(part) for part in (one, other)
    ]
    return float(np.abs(shares[0] - shares[1]) @ np.diff(values))


def principal(vectors: Sequence[Reals], scale: Reals, most: int) -> list[Reals]:
    """Vectors of descriptors on the axes along which those of reference differ most.

    Descriptors are divided by their standard deviation over the reference; those that do not vary
    there, or are not known of every sample, are left out.

    Parameters
    ----------
    vectors : sequence of (samples, descriptors) float64
        Sets to be projected.
    scale : (samples, descriptors) float64
        The reference.
    most : int
        Number of axes.

    Returns
    -------
    list of (samples, axes) float64
    """
    known = np.all([np.isfinite(one).all(axis=0) for one in (*vectors, scale)], axis=0)
    spread = scale.std(axis=0)
    used = known & (spread > 1e-9)
    centre = scale[:, used].mean(axis=0)
    axes = np.linalg.svd((scale[:, used] - centre) / spread[used], full_matrices=False)[2][:most]
    return [(one[:, used] - centre) / spread[used] @ axes.T for one in vectors]
