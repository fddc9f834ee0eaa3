"""How like its micrographs a volume is, in two numbers: phase fractions, and two-point correlation along z, y and x.

References
----------
Torquato, Random Heterogeneous Materials (2002), chapter 2 (two-point correlation). DOI 10.1007/978-1-4757-6355-3
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tim3d.grid import triple
from tim3d.kernels.correlation import line_counts, pairs_at

Array = npt.NDArray[Any]

LAGS = (1, 2, 4, 6, 8, 12, 16, 24, 32, 48)
# Axes of the rows and the columns of the planes normal to z, y and x.
PLANES = ((1, 2), (0, 2), (0, 1))


@dataclass(frozen=True, slots=True)
class Target:
    """Two-point correlation that a volume should have.

    Parameters
    ----------
    lags : tuple of int
        Distances in voxels, the first one 0.
    s2 : array (3, phases, lags)
        Share of the pairs of voxels at a distance along z, y, x that both lie in a phase; at 0 its fraction.
    """

    lags: tuple[int, ...]
    s2: Array

    def errors(self, volumes: Sequence[Array]) -> dict[str, float]:
        """Mean absolute errors of volumes of labels 0, 1, ...; of their mean, which spreads less than one volume.

        Returns
        -------
        dict
            `fraction_error`, mean over the phases; `s2_error`, mean over phases, lags above 0 and axes; `score`, their
            sum, the lower the better. No unit.
        """
        phases = self.s2.shape[1]
        found = np.mean([_curves(v, (0, 1, 2), phases, self.lags) for v in volumes], axis=0)
        wrong = np.abs(found - self.s2)
        fraction, s2 = float(wrong[..., 0].mean()), float(wrong[..., 1:].mean())
        return {"fraction_error": fraction, "s2_error": s2, "score": fraction + s2}


def target_of(images: Sequence[Array], phases: int, edge: int) -> Target:
    """The target of one image that stands for all directions, or of three for the planes normal to z, y and x.

    Parameters
    ----------
    images : sequence of array (rows, columns)
        Labels 0 to phases - 1.
    phases : int
        How many.
    edge : int
        Of the volumes to come. Lags are at most half of it and half of the images.

    Examples
    --------
    >>> stripes = np.tile(np.array([[0, 0, 1, 1]]), (8, 2))
    >>> target_of([stripes], 2, 8).s2[0, 1].round(2).tolist()
    [0.5, 0.39, 0.25, 0.5]
    """
    longest = min(edge, *images[0].shape) // 2
    lags = (0, *(lag for lag in LAGS if lag <= longest))
    planes = [_of_image(image, phases, lags) for image in images]
    if len(planes) == 1:
        return Target(lags, np.repeat(planes[0].mean(axis=0, keepdims=True), 3, axis=0))
    along: list[list[Array]] = [[], [], []]
    for curves, axes in zip(planes, PLANES, strict=True):
        for curve, axis in zip(curves, axes, strict=True):
            along[axis].append(curve)
    s2 = np.array([np.mean(curves, axis=0) for curves in along])
    s2[..., 0] = np.mean([curves[0, :, 0] for curves in planes], axis=0)
    return Target(lags, s2)


def _curves(ranks: Array, axes: Sequence[int], phases: int, lags: Sequence[int]) -> Array:
    """S2 (axes, phases, lags) of ranks (z, y, x) along some axes; the first lag is 0."""
    found = []
    for axis in axes:
        counts = line_counts(ranks, phases, lags[1:], axis)
        pairs = np.column_stack([counts.voxels.sum(axis=0), counts.pairs])
        found.append(pairs / pairs_at(triple(ranks.shape), lags, axis))
    return np.array(found)


def _of_image(image: Array, phases: int, lags: Sequence[int]) -> Array:
    """S2 (2, phases, lags) along rows' and columns' axis of an image."""
    return _curves(image[None], (1, 2), phases, lags)


def correlation_length(labels: Array, phases: int) -> int:
    """Pixels at which the correlation of a phase first is zero: the longest over the phases and both axes.

    Half the shorter edge if it never is, as for a gradient across the image.

    >>> halves = np.repeat(np.array([[0], [1]], np.uint8), 12, axis=0).repeat(24, axis=1)
    >>> correlation_length(halves, 2)
    12
    """
    lags = range(min(labels.shape) // 2)
    curves = _of_image(labels, phases, lags).reshape(-1, len(lags))
    return max((_first_zero(s2) for s2 in curves if 0 < s2[0] < 1), default=0)


def _first_zero(s2: Array) -> int:
    uncorrelated = s2 <= s2[0] ** 2
    return int(uncorrelated.argmax()) if uncorrelated.any() else len(s2)
