"""Descriptors of phases in a plane: area, length of boundary, chords, features.

The length of boundary per area is Crofton's: with P_L(k) the number of changes between inside and
outside per length of test lines in direction k,

    L_A = (pi / 2) * sum over k of w(k) P_L(k)

over the four directions of pixel neighbours, whose weights w are the shares of the half circle
nearest to each. No line leaves the image, so that its border counts neither as boundary nor as
area. Isotropic boundaries are met without bias; a straight edge is estimated 5.2 % low along the
rows to 2.6 % high between two directions, on square pixels.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tim3d.grid import triple
from tim3d.kernels.morphology.components import label_block, tabulate

Mask: TypeAlias = NDArray[np.bool_]
Floats: TypeAlias = NDArray[np.float64]
# Offsets (y, x) of the four directions of pixel neighbours.
DIRECTIONS = ((0, 1), (1, 1), (1, 0), (1, -1))
# Neighbours of a pixel, and those of a voxel in a volume of one slice.
CONNECTIVITY = {4: 6, 8: 26}


def direction_weights(pixel: tuple[float, float]) -> Floats:
    """Weights of the four directions, with the sum 1; `pixel` is its edges (dy, dx).

    >>> direction_weights((1.0, 1.0)).tolist()
    [0.25, 0.25, 0.25, 0.25]
    """
    steep = math.atan2(*pixel) / math.pi  # of the diagonal, in half circles
    return np.array([steep, 0.25, 0.5 - steep, 0.25])


def boundary_per_area(mask: Mask, pixel: tuple[float, float] = (1.0, 1.0)) -> float:
    """Length of the boundary of a region per area of the image, in 1 / unit of the pixel.

    Parameters
    ----------
    mask : (y, x) bool
        The region.
    pixel : (dy, dx)
        Edges of a pixel.

    Returns
    -------
    float
        nan where the image has less than two rows or columns.

    References
    ----------
    J. Ohser, K. Schladitz, 3D Images of Materials Structures, doi:10.1002/9783527628308.

    Examples
    --------
    >>> y, x = np.mgrid[:400, :400] - 199.5
    >>> disc = x**2 + y**2 < 150**2
    >>> round(boundary_per_area(disc) * disc.size / (2 * np.pi * 150), 2)
    1.0
    """
    if min(mask.shape) < 2:
        return math.nan
    per_length = [
        _changes(mask, *d) / math.hypot(d[0] * pixel[0], d[1] * pixel[1]) for d in DIRECTIONS
    ]
    return float(math.pi / 2 * (direction_weights(pixel) @ per_length))


def _changes(mask: Mask, down: int, right: int) -> float:
    """Share of the pairs of pixels at an offset of which one lies in the region."""
    one, other = _pairs(mask, down, right)
    return float(np.mean(one != other))


def _pairs(values: NDArray[Any], down: int, right: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Values at both ends of every pair of pixels at an offset."""
    rows, columns = values.shape
    one = values[: rows - down, max(0, -right) : columns - max(0, right)]
    return one, values[down:, max(0, right) : columns + min(0, right)]


def mean_chord(fraction: float, boundary: float) -> float:
    """Mean length of chords in a region, from its area fraction and boundary per area.

    By the formula pi A_A / L_A, over lines of all directions; nan without a boundary.

    >>> round(mean_chord(np.pi * 0.3**2, 2 * np.pi * 0.3), 6) == round(np.pi * 0.3 / 2, 6)
    True
    """
    return math.pi * fraction / boundary if boundary > 0 else math.nan


def features(mask: Mask, connectivity: int = 8) -> tuple[NDArray[np.int64], Mask]:
    """Pixels of each connected feature of a region, and whether the border of the image cuts it.

    Parameters
    ----------
    mask : (y, x) bool
        The region.
    connectivity : {4, 8}
        Neighbours share an edge; or also a corner.

    Returns
    -------
    pixels : (n,) int64
    cut : (n,) bool

    Examples
    --------
    >>> pixels, cut = features(np.array([[0, 0, 0, 0], [0, 1, 0, 1], [0, 0, 0, 0]], bool))
    >>> pixels.tolist(), cut.tolist()
    ([1, 1], [False, True])
    """
    volume = mask[None].astype(np.uint8)
    ids = label_block(volume, (1,), CONNECTIVITY[connectivity])
    found = tabulate(ids, volume, (0, 0, 0), triple(volume.shape))
    cut = found.touches(triple(volume.shape))[:, 1:].any(axis=(1, 2))
    return found.voxels, np.asarray(cut, bool)


def equivalent_diameters(pixels: NDArray[np.int64], pixel: tuple[float, float]) -> Floats:
    """Diameters of the discs of equal area, in the unit of the pixel.

    >>> equivalent_diameters(np.array([4]), (1.0, np.pi)).tolist()
    [4.0]
    """
    return np.asarray(np.sqrt(4 / math.pi * (pixels * (pixel[0] * pixel[1]))))


def feature_shape_index(
    mask: Mask, pixel: tuple[float, float] = (1.0, 1.0), connectivity: int = 8
) -> float:
    """Mean shape index of the connected features of a region, weighted by their areas, without unit.

    Perimeter / (2 sqrt(pi area)) of each feature, with the perimeter as in `boundary_per_area`: 1 for a
    disc of many pixels, and about 0.76 for a single pixel; the border of the image does not count.

    Parameters
    ----------
    mask : (y, x) bool
        The region.
    pixel : (dy, dx)
        Edges of a pixel.
    connectivity : {4, 8}
        Neighbours share an edge; or also a corner.

    Returns
    -------
    float
        nan without a feature.

    Examples
    --------
    >>> y, x = np.mgrid[:400, :400] - 199.5
    >>> round(feature_shape_index(x**2 + y**2 < 150**2), 2)
    1.0
    """
    ids = label_block(mask[None].astype(np.uint8), (1,), CONNECTIVITY[connectivity])[0]
    sizes = np.bincount(ids.ravel())
    area = math.prod(pixel)
    perimeter = np.zeros(len(sizes))
    for (down, right), weight in zip(DIRECTIONS, direction_weights(pixel), strict=True):
        one, other = _pairs(ids, down, right)
        ends = np.concatenate([side[one != other] for side in (one, other)])
        lines = area / math.hypot(down * pixel[0], right * pixel[1])
        perimeter += math.pi / 2 * weight * lines * np.bincount(ends, minlength=len(sizes))
    areas = sizes[1:] * area
    found = perimeter[1:] / (2 * np.sqrt(math.pi * areas))
    return float(found @ areas / areas.sum()) if len(areas) else math.nan
