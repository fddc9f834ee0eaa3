"""Search over subsets of features by left-out residuals, and what its best model is worth.

The best of many models looks better than it is. Two remedies: the search is repeated without each
sample, or group, and what it then predicts is compared (nested validation: Varma and Simon, BMC
Bioinformatics 7 (2006) 91, doi:10.1186/1471-2105-7-91); and the whole search is repeated on
shuffled targets (a permutation test, with the p-value of Phipson and Smyth,
doi:10.2202/1544-6115.1585).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, groupby

import numpy as np
from numpy.typing import NDArray

from tim3d.kernels.statistics.regression import F64, HIGHEST_LEVERAGE, INDEPENDENT, Fit

Subset = tuple[int, ...]
# Numbers that are held at once: 64 MB.
HELD = 2**23
# Models whose sums of squares differ by less than this are equal; the first is taken.
EQUAL = 1e-9


def subsets(features: int, smallest: int, largest: int) -> list[Subset]:
    """All choices of features, small ones first.

    >>> subsets(3, 1, 2)
    [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2)]
    """
    return [
        one for size in range(smallest, largest + 1) for one in combinations(range(features), size)
    ]


def press(x: F64, y: F64, candidates: Sequence[Subset]) -> F64:
    """Sum of squared left-out residuals of every candidate for every target.

    Parameters
    ----------
    x : (n, p)
        All features.
    y : (n,) or (n, b)
        One or several targets.
    candidates : sequence of tuple of int
        Features of each model.

    Returns
    -------
    (candidates,) or (candidates, b) array
        Infinite where the features of a model are not independent, or a sample decides its own fit.
    """
    targets = y.reshape(len(y), -1)
    centred = targets - targets.mean(axis=0)
    spread = x.std(axis=0, ddof=1)
    scaled = (x - x.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    parts = [_press(scaled[:, block], centred) for block in _blocks(candidates, centred.size)]
    found: F64 = np.concatenate(parts)
    return found[:, 0] if y.ndim == 1 else found


def _blocks(candidates: Sequence[Subset], size: int) -> Iterator[NDArray[np.intp]]:
    """Index arrays (subsets, features) of candidates of one size, in their order."""
    most = max(1, HELD // size)
    for _, same in groupby(candidates, key=len):
        rows = np.array(list(same), np.intp)
        yield from (rows[start : start + most] for start in range(0, len(rows), most))


def _press(chosen: F64, centred: F64) -> F64:
    """Sums of squares for features (n, subsets, k) of models of one size."""
    n = len(chosen)
    q, r = np.linalg.qr(np.moveaxis(chosen, 0, 1))
    leverage = 1 / n + (q**2).sum(axis=2)
    sizes = np.abs(np.diagonal(r, axis1=1, axis2=2)) / np.sqrt(n)
    usable = (sizes.min(axis=1) > INDEPENDENT) & (leverage.max(axis=1) < HIGHEST_LEVERAGE)
    residuals = centred - q @ (np.swapaxes(q, 1, 2) @ centred)
    residuals /= np.where(usable[:, None], 1 - leverage, 1.0)[:, :, None]
    return np.asarray(np.where(usable[:, None], (residuals**2).sum(axis=1), np.inf))


def best(sums: F64) -> int:
    """Place of the smallest sum; of equal ones the first."""
    return int(np.argmax(sums <= sums.min() * (1 + EQUAL)))


def searched(x: F64, y: F64, candidates: Sequence[Subset], new: F64) -> tuple[Subset, F64]:
    """Search among candidates and fit the best; its features, and what it predicts for other samples."""
    chosen = candidates[best(press(x, y, candidates))]
    columns = list(chosen)
    return chosen, Fit(x[:, columns], y).at(new[:, columns])


def without_each(
    x: F64, y: F64, candidates: Sequence[Subset], folds: Sequence[NDArray[np.intp]]
) -> tuple[list[Subset], F64]:
    """Models that searches without each fold choose, and their predictions of the fold."""
    predicted = np.full(len(y), np.nan)
    chosen = []
    for fold in folds:
        kept = np.setdiff1d(np.arange(len(y)), fold)
        one, predicted[fold] = searched(x[kept], y[kept], candidates, x[fold])
        chosen.append(one)
    return chosen, predicted


def without_pairs(x: F64, y: F64, candidates: Sequence[Subset]) -> F64:
    """Prediction of sample i by a search without i and j, at [i, j]; nan on the diagonal."""
    n = len(y)
    predicted = np.full((n, n), np.nan)
    for i, j in combinations(range(n), 2):
        kept = np.delete(np.arange(n), [i, j])
        _, (predicted[i, j], predicted[j, i]) = searched(x[kept], y[kept], candidates, x[[i, j]])
    return predicted


def shuffled(y: F64, count: int, seed: int, groups: NDArray[np.intp] | None = None) -> F64:
    """Targets in `count` random orders, (n, count); with `groups`, each within its own group."""
    rng = np.random.default_rng(seed)
    found = np.repeat(y[:, None], count, axis=1)
    of = np.zeros(len(y), np.intp) if groups is None else groups
    for group in np.unique(of):
        members = np.flatnonzero(of == group)
        found[members] = rng.permuted(found[members], axis=0)
    return found


def best_of_shuffled(x: F64, targets: F64, candidates: Sequence[Subset]) -> F64:
    """Best Q² of the whole search for each of some targets, (b,)."""
    spread = ((targets - targets.mean(axis=0)) ** 2).sum(axis=0)
    return np.asarray(1 - press(x, targets, candidates).min(axis=0) / spread)


def permutation_p(found: float, chance: F64) -> float:
    """Share of searches on shuffled targets that do as well, the present one counted.

    >>> permutation_p(0.9, np.array([0.1, 0.2, 0.95]))
    0.5
    """
    return float((1 + (chance >= found - 1e-9).sum()) / (len(chance) + 1))


def within_one_error(errors: F64, first: int) -> NDArray[np.bool_]:
    """Models whose mean squared left-out error is within one standard error of that of the best.

    Parameters
    ----------
    errors : (models, n)
        Left-out residuals.
    first : int
        The best model, whose standard error is taken.
    """
    squared = errors**2
    standard_error = squared[first].std(ddof=1) / np.sqrt(errors.shape[1])
    return np.asarray(squared.mean(axis=1) <= squared[first].mean() + standard_error)
