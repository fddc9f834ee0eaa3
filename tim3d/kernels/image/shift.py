"""Displacement of one image against another, to a fraction of a pixel, by phase correlation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple, TypeAlias

import numba as nb
import numpy as np
import numpy.typing as npt

from tim3d.lazy import fft

Image: TypeAlias = npt.NDArray[Any]
Reals: TypeAlias = npt.NDArray[np.float32]
Spectrum: TypeAlias = npt.NDArray[np.complex64]
Point: TypeAlias = tuple[float, float]

# Standard deviation of the Gaussian weight of the spectrum, in cycles per pixel: uncorrelated noise
# fills all frequencies, structure the low ones.
BAND = 0.12
# Around the highest pixel the correlation is computed on a grid of this step, in pixels.
_STEP = 0.1
_GRID = np.arange(-10, 11) * _STEP
# Most rows and columns of a tile, and the share of an image that its four tiles cover.
LARGEST_TILE = 512
SHARE_OF_TILES = 8
SMALLEST_TILE = 256
# By how much a correlation of grey values must be higher to count for more than that of the phases.
CLEARLY = 0.1


class Shift(NamedTuple):
    """Displacement of the second image against the first, in pixels.

    Attributes
    ----------
    y, x : float
        Rows and columns by which the content moved.
    error : float
        Standard error of the displacement (of its length), from two halves of the tiles that do not
        overlap; NaN of a single tile.
    correlation : float
        Pearson correlation of the pixels that overlap after the displacement in whole pixels, from
        every second row and column.
    """

    y: float
    x: float
    error: float
    correlation: float


@dataclass(frozen=True, eq=False)
class Tiles:
    """One or four tiles of an image, and their spectra.

    Four tiles lie in the middles of the quarters of the image. What moves with the stage moves in
    all of them; what changes in the material differs from tile to tile.
    """

    images: tuple[Image, ...]
    spectra: tuple[Spectrum, ...]

    @classmethod
    def of(cls, images: Sequence[Image]) -> Tiles:
        """Tiles of equal shape."""
        return cls(tuple(images), tuple(fft.rfft2(_windowed(one)) for one in images))

    @classmethod
    def quarters(cls, image: Image) -> Tiles:
        """Four tiles that cover an eighth of the image, at least 256 and at most 512 pixels long."""
        rows, columns = (_middles(n, tile_edge(image.shape, n)) for n in image.shape)
        return cls.of([image[y, x].copy() for y in rows for x in columns])

    def shift_to(self, other: Tiles) -> Shift:
        """Displacement of another image against this one."""
        shape = self.images[0].shape
        powers = [_cross_power(a, b) for a, b in zip(self.spectra, other.spectra, strict=True)]
        y, x = _peak(powers, shape)
        error = math.nan
        if len(powers) == 4:
            (y1, x1), (y2, x2) = _peak(powers[::3], shape), _peak(powers[1:3], shape)
            error = math.hypot(y1 - y2, x1 - x2) / 2
        return Shift(y, x, error, _likeness(self.images, other.images, round(y), round(x)))


def shift_between(first: Image, second: Image) -> Shift:
    """Displacement of the content of `second` against that of `first`, from the whole images.

    The phases of the cross-power spectrum, weighted by a Gaussian of `BAND`, are transformed back;
    the highest pixel is refined by the same sum on a grid of 1/10 pixel and by a parabola there.
    Edges are faded out by a Hann window: the displacement must stay below a quarter of the image.
    What the window fades does not move with the content, which draws displacements of a smooth image
    towards zero: up to half a pixel in 64, a tenth in 250.

    Parameters
    ----------
    first, second : (y, x) of real numbers
        Images of equal shape.

    References
    ----------
    Kuglin, Hines, Proc. IEEE Int. Conf. Cybernetics and Society (1975) 163.
    Guizar-Sicairos, Thurman, Fienup, Opt. Lett. 33 (2008) 156, https://doi.org/10.1364/OL.33.000156

    Examples
    --------
    >>> image = np.random.default_rng(0).random((64, 64))
    >>> found = shift_between(image, np.roll(image, (3, -2), (0, 1)))
    >>> round(found.y, 1), round(found.x, 1), found.correlation > 0.99
    (3.0, -2.0, True)
    """
    return Tiles.of([first]).shift_to(Tiles.of([second]))


def whole_shift(first: Image, second: Image) -> tuple[int, int]:
    """Displacement of the content of `second` against that of `first` in whole pixels, by phase correlation.

    Phases of a small image with few features may agree by chance, far from the displacement: that of the
    highest correlation of grey values is taken where the images are clearly more alike after it.

    Examples
    --------
    >>> image = np.random.default_rng(0).random((64, 64))
    >>> whole_shift(image, np.roll(image, (3, -2), (0, 1)))
    (3, -2)
    """
    spectra = [fft.rfft2(_windowed(one)) for one in (first, second)]
    power = _cross_power(*spectra)
    if not power.any():
        return 0, 0
    found = _highest(power, first.shape)
    plain = _highest(np.conj(spectra[0]) * spectra[1], first.shape)
    return plain if _clearly_better(first, second, plain, found) else found


def _clearly_better(
    first: Image, second: Image, one: tuple[int, int], other: tuple[int, int]
) -> bool:
    if one == other:
        return False
    likeness = [_likeness([first], [second], *place) for place in (one, other)]
    return likeness[0] > likeness[1] + CLEARLY


def tile_edge(shape: tuple[int, ...], length: int) -> int:
    """Edge of the tiles of an image along an axis of a length, in pixels.

    >>> tile_edge((1024, 1024), 1024), tile_edge((8192, 8192), 8192), tile_edge((250, 400), 250)
    (256, 512, 125)
    """
    by_share = math.isqrt(math.prod(shape) // (4 * SHARE_OF_TILES)) // 32 * 32
    return min(length // 2, max(SMALLEST_TILE, min(LARGEST_TILE, by_share)))


def _middles(length: int, edge: int) -> tuple[slice, slice]:
    """Ranges of an edge in the middles of both halves of a length."""
    gap = (length // 2 - edge) // 2
    return slice(gap, gap + edge), slice(length - gap - edge, length - gap)


def _windowed(image: Image) -> Reals:
    """Image without its mean, faded out towards its edges."""
    values = np.asarray(image, np.float32)
    rows, columns = (_hann(n) for n in values.shape)
    return np.asarray((values - values.mean()) * rows[:, None] * columns[None, :])


@cache
def _hann(n: int) -> Reals:
    return np.asarray(0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(n) + 0.5) / n), np.float32)


def _cross_power(first: Spectrum, second: Spectrum) -> Spectrum:
    """Phase differences of two spectra, weighted; zero where either vanishes, and for the mean."""
    product = np.conj(first) * second
    weighted = product * (_weights(product.shape) / np.maximum(np.abs(product), np.float32(1e-20)))
    weighted[0, 0] = 0
    return np.asarray(weighted, np.complex64)


@cache
def _weights(shape: tuple[int, int]) -> Reals:
    rows = fft.fftfreq(shape[0])[:, None]
    columns = (np.arange(shape[1]) / (2 * shape[1] - 2))[None, :] if shape[1] > 1 else rows[:1]
    return np.asarray(np.exp(-(rows**2 + columns**2) / (2 * BAND**2)), np.float32)


def _peak(powers: Sequence[Spectrum], shape: tuple[int, ...]) -> Point:
    """Displacement at which the correlation of all tiles together is highest."""
    power = np.asarray(sum(powers[1:], powers[0]))
    return _refined(power, shape, _highest(power, shape)) if power.any() else (0.0, 0.0)


def _highest(power: Spectrum, shape: tuple[int, ...]) -> tuple[int, int]:
    """Displacement in whole pixels at which the correlation is highest."""
    surface = fft.irfft2(power, s=shape)
    place = np.unravel_index(int(np.argmax(surface)), surface.shape)
    row, column = (int(i) - n if i > n // 2 else int(i) for i, n in zip(place, shape, strict=True))
    return row, column


def _refined(power: Spectrum, shape: tuple[int, ...], start: tuple[int, int]) -> Point:
    """Highest place of the correlation around a pixel, from its Fourier sum on a finer grid."""
    ys, xs = start[0] + _GRID, start[1] + _GRID
    frequencies = fft.rfftfreq(shape[1])
    # All but these frequencies of a real transform stand for their mirror image too.
    twice = np.where((frequencies == 0) | (frequencies == 0.5), 1.0, 2.0)
    rows = np.exp(2j * np.pi * np.outer(ys, fft.fftfreq(shape[0])))
    columns = np.exp(2j * np.pi * np.outer(frequencies, xs)) * twice[:, None]
    # Not products of BLAS, whose last bits depend on where the arrays lie in memory.
    fine = _product(_product(rows.astype(np.complex64), power), columns.astype(np.complex64)).real
    i, j = (int(k) for k in np.unravel_index(int(np.argmax(fine)), fine.shape))
    return (
        float(ys[i] + _STEP * _vertex(fine[:, j], i)),
        float(xs[j] + _STEP * _vertex(fine[i, :], j)),
    )


@nb.njit(nogil=True, cache=True)
def _product(left, right):  # type: ignore[no-untyped-def]
    """Product of two matrices; every element is summed in the order of the rows of `right`."""
    out = np.zeros((left.shape[0], right.shape[1]), np.complex64)
    for k in range(right.shape[0]):
        for i in range(left.shape[0]):
            for j in range(right.shape[1]):
                out[i, j] += left[i, k] * right[k, j]
    return out


def _vertex(values: Image, place: int) -> float:
    """Place of the vertex of the parabola through a value and its neighbours, relative to it.

    >>> _vertex(np.array([0.0, 2.0, 4.0, 3.0]), 2)
    0.16666666666666666
    """
    if not 0 < place < len(values) - 1:
        return 0.0
    low, middle, high = (float(v) for v in values[place - 1 : place + 2])
    bend = low - 2 * middle + high
    return 0.5 * (low - high) / bend if bend < 0 else 0.0


def _likeness(first: Sequence[Image], second: Sequence[Image], y: int, x: int) -> float:
    """Pearson correlation of all tiles after a displacement in whole pixels; 0 without contrast."""
    overlaps = [_overlap(a, b, y, x)[:, ::2, ::2] for a, b in zip(first, second, strict=True)]
    a, b = (np.concatenate([one[side].ravel() for one in overlaps]) for side in (0, 1))
    if not a.size:
        return 0.0
    a, b = (np.asarray(v - v.mean(dtype=np.float64), np.float32) for v in (a, b))
    # Not products of BLAS, whose last bits depend on where the arrays lie in memory.
    ab, aa, bb = (float(np.sum(u * v, dtype=np.float64)) for u, v in ((a, b), (a, a), (b, b)))
    size = math.sqrt(aa * bb)
    return ab / size if size else 0.0


def _overlap(first: Image, second: Image, y: int, x: int) -> Image:
    """Return both images where they overlap, as one array."""
    rows, columns = first.shape
    return np.stack(
        [
            first[max(0, -y) : rows - max(0, y), max(0, -x) : columns - max(0, x)],
            second[max(0, y) : rows + min(0, y), max(0, x) : columns + min(0, x)],
        ]
    )
