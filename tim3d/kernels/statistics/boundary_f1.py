"""Boundary F1 and its chance level, from counts of pixels on and near boundaries.

Precision is the share of the predicted boundary that lies within the tolerance of the true one,
recall the share of the true boundary within the tolerance of the predicted one, and F1 their
harmonic mean. The chance level is what the same two boundaries score where they know nothing of
each other: a pixel of one then lies near the other as often as any pixel of the image does, so that
chance precision is the share of the image near the true boundary, and chance recall the share near
the predicted one. It rises with the tolerance, and without it an F1 says little.

References
----------
Csurka, Larlus, Perronnin, BMVC 2013 (boundary F1 of semantic segmentation). DOI 10.5244/C.27.32
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tim3d.kernels.statistics.metrics import ratio

Counts: TypeAlias = NDArray[np.int64]
Ratios: TypeAlias = NDArray[np.float64]


def boundary_f1(counts: Counts) -> Ratios:
    """Boundary F1 of every class, 1 where neither has a boundary.

    Parameters
    ----------
    counts : (..., classes, 6) int64
        Pixels on the predicted boundary, of them near the true one, on the true boundary, of them
        near the predicted one, near the predicted boundary, near the true one.

    Examples
    --------
    >>> boundary_f1(np.array([[10, 5, 8, 8, 30, 24], [0, 0, 0, 0, 0, 0]])).round(4).tolist()
    [0.6667, 1.0]
    """
    found, found_near, true, true_near = (counts[..., column] for column in range(4))
    nothing = (found == 0) & (true == 0)
    return _harmonic(ratio(found_near, found, nothing), ratio(true_near, true, nothing))


def boundary_f1_chance(counts: Counts, pixels: Counts) -> Ratios:
    """Boundary F1 of every class that boundaries laid at random reach on average.

    Parameters
    ----------
    counts : (..., classes, 6) int64
        As of `boundary_f1`.
    pixels : (...) int64
        Pixels with a truth.

    Examples
    --------
    >>> counts = np.array([[10, 5, 8, 8, 30, 20]])
    >>> boundary_f1_chance(counts, np.array(100)).round(4).tolist()
    [0.24]
    """
    found, true, whole = counts[..., 4], counts[..., 5], np.asarray(pixels)[..., None]
    nothing = (found == 0) & (true == 0)
    chance = _harmonic(ratio(true, whole), ratio(found, whole))
    return np.where(nothing, 1.0, chance)


def _harmonic(one: Ratios, other: Ratios) -> Ratios:
    total = one + other
    return np.divide(2 * one * other, total, out=np.zeros_like(total), where=total > 0)
