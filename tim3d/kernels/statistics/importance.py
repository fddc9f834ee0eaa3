"""Importance of the features of a linear model, exact: Shapley values of predictions and of R²."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np

from tim3d.kernels.statistics.regression import F64

# 2^10 fits take some hundredths of a second.
MOST_FEATURES = 10


def linear_shap(x: F64, slopes: F64) -> F64:
    """Shapley values of a linear model, ``slope * (x - mean)``, (n, k).

    Features are taken as independent (interventional). Lundberg and Lee, Adv. Neural Inf. Process.
    Syst. 30 (2017), arXiv:1705.07874.
    """
    return np.asarray((x - x.mean(axis=0)) * slopes)


def shapley_r2(x: F64, y: F64) -> F64:
    """Share of R² of each feature, averaged over all orders in which features may be added.

    The shares add up to R². Lindeman, Merenda and Gold (1980); Gromping, J. Stat. Softw. 17 (2006)
    1, doi:10.18637/jss.v017.i01.
    """
    k = x.shape[1]
    explained = {
        frozenset(s): _r2(x[:, s], y) for size in range(k + 1) for s in combinations(range(k), size)
    }
    shares = np.zeros(k)
    for subset, value in explained.items():
        if len(subset) == k:
            continue
        weight = math.factorial(len(subset)) * math.factorial(k - len(subset) - 1)
        for feature in set(range(k)) - subset:
            shares[feature] += weight * (explained[subset | {feature}] - value)
    return shares / math.factorial(k)


def _r2(x: F64, y: F64) -> float:
    centred = y - y.mean()
    if not x.shape[1]:
        return 0.0
    q, _ = np.linalg.qr((x - x.mean(axis=0)) / x.std(axis=0))
    return float(((q.T @ centred) ** 2).sum() / (centred @ centred))


def variance_inflation(x: F64) -> F64:
    """Factor by which each slope's variance grows because features go together, 1 or more.

    The diagonal of the inverse of the correlation matrix, 1 / (1 - R_j²).
    """
    if x.shape[1] == 1:
        return np.ones(1)
    return np.asarray(np.diag(np.linalg.inv(np.corrcoef(x, rowvar=False))))


def condition_number(x: F64) -> float:
    """Largest over smallest singular value of the standardised features."""
    values = np.linalg.svd((x - x.mean(axis=0)) / x.std(axis=0), compute_uv=False)
    return float(values[0] / values[-1])
