"""Correlation lengths of the errors of labelled slices, along z and in the plane of the slices."""

from __future__ import annotations

import math

import numpy as np

from tim3d.errors import InputError
from tim3d.kernels.statistics.calibration import Calibration
from tim3d.kernels.statistics.label_residuals import (
    SURE,
    Floats,
    Mask,
    Pairs,
    fitted_length,
    series,
)
from tim3d.stages.uncertainty.labelled import Labelled, Slice

# Longest lag in voxels in the plane, and from slice to slice.
MOST_LAGS, MOST_SLICES = 16, 4
# Lengths beyond this many times the longest lag that was seen are not known.
BEYOND = 3.0
Cut = tuple[Floats, Floats, Mask]


def correlation_lengths(
    labelled: Labelled, calibration: Calibration
) -> tuple[tuple[float, float, float], str]:
    """Correlation lengths in nm along z, y, x, and in words what that along z is from.

    In the plane there is one length for both axes. Along z it is that of neighbouring labelled
    slices, or the same where there are too few.

    Raises
    ------
    InputError
        If there are too few uncertain voxels.
    """
    dz, dy, dx = labelled.true.spacing_nm
    along = Pairs(MOST_SLICES), Pairs(_lags(labelled, 1)), Pairs(_lags(labelled, 2))
    before: list[tuple[int, list[Cut]]] = []
    for one in labelled.slices():
        cuts = _cuts(one, calibration, labelled.probabilities.least)
        for residual, terms, known in cuts:
            along[1].add(residual, terms, known, 0)
            along[2].add(residual, terms, known, 1)
        before = [(z, others) for z, others in before if one.z - z <= MOST_SLICES]
        for z, others in before:
            _add(along[0], one.z - z, cuts, others)
        before.append((one.z, cuts))
    farthest = max(along[1].lags * dy, along[2].lags * dx)
    plane = min(fitted_length([(along[1], dy), (along[2], dx)]), BEYOND * farthest)
    try:
        deep = min(fitted_length([(along[0], dz)]), max(BEYOND * MOST_SLICES * dz, plane))
    except InputError:
        return (plane, plane, plane), "that of the plane: too few labelled slices are neighbours"
    return (deep, plane, plane), "neighbouring labelled slices"


def _lags(labelled: Labelled, axis: int) -> int:
    return max(1, min(MOST_LAGS, labelled.true.shape[axis] // 3))


def _cuts(one: Slice, calibration: Calibration, least: float) -> list[Cut]:
    """Residual, terms and uncertain voxels of each cut between phases in their order."""
    shares = calibration.of(one.shares, least)
    found = []
    for rank in range(len(shares) - 1):
        p = np.minimum(shares[: rank + 1].sum(axis=0), 1.0)
        known = one.known & (p > SURE) & (p < 1 - SURE)
        terms = np.where(known, series(p), 0.0)
        found.append(((one.ranks <= rank) - p, terms, known))
    return found


def _add(pairs: Pairs, lag: int, cuts: list[Cut], others: list[Cut]) -> None:
    for (one, terms, known), (other, before, also) in zip(cuts, others, strict=True):
        both = known & also
        pairs.put(lag, one[both], other[both], terms[:, both], before[:, both])


def text_of(lengths: tuple[float, float, float]) -> str:
    """Lengths in words.

    >>> text_of((20.0, 35.04, 35.04))
    '20 nm along z, 35 nm in the plane'
    """
    z, y, x = (f"{one:.3g}" for one in lengths)
    if math.isclose(lengths[1], lengths[2]):
        return f"{z} nm along z, {y} nm in the plane"
    return f"{z}, {y}, {x} nm along z, y, x"
