"""Drift of a stack from the displacements between its slices: a curve, its outliers and its trend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.linalg import solveh_banded

from tim3d.kernels.image.shift import whole_shift
from tim3d.kernels.image.slice_faults import correlation
from tim3d.kernels.image.translation import moved
from tim3d.lazy import ndimage

Image: TypeAlias = npt.NDArray[Any]
Reals: TypeAlias = npt.NDArray[np.float64]
Floats: TypeAlias = npt.NDArray[np.float32]

# Longest edge, in pixels, of images that are compared as they are.
LARGEST = 1024
# Steps of the refinement, and how far it may lead from the place that it began with, in pixels.
_STEPS = 4
_FARTHEST = 2.0

# Rounds of reweighting; the weights settle to four digits within ten.
_ROUNDS = 20
# Weight of the bend of the curve against that of a displacement: it only decides where nothing else does.
_STIFFNESS = 1e-3
# Residuals beyond this multiple of their robust deviation lose their weight (Tukey's biweight).
_TUKEY = 4.685
# Least deviation of a displacement, in pixels: smaller ones are the accuracy of the estimate.
_FLOOR = 0.05


class Displacement(NamedTuple):
    """Displacement in pixels along y and x, and the correlation of what overlaps then."""

    y: float
    x: float
    correlation: float


def displacement(first: Image, second: Image) -> Displacement:
    """Displacement of the content of `second` against that of `first`, in pixels.

    Phase correlation finds the nearest pixel, however far; least squares of the grey values then
    refine it, with both images moved by half of it. Where much of a smooth image is alike from
    slice to slice, that is several times as exact as the phases, which weigh the noise of fine
    detail as much as the structure. Images of more than 1024 pixels are binned.

    Parameters
    ----------
    first, second : (y, x) of real numbers
        Images of equal shape.

    References
    ----------
    Lucas, Kanade, Proc. IJCAI (1981) 674. Kuglin, Hines, Proc. IEEE Int. Conf. Cybernetics and
    Society (1975) 163.

    Examples
    --------
    >>> noise = np.random.default_rng(0).random((64, 64))
    >>> image = ndimage.gaussian_filter(noise, 2, mode="wrap")
    >>> found = displacement(image, np.roll(image, (5, -3), (0, 1)))
    >>> round(found.y, 1), round(found.x, 1)
    (5.0, -3.0)
    """
    factor = -(-max(first.shape) // LARGEST)
    a, b = (_binned(image, factor) for image in (first, second))
    y, x, alike = _refined(a, b, *whole_shift(a, b))
    return Displacement(factor * y, factor * x, alike)


def _binned(image: Image, factor: int) -> Floats:
    """Means of squares of pixels, smoothed by a Gaussian of one binned pixel."""
    rows, columns = (n // factor for n in image.shape)
    cut = image[: rows * factor, : columns * factor].astype(np.float32)
    mean = cut.reshape(rows, factor, columns, factor).mean(axis=(1, 3))
    return np.asarray(ndimage.gaussian_filter(mean, 1.0, mode="nearest"))


def _refined(a: Floats, b: Floats, y: float, x: float) -> tuple[float, float, float]:
    """Displacement of the least squared difference near a first estimate, and the correlation there."""
    begun, alike = (y, x), 0.0
    for _ in range(_STEPS):
        margin = int(max(abs(y), abs(x))) + 4
        rows, columns = (range(margin, n - margin) for n in a.shape)
        if min(len(rows), len(columns)) < 8:
            return *begun, alike
        p = moved(a, -y / 2, -x / 2, rows, columns)
        q = moved(b, y / 2, x / 2, rows, columns)
        step, alike = _step(p, q), correlation(p, q)
        y, x = y + step[0], x + step[1]
        if max(abs(y - begun[0]), abs(x - begun[1])) > _FARTHEST:
            return *begun, alike
    return y, x, alike


def _step(p: Floats, q: Floats) -> tuple[float, float]:
    """Step that would make two images equal to first order; none without contrast along both axes."""
    gy, gx = (np.asarray(one, np.float32) for one in np.gradient((p + q) / 2))
    rest = p - q
    yy, yx, xx = (_dot(u, v) for u, v in ((gy, gy), (gy, gx), (gx, gx)))
    ry, rx = _dot(gy, rest), _dot(gx, rest)
    size = yy * xx - yx**2
    if size <= 1e-6 * max(yy, xx) ** 2:
        return 0.0, 0.0
    return (xx * ry - yx * rx) / size, (yy * rx - yx * ry) / size


def _dot(u: Floats, v: Floats) -> float:
    # Not a product of BLAS, whose last bits depend on where the arrays lie in memory.
    return float(np.sum(u * v, dtype=np.float64))


@dataclass(frozen=True, eq=False)
class Curve:
    """Drift of every slice along one axis.

    Attributes
    ----------
    place : (n,) float
        Where the content of a slice lies, in pixels against that of the first slice.
    weight : (n,) float
        Largest weight, 0 to 1, of the displacements between the slice and others: a slice of weight 0
        was placed by those around it.
    """

    place: Reals
    weight: Reals


def drift_curve(near: Reals, far: Reals) -> Curve:
    """Places of all slices that fit the displacements between neighbours at distances 1 and 2.

    Weighted least squares; weights are Tukey's biweight of the residuals over their robust
    deviation, so that a displacement that contradicts the others has none. A slice that nothing
    places lies on the straight line between its neighbours.

    Parameters
    ----------
    near, far : (n,) float
        Displacement of slice z against slice z - 1, and against slice z - 2, in pixels; the first
        one and the first two are not used. NaN where unknown.

    References
    ----------
    Holland, Welsch, Commun. Stat. Theory Methods 6 (1977) 813, https://doi.org/10.1080/03610927708827533

    Examples
    --------
    >>> places = np.array([0.0, 0.5, 1.0, 1.5, 2.0, 2.5])
    >>> near, far = np.diff(places, prepend=0), places - np.roll(places, 2)
    >>> drift_curve(near, far).place.round(3).tolist()
    [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]
    """
    n = len(near)
    if n < 3:
        return Curve(np.cumsum(np.where(np.arange(n) > 0, np.nan_to_num(near), 0.0)), np.ones(n))
    near, far = near[1:], far[2:]
    weights = [np.isfinite(near) * 1.0, np.isfinite(far) * 1.0]
    near, far = np.nan_to_num(near), np.nan_to_num(far)
    # A step far from all the others begins without weight: it would bend the first curve to itself.
    weights = [w * _tukey(d - np.median(d), 2.0) for w, d in zip(weights, (near, far), strict=True)]
    known = [w > 0 for w in weights]
    for _ in range(_ROUNDS):
        place = _fit(near, far, *weights)
        rest = near - (place[1:] - place[:-1]), far - (place[2:] - place[:-2])
        weights = [k * _tukey(r, 1.0) for k, r in zip(known, rest, strict=True)]
    return Curve(place - place[0], _most(n, weights))


def _most(n: int, weights: list[Reals]) -> Reals:
    """Largest weight of the displacements that each slice takes part in."""
    most = np.zeros(n)
    for step, weight in enumerate(weights, 1):
        most[step:] = np.maximum(most[step:], weight)
        most[:-step] = np.maximum(most[:-step], weight)
    return most


def _tukey(rest: Reals, loose: float) -> Reals:
    """Biweight of residuals by their median absolute deviation, `loose` times as wide."""
    scale = max(1.4826 * float(np.median(np.abs(rest))), _FLOOR) * loose
    return np.asarray((1 - np.minimum(np.abs(rest) / (_TUKEY * scale), 1.0) ** 2) ** 2)


def _fit(near: Reals, far: Reals, of_near: Reals, of_far: Reals) -> Reals:
    """Places that minimise the weighted squares of the residuals, and a little of their bend."""
    n = len(near) + 1
    bands, right = np.zeros((3, n)), np.zeros(n)  # lower form: diagonal, first, second below
    for step, (measured, weight) in ((1, (near, of_near)), (2, (far, of_far))):
        bands[0, step:] += weight
        bands[0, :-step] += weight
        bands[step, :-step] -= weight
        right[step:] += weight * measured
        right[:-step] -= weight * measured
    for offset, factor in ((0, 1.0), (1, 4.0), (2, 1.0)):
        bands[0, offset : n - 2 + offset] += _STIFFNESS * factor
    bands[1, : n - 2] -= 2 * _STIFFNESS
    bands[1, 1 : n - 1] -= 2 * _STIFFNESS
    bands[2, : n - 2] += _STIFFNESS
    bands[0, 0] += 1.0  # the first slice stays
    bands[0] += 1e-12
    return np.asarray(solveh_banded(bands, right, lower=True))


def trend(values: Reals, window: float) -> Reals:
    """Local straight lines through a curve, with Gaussian weights: a straight curve is its own trend.

    Parameters
    ----------
    values : (n,) float
        The curve.
    window : float
        Slices over which it is smoothed: four standard deviations of the weights.

    References
    ----------
    Cleveland, J. Am. Stat. Assoc. 74 (1979) 829, https://doi.org/10.1080/01621459.1979.10481038

    Examples
    --------
    >>> trend(np.array([1.0, 3.0, 5.0, 7.0]), 4).round(6).tolist()
    [1.0, 3.0, 5.0, 7.0]
    """
    n, sigma = len(values), window / 4
    reach = min(n - 1, int(np.ceil(4 * sigma)))
    offsets = np.arange(-reach, reach + 1)
    weights = np.exp(-((offsets / sigma) ** 2) / 2)
    ones = np.ones(n)
    s0, s1, s2 = (_summed(ones, weights * offsets**k) for k in (0, 1, 2))
    v0, v1 = (_summed(values, weights * offsets**k) for k in (0, 1))
    spread = s0 * s2 - s1**2
    flat = spread <= 1e-12 * s0 * np.maximum(s2, 1e-300)
    return np.asarray(np.where(flat, v0 / s0, (s2 * v0 - s1 * v1) / np.where(flat, 1.0, spread)))


def _summed(values: Reals, weights: Reals) -> Reals:
    """Weighted sum of the neighbours of each value, cut at the ends."""
    reach = len(weights) // 2
    return np.convolve(values, weights[::-1])[reach : reach + len(values)]
