"""How far the errors of labels reach: correlation length of a copula, from probabilities and the truth.

Labels are drawn as ``y = 1 where z < t`` with ``t`` the normal quantile of the probability and ``z`` a
Gaussian field of correlation exp(-(h / l)²). The covariance of two labels is then

    cov(y, y') = sum over k >= 1 of  rho^k A_k(t) A_k(t'),   A_k(t) = pdf(t) He_(k-1)(t) / sqrt(k!)

(Mehler's formula), a polynomial in the correlation ``rho`` of the two voxels. Its coefficients are sums
over pairs of labelled voxels, which add up over slices; so do the products of the residuals
``y - p``. The length is the one whose covariances are nearest to those of the residuals.

References
----------
Pearson, Philos. Trans. R. Soc. A 195 (1900) 1 (tetrachoric series). DOI 10.1098/rsta.1900.0022
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from tim3d.errors import InputError
from tim3d.lazy import optimize

Floats: TypeAlias = NDArray[np.float64]
Mask: TypeAlias = NDArray[np.bool_]

# Terms of the series: the rest is below 8 % of the variance at a correlation of 0.9, and falls fast.
TERMS = 24
# Probabilities nearer to 0 or 1 hold no information on the correlation.
SURE = 1e-6
# Lengths that are looked among, in the shortest step between voxels.
SHORTEST, LONGEST = 0.1, 200.0
# Pairs of uncertain voxels that a length needs.
FEWEST_PAIRS = 100


def series(p: Floats) -> Floats:
    """The terms A_k of probabilities, k from 1; (terms, ...) float64.

    >>> bool(abs((series(np.array([0.5])) ** 2).sum() - 0.25) < 0.05)
    True
    """
    inside = np.clip(p, SURE, 1 - SURE)
    t = ndtri(inside)
    density = np.where((p > SURE) & (p < 1 - SURE), np.exp(-(t**2) / 2) / math.sqrt(2 * math.pi), 0)
    found = np.empty((TERMS, *p.shape))
    before, now = np.zeros_like(t), np.ones_like(t)
    for k in range(1, TERMS + 1):
        found[k - 1] = density * now / math.sqrt(k)
        before, now = now, (t * now - math.sqrt(k - 1) * before) / math.sqrt(k)
    return found


def covariance(p: float, correlation: float) -> float:
    """Covariance of two labels of one probability, by the integral of which the series is the expansion.

    Parameters
    ----------
    p : float
        Probability of both voxels.
    correlation : float
        Of the Gaussian field between them.

    Examples
    --------
    >>> round(covariance(0.5, 1.0), 6), round(covariance(0.5, 0.5), 6)
    (0.25, 0.083333)
    """
    t = float(ndtri(p))
    nodes, weights = np.polynomial.legendre.leggauss(64)
    angle = math.asin(correlation) * (nodes + 1) / 2
    inside = np.exp(-(t**2) / (1 + np.sin(angle)))
    return float(math.asin(correlation) / 2 * (weights * inside).sum() / (2 * math.pi))


@dataclass
class Pairs:
    """Sums over the pairs of labelled voxels at some lags along one axis.

    Parameters
    ----------
    lags : int
        Longest lag in voxels.
    """

    lags: int
    count: Floats = field(init=False)
    products: Floats = field(init=False)
    terms: Floats = field(init=False)

    def __post_init__(self) -> None:
        self.count, self.products = np.zeros(self.lags), np.zeros(self.lags)
        self.terms = np.zeros((self.lags, TERMS))

    def add(self, residual: Floats, terms: Floats, known: Mask, axis: int) -> None:
        """Add all pairs along an axis of a slice.

        Parameters
        ----------
        residual : (y, x) float64
            Label less probability.
        terms : (terms, y, x) float64
            `series` of the probabilities; 0 where `known` is not.
        known : (y, x) bool
            Voxels with a label and a probability between 0 and 1.
        axis : {0, 1}
            The axis.
        """
        for lag in range(1, min(self.lags, known.shape[axis] - 1) + 1):
            low = tuple(slice(None, -lag) if a == axis else slice(None) for a in range(2))
            high = tuple(slice(lag, None) if a == axis else slice(None) for a in range(2))
            both = known[low] & known[high]
            self.put(
                lag, residual[low][both], residual[high][both],
                terms[:, *low][:, both], terms[:, *high][:, both],
            )  # fmt: skip

    def put(self, lag: int, one: Floats, other: Floats, terms: Floats, others: Floats) -> None:
        """Add pairs of one lag: residuals, and terms, of both ends."""
        self.count[lag - 1] += len(one)
        self.products[lag - 1] += float(np.dot(one, other))
        self.terms[lag - 1] += np.einsum("kn,kn->k", terms, others)


def fitted_length(pairs: Iterable[tuple[Pairs, float]]) -> float:
    """Length at which the correlation falls to 1/e, from pairs along some axes.

    Parameters
    ----------
    pairs : iterable of (Pairs, float)
        Sums of each axis, and its step from voxel to voxel.

    Returns
    -------
    float
        The length, in the unit of the steps.

    Raises
    ------
    InputError
        If there are too few pairs of uncertain voxels.
    """
    rows = [
        (step * (lag + 1), one.count[lag], one.products[lag], one.terms[lag])
        for one, step in pairs
        for lag in range(one.lags)
        if one.count[lag] > 0
    ]
    if not rows or max(row[1] for row in rows) < FEWEST_PAIRS:
        raise InputError(
            f"fewer than {FEWEST_PAIRS} pairs of labelled voxels are uncertain: too few for a correlation length"
        )
    lags, counts, products = (np.array([row[n] for row in rows]) for n in range(3))
    terms = np.stack([row[3] for row in rows]) / counts[:, None]
    means, orders = products / counts, np.arange(1, TERMS + 1)

    def misfit(log_length: float) -> float:
        rho = np.exp(-((lags / math.exp(log_length)) ** 2))
        expected = (terms * rho[:, None] ** orders).sum(axis=1)
        return float((counts * (means - expected) ** 2).sum())

    shortest = float(lags.min())
    grid = np.linspace(math.log(SHORTEST * shortest), math.log(LONGEST * shortest), 61)
    best = int(np.argmin([misfit(one) for one in grid]))
    around = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    return float(math.exp(optimize.minimize_scalar(misfit, bounds=around, method="bounded").x))
