"""Least squares for few samples: left-out residuals in closed form, Q², intervals.

Features are centred and scaled by their standard deviations before a QR decomposition, so that
slopes are comparable and the decomposition is well conditioned. A left-out residual is
e_i / (1 - h_i) with the leverage h_i: no model is fitted again (Allen, Technometrics 16 (1974) 125,
doi:10.1080/00401706.1974.10489157).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

F64 = NDArray[np.float64]

# A column of length 1 that keeps less than this after the others are taken out is a combination
# of them.
INDEPENDENT = 1e-7
# Above this leverage a sample decides its own fit: nothing is left out of it.
HIGHEST_LEVERAGE = 1 - 1e-9


@dataclass(frozen=True)
class Fit:
    """A linear model of samples, ``y = intercept + sum of slope * (x - mean)``.

    Parameters
    ----------
    x : (n, k)
        Features.
    y : (n,)
        Target.
    """

    x: F64
    y: F64

    @cached_property
    def mean(self) -> F64:
        """Mean of each feature."""
        return np.asarray(self.x.mean(axis=0))

    @cached_property
    def scale(self) -> F64:
        """Standard deviation of each feature (divisor n - 1)."""
        return np.asarray(self.x.std(axis=0, ddof=1))

    @cached_property
    def _decomposed(self) -> tuple[F64, F64]:
        q, r = np.linalg.qr((self.x - self.mean) / self.scale)
        return q, r

    @cached_property
    def standardised(self) -> F64:
        """Slope of each feature per standard deviation of it, in the unit of the target."""
        q, r = self._decomposed
        return np.asarray(np.linalg.solve(r, q.T @ (self.y - self.y.mean())))

    @property
    def slopes(self) -> F64:
        """Slope of each feature in its own unit."""
        return self.standardised / self.scale

    @property
    def intercept(self) -> float:
        """Value where all features are 0."""
        return float(self.y.mean() - self.slopes @ self.mean)

    def at(self, x: F64) -> F64:
        """Values of the model at other features, (m, k)."""
        return np.asarray(self.y.mean() + ((x - self.mean) / self.scale) @ self.standardised)

    @cached_property
    def leverage(self) -> F64:
        """Share of each sample in its own fitted value, 1/n to 1."""
        return np.asarray(1 / len(self.y) + (self._decomposed[0] ** 2).sum(axis=1))

    @cached_property
    def residuals(self) -> F64:
        """Measured less fitted."""
        return np.asarray(self.y - self.at(self.x))

    @cached_property
    def left_out(self) -> F64:
        """Measured less what the other samples predict; infinite where a sample decides its own fit."""
        return left_out(self.residuals, self.leverage)

    @property
    def without_pairs(self) -> F64:
        """Prediction of sample i without i and j, at [i, j], in closed form; nan on the diagonal."""
        q = self._decomposed[0]
        hat = 1 / len(self.y) + q @ q.T
        own, e = np.diag(hat).copy(), self.residuals
        np.fill_diagonal(hat, np.nan)
        below = np.outer(1 - own, 1 - own) - hat**2
        return np.asarray(self.y[:, None] - (np.outer(e, 1 - own) + hat * e) / below)

    @property
    def freedom(self) -> int:
        """Samples less slopes and intercept."""
        return int(len(self.y) - self.x.shape[1] - 1)

    @property
    def r2(self) -> float:
        """Share of the variance that the fit explains."""
        return r_squared(self.y, self.residuals)

    @property
    def standard_errors(self) -> F64:
        """Standard error of each standardised slope, from the residuals."""
        r = self._decomposed[1]
        inverse = np.linalg.solve(r, np.eye(len(r)))
        variance = float(self.residuals @ self.residuals) / self.freedom
        return np.asarray(np.sqrt(variance * (inverse**2).sum(axis=1)))

    def half_width(self, level: float) -> F64:
        """Half width of the interval of each standardised slope, by Student's t."""
        return np.asarray(self.standard_errors * stdtrit(self.freedom, (1 + level) / 2))

    @property
    def partial_r2(self) -> F64:
        """Share of what the other features leave unexplained that each feature explains."""
        squared = (self.standardised / self.standard_errors) ** 2
        return np.asarray(squared / (squared + self.freedom))


def left_out(residuals: F64, leverage: F64) -> F64:
    """Residuals of models without the sample itself, ``e / (1 - h)``."""
    free = leverage < HIGHEST_LEVERAGE
    return np.asarray(np.where(free, residuals / np.where(free, 1 - leverage, 1.0), np.inf))


def r_squared(y: F64, residuals: F64) -> float:
    """``1 - sum of residuals² / sum of (y - mean)²``: R² of a fit, Q² of left-out residuals.

    >>> y = np.array([1.0, 2.0, 3.0])
    >>> r_squared(y, np.zeros(3)), r_squared(y, y - y.mean())
    (1.0, 0.0)
    """
    return float(1 - (residuals**2).sum() / ((y - y.mean()) ** 2).sum())


def q_squared_left_out_mean(q2: float, n: int) -> float:
    """Q² against the mean of the other samples, from Q² against the mean of all.

    The denominator is larger by (n / (n - 1))², so the value is closer to 1.

    >>> round(q_squared_left_out_mean(0.357, 18), 3)
    0.426
    """
    return 1 - (1 - q2) * ((n - 1) / n) ** 2


def fewest_samples(level: float) -> int:
    """Fewest samples from which a jackknife+ interval of this level is finite.

    >>> fewest_samples(0.9), fewest_samples(0.95)
    (9, 19)
    """
    return math.ceil(level / (1 - level) - 1e-9)


def jackknife_plus(predicted: F64, errors: F64, level: float) -> tuple[float, float]:
    """Interval of a new sample from models that each lack one sample.

    Barber, Candes, Ramdas and Tibshirani, Ann. Statist. 49 (2021) 486, doi:10.1214/20-AOS1965: it
    holds the value of a further sample of the same kind with a probability of at least 2 level - 1,
    and usually of `level`, without any law of the errors.

    Parameters
    ----------
    predicted : (n,)
        What each of the models predicts for the new sample.
    errors : (n,)
        Measured less predicted of the sample that the model lacks.
    level : float
        Share of new samples that the interval should hold.

    Returns
    -------
    low, high : float
        Infinite if there are fewer than `fewest_samples`.
    """
    n = len(predicted)
    low, high = np.sort(predicted - np.abs(errors)), np.sort(predicted + np.abs(errors))
    place = math.ceil(level * (n + 1) - 1e-9)
    if place > n:
        return -math.inf, math.inf
    return float(low[n - place]), float(high[place - 1])
