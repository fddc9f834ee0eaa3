"""Descriptors of square crops of label images."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tim3d.grid import triple
from tim3d.kernels.morphology import planar
from tim3d.kernels.statistics.correlation import line_counts, pairs_at

Ranks = NDArray[np.uint8]
# Power of the length in its unit, and meaning of each number of a phase in a crop.
QUANTITIES: dict[str, tuple[int, str]] = {
    "area_fraction": (0, "share of the pixels"),
    "perimeter_per_area": (-1, "length of boundary per area, Crofton, 4 directions"),
    "shape_index": (
        0,
        "perimeter / (2 sqrt(pi area)) of a phase in the whole crop; larger in larger crops",
    ),
    "feature_shape_index": (
        0,
        "perimeter / (2 sqrt(pi area)) of connected features (8 neighbours), mean by area",
    ),
}


@dataclass(frozen=True, eq=False)
class CropNumbers:
    """Numbers of crops.

    Parameters
    ----------
    values : (crops, quantities, phases) float64
        In the order of `QUANTITIES`; nan where a phase is not there.
    two_point, lineal_path : (crops, phases, lags) float64
        S2 and L, mean over both directions.
    """

    values: NDArray[np.float64]
    two_point: NDArray[np.float64]
    lineal_path: NDArray[np.float64]

    @property
    def vectors(self) -> NDArray[np.float64]:
        """All numbers of a crop, (crops, numbers)."""
        parts = (self.values, self.two_point, self.lineal_path)
        return np.concatenate([one.reshape(len(one), -1) for one in parts], axis=1)


def places(shape: tuple[int, int], crop: int) -> Iterator[tuple[int, int]]:
    """First pixels of the crops of an image that lie side by side from its first pixel on.

    >>> list(places((5, 9), 4))
    [(0, 0), (0, 4)]
    """
    for row in range(shape[0] // crop):
        for column in range(shape[1] // crop):
            yield row * crop, column * crop


def numbers(
    crops: Sequence[Ranks], phases: int, lags: Sequence[int], pixel: tuple[float, float]
) -> CropNumbers:
    """Numbers of crops of ranks."""
    curves = [_curves(one, phases, lags) for one in crops]
    return CropNumbers(
        np.array([[_values(one == n, pixel) for n in range(phases)] for one in crops]).swapaxes(
            1, 2
        ),
        np.array([one[0] for one in curves]),
        np.array([one[1] for one in curves]),
    )


def joined(parts: Sequence[CropNumbers]) -> CropNumbers:
    """Numbers of the crops of several images, one after the other."""
    return CropNumbers(
        *(
            np.concatenate([getattr(one, name) for one in parts])
            for name in ("values", "two_point", "lineal_path")
        )
    )


def _values(mask: NDArray[np.bool_], pixel: tuple[float, float]) -> list[float]:
    fraction, boundary = float(mask.mean()), planar.boundary_per_area(mask, pixel)
    area = mask.size * math.prod(pixel)
    whole = boundary * area / (2 * math.sqrt(math.pi * fraction * area)) if fraction else math.nan
    return [fraction, boundary, whole, planar.feature_shape_index(mask, pixel)]


def _curves(
    ranks: Ranks, phases: int, lags: Sequence[int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """S2 and L by phase and lag, over the pairs along rows and columns together."""
    image = ranks[None]
    shape = triple(image.shape)
    counts = [line_counts(image, phases, lags, axis) for axis in (1, 2)]
    pairs = np.sum([pairs_at(shape, lags, axis) for axis in (1, 2)], axis=0)
    two_point, lineal_path = (
        np.sum([getattr(one, name) for one in counts], axis=0) / pairs
        for name in ("pairs", "segments")
    )
    return two_point, lineal_path
