"""A straight line through points: slope, intercept, and their intervals by Student's t."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from tim3d.kernels.statistics.regression import Fit

F64 = NDArray[np.float64]


@dataclass(frozen=True)
class Line:
    """Least-squares line ``y = intercept + slope x``.

    Parameters
    ----------
    x, y : (n,) float64
        The points; three or more, at two or more places.

    References
    ----------
    Draper and Smith, Applied Regression Analysis, 3rd ed., Wiley (1998), chapter 1. DOI
    10.1002/9781118625590

    Examples
    --------
    >>> line = Line(np.array([1.0, 2.0, 3.0]), np.array([3.0, 5.0, 7.0]))
    >>> round(line.slope, 9), round(line.intercept, 9), line.freedom
    (2.0, 1.0, 1)
    """

    x: F64
    y: F64

    @property
    def _fit(self) -> Fit:
        return Fit(self.x[:, None], self.y)

    @property
    def slope(self) -> float:
        """Change of y for a change of x by 1."""
        return float(self._fit.slopes[0])

    @property
    def intercept(self) -> float:
        """Value at x = 0."""
        return self._fit.intercept

    @property
    def residuals(self) -> F64:
        """Points less the line."""
        return self._fit.residuals

    @property
    def freedom(self) -> int:
        """Points less the two numbers of the line."""
        return self._fit.freedom

    @property
    def r2(self) -> float:
        """Share of the variance of y that the line explains."""
        return self._fit.r2

    @property
    def deviation(self) -> float:
        """Standard deviation of the points from the line."""
        return math.sqrt(float(self.residuals @ self.residuals) / self.freedom)

    @property
    def slope_weights(self) -> F64:
        """Change of the slope for a change of each y by 1."""
        away = self.x - self.x.mean()
        return np.asarray(away / (away @ away))

    @property
    def intercept_weights(self) -> F64:
        """Change of the intercept for a change of each y by 1."""
        return np.asarray(1 / len(self.x) - self.x.mean() * self.slope_weights)

    @property
    def slope_error(self) -> float:
        """Standard error of the slope, from the residuals."""
        return self.deviation * math.sqrt(float((self.slope_weights**2).sum()))

    @property
    def intercept_error(self) -> float:
        """Standard error of the intercept, from the residuals."""
        return self.deviation * math.sqrt(float((self.intercept_weights**2).sum()))

    def half_widths(self, level: float) -> float:
        """Standard errors to the half of an interval that holds the truth with this probability.

        Parameters
        ----------
        level : float
            Probability, 0 to 1.
        """
        return float(stdtrit(self.freedom, (1 + level) / 2))

    def band(self, x: F64, level: float) -> F64:
        """Half width of the interval of the line itself at other places.

        Parameters
        ----------
        x : (m,) float64
            The places.
        level : float
            Probability that the interval holds the true line at a place.
        """
        away = x - self.x.mean()
        spread = 1 / len(self.x) + away**2 * float((self.slope_weights**2).sum())
        return np.asarray(self.half_widths(level) * self.deviation * np.sqrt(spread))
