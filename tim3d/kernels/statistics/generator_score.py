"""Similarity of a volume to its micrographs: errors of fractions, two-point correlation, surface.

References
----------
Torquato, Random Heterogeneous Materials (2002), chapter 2 (two-point correlation). DOI
10.1007/978-1-4757-6355-3 Underwood, Quantitative Stereology (1970), chapter 2 (S_V = 2 P_L).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tim3d.grid import triple
from tim3d.kernels.statistics.correlation import line_counts, pairs_at
from tim3d.lazy import fft

Array = npt.NDArray[Any]

LAGS = (1, 2, 4, 6, 8, 12, 16, 24, 32, 48)
# Axes of the rows and the columns of the planes normal to z, y and x.
PLANES = ((1, 2), (0, 2), (0, 1))
# Weight of the relative surface error in the score: 10 % counts as much as 0.01 in a phase
# fraction.
SURFACE_WEIGHT = 0.1
# Number of rows that are Fourier transformed at once.
ROWS = 256


@dataclass(frozen=True, slots=True)
class Lines:
    """Two-point probability and boundary crossings along lines of some axes.

    Parameters
    ----------
    s2 : array (axes, phases, lags)
        Fraction of the pairs of voxels at each lag with both in the phase; at 0 the phase fraction.
    crossings : array (axes, phases)
        Crossings of a phase's boundary per voxel of line, P_L. The surface per volume is 2 P_L.
    """

    s2: Array
    crossings: Array


def along_axes(images: Sequence[Array]) -> Array:
    """Convert values along rows and columns of images to values along z, y and x.

    Each image has values (2, ...), the result (3, ...). The value of an axis is the mean over the
    planes that contain it; one image stands for all planes.

    >>> along_axes([np.array([1.0, 3.0])]).tolist()
    [2.0, 2.0, 2.0]
    >>> along_axes([np.array([1.0, 2.0]), np.array([10.0, 20.0]), np.array([100.0, 200.0])]).tolist()
    [55.0, 100.5, 11.0]
    """
    if len(images) == 1:
        return np.array([images[0].mean(axis=0)] * 3)
    holding: list[list[Array]] = [[], [], []]
    for image, axes in zip(images, PLANES, strict=True):
        for values, axis in zip(image, axes, strict=True):
            holding[axis].append(values)
    return np.array([np.mean(values, axis=0) for values in holding])


@dataclass(frozen=True, slots=True)
class Target:
    """Target values along z, y and x at lags in voxels, of which the first is 0."""

    lags: tuple[int, ...]
    lines: Lines

    def errors(self, volumes: Sequence[Array]) -> dict[str, float]:
        """Mean absolute errors of the mean over volumes, which scatters less than a single volume.

        Parameters
        ----------
        volumes : sequence of array (z, y, x)
            Labels 0, 1, ...

        Returns
        -------
        dict
            `fraction_error`, mean over the phases; `s2_error`, mean over phases, lags above 0 and
            axes; `surface_error`, relative, mean over phases and axes; `score`, the sum of the
            first two and a tenth of the third, lower is better. All are dimensionless.
        """
        phases = self.lines.s2.shape[1]
        found = [_lines(volume, (0, 1, 2), phases, self.lags) for volume in volumes]
        s2 = np.mean([lines.s2 for lines in found], axis=0)
        return _errors(Lines(s2, np.mean([lines.crossings for lines in found], axis=0)), self.lines)

    def errors_of_images(self, images: Array) -> dict[str, float]:
        """Errors, as `errors`, of images (n, rows, columns) of a material that is the same in all directions.

        Rows and columns are compared apart, so that a direction that images have is an error.
        """
        found = _lines(images, (1, 2), self.lines.s2.shape[1], self.lags)
        return _errors(found, Lines(self.lines.s2[:2], self.lines.crossings[:2]))


def _errors(found: Lines, target: Lines) -> dict[str, float]:
    wrong = np.abs(found.s2 - target.s2)
    fraction, s2 = float(wrong[..., 0].mean()), float(wrong[..., 1:].mean())
    rough = np.abs(found.crossings - target.crossings) / np.maximum(target.crossings, 1e-9)
    surface = float(rough.mean())
    score = fraction + s2 + SURFACE_WEIGHT * surface
    return {
        "fraction_error": fraction,
        "s2_error": s2,
        "surface_error": surface,
        "score": score,
    }


def target_of(images: Sequence[Array], phases: int, edge: int) -> Target:
    """Target from one image for all directions, or from three for the planes normal to z, y and x.

    Parameters
    ----------
    images : sequence of array (rows, columns)
        Labels 0 to phases - 1.
    phases : int
        Number of phases.
    edge : int
        Edge of the volumes to be compared. Lags are at most half of it and half of the images.

    Examples
    --------
    >>> stripes = np.tile(np.array([[0, 0, 1, 1]]), (8, 2))
    >>> target_of([stripes], 2, 8).lines.s2[0, 1].round(2).tolist()
    [0.5, 0.39, 0.25, 0.5]
    """
    longest = min(edge, *images[0].shape) // 2
    lags = (0, *(lag for lag in LAGS if lag <= longest))
    planes = [_of_image(image, phases, lags) for image in images]
    s2, crossings = (
        along_axes([one.s2 for one in planes]),
        along_axes([one.crossings for one in planes]),
    )
    s2[..., 0] = np.mean([lines.s2[0, :, 0] for lines in planes], axis=0)
    return Target(lags, Lines(s2, crossings))


def _lines(ranks: Array, axes: Sequence[int], phases: int, lags: Sequence[int]) -> Lines:
    """Lines of ranks (z, y, x) along some axes; the first lag is 0, the second 1."""
    s2, crossings = [], []
    for axis in axes:
        counts, pairs = (
            line_counts(ranks, phases, lags[1:], axis),
            pairs_at(triple(ranks.shape), lags, axis),
        )
        s2.append(np.column_stack([counts.voxels.sum(axis=0), counts.pairs]) / pairs)
        crossings.append(counts.changes.sum(axis=0) / pairs[1])
    return Lines(np.array(s2), np.array(crossings))


def _of_image(image: Array, phases: int, lags: Sequence[int]) -> Lines:
    """Lines along both axes of an image: across its rows, and across its columns."""
    return _lines(image[None], (1, 2), phases, lags)


def correlation_length(labels: Array, phases: int) -> int:
    """Distance in pixels at which the correlation first vanishes, the largest over all phases.

    See `uncorrelated`.

    >>> halves = np.repeat(np.array([[0], [1]], np.uint8), 12, axis=0).repeat(24, axis=1)
    >>> correlation_length(halves, 2)
    12
    """
    return max(uncorrelated(labels == phase) for phase in range(phases))


def uncorrelated(values: Array) -> int:
    """Distance in pixels at which an image's correlation first vanishes, the larger of both axes.

    The image is a mask or grey values. The result is half the shorter edge if the correlation never
    vanishes, as for a gradient across the image.
    """
    reach, mean = min(values.shape) // 2, float(values.mean())
    if values.min() == values.max():
        return 0
    return max(_first_zero(_pairs(np.moveaxis(values, axis, 1), reach), mean) for axis in (0, 1))


def _pairs(values: Array, reach: int) -> Array:
    """Mean product of pixels 0 to reach - 1 apart along rows, by Fourier transform; a mask's S2."""
    rows, length = values.shape
    size = fft.next_fast_len(length + reach, real=True)
    total = np.zeros(reach)
    for start in range(0, rows, ROWS):
        power = np.abs(fft.rfft(values[start : start + ROWS].astype(np.float64), size, axis=1)) ** 2
        total += np.rint(fft.irfft(power.sum(axis=0), size)[:reach])
    return np.asarray(total / (rows * (length - np.arange(reach))))


def _first_zero(products: Array, mean: float) -> int:
    none = products <= mean**2
    return int(none.argmax()) if none.any() else len(products)
