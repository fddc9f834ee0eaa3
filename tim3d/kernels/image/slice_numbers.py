"""Numbers that describe a slice, and borders that are the same in all slices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Image: TypeAlias = npt.NDArray[Any]
Floats: TypeAlias = npt.NDArray[np.float64]

# Most rows and columns of a subsample.
MOST_POINTS = 512
# A row of a border has at least this share of pixels that are equal in two slices; a row of the
# image at most that share.
EQUAL, DIFFERENT = 0.75, 0.5
# Rows of a border: fewer are a fringe of the microscope, more are the image itself; rows between.
THINNEST, THICKEST_SHARE, FRINGE = 4, 0.4, 2


@dataclass(frozen=True)
class SliceNumbers:
    """Grey values of one slice, or of a subsample of it.

    Attributes
    ----------
    mean, std, min, max : float
        Of the grey values; `std` is the population standard deviation.
    share_at_min, share_at_max : float
        Share of pixels that have the lowest, and the highest, value of the slice.
    constant_rows : float
        Share of rows that have one value only.
    """

    mean: float
    std: float
    min: float
    max: float
    share_at_min: float
    share_at_max: float
    constant_rows: float


def subsample(image: Image, most: int = MOST_POINTS) -> Image:
    """Every nth row and every mth column, so that at most `most` of each are left.

    >>> subsample(np.zeros((1000, 300))).shape
    (500, 300)
    """
    rows, columns = (-(-n // most) for n in image.shape)
    return image[::rows, ::columns]


def slice_numbers(values: Image) -> SliceNumbers:
    """Numbers of a slice, a row of which is a row of pixels.

    >>> found = slice_numbers(np.array([[0, 0], [0, 4]], np.uint8))
    >>> found.mean, found.max, found.share_at_min, found.share_at_max, found.constant_rows
    (1.0, 4.0, 0.75, 0.25, 0.5)
    """
    low, high = values.min(axis=1), values.max(axis=1)
    lowest, highest = low.min(), high.max()
    return SliceNumbers(
        mean=float(values.mean(dtype=np.float64)),
        std=float(values.std(dtype=np.float64)),
        min=float(lowest),
        max=float(highest),
        share_at_min=float(np.mean(values == lowest)),
        share_at_max=float(np.mean(values == highest)),
        constant_rows=float(np.mean(low == high)),
    )


def rms_difference(first: Image, second: Image) -> float:
    """Root mean square of the differences between the pixels of two slices.

    >>> rms_difference(np.array([[0, 255]], np.uint8), np.array([[3, 251]], np.uint8))
    3.5355339059327378
    """
    apart = first.astype(np.float32) - second.astype(np.float32)
    return float(np.sqrt(np.mean(np.square(apart, out=apart), dtype=np.float64)))


def equal_rows(slices: Sequence[Image]) -> Floats:
    """For each row, the share of pixels that are equal in consecutive slices; median of the pairs.

    >>> a, b = np.array([[1, 2], [3, 4]]), np.array([[1, 5], [3, 4]])
    >>> equal_rows([a, b]).tolist()
    [0.5, 1.0]
    """
    pairs = [np.mean(a == b, axis=1) for a, b in pairwise(slices)]
    return np.asarray(np.median(pairs, axis=0), np.float64)


def constant_border(equal: Floats) -> int:
    """Number of rows at the beginning that belong to a border which is the same in all slices.

    Most pixels of a border, such as an info bar or a frame, are the same in all slices; in the
    image behind it noise makes most of them differ. Between both is a sharp edge: where equal
    pixels become fewer gradually, as in a round field of view, there is no border. Writing that
    differs from slice to slice does not matter as long as most rows have little of it.

    Parameters
    ----------
    equal : (rows,)
        Share of equal pixels, from the edge inwards; see `equal_rows`.

    Examples
    --------
    >>> constant_border(np.array([0.9] * 12 + [0.1] * 88)), constant_border(np.linspace(1, 0, 100))
    (12, 0)
    """
    alike = equal >= EQUAL
    most = int(THICKEST_SHARE * len(equal))
    counts = np.cumsum(alike)[:most] / np.arange(1, most + 1)
    candidates = np.flatnonzero(alike[:most] & (counts >= 0.7)) + 1
    if not len(candidates) or candidates[-1] < THINNEST:
        return 0
    rows = int(candidates[-1])
    behind = equal[rows + FRINGE :]
    is_sharp = np.median(behind[:THINNEST]) <= DIFFERENT
    return rows if is_sharp and np.median(behind) <= DIFFERENT else 0
