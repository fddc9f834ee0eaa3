"""How well one image knows the fraction of a phase, from the image alone."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tim3d.errors import InputError

# Of a normal distribution: 95 % lie within.
NORMAL_95 = 1.959963984540054


def integral_range(mask: NDArray[np.bool_]) -> float:
    """Integral range of a phase in pixels: the area that counts as one independent sample.

    ``A = sum over lags of (S2(r) - phi²) / (phi (1 - phi))`` over the disc of lags up to the first ring on which the
    mean of S2 is not above phi². S2 is that of the pixels pairs inside the image (no periodic border). The image's own
    fraction, which replaces the true one, lowers every term by the variance of the fraction; ``A`` is divided by
    1 - (pixels of the disc / pixels of the image) for it.

    Parameters
    ----------
    mask : (y, x) bool
        Pixels of the phase.

    Returns
    -------
    float
        In pixels.

    Raises
    ------
    InputError
        If the phase is nowhere or everywhere.

    Notes
    -----
    Ch. Lantuejoul, J. Microsc. 161 (1991) 387, doi:10.1111/j.1365-2818.1991.tb03099.x; from one image by S2: A. Dahari,
    R. Docherty, S. Kench, S. J. Cooper, doi:10.48550/arXiv.2410.19568. It is too small for an image that does not hold
    many of its largest features, and for one with a gradient.

    Examples
    --------
    >>> noise = np.random.default_rng(0).random((200, 200)) < 0.5
    >>> 0.9 < integral_range(noise) < 1.1
    True
    """
    share = float(mask.mean())
    if not 0 < share < 1:
        raise InputError(f"the fraction of a phase is {share:g}; an integral range needs pixels of it and others")
    covariance = _covariance(mask.astype(np.float64) - share)
    rows, columns = mask.shape
    y, x = (np.minimum(np.arange(n), n - np.arange(n)) for n in covariance.shape)
    ring = np.rint(np.hypot(y[:, None], x[None, :])).astype(np.int64)
    sums = np.bincount(ring.ravel(), covariance.ravel())[: max(2, min(rows, columns) // 2)]
    over = np.flatnonzero(sums <= 0)
    inside = ring < (over[0] if over.size else sums.size)
    return float(covariance[inside].sum() / (share * (1 - share)) / (1 - inside.sum() / mask.size))


def _covariance(centred: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean product of the pixels of each pair inside the image, by lag as a Fourier transform of twice the size has it.

    Of a centred phase it is S2 - phi², and the same for the phase and for the rest.
    """
    size = [2 * n for n in centred.shape]
    sums = np.fft.irfft2(np.abs(np.fft.rfft2(centred, size)) ** 2, size)
    rows, columns = (np.abs(n - np.arange(2 * n)) for n in centred.shape)
    return np.asarray(sums / np.maximum(rows[:, None] * columns[None, :], 1))


def fraction_interval(mask: NDArray[np.bool_]) -> float:
    """Half width of the 95 % interval of a phase fraction that is known from one image.

    ``1.96 sqrt(phi (1 - phi) A / pixels)`` with the integral range A (see `integral_range`).

    Examples
    --------
    >>> round(fraction_interval(np.random.default_rng(0).random((200, 200)) < 0.5), 3)
    0.005
    """
    share = float(mask.mean())
    return NORMAL_95 * math.sqrt(max(0.0, share * (1 - share) * integral_range(mask) / mask.size))
