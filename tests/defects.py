"""Stacks of two phases whose defects are known, and what is left of the error after thresholding."""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy import ndimage

from tim3d.corrections.base import as_type as rounded
from tim3d.grid import Box
from tim3d.kernels.generation.plane_wave_field import LevelCut
from tim3d.kernels.image.threshold import grey_counts, otsu
from tim3d.kernels.morphology.gradient_area import gradient_area

SHAPE, SPACING = (12, 96, 112), (20.0, 10.0, 10.0)
DARK, BRIGHT = 70.0, 150.0
NOISE = 10.0
# Severities of each defect, in the unit of its function below.
SEVERITIES = {
    "brightness": (0.05, 0.1, 0.2),
    "background": (15.0, 30.0, 50.0),
    "shading": (0.1, 0.2, 0.4),
    "curtains": (6.0, 12.0, 25.0),
    "noise": (12.0, 25.0, 45.0),
}


@cache
def truth(shape=SHAPE, spacing=SPACING) -> np.ndarray:
    """0 and 1, 55 % of 1, features of about 80 nm."""
    return LevelCut(0.55, 80.0, seed=1).labels(Box((0, 0, 0), shape), spacing)


@cache
def signal(shape=SHAPE, spacing=SPACING) -> np.ndarray:
    """Grey values without noise, with edges as a microscope blurs them."""
    sigma = [8.0 / edge for edge in spacing]
    return ndimage.gaussian_filter(np.where(truth(shape, spacing), BRIGHT, DARK), sigma)


@cache
def clean(shape=SHAPE, spacing=SPACING, noise=NOISE) -> np.ndarray:
    """Grey values with white noise, not yet rounded."""
    grey = signal(shape, spacing)
    return grey + noise * np.random.default_rng(2).standard_normal(grey.shape)


def brightness(grey: np.ndarray, amount: float) -> np.ndarray:
    """Contrast (a fraction) and brightness (a fraction of 100 grey levels) vary from slice to slice."""
    gain, offset = np.random.default_rng(5).standard_normal((2, len(grey), 1, 1))
    return grey * (1 + amount * gain) + 100 * amount * offset


def wave(shape: tuple[int, ...]) -> np.ndarray:
    """Slow change over a slice, from about -1.3 to 1.7."""
    y, x = np.mgrid[: shape[1], : shape[2]] / shape[2]
    return np.sin(2 * np.pi * (0.7 * x + 0.1)) + 4 * (y - 0.5) ** 2 - 0.3


def background(grey: np.ndarray, amount: float) -> np.ndarray:
    """Grey levels are added that change slowly over a slice."""
    return grey + amount * wave(grey.shape)


def shading(grey: np.ndarray, amount: float) -> np.ndarray:
    """Grey values are multiplied by 1 and a fraction that changes slowly over a slice."""
    return grey * (1 + amount * wave(grey.shape) / 1.5)


def curtains(grey: np.ndarray, amount: float) -> np.ndarray:
    """Stripes along y with a standard deviation of some grey levels are added."""
    found = np.random.default_rng(6).standard_normal(grey.shape)
    found = ndimage.gaussian_filter(found, (0.7, 60, 1.5))
    return grey + found * (amount / found.std())


def noise(grey: np.ndarray, amount: float) -> np.ndarray:
    """White noise with a standard deviation of some grey levels is added."""
    return grey + amount * np.random.default_rng(7).standard_normal(grey.shape)


DEFECTS = {f.__name__: f for f in (brightness, background, shading, curtains, noise)}


def stack(values: np.ndarray, dtype=np.uint8) -> np.ndarray:
    """As the microscope would store it: for uint16, 200 times the grey levels of uint8."""
    return rounded(values * (200 if dtype == np.uint16 else 1), dtype)


def residual(grey: np.ndarray, wanted: np.ndarray) -> float:
    """Root mean square of what is left after the best gain and offset for the whole stack."""
    x, y = (np.asarray(a, np.float64).ravel() for a in (grey, wanted))
    return float(np.std(np.polyval(np.polyfit(x, y, 1), x) - y))


def segmented(grey: np.ndarray) -> np.ndarray:
    """1 above Otsu's threshold of the whole stack."""
    return (grey > otsu(grey_counts(grey), np.arange(256))).astype(np.uint8)


def errors(grey: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Error of the phase fraction, relative error of the surface, and share of wrong voxels."""
    found = segmented(grey)
    area = [gradient_area(phases, [1], spacing=SPACING) for phases in (found, labels)]
    return {
        "fraction": abs(float(found.mean()) - float(labels.mean())),
        "surface": abs(area[0] / area[1] - 1),
        "wrong": float((found != labels).mean()),
    }
