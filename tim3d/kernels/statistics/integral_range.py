"""Confidence interval of a phase fraction, or a mean grey value, estimated from a single image."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tim3d.errors import InputError

# 95 % of a normal distribution lie within this many standard deviations.
NORMAL_95 = 1.959963984540054


def integral_range(values: NDArray[np.bool_] | NDArray[np.uint8]) -> float:
    """Integral range of a phase, or of grey values: the area of one independent sample, in pixels.

    ``A = sum over lags of (S2(r) - phi²) / (phi (1 - phi))`` over the disc of lags up to the first
    ring on which the mean of S2 is not above phi². S2 is taken over the pairs of pixels inside the
    image (no periodic border). The use of the image's own fraction instead of the true one lowers
    every term by the variance of the fraction; to correct for this, ``A`` is divided by 1 - (pixels
    of the disc / pixels of the image). For grey values, covariance and variance replace S2 - phi²
    and phi (1 - phi).

    Parameters
    ----------
    values : (y, x) bool or uint8
        Pixels of the phase, or grey values.

    Returns
    -------
    float
        Integral range in pixels.

    Raises
    ------
    InputError
        If all pixels have the same value: the phase is nowhere or everywhere.

    Notes
    -----
    Ch. Lantuejoul, J. Microsc. 161 (1991) 387, doi:10.1111/j.1365-2818.1991.tb03099.x; from one
    image by S2: A. Dahari, R. Docherty, S. Kench, S. J. Cooper, doi:10.48550/arXiv.2410.19568. The
    estimate is too small if the image does not contain many of its largest features, or has a
    gradient.

    Examples
    --------
    >>> noise = np.random.default_rng(0).random((200, 200)) < 0.5
    >>> 0.9 < integral_range(noise) < 1.1
    True
    """
    mean, variance = float(values.mean()), float(values.var())
    if values.min() == values.max():
        raise InputError(
            f"all pixels are {values.max():d}; an integral range needs pixels of a phase and others"
        )
    covariance = _covariance(values.astype(np.float64) - mean)
    rows, columns = values.shape
    y, x = (np.minimum(np.arange(n), n - np.arange(n)) for n in covariance.shape)
    ring = np.rint(np.hypot(y[:, None], x[None, :])).astype(np.int64)
    sums = np.bincount(ring.ravel(), covariance.ravel())[: max(2, min(rows, columns) // 2)]
    over = np.flatnonzero(sums <= 0)
    inside = ring < (over[0] if over.size else sums.size)
    return float(covariance[inside].sum() / variance / (1 - inside.sum() / values.size))


def _covariance(centred: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean product of the pixel pairs inside the image, by lag in the order of a padded transform.

    The Fourier transform has twice the size of the image. For a centred phase the result is
    S2 - phi², the same for the phase and for its complement.
    """
    size = [2 * n for n in centred.shape]
    sums = np.fft.irfft2(np.abs(np.fft.rfft2(centred, size)) ** 2, size)
    rows, columns = (np.abs(n - np.arange(2 * n)) for n in centred.shape)
    return np.asarray(sums / np.maximum(rows[:, None] * columns[None, :], 1))


def mean_interval(values: NDArray[np.bool_] | NDArray[np.uint8]) -> float:
    """Half width of the 95 % interval of a phase fraction, or a mean grey value, from one image.

    ``1.96 sqrt(variance A / pixels)`` with the integral range A (see `integral_range`); the
    variance of a phase is phi (1 - phi).

    Examples
    --------
    >>> round(mean_interval(np.random.default_rng(0).random((200, 200)) < 0.5), 3)
    0.005
    """
    return NORMAL_95 * math.sqrt(
        max(0.0, float(values.var()) * integral_range(values) / values.size)
    )
