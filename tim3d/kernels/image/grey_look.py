"""Look of crops of slices: grey values, correlation, power spectrum, and features of a bank of filters.

Sums are kept region by region, so that any choice of regions has its histogram, correlation and
spectrum without another look at the voxels.

References
----------
Shannon, Bell Syst. Tech. J. 27 (1948) 379, DOI 10.1002/j.1538-7305.1948.tb01338.x (entropy)
Vallender, Theory Probab. Appl. 18 (1974) 784, DOI 10.1137/1118101 (distance of distributions)
Matheron, Econ. Geol. 58 (1963) 1246, DOI 10.2113/gsecongeo.58.8.1246 (variogram)
Welch, IEEE Trans. Audio Electroacoust. 15 (1967) 70, DOI 10.1109/TAU.1967.1161901 (spectrum)
Lindeberg, Scale-Space Theory in Computer Vision (1994), DOI 10.1007/978-1-4757-6465-9 (derivatives)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tim3d.kernels.image.spectrum_matching import power_spectrum
from tim3d.kernels.statistics.grey_statistics import correlation, distance
from tim3d.lazy import ndimage

Floats: TypeAlias = NDArray[np.float64]
Grey: TypeAlias = NDArray[np.unsignedinteger]

LAGS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
# Standard deviations of the Gaussians in pixels, of the larger edge of a pixel.
SCALES = (1.0, 2.0, 4.0)
# Orders of the derivatives along y and x.
ORDERS = ((0, 0), (0, 1), (1, 0), (0, 2), (1, 1), (2, 0))
QUANTILES = (0.05, 0.5, 0.95)
# Variance that rounding to whole grey values has.
ROUNDING = 1 / 12
# Most classes of grey values that a real stack takes up.
CLASSES = 256


def class_width(low: int, high: int) -> int:
    """Grey values in a class of the histogram: a power of 2, by which a range takes 256 classes or fewer.

    >>> class_width(3, 250), class_width(0, 65535), class_width(100, 4000)
    (1, 256, 16)
    """
    return 1 << max(0, math.ceil(math.log2((high - low + 1) / CLASSES)))


def entropy(counts: Floats) -> Floats:
    """Shannon entropy of histograms (..., classes), in bit.

    >>> entropy(np.array([[1.0, 1, 1, 1], [4, 0, 0, 0]])).tolist()
    [2.0, 0.0]
    """
    shares = counts / counts.sum(axis=-1, keepdims=True)
    return np.asarray(-(shares * np.log2(np.where(shares > 0, shares, 1))).sum(axis=-1) + 0.0)


def lags_within(edge: int) -> tuple[int, ...]:
    """Lags in voxels up to half an edge; at least 1.

    >>> lags_within(9), lags_within(2)
    ((1, 2, 3, 4), (1,))
    """
    return tuple(lag for lag in LAGS if lag <= max(1, edge // 2))


def squared_differences(box: Grey, lags: Sequence[int], axis: int) -> Floats:
    """Mean squared difference of grey values lags apart along an axis, (lags,).

    >>> squared_differences(np.array([[[0, 3, 3, 1]]], np.uint8), [1, 2], axis=2).tolist()
    [4.333333333333333, 6.5]
    """
    values = np.moveaxis(box.astype(np.float64), axis, 0)
    return np.array([((values[lag:] - values[:-lag]) ** 2).mean() for lag in lags])


def radial_power(crop: Grey, pixel_nm: Sequence[float]) -> Floats:
    """Power spectral density by distance from 0, in grey levels squared times nm squared (edge // 2,).

    The crop less its mean under a Hann window. White noise of variance v has the density v times the
    area of a pixel. Place n holds frequencies from n + 1/2 to n + 3/2 steps, see `frequencies`.

    Parameters
    ----------
    crop : (edge, edge)
        Grey values.
    pixel_nm : (dy, dx)
        Edges of a pixel in nm; they may differ.
    """
    edge, (dy, dx) = len(crop), pixel_nm
    power = power_spectrum(crop[None], edge) * dy * dx
    radius = np.hypot(np.fft.fftfreq(edge, dy)[:, None], np.fft.rfftfreq(edge, dx))
    # Columns between the first and that of the highest frequency stand for the other half plane, too.
    weight = 2.0 - np.isin(2 * np.arange(edge // 2 + 1), (0, edge)) + np.zeros_like(power)
    place = np.floor(radius / _step(edge, pixel_nm) + 0.5).astype(int).ravel()
    sums, counts = (
        np.bincount(place, one.ravel(), edge // 2 + 1)[1 : edge // 2 + 1]
        for one in (weight * power, weight)
    )
    return np.asarray(sums / counts)


def frequencies(edge: int, pixel_nm: Sequence[float]) -> Floats:
    """Frequencies of a radial spectrum in cycles per nm, up to the highest of the larger edge of a pixel.

    >>> frequencies(8, (5.0, 10.0)).round(4).tolist()
    [0.0125, 0.025, 0.0375, 0.05]
    """
    return np.asarray(_step(edge, pixel_nm) * np.arange(1, edge // 2 + 1))


def _step(edge: int, pixel_nm: Sequence[float]) -> float:
    return 1 / (edge * max(pixel_nm))


def feature_names() -> tuple[str, ...]:
    """Names of the features of a crop, in their order."""
    each = [
        f"{what}_{scale:g}"
        for scale in SCALES
        for what in (
            *(f"log_deviation_{y}{x}" for y, x in ORDERS),
            *(f"log_median_{y}{x}" for y, x in ORDERS[1:]),
            "skewness",
            "kurtosis",
        )
    ]
    return ("mean", *(f"quantile_{share:g}" for share in QUANTILES), "log_noise", *each)


def crop_features(crop: Grey, pixel_nm: Sequence[float]) -> Floats:
    """Features of a crop: what Gaussian derivatives of some scales see in it.

    The mean and three quantiles of the grey values; the logarithm of the median absolute second difference
    along both axes, which noise decides. Of each scale s: of every derivative up to the second order, times
    s to its order, the logarithms of the standard deviation, which edges decide, and of the median absolute
    value, which what is between them decides; the skewness and the excess kurtosis of the smoothed grey
    values. Logarithms are natural, of grey levels. At the border of the crop the values are mirrored.

    Parameters
    ----------
    crop : (rows, columns)
        Grey values.
    pixel_nm : (dy, dx)
        Edges of a pixel in nm. Scales are 1, 2 and 4 of the larger edge, in nm along both axes.

    Examples
    --------
    >>> ramp = np.tile(np.arange(64), (64, 1))
    >>> found = dict(zip(feature_names(), crop_features(ramp, (5.0, 5.0)).round(2).tolist(), strict=True))
    >>> found["mean"], found["log_deviation_00_1"]
    (31.5, 2.92)
    """
    values = crop.astype(np.float64)
    noise = np.diff(np.diff(values, 2, axis=0), 2, axis=1)
    found = [float(values.mean()), *np.quantile(values, QUANTILES).tolist(), _log(_median(noise))]
    for scale in SCALES:
        sigma = [scale * max(pixel_nm) / edge for edge in pixel_nm]
        seen = [
            ndimage.gaussian_filter(values, sigma, order, mode="reflect", truncate=3.0)
            * math.prod(s**n for s, n in zip(sigma, order, strict=True))
            for order in ORDERS
        ]
        found += [_log(float(one.var())) for one in seen]
        found += [_log(_median(one)) for one in seen[1:]]
        found += _shape(seen[0])
    return np.array(found)


def _median(values: Floats) -> float:
    """Square of the median absolute value; 0 of none."""
    return float(np.median(np.abs(values))) ** 2 if values.size else 0.0


def _log(variance: float) -> float:
    return 0.5 * math.log(variance + ROUNDING)


def _shape(values: Floats) -> list[float]:
    """Skewness and excess kurtosis, of values that vary by less than rounding those of a normal law."""
    away = values - values.mean()
    variance = float((away**2).mean())
    if variance < ROUNDING:
        return [0.0, 0.0]
    return [float((away**3).mean()) / variance**1.5, float((away**4).mean()) / variance**2 - 3]


@dataclass(frozen=True, eq=False)
class Look:
    """Sums of regions of one stack or of two: each array has a first axis of regions.

    Parameters
    ----------
    counts : (regions, classes)
        Pixels by class of grey values.
    moments : (regions, 3)
        Pixels, sum and sum of squares of the grey values.
    z, y, x : (regions, lags)
        Sums over crops of the mean squared differences along each axis; without lags where there are
        none.
    power : (regions, frequencies)
        Sums over crops of the power.
    crops : (regions,)
        Number of crops.
    """

    counts: Floats
    moments: Floats
    z: Floats
    y: Floats
    x: Floats
    power: Floats
    crops: Floats

    def beside(self, other: Look) -> Look:
        """Regions of this stack, then those of another."""
        both = zip(vars(self).values(), vars(other).values(), strict=True)
        return Look(*map(np.concatenate, both))

    def of(self, regions: NDArray[np.bool_]) -> Look:
        """Some of the regions."""
        return Look(*(one[regions] for one in vars(self).values()))

    def trimmed(self) -> Look:
        """The same without the classes below the lowest and above the highest grey value."""
        used = np.flatnonzero(self.counts.any(axis=0))
        return replace(self, counts=self.counts[:, used[0] : used[-1] + 1])

    @property
    def entropies(self) -> Floats:
        """Entropy of each region in bit."""
        return entropy(self.counts)

    @property
    def shares(self) -> Floats:
        """Share of the pixels by class (classes,)."""
        return np.asarray(self.counts.sum(axis=0) / self.counts.sum())

    @property
    def variance(self) -> float:
        """Variance of all grey values."""
        pixels, total, squares = self.moments.sum(axis=0)
        return float(squares / pixels - (total / pixels) ** 2)

    def correlation(self, axis: int) -> Floats:
        """Correlation by lag, 1 - variogram / variance: 1 at no distance, 0 without correlation (lags,)."""
        squares = (self.z, self.y, self.x)[axis].sum(axis=0) / self.crops.sum()
        return correlation(squares, np.asarray(max(self.variance, ROUNDING)))

    @property
    def spectrum(self) -> Floats:
        """Mean power by frequency, see `radial_power` (frequencies,)."""
        return np.asarray(self.power.sum(axis=0) / self.crops.sum())


def entropy_difference(a: Look, b: Look) -> float:
    """Difference of the mean entropies of the regions, in bit."""
    return float(abs(a.entropies.mean() - b.entropies.mean()))


def histogram_distance(a: Look, b: Look, width: int) -> float:
    """Mean change of a grey value that turns one distribution into the other (W1), in grey levels."""
    return float(distance(a.shares, b.shares)) * width


def correlation_distance(a: Look, b: Look, axis: int) -> float:
    """Mean absolute difference of the correlations over the lags; nan without lags."""
    apart = np.abs(a.correlation(axis) - b.correlation(axis))
    return float(apart.mean()) if apart.size else math.nan


def spectrum_distance(a: Look, b: Look, pixel_nm: Sequence[float]) -> float:
    """Mean absolute ratio of the power over the frequencies, in dB; rounding of grey values is in both."""
    floor = ROUNDING * math.prod(pixel_nm)
    ratio = (a.spectrum + floor) / (b.spectrum + floor)
    return float(np.abs(10 * np.log10(ratio)).mean())
