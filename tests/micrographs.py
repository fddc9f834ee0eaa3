"""Small synthetic micrographs for the tests of training."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Labels = NDArray[np.uint8]


def blobs(
    edge: int = 64, width: float | tuple[float, float] = 2.0, share: float = 0.4, seed: int = 0
) -> Labels:
    """A level cut of smoothed noise, periodic: label 1 on `share` of the pixels."""
    smooth = gaussian_filter(
        np.random.default_rng(seed).standard_normal((edge, edge)), width, mode="wrap"
    )
    return (smooth > np.quantile(smooth, 1 - share)).astype(np.uint8)


def shades(
    edge: int = 64, width: float | tuple[float, float] = 1.5, seed: int = 0, spread: float = 40.0
) -> Labels:
    """Smoothed noise, periodic, as grey values around 128 with a standard deviation of `spread`."""
    smooth = gaussian_filter(
        np.random.default_rng(seed).standard_normal((edge, edge)), width, mode="wrap"
    )
    return np.clip(np.rint(128 + spread * smooth / smooth.std()), 0, 255).astype(np.uint8)


def layers(edge: int = 64, seed: int = 0) -> tuple[Labels, Labels, Labels]:
    """Images of the planes normal to z, y and x of blobs that are flat in z: long along y and x."""
    flat = (1.0, 4.0)
    return (
        blobs(edge, 4.0, 0.5, seed),
        blobs(edge, flat, 0.5, seed + 1),
        blobs(edge, flat, 0.5, seed + 2),
    )
