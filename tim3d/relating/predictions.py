"""Predictions of samples that a search has not seen: one by one, by groups, and held out."""

from __future__ import annotations

from typing import Any

import numpy as np

from tim3d.kernels.statistics import model_search, regression
from tim3d.kernels.statistics.model_search import Subset
from tim3d.kernels.statistics.regression import F64, Fit
from tim3d.relating.problem import Problem
from tim3d.relating.question import Question

# Searches for intervals, one for each pair of samples and model; above this many the chosen
# features are kept.
MOST_SEARCHED = 3_000_000


def is_searched(found: Problem) -> bool:
    """Whether the search is repeated for every pair of samples."""
    n = len(found.samples)
    return n * (n - 1) // 2 * len(found.candidates) <= MOST_SEARCHED


def of_samples(found: Problem, question: Question, fit: Fit) -> dict[str, Any]:
    """Measured, fitted and predicted values of the samples, with intervals."""
    folds = [np.array([n]) for n in range(len(found.samples))]
    models, nested = model_search.without_each(found.x, found.y, found.candidates, folds)
    low, high = _intervals(_pairs(found, fit), found.y, question.level)
    values = {
        "measured": found.y,
        "fitted": found.y - fit.residuals,
        "predicted": found.y - fit.left_out,
        "nested": nested,
        "low": low,
        "high": high,
    }
    features = range(len(found.names))
    return {
        **{name: question.back(value) for name, value in values.items()},
        "leverage": fit.leverage,
        "q2_nested": regression.r_squared(found.y, found.y - nested),
        "chosen_share": [sum(n in one for one in models) / len(models) for n in features],
    }


def _pairs(found: Problem, fit: Fit) -> F64:
    """Prediction of sample i without i and j, at [i, j]: of searches, or of the chosen features."""
    if len(found.candidates) > 1 and is_searched(found):
        return model_search.without_pairs(found.x, found.y, found.candidates)
    return fit.without_pairs


def _intervals(pairs: F64, y: F64, level: float) -> tuple[F64, F64]:
    """Ends of the interval of every sample, from the others only.

    ``pairs[i, j]`` is what is predicted of i without i and j.
    """
    n, ends = len(y), []
    for i in range(n):
        others = np.delete(np.arange(n), i)
        errors = y[others] - pairs[others, i]
        ends.append(regression.jackknife_plus(pairs[i, others], errors, level))
    low, high = np.array(ends).T
    return low, high


def of_groups(found: Problem, question: Question, chosen: Subset) -> dict[str, Any]:
    """Predictions of each group by a search without it, and by the chosen features without it."""
    groups = found.group_numbers
    if groups is None:
        return {}
    folds = [np.flatnonzero(groups == g) for g in range(groups.max() + 1)]
    _, searched = model_search.without_each(found.x, found.y, found.candidates, folds)
    _, kept = model_search.without_each(found.x, found.y, [chosen], folds)
    return {
        "group": np.array(found.groups, object),
        "by_group": question.back(searched),
        "q2_by_group": regression.r_squared(found.y, found.y - searched),
        "q2_by_group_chosen": regression.r_squared(found.y, found.y - kept),
    }


def of_held_out(found: Problem, question: Question, chosen: Subset) -> dict[str, Any]:
    """Predictions of samples that took no part, with intervals of searches without each other sample."""
    if not question.hold_out:
        return {}
    new, columns = found.held_x(), list(chosen)
    models, errors = _searches(found, new)
    ends = [regression.jackknife_plus(one, errors, question.level) for one in models.T]
    low, high = np.array(ends).T
    seen, asked = found.x[:, columns], new[:, columns]
    inside = ((asked >= seen.min(axis=0)) & (asked <= seen.max(axis=0))).all(axis=1)
    return {
        "held_out_measured": np.asarray(found.held[question.target].values, np.float64),
        "held_out_predicted": question.back(Fit(seen, found.y).at(asked)),
        "held_out_low": question.back(low),
        "held_out_high": question.back(high),
        "held_out_inside": inside,
    }


def _searches(found: Problem, new: F64) -> tuple[F64, F64]:
    """Predictions of new samples by searches without each sample, (n, new), and errors of that sample."""
    n = len(found.samples)
    rows = []
    for i in range(n):
        kept = np.delete(np.arange(n), i)
        asked = np.vstack([found.x[[i]], new])
        rows.append(model_search.searched(found.x[kept], found.y[kept], found.candidates, asked)[1])
    predicted = np.array(rows)
    return predicted[:, 1:], found.y - predicted[:, 0]
