"""Estimators of surface, mean curvature and Euler number as weights on 2x2x2 configurations.

Every estimator is a vector `w` of 256 numbers, one per configuration, and `density(histogram, w,
spacing)` is the quantity per volume. The vector depends on the spacing of the voxels, the histogram
does not.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import combinations, product

import numpy as np
from numpy.typing import NDArray

from tim3d.errors import ArgumentError

Weights = NDArray[np.float64]
Spacing = tuple[float, float, float]
Offset = tuple[int, int, int]

#: The 13 directions (dz, dy, dx) to the 26 neighbours: 3 axes, 6 face and 4 space diagonals.
DIRECTIONS: tuple[Offset, ...] = (
    *((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    *((0, 1, 1), (0, 1, -1), (1, 0, 1), (1, 0, -1), (1, 1, 0), (1, -1, 0)),
    *((1, 1, 1), (1, 1, -1), (1, -1, 1), (1, -1, -1)),
)
_CORNERS: tuple[Offset, ...] = tuple(product((0, 1), repeat=3))  # type: ignore[arg-type]
# _BITS[code, corner] is 1 where the voxel at `_CORNERS[corner]` is inside; corner c is bit c, as in
# `voxel_configurations`.
_BITS = (np.arange(256)[:, None] >> np.arange(8) & 1).astype(np.float64)


def density(
    histogram: NDArray[np.int64], weights: Weights, spacing: Spacing = (1.0, 1.0, 1.0)
) -> NDArray[np.float64]:
    """Quantity per volume, from a histogram of configurations that counts octants or corners.

    Parameters
    ----------
    histogram : (..., 256) int64
        Counts from `tim3d.kernels.morphology.voxel_configurations`.
    weights : (256,) float64
        One of the vectors of this module, for the same spacing.
    spacing : (dz, dy, dx)
        Edge lengths of a voxel.

    Returns
    -------
    (...) float64
        ``histogram @ weights / (histogram.sum(-1) * dz * dy * dx)``, in the unit of the weights per
        volume.

    Examples
    --------
    >>> from tim3d.kernels.morphology.voxel_configurations import octant_histogram
    >>> cube = np.zeros((4, 4, 4), np.uint8)
    >>> cube[1:3, 1:3, 1:3] = 1
    >>> float(density(octant_histogram(cube, [1]), face_weights())) * 64
    24.0
    """
    return np.asarray(histogram @ weights / (histogram.sum(axis=-1) * math.prod(spacing)))


def volume_weights(spacing: Spacing = (1.0, 1.0, 1.0)) -> Weights:
    """Volume of the region per configuration: an eighth of a voxel for each of its voxels.

    >>> float(volume_weights()[255])
    1.0
    """
    return np.asarray(_BITS.sum(axis=1) / 8 * math.prod(spacing))


def pair_weights() -> NDArray[np.float64]:
    """Pairs of unequal neighbours per configuration along each of the 13 `DIRECTIONS`, (13, 256).

    A pair along an axis lies in 4 configurations, along a face diagonal in 2, along a space
    diagonal in 1; it counts 1/4, 1/2 and 1 in each.

    >>> pair_weights()[:, 0b00000001].tolist()[:4]      # one voxel inside: a quarter of a pair along every axis
    [0.25, 0.25, 0.25, 0.5]
    """
    return np.stack([_unequal(d) / 2 ** (3 - sum(map(abs, d))) for d in DIRECTIONS])


def direction_weights(spacing: Spacing = (1.0, 1.0, 1.0)) -> Weights:
    """Fraction of the unit sphere nearest to each of the 13 `DIRECTIONS` of a grid, (13,), sum 1.

    The fractions are the cells of the spherical Voronoi diagram of the 26 directions (dz i, dy j,
    dx k), opposite ones added; for cubic voxels they agree with Lehmann and Legland 2012 (Insight
    Journal).

    >>> direction_weights()[[0, 3, 9]].round(6).tolist()
    [0.091556, 0.073961, 0.070391]
    """
    return _direction_weights(check_spacing(spacing)).copy()


def crofton_weights(spacing: Spacing = (1.0, 1.0, 1.0)) -> Weights:
    """Surface area per configuration by Crofton's formula over 13 directions.

    Notes
    -----
    S = 2 V sum_d w_d N_d / |d| with the unequal pairs N_d, the physical length |d| of direction d,
    the volume V of a voxel and `direction_weights` w_d. Source: Legland, Kieu and Devaux 2007,
    doi:10.5566/ias.v26.p83-92, with the cells of the directions computed for every spacing.

    >>> round(float(crofton_weights()[0b00001111]), 4)      # a plane across z: 7.3 % low, as on every aligned face
    0.9266
    """
    return np.asarray(pair_areas(spacing) @ pair_weights())


def pair_areas(spacing: Spacing = (1.0, 1.0, 1.0)) -> Weights:
    """Area that a pair of unequal neighbours stands for along each of the 13 `DIRECTIONS`.

    >>> pair_areas()[[0, 3, 9]].round(4).tolist()      # an axis, a diagonal of a face, one of the cube
    [0.1831, 0.1046, 0.0813]
    """
    spacing = check_spacing(spacing)
    lengths = np.linalg.norm(np.array(DIRECTIONS) * spacing, axis=1)
    return np.asarray(2 * math.prod(spacing) * (direction_weights(spacing) / lengths))


def face_weights(spacing: Spacing = (1.0, 1.0, 1.0)) -> Weights:
    """Area of the voxel faces of the region's boundary per configuration; 50 % too large on a ball.

    >>> float(face_weights((2, 1, 1))[0b00001111])
    1.0
    """
    spacing = check_spacing(spacing)
    areas = [math.prod(spacing) / d for d in spacing]
    return np.array(areas) @ pair_weights()[:3]


def marching_cubes_weights(spacing: Spacing = (1.0, 1.0, 1.0)) -> Weights:
    """Area per configuration of the marching cubes mesh of the binary volume at level 1/2.

    Notes
    -----
    Cases of Lewiner et al. 2003, doi:10.1080/10867651.2003.10487582, as implemented in
    scikit-image. On a ball the area is 9 % too large at every resolution.

    >>> float(marching_cubes_weights()[0b00001111])
    1.0
    """
    return _mesh_areas(check_spacing(spacing)).copy()


def mean_curvature_weights(spacing: Spacing = (1.0, 1.0, 1.0)) -> Weights:
    """Integral of mean curvature per configuration; 4 pi R for a ball, pi (a + b + c) for a box.

    Notes
    -----
    Crofton's formula in planes, M = 2 pi sum_d w_d s_d chi_d: chi_d is the Euler number of the
    region on all lattice planes with normal d, s_d their distance, w_d the fraction of the sphere
    nearest to the normal. The 13 families have the Miller indices 100, 110 and 111; their normals
    and distances follow from the spacing. Source: Ohser and Muecklich 2000; Ohser, Nagel and
    Schladitz 2009, doi:10.5566/ias.v28.p77-92. Where two diagonal voxels of a square touch at an
    edge, the mean of both connectivities is used, so that a region and its complement have opposite
    values.

    >>> w = mean_curvature_weights()
    >>> bool(np.allclose(w, -w[::-1]))
    True
    """
    spacing = check_spacing(spacing)
    inverse = (1 / spacing[0], 1 / spacing[1], 1 / spacing[2])
    distances = 1 / np.linalg.norm(np.array(DIRECTIONS) * inverse, axis=1)
    planes = np.stack([_plane_euler(normal) for normal in DIRECTIONS])
    return np.asarray(2 * math.pi * (direction_weights(inverse) * distances) @ planes)


def euler_weights(connectivity: int = 26) -> Weights:
    """Euler number (components - tunnels + cavities) per configuration, for any spacing.

    Parameters
    ----------
    connectivity : {26, 6}
        Whether voxels of the region that share only an edge or a corner are connected (26) or not
        (6). The complement has the other connectivity.

    Raises
    ------
    ArgumentError
        If the connectivity is neither.

    Notes
    -----
    26: corners - edges + faces - voxels of the union of closed voxels; 6: the same for the dual
    complex of the complement. Source: Ohser and Muecklich 2000.

    >>> euler_weights(26)[[0b00000001, 0b10000001]].tolist(), euler_weights(6)[[0b00000001, 0b10000001]].tolist()
    ([0.125, -0.75], [0.125, 0.25])
    """
    if connectivity not in (6, 26):
        raise ArgumentError(f"connectivity is {connectivity!r}; use 26 or 6")
    count = volume_weights()
    if connectivity == 26:
        return _any(range(8)) - _sum(map(_any, _HALVES)) / 2 + _sum(map(_any, _EDGES)) / 4 - count
    return count - _sum(map(_all, _EDGES)) / 4 + _sum(map(_all, _HALVES)) / 2 - _all(range(8))


def check_spacing(spacing: Sequence[float]) -> Spacing:
    """Return the spacing as three floats, or raise `ArgumentError` unless positive and finite."""
    values = tuple(float(d) for d in spacing)
    if len(values) != 3 or not all(0 < d < math.inf for d in values):
        raise ArgumentError(
            f"spacing is {tuple(spacing)}; expected three positive lengths (dz, dy, dx)"
        )
    return (values[0], values[1], values[2])


_EDGES = [p for p in combinations(range(8), 2) if (p[0] ^ p[1]).bit_count() == 1]
_HALVES = [
    tuple(c for c in range(8) if _CORNERS[c][axis] == side) for axis in range(3) for side in (0, 1)
]


def _sum(vectors: Iterable[Weights]) -> Weights:
    return np.asarray(sum(vectors, np.zeros(256)))


def _any(corners: Sequence[int]) -> Weights:
    return np.asarray(_BITS[:, list(corners)].max(axis=1))


def _all(corners: Sequence[int]) -> Weights:
    return np.asarray(_BITS[:, list(corners)].min(axis=1))


def _unequal(direction: Offset) -> Weights:
    """Number of unequal pairs along a direction inside each configuration."""
    pairs = [
        (a, b)
        for a, b in product(range(8), repeat=2)
        if all(q - p == d for p, q, d in zip(_CORNERS[a], _CORNERS[b], direction, strict=True))
    ]
    return _sum(np.abs(_BITS[:, a] - _BITS[:, b]) for a, b in pairs)


@lru_cache(maxsize=32)
def _direction_weights(spacing: Spacing) -> Weights:
    from scipy.spatial import (
        SphericalVoronoi,  # a third of the time of a plan, which has no use for it
    )

    vectors = np.array(DIRECTIONS) * spacing
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cells = SphericalVoronoi(np.concatenate([unit, -unit])).calculate_areas()
    return np.asarray(cells[:13] / (2 * math.pi))


@lru_cache(maxsize=32)
def _mesh_areas(spacing: Spacing) -> Weights:
    return np.array([_mesh_area(triangles * spacing) for triangles in _meshes()])


def _plane_euler(normal: Offset) -> Weights:
    """Euler number per configuration on the lattice planes of one normal, by the planes' cells."""
    levels = np.array(_CORNERS) @ normal
    cells = [np.flatnonzero(levels == level).tolist() for level in np.unique(levels)]
    cells = [cell for cell in cells if len(cell) > 2]
    # A face of the 2x2x2 block belongs to two blocks, a cell across the block to this one only.
    share = 0.5 if sum(map(abs, normal)) == 1 else 1.0
    return share * _sum(_square_euler(c) if len(c) == 4 else _triangle_euler(c) for c in cells)


