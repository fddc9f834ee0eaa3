"""Limit of uncertainty below which found objects agree best with true ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class BestLimit:
    """A limit, and the panoptic quality of all objects and of those below it."""

    limit: float
    of_all: float
    below: float


def best_limit(uncertainty: Floats, iou: Floats, true: int) -> BestLimit:
    """Limit that gives the objects below it the largest panoptic quality; of equal ones the largest.

    Parameters
    ----------
    uncertainty : (n,) float
        Of each found object.
    iou : (n,) float
        Intersection over union with the true object that it matches (above a half), 0 for none.
    true : int
        Number of true objects.

    Examples
    --------
    >>> found = best_limit(np.array([0.1, 0.4, 0.2]), np.array([0.9, 0.0, 0.8]), 2)
    >>> round(found.limit, 6), round(found.of_all, 3), round(found.below, 3)
    (0.3, 0.68, 0.85)
    """
    order = np.argsort(uncertainty, kind="stable")
    ranked, total = uncertainty[order], np.concatenate([[0.0], np.cumsum(iou[order])])
    quality = 2 * total / np.maximum(np.arange(len(order) + 1) + true, 1)
    # Objects that are equally uncertain are kept or dropped together.
    cuts = np.concatenate([[True], ranked[1:] > ranked[:-1], [True]]) if len(order) else [True]
    at = _last_best(quality, np.asarray(cuts, bool))
    return BestLimit(_between(ranked, at), float(quality[-1]), float(quality[at]))


def _last_best(quality: Floats, cuts: NDArray[np.bool_]) -> int:
    allowed = np.where(cuts, quality, -1.0)
    return len(allowed) - 1 - int(np.argmax(allowed[::-1]))


def _between(ranked: NDArray[Any], at: int) -> float:
    """Middle of the last kept value and the first dropped one."""
    if at == 0 or at == len(ranked):
        return float(np.nextafter(ranked[-1], np.inf)) if at and len(ranked) else 0.0
    return float((ranked[at - 1] + ranked[at]) / 2)
