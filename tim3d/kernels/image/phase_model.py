"""Slices as steps between phases: what is left beside them is shading, stripes and noise.

A background or a stripe is estimated from the difference between a slice and its phases, each at its
mean grey. Structure then does not count as background: an estimate from the grey values themselves
takes a large particle for a bright place, and a layer along the stripes for a stripe.
"""

from __future__ import annotations

from typing import TypeAlias

import numba as nb
import numpy as np
import numpy.typing as npt

from tim3d.errors import ArgumentError
from tim3d.kernels.image.threshold import multi_otsu

Grey: TypeAlias = npt.NDArray[np.integer | np.floating]
Floats: TypeAlias = npt.NDArray[np.float32]

# Bins of the histogram of a slice, which only the thresholds between its phases depend on.
BINS = 256
MOST_PHASES = 6


def check_phases(phases: int) -> None:
    """Raise `ArgumentError` unless a number of phases is 1 to 6."""
    if not 1 <= phases <= MOST_PHASES:
        raise ArgumentError(f"a slice has 1 to {MOST_PHASES} phases, got {phases}")


def phase_means(grey: Floats, phases: int) -> Floats:
    """Mean grey value of the phase of each pixel, float32 (y, x); phases are cut by multi-Otsu.

    Parameters
    ----------
    grey : float32 array (y, x)
        Grey values of a whole slice.
    phases : int
        Number of phases; with 1, every pixel gets the mean of the slice.

    Notes
    -----
    The thresholds are found for each slice by itself. A slice with fewer grey values than phases is
    its own model.

    Examples
    --------
    >>> phase_means(np.array([[10, 12, 90, 94]], np.float32), 2).tolist()
    [[11.0, 11.0, 92.0, 92.0]]
    """
    check_phases(phases)
    # A slice in one row of memory, whose sums are then added in one order.
    values = np.ascontiguousarray(grey, np.float32)
    out = np.empty_like(values)
    _fill(values.ravel(), _cuts(values, phases), out.ravel())
    return out


def _cuts(grey: Floats, phases: int) -> Floats:
    low, high = grey.min(), grey.max()
    if phases == 1 or not low < high:
        return np.empty(0, np.float32)
    counts = np.zeros(BINS, np.int64)
    width = np.float32((high - low) / BINS)
    _tally(grey.ravel(), low, np.float32(1 / width), counts)
    if np.count_nonzero(counts) < phases:
        return np.empty(0, np.float32)
    last = np.array(multi_otsu(counts, np.arange(BINS), phases))
    return np.asarray(low + width * (last + 1), np.float32)


@nb.njit(nogil=True, cache=True)
def _tally(values, low, per_grey, counts):  # type: ignore[no-untyped-def]
    for value in values:
        counts[min(np.int64((value - low) * per_grey), len(counts) - 1)] += 1


@nb.njit(nogil=True, cache=True)
def _fill(values, cuts, out):  # type: ignore[no-untyped-def]
    """Mean of the values between the same cuts, for each value."""
    sums = np.zeros(len(cuts) + 1)
    pixels = np.zeros(len(cuts) + 1, np.int64)
    for value in values:
        phase = 0
        for cut in cuts:
            phase += value >= cut
        sums[phase] += value
        pixels[phase] += 1
    means = (sums / np.maximum(pixels, 1)).astype(np.float32)
    for i in range(len(values)):
        phase = 0
        for cut in cuts:
            phase += values[i] >= cut
        out[i] = means[phase]
