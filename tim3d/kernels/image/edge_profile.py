"""Grey values beside a boundary: how wide the step is, and how bright its rim."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import special
from skimage.feature import canny

from tim3d.lazy import ndimage, optimize

Floats: TypeAlias = npt.NDArray[np.float64]

# Bins of a profile for each pixel, and fewest pixels of a bin that counts.
BINS, FEWEST = 2, 20
# Farthest pixels of a profile of blur alone, and of one with rims.
NEAR, FAR = 5.0, 24.0
# Blur in pixels and quantiles of the gradient by which edges are found, and the smallest cosine of the way from an edge
# with its normal.
CALM, EDGES, ACROSS = 2.0, (0.8, 0.9), 0.9
# Largest factor of a rim; the levels far from boundaries may be nearly alike.
HIGHEST = 30.0
# A rim is one if it takes away this share of the misfit and is this high, as a factor of the step.
SHARE, LEAST = 0.5, 0.15


@dataclass(frozen=True, eq=False)
class Profile:
    """Mean grey against the distance from the boundary in pixels, negative on the dark side; and pixels of each."""

    distance: Floats
    grey: Floats
    pixels: Floats

    def within(self, reach: float) -> Profile:
        """Part of the profile that is nearer than a distance."""
        near = np.abs(self.distance) < reach
        return Profile(self.distance[near], self.grey[near], self.pixels[near])


@dataclass(frozen=True)
class Rims:
    """Levels on both sides far from a boundary, widths of the blur and of the rim in pixels, and its factor."""

    dark: float
    bright: float
    blur: float
    width: float
    factor: float


def profile(
    slices: Iterable[tuple[npt.NDArray[np.generic], npt.NDArray[np.uint8]]],
    low: int,
    sampling: tuple[float, float],
    *,
    bright_side: bool,
) -> Profile:
    """Profile across the boundaries between classes `low` and `low` + 1 of (grey, classes) of slices.

    With `bright_side` only pixels of that side are taken, as where the dark one is seen through.
    """
    distances, values = [np.zeros(0)], [np.zeros(0)]
    for grey, classes in slices:
        up = classes > low
        if not up.any() or up.all():
            continue
        inside = ndimage.distance_transform_edt(up, sampling=sampling) - 0.5
        outside = ndimage.distance_transform_edt(~up, sampling=sampling) - 0.5
        distance = np.where(up, inside, -outside)
        near = (np.abs(distance) < FAR) & (classes >= low) & (classes <= low + 1)
        near &= up if bright_side else True
        distances.append(distance[near])
        values.append(grey[near].astype(np.float64))
    return _binned(np.concatenate(distances), np.concatenate(values))


def profile_of_edges(slices: Iterable[npt.NDArray[np.generic]]) -> Profile:
    """Profile across the strongest edges of slices, for which no class is known.

    Edges are lines of the steepest gradient (Canny, DOI 10.1109/TPAMI.1986.4767851), and distances go
    along their normals. Where rims are higher than the step between levels far away, thresholds have
    their boundaries elsewhere.
    """
    distances, values = [np.zeros(0)], [np.zeros(0)]
    for one in slices:
        grey = one.astype(np.float64)
        low, high = EDGES
        edges = canny(  # type: ignore[no-untyped-call]
            grey, CALM, low_threshold=low, high_threshold=high, use_quantiles=True, mode="nearest"
        )
        if not edges.any():
            continue
        normal = np.stack(np.gradient(ndimage.gaussian_filter(grey, CALM, mode="nearest")))
        normal /= np.maximum(np.hypot(*normal), 1e-9)
        far, place = ndimage.distance_transform_edt(~edges, return_indices=True)
        along = ((np.indices(grey.shape) - place) * normal[:, place[0], place[1]]).sum(0)
        near = (far < FAR) & (np.abs(along) >= ACROSS * far)
        distances.append(along[near])
        values.append(grey[near])
    return _binned(np.concatenate(distances), np.concatenate(values))


def _binned(d: Floats, v: Floats) -> Profile:
    first = -int(BINS * FAR) - 1
    bins = np.rint(BINS * d).astype(int) - first
    pixels = np.bincount(bins, minlength=1)
    used = pixels > FEWEST
    means = [np.bincount(bins, one, len(pixels))[used] / pixels[used] for one in (d, v)]
    return Profile(means[0], means[1], pixels[used].astype(np.float64))


def step_width(seen: Profile, dark: float, bright: float) -> float:
    """Standard deviation of the error function that a profile between two known levels is, in pixels; 0 without one."""
    near = seen.within(NEAR)
    if not len(near.distance):
        return 0.0
    share = (near.grey - dark) / (bright - dark)

    def misfit(width: float) -> float:
        return float((near.pixels * (share - _step(near.distance, width)) ** 2).sum())

    return float(optimize.minimize_scalar(misfit, bounds=(0.05, 6.0), method="bounded").x)


def rims(seen: Profile, dark: float, bright: float) -> Rims | None:
    """Rims of a profile, or None where a step of free levels describes it about as well.

    The model is that of `Imaging`: to a blurred step h Phi(d / s) is added what it is above its own
    mean over a Gaussian of deviation w, times a factor r. Far from the boundary that is 0, on it
    r h / 2 on either side.
    """
    if len(seen.distance) < 12 or seen.distance.min() > -NEAR or seen.distance.max() < NEAR:
        return None
    weight = np.sqrt(seen.pixels / seen.pixels.sum())
    step = bright - dark

    def rimmed(p: Floats) -> Floats:
        blurred = _step(seen.distance, p[2])
        wide = _step(seen.distance, math.hypot(p[2], p[3]))
        return np.asarray((p[0] + p[1] * (blurred + p[4] * (blurred - wide)) - seen.grey) * weight)

    start = (dark, step, 1.5, 5.0, 0.5)
    plain = optimize.least_squares(lambda p: rimmed(np.array([*p, 5.0, 0.0])), start[:3],
        bounds=([-np.inf, 0, 0.05], [np.inf, np.inf, 6]))  # fmt: skip
    full = optimize.least_squares(
        rimmed, start, bounds=([-np.inf, 0.02 * step, 0.05, 1.5, 0], [np.inf, 2 * step, 6, FAR / 2, HIGHEST]),
        x_scale=(step, step, 1.0, 3.0, 1.0),
    )  # fmt: skip
    low, height, blur, width, factor = full.x.tolist()
    if factor < LEAST or full.cost > (1 - SHARE) * plain.cost:
        return None
    return Rims(low, low + height, blur, width, factor)


def _step(distance: Floats, width: float) -> Floats:
    return np.asarray((1 + special.erf(distance / (math.sqrt(2) * width))) / 2)
