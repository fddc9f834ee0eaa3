"""Whether a generated image is a copy of a part of the training image, at any place, turn or mirror."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tim3d.errors import ArgumentError
from tim3d.lazy import fft

Labels = NDArray[np.uint8]


@dataclass(frozen=True)
class Nearest:
    """Part of an image that is nearest to a crop.

    Parameters
    ----------
    distance : float
        Share of the pixels in which both differ, 0 for a copy.
    row, column : int
        First pixel of the part.
    turns : int
        Quarter turns of the crop, against the clock.
    mirrored : bool
        Whether the crop was mirrored left to right before it was turned.
    """

    distance: float
    row: int
    column: int
    turns: int
    mirrored: bool


def nearest_part(
    crop: Labels, image: Labels, *, apart_from: tuple[int, int] | None = None
) -> Nearest:
    """Find the part of an image that differs from a crop in the smallest share of its pixels.

    All places where the crop lies within the image are tried, in all eight orientations. The number of
    equal pixels is a sum of correlations of the indicators of the labels, found by Fourier transforms
    and rounded to whole numbers, and so exact: equal to comparing pixel by pixel. Of equally near parts
    it is the first one, by orientation, row and column.

    Parameters
    ----------
    crop, image : (rows, columns) uint8
        Labels; the crop is square and fits into the image.
    apart_from : (row, column), optional
        Place of the crop in this image: parts that share a pixel with it are left out. The distance
        of two crops of the training is what that of a generated image is compared with.

    Raises
    ------
    ArgumentError
        If the crop is not a square that fits into the image, or no part is apart from it.

    Examples
    --------
    >>> image = (np.arange(30) ** 2 % 13).astype(np.uint8).reshape(5, 6)
    >>> nearest_part(np.rot90(image[1:4, 2:5]), image)
    Nearest(distance=0.0, row=1, column=2, turns=3, mirrored=False)
    """
    edge = crop.shape[0]
    if crop.shape != (edge, edge) or not edge or edge > min(image.shape):
        raise ArgumentError(
            f"a crop of {crop.shape} pixels in an image of {image.shape}: it must be a square that fits"
        )
    allowed = np.ones((image.shape[0] - edge + 1, image.shape[1] - edge + 1), np.bool_)
    if apart_from is not None:
        rows, columns = (
            np.abs(np.arange(n) - at) < edge
            for n, at in zip(allowed.shape, apart_from, strict=True)
        )
        allowed &= ~(rows[:, None] & columns)
    if not allowed.any():
        raise ArgumentError(
            f"no part of {edge} x {edge} pixels of an image of {image.shape} is apart from the one at {apart_from}"
        )
    shape = tuple(fft.next_fast_len(n, real=True) for n in image.shape)
    spectra = {label: _spectrum(image == label, shape) for label in np.intersect1d(crop, image)}
    best = Nearest(np.inf, 0, 0, 0, False)
    for turns, mirrored, turned in _orientations(crop):
        there = _equal_pixels(turned, spectra, shape)[: allowed.shape[0], : allowed.shape[1]]
        equal = np.where(allowed, there, -1)
        row, column = map(int, np.unravel_index(int(equal.argmax()), equal.shape))
        distance = 1 - float(equal[row, column]) / edge**2
        if distance < best.distance:
            best = Nearest(distance, row, column, turns, mirrored)
    return best


def _orientations(crop: Labels) -> Iterator[tuple[int, bool, Labels]]:
    for mirrored in (False, True):
        for turns in range(4):
            yield turns, mirrored, np.rot90(crop[:, ::-1] if mirrored else crop, turns)


def _spectrum(mask: NDArray[np.bool_], shape: tuple[int, ...]) -> NDArray[np.complex128]:
    return np.asarray(fft.rfft2(mask.astype(np.float64), shape))


def _equal_pixels(
    crop: Labels, spectra: Mapping[int, NDArray[np.complex128]], shape: tuple[int, ...]
) -> NDArray[np.int64]:
    """Number of equal pixels for each place of the crop, by the spectrum of the image of each label."""
    total = np.zeros((shape[0], shape[1] // 2 + 1), np.complex128)
    for label, spectrum in spectra.items():
        total += spectrum * np.conj(_spectrum(crop == label, shape))
    return np.asarray(np.rint(fft.irfft2(total, shape)), np.int64)
