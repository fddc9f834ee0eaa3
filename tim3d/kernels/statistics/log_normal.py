"""Log-normal distribution of sizes: fit, mean, intervals, and how well it fits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

Values: TypeAlias = NDArray[np.float64]

# Half the width of an interval that holds 95 % of a normal distribution, in standard deviations.
NORMAL_95 = 1.959963984540054


@dataclass(frozen=True)
class LogNormal:
    """Log-normal distribution: mean and standard deviation of the logarithm.

    Examples
    --------
    >>> fit = LogNormal.of(np.exp(np.array([1.0, 2.0, 3.0])))
    >>> round(fit.mu, 6), round(fit.sigma, 6)
    (2.0, 1.0)
    """

    mu: float
    sigma: float
    count: int

    @classmethod
    def of(cls, values: Values) -> LogNormal:
        """The maximum-likelihood fit, with n - 1 for the spread; nan where it needs more values."""
        logs = np.log(values)
        mu = float(logs.mean()) if len(logs) else np.nan
        return cls(mu, _spread(logs), len(logs))

    @property
    def mean(self) -> float:
        """Mean of the distribution."""
        return float(np.exp(self.mu + self.sigma**2 / 2))

    @property
    def interval(self) -> tuple[float, float]:
        """Bounds between which 95 % of the distribution lie."""
        wide = NORMAL_95 * self.sigma
        return float(np.exp(self.mu - wide)), float(np.exp(self.mu + wide))

    def mean_interval(self, count: int) -> tuple[float, float]:
        """95 % confidence interval of the mean by Cox's method, from some independent values."""
        if count < 2:
            return np.nan, np.nan
        square = self.sigma**2
        wide = NORMAL_95 * np.sqrt(square / count + square**2 / (2 * (count - 1)))
        middle = self.mu + square / 2
        return float(np.exp(middle - wide)), float(np.exp(middle + wide))

    def cumulative(self, values: Values) -> Values:
        """Share of the distribution below these values."""
        if not self.sigma > 0:
            return np.full(len(values), np.nan)
        return np.asarray(ndtr((np.log(values) - self.mu) / self.sigma))

    def density(self, values: Values) -> Values:
        """Density of the distribution at these values."""
        away = (np.log(values) - self.mu) / self.sigma
        return np.asarray(np.exp(-(away**2) / 2) / (values * self.sigma * np.sqrt(2 * np.pi)))

    def distance(self, values: Values) -> float:
        """Largest difference between the shares of values below, and those of the distribution."""
        if not self.sigma > 0:
            return float("nan")
        rank, fitted = np.arange(len(values) + 1) / len(values), self.cumulative(np.sort(values))
        return float(max(np.max(rank[1:] - fitted), np.max(fitted - rank[:-1])))


def _spread(logs: Values) -> float:
    """Standard deviation; exactly 0 of equal values, whose mean may be rounded."""
    if len(logs) < 2:
        return float("nan")
    return float(logs.std(ddof=1)) if np.ptp(logs) > 0 else 0.0
