"""Distribution, correlation and sharpness of grey values, from integers additive over blocks.

* ``W1``: Wasserstein distance of two distributions, the mean change of a grey value that transforms
  one into the other: the sum over the grey values g of abs(F1(g) - F2(g)), where F is the
  cumulative distribution. In grey values.
* ``rho(r) = 1 - <(g(x) - g(x + r))²> / (2 s²)``: correlation at distance r along an axis, with the
  variance s² of all voxels. It is 1 minus the variogram over the variance: 1 at distance 0, 0
  without correlation.
* ``step``: mean of abs(g(x) - g(x + 1)), the sharpness along an axis. For labels 0 and 1 it is P_L.

No boundary is periodic: pairs that leave the volume do not count. A pair belongs to its first
voxel, so the sums of blocks that tile a volume add up to the sums of the volume, bit for bit.

References
----------
Kantorovich, Dokl. Akad. Nauk SSSR 37 (1942) 199; in one dimension: Vallender, Theory Probab. Appl.
18 (1974) 784, DOI 10.1137/1118101 (distance of distributions). Matheron, Econ. Geol. 58 (1963)
1246, DOI 10.2113/gsecongeo.58.8.1246 (variogram).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numba as nb
import numpy as np
from numpy.typing import NDArray

from tim3d.grid import Box, triple
from tim3d.kernels.statistics.correlation import check_lags, lines_from, pairs_at
from tim3d.kernels.statistics.generator_score import LAGS, along_axes

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

LEVELS = 256
LARGEST = LEVELS - 1
# Weights in the score: the correlation of two equal phases is four times their S2; 0.1 as for the
# surface.
CORRELATION_WEIGHT, STEP_WEIGHT = 0.25, 0.1


@dataclass(frozen=True, eq=False)
class Differences:
    """Integer sums along one axis, additive over blocks (`values` and `steps` plane by plane).

    Attributes
    ----------
    squares : (lags,) int64
        Sums of (g(x) - g(x + r))².
    values : (planes,) int64
        Sums of the grey values in each plane across the axis.
    steps : (planes,) int64
        Sums of abs(g(x) - g(x + 1)) between a plane and the next one.
    """

    squares: Integers
    values: Integers
    steps: Integers


def differences(
    grey: Bytes, lags: Sequence[int], axis: int, core: Box | None = None
) -> Differences:
    """Sum differences of grey values along one axis that begin in the core.

    Parameters
    ----------
    grey : (z, y, x) uint8
        Grey values. An image is one slice.
    lags : sequence of int
        Distances in voxels, positive and strictly increasing.
    axis : {0, 1, 2}
        Axis of the lines.
    core : Box, optional
        Voxels at which pairs begin (default: all). Behind the core, voxels are read up to the
        largest lag or the end of the array, which is taken as the end of the volume.

    Raises
    ------
    ArgumentError
        If the lags are not positive and strictly increasing.

    Examples
    --------
    >>> found = differences(np.array([[[0, 3, 3, 1]]], np.uint8), [1, 2], axis=2)
    >>> found.squares.tolist(), found.steps.tolist(), found.values.tolist()
    ([13, 13], [3, 0, 2, 0], [0, 3, 3, 1])
    """
    check_lags(lags)
    lines, own = lines_from(grey, lags[-1], axis, core)
    found = Differences(*(np.zeros(n, np.int64) for n in (len(lags), own, own)))
    _add(lines, np.asarray(lags, np.int64), found.squares, found.values, found.steps)
    return found


@nb.njit(nogil=True, cache=True)
def _add(
    lines: Bytes, lags: Integers, squares: Integers, values: Integers, steps: Integers
) -> None:
    own, length = values.size, lines.shape[2]
    for i in range(lines.shape[0]):
        for j in range(lines.shape[1]):
            line = lines[i, j]
            for k in range(own):
                values[k] += line[k]
                if k + 1 < length:
                    steps[k] += abs(np.int64(line[k]) - np.int64(line[k + 1]))
            for n in range(lags.size):
                total = np.int64(0)
                for k in range(min(own, length - lags[n])):
                    difference = np.int64(line[k]) - np.int64(line[k + lags[n]])
                    total += difference * difference
                squares[n] += total


def histogram(grey: Bytes) -> Integers:
    """Number of voxels of each grey value, (256,).

    Counted plane by plane: for a whole block, numpy would allocate eight bytes per voxel.
    """
    return np.asarray(
        sum(np.bincount(plane.reshape(-1), minlength=LEVELS) for plane in grey), np.int64
    )


def mean(counts: Integers | Floats) -> Floats:
    """Mean grey value of histograms (..., 256), given as counts or fractions."""
    return np.asarray((counts * np.arange(LEVELS)).sum(axis=-1) / counts.sum(axis=-1))


def variance(counts: Integers | Floats) -> Floats:
    """Variance of the grey values of histograms (..., 256), given as counts or fractions.

    >>> float(variance(np.bincount([0, 4], minlength=256)))
    4.0
    """
    away = np.arange(LEVELS) - mean(counts)[..., None]
    return np.asarray((counts * away**2).sum(axis=-1) / counts.sum(axis=-1))


def correlation(squares: Floats, of: Floats) -> Floats:
    """Correlation rho(r) from mean squared differences (..., lags) and variance `of` (...).

    It is 1 where the variance is 0.

    >>> correlation(np.array([0.0, 4.0, 8.0]), np.array(4.0)).tolist()
    [1.0, 0.5, 0.0]
    """
    return np.asarray(1 - squares / (2 * np.where(of > 0, of, 1.0))[..., None])


def distance(a: Floats, b: Floats) -> Floats:
    """Distance W1 of distributions given as fractions (..., 256), in grey values.

    >>> float(distance(np.eye(256)[10], np.eye(256)[13]))
    3.0
    """
    return np.asarray(np.abs(np.cumsum(a - b, axis=-1)).sum(axis=-1))


@dataclass(frozen=True, slots=True)
class GreyTarget:
    """Target distribution, correlation and sharpness of the grey values of volumes.

    Parameters
    ----------
    lags : tuple of int
        Distances in voxels, from 1 on.
    shares : (channels, 256)
        Distribution of the grey values.
    correlation : (3, channels, lags)
        Correlation rho along z, y and x.
    steps : (3, channels)
        Mean step along z, y and x.
    """

    lags: tuple[int, ...]
    shares: Floats
    correlation: Floats
    steps: Floats

    def errors(self, volumes: Sequence[Bytes]) -> dict[str, float]:
        """Mean absolute errors of the mean over volumes (z, y, x) or (channels, z, y, x).

        Returns
        -------
        dict
            `histogram_error`, W1 over 255; `correlation_error`, error of rho over lags and axes;
            `step_error`, relative (to at least one grey value), over axes; each is the mean over
            the channels; `score`, the first plus a fourth of the second plus a tenth of the third,
            lower is better. All are dimensionless.
        """
        found = [
            _seen(volume.reshape(-1, *volume.shape[-3:]), (0, 1, 2), self.lags)
            for volume in volumes
        ]
        shares, squares, steps = (np.mean(parts, axis=0) for parts in zip(*found, strict=True))
        wide = float(distance(shares, self.shares).mean() / LARGEST)
        alike = float(np.abs(correlation(squares, variance(shares)) - self.correlation).mean())
        sharp = float((np.abs(steps - self.steps) / np.maximum(self.steps, 1.0)).mean())
        score = wide + CORRELATION_WEIGHT * alike + STEP_WEIGHT * sharp
        return {
            "histogram_error": wide,
            "correlation_error": alike,
            "step_error": sharp,
            "score": score,
        }


def grey_target(images: Sequence[Bytes], edge: int) -> GreyTarget:
    """Target from one image for all directions, or from three for the planes normal to z, y and x.

    Parameters
    ----------
    images : sequence of array (channels, rows, columns), uint8
        Grey values or colours, not constant.
    edge : int
        Edge of the volumes to be compared. Lags are at most half of it and half of the images.

    Examples
    --------
    >>> stripes = np.tile(np.array([[[0, 0, 255, 255]]], np.uint8), (1, 8, 2))
    >>> grey_target([stripes], 8).correlation[0, 0].round(2).tolist()
    [0.57, 0.0, 1.0]
    """
    longest = min(edge, *images[0].shape[1:]) // 2
    lags = tuple(lag for lag in LAGS if lag <= longest)
    found = [_seen(image[:, None], (1, 2), lags) for image in images]
    rho = [correlation(squares, variance(shares)) for shares, squares, _ in found]
    shares = np.mean([shares for shares, _, _ in found], axis=0)
    return GreyTarget(lags, shares, along_axes(rho), along_axes([steps for _, _, steps in found]))


def _seen(
    channels: Bytes, axes: Sequence[int], lags: Sequence[int]
) -> tuple[Floats, Floats, Floats]:
    """Statistics of channels (channels, z, y, x) along some axes.

    Histogram fractions (channels, 256), mean squared differences (axes, channels, lags), mean
    steps.
    """
    shape = triple(channels.shape[1:])
    found = [[differences(one, lags, axis) for one in channels] for axis in axes]
    pairs = [pairs_at(shape, (1, *lags), axis) for axis in axes]
    squares = [[one.squares / n[1:] for one in row] for row, n in zip(found, pairs, strict=True)]
    steps = [[one.steps.sum() / n[0] for one in row] for row, n in zip(found, pairs, strict=True)]
    shares = np.array([histogram(one) for one in channels]) / channels[0].size
    return shares, np.array(squares), np.array(steps)
