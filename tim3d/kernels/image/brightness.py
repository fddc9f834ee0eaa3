"""Brightness and contrast of each slice, and the linear change that makes them equal.

Two levels describe a slice: a low and a high quantile of its grey values, one within the darkest
phase and one within the brightest. A change of the phase fraction from slice to slice hardly moves
them, whereas it moves the mean: with phases 130 grey levels apart, 5 % more solid raise the mean by
6.5 grey levels, and the 95 % quantile by a twentieth of the standard deviation of the noise.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from tim3d.errors import ArgumentError
from tim3d.kernels.image.phase_model import Floats, Grey
from tim3d.kernels.image.threshold import grey_counts
from tim3d.lazy import ndimage

Levels: TypeAlias = npt.NDArray[np.float64]


def slice_levels(grey: Grey, low: float = 0.05, high: float = 0.95) -> tuple[float, float]:
    """Low and high quantile of the grey values of a slice, in grey levels.

    Integers are taken as spread evenly over half a grey level to either side, so that a quantile
    moves smoothly with brightness although grey values are steps.

    Parameters
    ----------
    grey : array (y, x)
        Grey values of a whole slice.
    low, high : float
        Fractions of the pixels below the two levels, 0 < low < high < 1.

    Raises
    ------
    ArgumentError
        If the fractions are not in order.

    Examples
    --------
    >>> slice_levels(np.arange(100, dtype=np.uint8).reshape(10, 10))
    (4.5, 94.5)
    """
    check_quantiles(low, high)
    if grey.dtype.kind == "f":
        first, second = np.quantile(grey, (low, high))
        return float(first), float(second)
    below = np.concatenate([[0], np.cumsum(grey_counts(grey))])  # type: ignore[arg-type]
    return _quantile(below, low), _quantile(below, high)


def check_quantiles(low: float, high: float) -> None:
    """Raise `ArgumentError` unless 0 < low < high < 1."""
    if not 0 < low < high < 1:
        raise ArgumentError(f"quantiles must be 0 < low < high < 1, got {low} and {high}")


def _quantile(below: npt.NDArray[np.int64], fraction: float) -> float:
    wanted = fraction * below[-1]
    bin_ = int(np.searchsorted(below, wanted, side="right")) - 1
    return float(bin_ - 0.5 + (wanted - below[bin_]) / (below[bin_ + 1] - below[bin_]))


def target_levels(levels: Levels, slow: float = 0.0) -> Levels:
    """Levels that the slices should have, (slices, 2).

    Parameters
    ----------
    levels : array (slices, 2)
        Low and high level of each slice.
    slow : float
        Standard deviation in slices of a Gaussian along z: changes slower than this are kept. With 0
        all slices get the medians of the volume.

    Examples
    --------
    >>> target_levels(np.array([[10.0, 90.0], [12.0, 95.0], [40.0, 99.0]])).tolist()
    [[12.0, 95.0], [12.0, 95.0], [12.0, 95.0]]
    """
    if slow > 0:
        return np.asarray(ndimage.gaussian_filter1d(levels, slow, axis=0, mode="nearest"))
    return np.tile(np.median(levels, axis=0), (len(levels), 1))


def gains_and_offsets(
    levels: Levels, target: Levels, contrast: bool = True
) -> tuple[Levels, Levels]:
    """Gain and offset of each slice, so that gain * grey + offset has the target levels.

    Parameters
    ----------
    levels, target : arrays (slices, 2)
        Low and high level of each slice as it is and as it should be.
    contrast : bool
        Whether the contrast is matched as well. If not, the gain is 1 and the middle of the two
        levels is matched.

    Notes
    -----
    A slice whose two levels coincide (a blank one) has no contrast to be matched: its gain is 1.

    Examples
    --------
    >>> gain, offset = gains_and_offsets(np.array([[10.0, 60.0]]), np.array([[20.0, 120.0]]))
    >>> gain.tolist(), offset.tolist()
    ([2.0], [0.0])
    """
    spread, wanted = np.diff(levels)[:, 0], np.diff(target)[:, 0]
    gain = np.ones(len(levels))
    if contrast:
        np.divide(wanted, spread, out=gain, where=spread > 0)
    return gain, target.mean(axis=1) - gain * levels.mean(axis=1)


def adjusted(grey: Grey, gain: float, offset: float) -> Floats:
    """Grey values of a slice after gain and offset, in float32.

    Noise and edges are multiplied by the gain as the contrast is; nothing is smoothed.

    >>> adjusted(np.array([[10, 20]], np.uint8), 1.5, -5.0).tolist()
    [[10.0, 25.0]]
    """
    return grey.astype(np.float32) * np.float32(gain) + np.float32(offset)
