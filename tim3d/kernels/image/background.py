"""Slow background of a slice: shading by the detector, and charging.

The background is what is left of a slice beside its phases (`phase_model`), smoothed by a Gaussian
whose standard deviation is the scale. A feature about as wide as the scale that no threshold
separates from its surroundings is taken for background: the scale must be larger than the features.
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from tim3d.errors import ArgumentError
from tim3d.kernels.image.phase_model import Floats, Grey, check_phases, phase_means
from tim3d.lazy import ndimage

Removal: TypeAlias = Literal["subtract", "divide"]
# Cells to a standard deviation: linear interpolation between them is off by 1/512 of the amplitude.
CELLS = 8
# Least background that is divided by, as a fraction of its mean.
LEAST = np.float32(0.05)


def background(
    grey: Grey,
    scale: tuple[float, float],
    phases: int = 2,
    removal: Removal = "subtract",
    rounds: int = 6,
) -> Floats:
    """Background of a slice: mean 0 in grey levels to be subtracted, or mean 1 to be divided by.

    Parameters
    ----------
    grey : array (y, x)
        Grey values of a whole slice.
    scale : (y, x)
        Standard deviation of the Gaussian along each axis, in pixels.
    phases : int
        Phases that a threshold separates in the slice; 1 takes the grey values as they are.
    removal : {"subtract", "divide"}
        Whether the background adds to the grey values (charging) or multiplies them (shading).
    rounds : int
        How often phases and background are estimated in turn; each time what is still left of the
        background is added, as one smoothing takes the top off a background that is not much slower
        than the scale.

    Returns
    -------
    float32 array (y, x)

    Raises
    ------
    ArgumentError
        If the scale is below one pixel, or another argument is out of range.

    Notes
    -----
    The first background is the smoothed slice itself, against which phases are first separated. The
    smoothing is done on the means of cells an eighth of the scale wide, with weights that fall to
    nothing at the border of the slice, and interpolated linearly.

    References
    ----------
    Wells, Grimson, Kikinis, Jolesz, IEEE Trans. Med. Imaging 15 (1996) 429. DOI 10.1109/42.511747
    (bias field from the residual to classes, in turn with the classes).

    Examples
    --------
    >>> slope = np.linspace(-20, 20, 64)
    >>> found = background(100 + np.tile(slope, (64, 1)), (8.0, 8.0), phases=1)
    >>> bool(abs(found[:, 20:44] - slope[20:44]).max() < 0.1)
    True
    """
    check_background(scale, phases, removal, rounds)
    values = grey.astype(np.float32)
    model = np.full_like(values, values.mean(dtype=np.float64))
    if phases > 1:
        first = _smooth_part(values, model, scale, removal)
        model = phase_means(without(values, first, removal), phases)
    found = _smooth_part(values, model, scale, removal)
    for _ in range(rounds - 1):
        left = without(values, found, removal)
        if phases > 1:
            model = phase_means(left, phases)
        found = _joined(found, _smooth_part(left, model, scale, removal), removal)
    return found


def _joined(found: Floats, more: Floats, removal: Removal) -> Floats:
    if removal == "subtract":
        return found + more
    both = found * more
    return np.asarray(np.maximum(both / np.float32(both.mean(dtype=np.float64)), LEAST))


def without(grey: Grey, shading: Floats, removal: Removal) -> Floats:
    """Grey values of a slice without its background, float32.

    Subtracting changes neither noise nor edges; dividing scales both as it scales the contrast.

    >>> without(np.array([[50.0, 80.0]]), np.array([[0.5, 2.0]], np.float32), "divide").tolist()
    [[100.0, 40.0]]
    """
    values = grey.astype(np.float32)
    return values - shading if removal == "subtract" else values / shading


def check_background(scale: tuple[float, float], phases: int, removal: str, rounds: int) -> None:
    """Raise `ArgumentError` unless the arguments of `background` are within their ranges."""
    check_phases(phases)
    if not all(1 <= edge < math.inf for edge in scale):
        raise ArgumentError(f"the scale of a background must be 1 pixel or more, got {scale}")
    if rounds < 1:
        raise ArgumentError(f"a background needs 1 round or more, got {rounds}")
    if removal not in get_args(Removal):
        raise ArgumentError(f"removal must be one of {get_args(Removal)}, got {removal!r}")


def _smooth_part(
    values: Floats, model: Floats, scale: tuple[float, float], removal: Removal
) -> Floats:
    cells = tuple(max(1, int(s / CELLS)) for s in scale)
    sigma = [s / c for s, c in zip(scale, cells, strict=True)]
    weight = _smooth(_cell_sums(np.ones_like(values), cells), sigma)
    grey, steps = (_smooth(_cell_sums(v, cells), sigma) / weight for v in (values, model))
    coarse = grey - steps if removal == "subtract" else grey / np.where(steps > 0, steps, 1)
    fine = _interpolated(coarse, cells, values.shape)
    if removal == "subtract":
        return fine - np.float32(fine.mean(dtype=np.float64))
    mean = fine.mean(dtype=np.float64)
    return np.asarray(np.maximum(fine / np.float32(mean if mean > 0 else 1), LEAST))


def _cell_sums(values: Floats, cells: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """Sums over cells; those at the end may have fewer pixels."""
    rows = np.add.reduceat(
        values, np.arange(0, values.shape[0], cells[0]), axis=0, dtype=np.float64
    )
    return np.asarray(np.add.reduceat(rows, np.arange(0, values.shape[1], cells[1]), axis=1))


def _smooth(cells: npt.NDArray[np.float64], sigma: list[float]) -> npt.NDArray[np.float64]:
    return np.asarray(ndimage.gaussian_filter(cells, sigma, mode="constant"))


def _interpolated(
    coarse: npt.NDArray[np.float64], cells: tuple[int, ...], shape: tuple[int, ...]
) -> Floats:
    """Linear interpolation between the centres of the cells; constant beyond the outermost."""
    fine = coarse.astype(np.float32)
    for axis in (0, 1):
        place = (np.arange(shape[axis]) + 0.5) / cells[axis] - 0.5
        place = place.clip(0, coarse.shape[axis] - 1)
        first = np.minimum(place.astype(np.int64), max(coarse.shape[axis] - 2, 0))
        second = np.minimum(first + 1, coarse.shape[axis] - 1)
        part = (place - first).astype(np.float32).reshape((-1, 1) if axis == 0 else (1, -1))
        near, far = (np.take(fine, index, axis=axis) for index in (first, second))
        fine = near + part * (far - near)
    return fine
