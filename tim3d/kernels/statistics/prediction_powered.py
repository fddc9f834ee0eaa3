"""A fraction of a volume from labels of all voxels and from a few points that were looked at.

The labels say everything, with errors; points at random places say little, without errors. The fraction
of the labels plus the mean difference at the points is unbiased whatever made the labels, and its
error is that of the differences alone: the better the labels, the fewer points are needed.

References
----------
Angelopoulos, Bates, Fannjiang, Jordan, Zrnic, Science 382 (2023) 669. DOI 10.1126/science.adi6000
Agresti, Min, Stat. Med. 24 (2005) 729 (intervals of paired differences). DOI 10.1002/sim.1781
Agresti, Coull, Am. Stat. 52 (1998) 119 (intervals of shares). DOI 10.1080/00031305.1998.10480550
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

Mask: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True)
class Estimate:
    """A fraction and the limits of its interval."""

    value: float
    low: float
    high: float


def by_points(true: Mask, level: float) -> Estimate:
    """Fraction from the points alone, as in stereology.

    Examples
    --------
    >>> found = by_points(np.arange(100) < 40, 0.95)
    >>> found.value, round(found.low, 3), round(found.high, 3)
    (0.4, 0.309, 0.498)
    """
    z = _quantile(level)
    count = len(true) + z**2
    middle = (true.sum() + z**2 / 2) / count
    half = z * math.sqrt(middle * (1 - middle) / count)
    return Estimate(float(true.mean()), float(middle - half), float(middle + half))


def by_labels_and_points(fraction: float, labels: Mask, true: Mask, level: float) -> Estimate:
    """Fraction of the labels of all voxels, corrected by the points.

    Parameters
    ----------
    fraction : float
        Share of the phase in the labels of the whole volume.
    labels, true : (n,) bool
        Whether a point is of the phase, by the labels and by the look.
    level : float
        Probability that the interval holds the true fraction of the volume.

    Examples
    --------
    >>> true = np.arange(300) % 3 == 0
    >>> labels = true.copy()
    >>> labels[:15:3] = False  # five points of the phase are missed
    >>> found = by_labels_and_points(0.30, labels, true, 0.95)
    >>> round(found.value, 4), round((found.high - found.low) / 2, 3)
    (0.3167, 0.016)
    >>> plain = by_points(true, 0.95)
    >>> round((plain.high - plain.low) / 2, 3)
    0.053
    """
    missed, added = int((true & ~labels).sum()), int((labels & ~true).sum())
    count = len(true) + 2
    up, down = (missed + 0.5) / count, (added + 0.5) / count
    half = _quantile(level) * math.sqrt((up + down - (up - down) ** 2) / count)
    middle = fraction + up - down
    return Estimate(fraction + (missed - added) / len(true), middle - half, middle + half)


def _quantile(level: float) -> float:
    return float(ndtri((1 + level) / 2))