def _square_euler(cell: list[int]) -> Weights:
    """Mean of the 8-connected (corner, sides, pixels) and 4-connected (pixels, sides, square)."""
    # In both kinds of cell the corners are in lexical order, so 0-3 and 1-2 are the diagonals.
    a, b, c, d = cell
    sides = [(a, b), (a, c), (b, d), (c, d)]
    count = _sum(_BITS[:, c] for c in cell) / 4
    touching = _any(cell) - _sum(map(_any, sides)) / 2 + count
    apart = count - _sum(map(_all, sides)) / 2 + _all(cell)
    return (touching + apart) / 2


def _triangle_euler(cell: list[int]) -> Weights:
    """Euler number of a cell: points (in six triangles each) - sides (in two each) + triangles."""
    sides = list(combinations(cell, 2))
    return _sum(_BITS[:, c] for c in cell) / 6 - _sum(map(_all, sides)) / 2 + _all(cell)


@lru_cache(maxsize=1)
def _meshes() -> tuple[NDArray[np.float64], ...]:
    """Triangles (n, 3, 3) of each configuration on the unit cube."""
    empty = np.zeros((0, 3, 3))
    return (empty, *(_mesh(bits.reshape(2, 2, 2)) for bits in _BITS[1:255]), empty)


def _mesh(cell: NDArray[np.float64]) -> NDArray[np.float64]:
    from skimage.measure import marching_cubes

    vertices, faces, _, _ = marching_cubes(cell, 0.5)  # type: ignore[no-untyped-call]
    return np.asarray(vertices[faces], dtype=np.float64)


def _mesh_area(triangles: NDArray[np.float64]) -> float:
    edges = triangles[:, 1:] - triangles[:, :1]
    return float(np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1).sum() / 2)
