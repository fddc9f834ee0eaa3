"""Consistency check of three orthogonal micrographs: each axis lies in two of them.

Along a common axis, both images must have the same correlation rho(r) (see `grey_statistics`) of
grey values, colours or the indicator of each phase. A volume has one correlation along each axis,
so its mean error is at least half the mean difference of the two images.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tim3d.grid import triple
from tim3d.kernels.statistics.correlation import pairs_at
from tim3d.kernels.statistics.generator_score import LAGS, PLANES
from tim3d.kernels.statistics.grey_statistics import correlation, differences, variance

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float64]
Turns = tuple[bool, bool, bool]

# The scatter of an image is estimated from this many bands of its lines.
BANDS = 4
# A difference counts if it exceeds the mean random one by the factor CERTAIN, and is larger than
# SEEN, below which it does not affect a training.
CERTAIN, SEEN = 3.0, 0.05
AS_THEY_ARE: Turns = (False, False, False)


@dataclass(frozen=True, slots=True)
class Gap:
    """Two images that are inconsistent along one axis.

    Attributes
    ----------
    axis : {0, 1, 2}
        Axis z, y or x.
    images : (int, int)
        Indices of the two images.
    difference : float
        Mean of abs(rho1(r) - rho2(r)) over distances and channels.
    chance : float
        Expected difference for images of one material, from the scatter of bands of lines.
    """

    axis: int
    images: tuple[int, int]
    difference: float
    chance: float


@dataclass(frozen=True, slots=True)
class Profile:
    """Correlation rho along lines of one image: mean over the bands, and its standard error."""

    mean: Floats
    error: Floats


Profiles = list[list[Profile]]


def profiles_of(images: Sequence[Bytes]) -> Profiles:
    """Compute the profiles of lines along the columns and the rows of each image, as in `PLANES`.

    Parameters
    ----------
    images : three arrays (channels, rows, columns), uint8
        Images of the planes normal to z, y and x; rows and columns are (y, x), (z, x) and (z, y).
        For labels, see `indicators`.
    """
    longest = min(edge for image in images for edge in image.shape[1:]) // 4
    lags = [lag for lag in LAGS if lag <= longest]
    return [[_profile(image, side, lags) for side in (0, 1)] for image in images]


def gaps(profiles: Profiles, turned: Turns = AS_THEY_ARE) -> list[Gap]:
    """Axes along which two images, optionally rotated by 90 degrees, contradict each other.

    Parameters
    ----------
    profiles
        Profiles of three images, from `profiles_of`.
    turned : three bools
        Images that are rotated by 90 degrees.

    Examples
    --------
    >>> noise = np.random.default_rng(0).integers(0, 255, (4, 64, 64), np.uint8)
    >>> rows = np.repeat(noise[3, :8], 8, axis=0)
    >>> gaps(profiles_of([one[None] for one in noise[:3]]))
    []
    >>> seen = profiles_of([rows[None], noise[1][None], noise[2][None]])
    >>> [(gap.axis, gap.images) for gap in gaps(seen)]
    [(1, (0, 2))]
    """
    found = [_gap(profiles, turned, axis) for axis in range(3)]
    return [gap for gap in found if gap.difference > max(SEEN, CERTAIN * gap.chance)]


def turns(profiles: Profiles) -> Turns | None:
    """Smallest set of images to rotate by 90 degrees so that no gap is left; None if there is none.

    >>> noise = np.random.default_rng(0).integers(0, 255, (3, 64, 64), np.uint8)
    >>> layers = [one[None] for one in (noise[0], *np.repeat(noise[1:, ::8], 8, axis=1))]
    >>> turns(profiles_of(layers)), turns(profiles_of([*layers[:2], layers[2].swapaxes(1, 2)]))
    ((False, False, False), (False, False, True))
    """
    either = (False, True)
    every = sorted(itertools.product(either, either, either), key=sum)
    return next((one for one in every if not gaps(profiles, one)), None)


def indicators(labels: NDArray[np.integer], phases: int) -> Bytes:
    """Indicator of each phase, as one channel each: 1 in the phase, 0 elsewhere.

    >>> indicators(np.array([[0, 1]]), 2).tolist()
    [[[1, 0]], [[0, 1]]]
    """
    return np.stack([labels == phase for phase in range(phases)]).astype(np.uint8)


def _gap(profiles: Profiles, turned: Turns, axis: int) -> Gap:
    (i, a), (j, b) = ((n, axes.index(axis)) for n, axes in enumerate(PLANES) if axis in axes)
    one, other = profiles[i][a ^ turned[i]], profiles[j][b ^ turned[j]]
    # The mean of abs(x) for normal x is sqrt(2 / pi) standard deviations.
    chance = math.sqrt(2 / math.pi) * float(np.hypot(one.error, other.error).mean())
    return Gap(axis, (i, j), float(np.abs(one.mean - other.mean).mean()), chance)


def _profile(image: Bytes, side: int, lags: Sequence[int]) -> Profile:
    bands = np.array_split(image, BANDS, axis=2 - side)
    # Variance of the whole image, not of each band: if the mean drifts, bands vary less.
    of = variance(np.array([np.bincount(channel.reshape(-1), minlength=256) for channel in image]))
    rho = np.array([correlation(_squares(band, 1 + side, lags), of) for band in bands])
    return Profile(rho.mean(axis=0), rho.std(axis=0, ddof=1) / math.sqrt(BANDS))


def _squares(band: Bytes, axis: int, lags: Sequence[int]) -> Floats:
    """Mean squared differences (channels, lags)."""
    pairs = pairs_at(triple((1, *band.shape[1:])), lags, axis)
    return np.array([differences(channel[None], lags, axis).squares / pairs for channel in band])
