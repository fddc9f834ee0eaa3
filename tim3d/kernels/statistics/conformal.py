"""Intervals of predictions that hold without a law of the errors, and how far from the known data a case is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from tim3d.errors import ArgumentError

Floats: TypeAlias = npt.NDArray[np.float64]
# Part of its variance that is added to every feature: covariances of few cases are uncertain.
SHRINKAGE = 0.1


def fewest(level: float) -> int:
    """Smallest number of held-out cases that an interval of this level needs.

    >>> fewest(0.9), fewest(0.95)
    (9, 19)
    """
    if not 0 < level < 1:
        raise ArgumentError(f"the level of an interval is between 0 and 1, got {level:g}")
    return math.ceil(round(level / (1 - level), 9))


def half_width(errors: Floats, level: float) -> float:
    """Half width of the interval that holds a new case with at least the probability `level`.

    Split conformal prediction: the ceil((n + 1) level)-th smallest absolute error of n held-out
    cases, if the new case is exchangeable with them.

    Raises
    ------
    ArgumentError
        If there are too few cases for this level.

    References
    ----------
    Lei, G'Sell, Rinaldo, Tibshirani, Wasserman, J. Am. Stat. Assoc. 113 (2018) 1094.
    DOI 10.1080/01621459.2017.1307116

    Examples
    --------
    >>> half_width(np.arange(1.0, 20.0), 0.9)
    18.0
    """
    if len(errors) < fewest(level):
        raise ArgumentError(
            f"an interval of {level:g} needs {fewest(level)} held-out samples, and there are {len(errors)}. Give "
            "more samples, or a lower --level"
        )
    rank = math.ceil(round((len(errors) + 1) * level, 9))
    return float(np.sort(np.abs(errors))[rank - 1])


@dataclass(frozen=True)
class Cloud:
    """Known cases as points: their mean, and the inverse of their covariance.

    References
    ----------
    Mahalanobis, Proc. Natl. Inst. Sci. India 2 (1936) 49
    """

    mean: Floats
    inverse: Floats

    @classmethod
    def of(cls, points: Floats) -> Cloud:
        """Cloud of (cases, features) points; a tenth of its variance is added in every direction.

        The scale of a feature does not matter; one that never changes counts by its mean.
        """
        spread = points.std(axis=0)
        spread = np.where(spread > 1e-9, spread, np.maximum(np.abs(points.mean(axis=0)), 1e-3) / 10)
        scaled = (points - points.mean(axis=0)) / spread
        correlation = scaled.T @ scaled / len(points) + SHRINKAGE * np.eye(len(spread))
        inverse = np.linalg.inv(correlation) / np.outer(spread, spread)
        return cls(np.asarray(points.mean(axis=0), np.float64), np.asarray(inverse, np.float64))

    def distances(self, points: Floats) -> Floats:
        """Mahalanobis distances of (cases, features) points, over the square root of the number of features."""
        off = points - self.mean
        squares = np.einsum("ij,jk,ik->i", off, self.inverse, off)
        return np.asarray(np.sqrt(np.maximum(squares, 0) / len(self.mean)))


def scatter_at_equal(descriptors: Floats, values: Floats, groups: npt.NDArray[np.int64]) -> float:
    """Standard deviation of values at equal descriptors: what no function of these can explain.

    The difference of a case and the one nearest to it in another group, in descriptors scaled by
    their standard deviations, has twice the variance at equal descriptors. Cases are never quite
    equal, so that it is an upper bound for smooth laws.

    Parameters
    ----------
    descriptors : (cases, numbers) array
        What is known of each case.
    values : (cases,) array
        What is to be predicted.
    groups : (cases,) integers
        Cases of one group, as sections of one volume, are not compared.

    References
    ----------
    Rice, Ann. Stat. 12 (1984) 1215 (differences of neighbours). DOI 10.1214/aos/1176346788

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.uniform(size=(4000, 1))
    >>> y = x[:, 0] + 0.1 * rng.standard_normal(4000)
    >>> round(scatter_at_equal(x, y, np.arange(4000)), 2)
    0.1
    """
    spread = descriptors.std(axis=0)
    points = (descriptors - descriptors.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    squares = []
    for place, point in enumerate(points):
        distance = ((points - point) ** 2).sum(axis=1)
        distance[groups == groups[place]] = np.inf
        squares.append((values[place] - values[int(np.argmin(distance))]) ** 2)
    return math.sqrt(float(np.mean(squares)) / 2)
