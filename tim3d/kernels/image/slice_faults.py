"""Faults of single slices: without contrast, saturated, a copy of the one before, unlike both neighbours."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Image: TypeAlias = npt.NDArray[Any]
Reals: TypeAlias = npt.NDArray[np.float64]

# Codes of the faults; 0 is none.
FAULTS = ("none", "blank", "saturated", "copy", "unlike")
NONE, BLANK, SATURATED, COPY, UNLIKE = range(5)
# A slice is blank below this share of the median contrast.
_CONTRAST = 0.1
# Of its pixels more are at an end of the range than in the median slice, by this share.
_SATURATED = 0.25
# Robust deviations by which a correlation lies below the median, and the least such distance.
_DEVIATIONS = 6.0
_LEAST = 0.05


def contrast_of(image: Image, ends: tuple[float, float]) -> tuple[float, float]:
    """Standard deviation of an image, and share of its pixels at either end of the range.

    >>> contrast_of(np.array([[0, 0], [255, 255]], np.uint8), (0, 255))
    (127.5, 1.0)
    """
    at_ends = np.count_nonzero(image <= ends[0]) + np.count_nonzero(image >= ends[1])
    return float(image.std(dtype=np.float64)), float(at_ends / image.size)


def correlation(first: Image, second: Image) -> float:
    """Pearson correlation of two images; 0 where one has no contrast.

    >>> correlation(np.array([[1, 2], [3, 4]]), np.array([[2, 4], [6, 8]]))
    1.0
    """
    a, b = (
        image.astype(np.float32) - np.float32(image.mean(dtype=np.float64))
        for image in (first, second)
    )
    ab, aa, bb = (float(np.sum(u * v, dtype=np.float64)) for u, v in ((a, b), (a, a), (b, b)))
    return min(1.0, ab / (aa * bb) ** 0.5) if aa and bb else 0.0


def faults(
    contrast: Reals, saturated: Reals, near: Reals, far: Reals, copies: Reals
) -> npt.NDArray[np.int64]:
    """Fault of every slice, as its place in `FAULTS`.

    Parameters
    ----------
    contrast, saturated : (n,) float
        Standard deviation of a slice, and the share of its pixels at an end of the range.
    near, far : (n,) float
        Correlation with the slice before, and with the one before that.
    copies : (n,) float
        1 where a slice equals the one before, pixel by pixel.

    Returns
    -------
    (n,) int
        A slice is unlike if its correlations with both neighbours are far below the usual ones,
        while those neighbours are alike.
    """
    found = np.full(len(contrast), NONE)
    found[_is_unlike(near, far)] = UNLIKE
    found[copies > 0] = COPY
    found[saturated > np.median(saturated) + _SATURATED] = SATURATED
    found[(contrast == 0) | (contrast < _CONTRAST * np.median(contrast))] = BLANK
    return found


def _is_unlike(near: Reals, far: Reals) -> npt.NDArray[np.bool_]:
    n = len(near)
    found = np.zeros(n, bool)
    if n < 5:
        return found
    low = _limit(near[1:])
    before, after = near[1:-1] < low, near[2:] < low
    found[1:-1] = before & after & (far[2:] >= _limit(far[2:]))
    found[0], found[-1] = near[1] < low <= near[2], near[-1] < low <= near[-2]
    return found


def _limit(values: Reals) -> float:
    middle = float(np.median(values))
    deviation = 1.4826 * float(np.median(np.abs(values - middle)))
    return middle - max(_DEVIATIONS * deviation, _LEAST)
