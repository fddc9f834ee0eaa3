"""Standard deviation of the noise of a slice, from its finest structure."""

from __future__ import annotations

import numpy as np

from tim3d.kernels.image.phase_model import Grey
from tim3d.lazy import ndimage

# The second difference along both axes is blind to planes; white noise of 1 gives a response of 6.
_MASK = np.array([1.0, -2.0, 1.0])
_RESPONSE = 6.0
# Median of the absolute value of a normal variable with standard deviation 1.
_MEDIAN = 0.6744897501960817


def noise_level(grey: Grey) -> float:
    """Standard deviation of white noise in a slice, in grey levels.

    The median of the absolute response to Immerkaer's mask, which edges hardly move as long as they
    fill less than a quarter of the slice. Noise that the microscope has smoothed is underestimated.
    0 for a slice below 3 x 3 pixels.

    Parameters
    ----------
    grey : array (y, x)
        Grey values of a whole slice.

    References
    ----------
    Immerkaer, Comput. Vis. Image Underst. 64 (1996) 300. DOI 10.1006/cviu.1996.0060 (mask; the
    source takes the mean); Donoho, Johnstone, Biometrika 81 (1994) 425. DOI
    10.1093/biomet/81.3.425 (median).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> slope = np.linspace(0, 100, 128)
    >>> bool(abs(noise_level(rng.normal(100, 8, (128, 128)) + slope) - 8) < 0.2)
    True
    """
    if min(grey.shape) < 3:
        return 0.0
    responses = mask_response(grey.astype(np.float32))[1:-1, 1:-1]
    median = float(np.median(responses))
    return deviation(median if grey.dtype.kind == "f" else _within_step(responses, median))


def mask_response(grey: np.ndarray) -> np.ndarray:
    """Absolute response of slices (..., y, x) to Immerkaer's mask."""
    for axis in (-2, -1):
        grey = ndimage.correlate1d(grey, _MASK, axis=axis, mode="nearest")
    return np.asarray(np.abs(grey))


def deviation(median: float) -> float:
    """Standard deviation of the white noise whose responses have this median."""
    return median / _MEDIAN / _RESPONSE


def _within_step(response: np.ndarray, median: float) -> float:
    """Median of whole numbers, taken as spread over half a number to either side."""
    half, below = response.size / 2, np.count_nonzero(response < median)
    there = np.count_nonzero(response == median)
    return max(median - 0.5 + (half - below) / there if there else median, 0.0)
