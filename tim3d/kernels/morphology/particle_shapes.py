"""Sizes and shapes of particles from whole numbers of voxels, and weights that correct for the border."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tim3d.grid import Triple
from tim3d.kernels.morphology.instances import PRODUCT_AXES
from tim3d.lazy import spatial

Counts: TypeAlias = NDArray[np.int64]
Values: TypeAlias = NDArray[np.float64]


def central_moments(voxels: Counts, sums: Counts, products: Counts) -> tuple[Values, Values]:
    """Centroid and second central moments in voxels.

    Integers are shifted to a voxel near the centroid before anything is rounded, so that a small
    particle far from the origin loses no digit. Sums beyond 2^63 wrap, and the shift undoes it.

    Parameters
    ----------
    voxels : (n,) int64
        Number of voxels.
    sums, products : (n, 3), (n, 6) int64
        Sums of z, y, x, and of zz, yy, xx, zy, zx, yx over the voxels.

    Returns
    -------
    centroid : (n, 3) float64
        In voxels; the first voxel has its centre at 0.
    moments : (n, 3, 3) float64
        Mean products of deviations, each voxel as a box: 1/12 on the diagonal for its own.

    Examples
    --------
    >>> two = np.array([2])
    >>> centroid, moments = central_moments(two, np.array([[0, 0, 1]]), np.array([[0, 0, 1, 0, 0, 0]]))
    >>> centroid.tolist(), moments[0].diagonal().tolist()[2] * 12
    ([[0.0, 0.0, 0.5]], 4.0)
    """
    near = sums // voxels[:, None]
    rest = (sums - near * voxels[:, None]) / voxels[:, None]
    moments = np.zeros((len(voxels), 3, 3))
    for column, (a, b) in enumerate(PRODUCT_AXES):
        shifted = (
            products[:, column] - near[:, a] * sums[:, b] - near[:, b] * sums[:, a]
            + near[:, a] * near[:, b] * voxels
        )  # fmt: skip
        moments[:, a, b] = moments[:, b, a] = shifted / voxels - rest[:, a] * rest[:, b]
    return near + rest, moments + np.eye(3) / 12


def ellipsoid(moments: Values, spacing: Sequence[float]) -> tuple[Values, Values]:
    """Axes of the ellipsoid, or in a plane of the ellipse, with the same second moments.

    Parameters
    ----------
    moments : (n, d, d) float64
        See `central_moments`; of a plane those along its two axes.
    spacing : sequence of d floats
        Edges of a voxel in nm.

    Returns
    -------
    lengths : (n, d) float64
        Whole axes in nm, the longest first.
    directions : (n, d, d) float64
        Unit vectors of each of them; the largest component is positive.

    Examples
    --------
    >>> lengths, directions = ellipsoid(np.diag([4.0, 1.0, 9.0])[None] / 5, (1, 1, 1))
    >>> lengths.round(6).tolist(), directions[0, 0].tolist()
    ([[6.0, 4.0, 2.0]], [0.0, 0.0, 1.0])
    """
    edges = np.array(spacing)
    squares, vectors = np.linalg.eigh(moments * edges[:, None] * edges)
    directions = np.swapaxes(vectors, 1, 2)[:, ::-1]
    largest = np.abs(directions).argmax(axis=2)[..., None]
    signs = np.sign(np.take_along_axis(directions, largest, axis=2))
    # A ball of d dimensions and radius R has a second moment of R^2 / (d + 2) along every axis.
    inverse = len(edges) + 2
    return 2 * np.sqrt(inverse * np.maximum(squares[:, ::-1], 0)), directions * signs


def diameters(content: Values, dimensions: int = 3) -> Values:
    """Diameter of the ball of the same volume; of the disc of the same area; a length is its own.

    >>> float(diameters(np.array(np.pi / 6))), float(diameters(np.array(np.pi / 4), dimensions=2))
    (1.0, 1.0)
    """
    if dimensions == 2:
        return np.asarray(np.sqrt(4 * content / math.pi))
    return np.asarray(np.cbrt(6 * content / math.pi) if dimensions == 3 else content)


def sphericities(volume: Values, surface: Values) -> Values:
    """Surface of the ball of the same volume over the surface.

    >>> round(float(sphericities(np.array(1.0), np.array(6.0))), 4)    # a cube
    0.806
    """
    return np.asarray(np.cbrt(math.pi * (6 * volume) ** 2) / surface)


def border_weights(start: Counts, stop: Counts, shape: Triple) -> Values:
    """Inverse of the chance that a particle that is met lies within the volume; 0 on its border.

    A bounding box of l voxels that keeps clear of the outermost planes of n voxels has n - 1 - l
    places along an axis, and a particle of a volume without a border has n.

    Parameters
    ----------
    start, stop : (n, 3) int64
        Bounding boxes in voxels, half-open.
    shape : (z, y, x)
        Voxels of the volume. An axis of one voxel has no border: a plane cuts all particles.

    References
    ----------
    R. E. Miles, On the elimination of edge effects in planar sampling, in Stochastic Geometry (1974)
    228-247. C. Lantuéjoul, On the estimation of mean values in individual analysis of particles,
    Microscopica Acta Suppl. 4 (1980) 266-273.

    Examples
    --------
    >>> border_weights(np.array([[1, 2, 3], [0, 2, 3]]), np.array([[3, 4, 5]] * 2), (12, 12, 12)).round(3).tolist()
    [2.37, 0.0]
    """
    lengths = np.array(shape)
    axes = lengths > 1
    inside = ((start > 0) & (stop < lengths))[:, axes].all(axis=1)
    places = np.maximum(lengths - 1 - (stop - start), 1)[:, axes]
    return np.where(inside, np.prod(lengths[axes] / places, axis=1), 0.0)


def nearest(points: Values) -> tuple[Values, Counts]:
    """Distance from each point to the nearest other one, and its row; nan and -1 for a single point.

    >>> nearest(np.array([[0.0, 0, 0], [0, 0, 3], [0, 4, 0]]))[0].tolist()
    [3.0, 3.0, 4.0]
    """
    if len(points) < 2:
        return np.full(len(points), np.nan), np.full(len(points), -1)
    lengths, rows = spatial.cKDTree(points).query(points, k=2)
    # Of two points at one place either may come first.
    itself = rows[:, 0] == np.arange(len(points))
    return lengths[:, 1], np.where(itself, rows[:, 1], rows[:, 0])


def weighted_quantiles(values: Values, weights: Values, levels: Values) -> Values:
    """Smallest values up to which shares of the weight lie; nan without any weight.

    >>> weighted_quantiles(np.array([3.0, 1.0, 2.0]), np.array([1.0, 2.0, 1.0]), np.array([0.5, 0.75])).tolist()
    [1.0, 2.0]
    """
    order = np.argsort(values, kind="stable")
    values, weights = values[order], weights[order]
    below = np.cumsum(weights)
    if not len(below) or not below[-1]:
        return np.full(len(levels), np.nan)
    # Sums are rounded: a level that is met to the last digits counts as met.
    places = np.searchsorted(below / below[-1], levels - 1e-12)
    return np.asarray(values[np.minimum(places, len(values) - 1)])
