"""Mean and standard deviation of grey values of a volume, or of each slice to remove drift."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tim3d.lazy import ndimage

Floats = npt.NDArray[np.float64]

# Standard deviation, in slices, of the smoothing along z: drift is slow, and differences between
# neighbouring slices are due to their content.
SMOOTHING_SLICES = 5.0


def volume_scale(mean: Floats, std: Floats) -> tuple[float, float]:
    """Mean and population standard deviation of all voxels, from the values of equal-sized slices.

    >>> volume_scale(np.array([1.0, 3.0]), np.array([0.0, 0.0]))
    (2.0, 1.0)
    """
    average = float(np.mean(mean))
    return average, _deviation(float(np.mean(std**2 + mean**2)), average)


def slice_scales(mean: Floats, std: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation of each slice, smoothed along z by a Gaussian; ends are repeated.

    >>> means, deviations = slice_scales(np.full(9, 7.0), np.full(9, 2.0))
    >>> means.round(9).tolist() == [7.0] * 9, deviations.round(9).tolist() == [2.0] * 9
    (True, True)
    """
    means = ndimage.gaussian_filter1d(mean, SMOOTHING_SLICES, mode="nearest")
    powers = ndimage.gaussian_filter1d(std**2 + mean**2, SMOOTHING_SLICES, mode="nearest")
    return means, np.array([_deviation(p, m) for p, m in zip(powers, means, strict=True)])


def _deviation(power: float, mean: float) -> float:
    return float(np.sqrt(max(power - mean**2, 0.0)))
