"""Scores of objects that are pooled over images: each is a function of counts that add up.

With the tables of overlaps of `tim3d.kernels.statistics.object_agreement`, one of each image.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tim3d.kernels.statistics.object_agreement import TWENTIETHS, Overlaps, matches

Counts: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class PooledScore:
    """A score from 0 to 1, the highest being the best.

    Parameters
    ----------
    counts : callable
        Counts of an image from its table.
    value : callable
        The score of the sum of the counts of some images.
    """

    counts: Callable[[Overlaps], Counts]
    value: Callable[[Counts], float]


def matched_overlaps(table: Overlaps) -> Counts:
    """Sum of the IoU of matched objects, and the number of true and found ones.

    Their quotient is half the panoptic quality, IoU sum / (TP + FP/2 + FN/2).

    >>> matched_overlaps(Overlaps.of(np.array([[1, 1, 9], [1, 0, 1], [0, 2, 5]]))).tolist()
    [0.9, 3.0]
    """
    _, _, shared, union = table.pairs()
    matched = 2 * shared > union
    return np.array([np.sum(shared[matched] / union[matched]), sum(table.objects())], np.float64)


def hits(table: Overlaps) -> Counts:
    """Matches at each threshold of 0.5 to 0.95, and the number of true and found objects."""
    found = [matches(table, level) for level in TWENTIETHS]
    return np.array([*found, sum(table.objects())], np.float64)


def covered(table: Overlaps) -> Counts:
    """Pixels of true and found objects alike, and of either.

    >>> covered(Overlaps.of(np.array([[1, 2, 9], [1, 0, 1], [0, 2, 5], [0, 0, 7]]))).tolist()
    [9.0, 15.0]
    """
    true, found = table.true > 0, table.found > 0
    return np.array([table.shared[true & found].sum(), table.shared[true | found].sum()], float)


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else 1.0


def _mean_accuracy(total: Counts) -> float:
    return float(np.mean([_ratio(n, total[-1] - n) for n in total[:-1]]))


SCORES = {
    "panoptic_quality": PooledScore(
        matched_overlaps,
        lambda total: _ratio(2 * total[0], total[1]),
    ),
    "mean_segmentation_accuracy": PooledScore(
        hits,
        _mean_accuracy,
    ),
    "iou_foreground": PooledScore(
        covered,
        lambda total: _ratio(total[0], total[1]),
    ),
}
