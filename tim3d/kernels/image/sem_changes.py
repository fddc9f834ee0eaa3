"""Effects of a scanning electron microscope on a slice of normalised grey values, to train networks with.

Grey values are float32 (channels, y, x) in standard deviations of the volume; the channels are
neighbouring slices. Lengths are in pixels.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from tim3d.lazy import ndimage

Reals = npt.NDArray[np.float32]
Labels = npt.NDArray[np.uint8]
# Grey values in standard deviations that a gamma bends between; those beyond are cut off.
RANGE = 3.0


def blurred(grey: Reals, sigma: tuple[float, float]) -> Reals:
    """Blur every slice by a Gaussian of these standard deviations along y and x."""
    found: Reals = ndimage.gaussian_filter(grey, (0.0, *sigma), mode="reflect")
    return found


def bent(grey: Reals, gamma: float) -> Reals:
    """Bend grey values by a power; both ends of the range stay.

    >>> bent(np.array([[[-3.0, 0.0, 3.0]]], np.float32), 2.0).tolist()
    [[[-3.0, -1.5, 3.0]]]
    """
    share = np.clip((grey + RANGE) / (2 * RANGE), 0, 1)
    return np.asarray(2 * RANGE * share**gamma - RANGE, np.float32)


def stripes(
    noise: npt.NDArray[np.float64], sigma: float, deviation: float
) -> npt.NDArray[np.float64]:
    """White noise of unit variance as stripes: smoothed over sigma pixels, of this deviation."""
    smooth = ndimage.gaussian_filter1d(noise, sigma, mode="wrap")
    # Smoothing white noise over sigma pixels leaves 1 / (2 sqrt(pi) sigma) of its variance.
    return np.asarray(deviation * smooth * math.sqrt(max(1.0, 2 * math.sqrt(math.pi) * sigma)))


def curtained(grey: Reals, sigma: float, deviation: float, random: np.random.Generator) -> Reals:
    """Add stripes along y, the same in all slices, as the beam mills them."""
    noise = random.standard_normal((grey.shape[-1],))
    return np.asarray(grey + stripes(noise, sigma, deviation), np.float32)


def charged(grey: Reals, length: float, strength: float) -> Reals:
    """Let what is brighter than the mean leave a tail along x that decays over `length`.

    Charge is left where the beam was: a bright tail for a positive strength, a dark one for a
    negative.
    """
    reach = math.ceil(4 * length)
    tail = np.exp(-np.arange(reach + 1) / length)
    weights = np.concatenate([np.zeros(reach), tail / tail.sum()])
    trail = ndimage.convolve1d(grey.clip(min=0), weights, axis=-1, mode="nearest")
    return np.asarray(grey + strength * trail, np.float32)


def displacement(
    shape: tuple[int, int],
    length: tuple[float, float],
    amplitude: tuple[float, float],
    random: np.random.Generator,
) -> npt.NDArray[np.float64]:
    """Smooth random displacement (2, y, x) in pixels along y and x, of this standard deviation."""
    noise = random.standard_normal((2, *shape))
    smooth = ndimage.gaussian_filter(noise, (0.0, *length), mode="wrap")
    spread = smooth.std(axis=(1, 2), keepdims=True)
    return np.asarray(smooth / np.maximum(spread, 1e-12) * np.reshape(amplitude, (2, 1, 1)))


def displaced(grey: Reals, labels: Labels, field: npt.NDArray[np.float64]) -> tuple[Reals, Labels]:
    """Grey values and labels where a displacement points: linear between pixels, labels nearest."""
    places = np.indices(labels.shape) + field
    bent_grey = [
        ndimage.map_coordinates(channel, places, order=1, mode="mirror") for channel in grey
    ]
    return (
        np.stack(bent_grey).astype(np.float32),
        ndimage.map_coordinates(labels, places, order=0, mode="mirror"),
    )
