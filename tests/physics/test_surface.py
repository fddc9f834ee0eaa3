"""Estimators on bodies whose surface, curvature and Euler number are known, isotropic and anisotropic."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from skimage.measure import marching_cubes, mesh_surface_area

from tim3d.errors import ArgumentError
from tim3d.kernels.morphology.gradient_area import gradient_area, gradient_quantum
from tim3d.kernels.morphology.surface import (
    DIRECTIONS,
    Spacing,
    crofton_weights,
    density,
    direction_weights,
    euler_weights,
    face_weights,
    marching_cubes_weights,
    mean_curvature_weights,
    volume_weights,
)
from tim3d.kernels.morphology.voxel_configurations import configuration_histogram, octant_histogram

SPACINGS: list[Spacing] = [(1, 1, 1), (2, 1, 1), (3, 1, 1), (5, 1, 1)]


def coordinates(shape: tuple[int, int, int], spacing: Spacing) -> list[NDArray[np.float64]]:
    axes = [(np.arange(n) - (n - 1) / 2) * d for n, d in zip(shape, spacing, strict=True)]
    return list(np.meshgrid(*axes, indexing="ij", sparse=True))


def ball(radius: float, spacing: Spacing) -> NDArray[np.uint8]:
    shape = tuple(2 * math.ceil(radius / d) + 12 for d in spacing)
    z, y, x = coordinates(shape, spacing)  # off the symmetric centre, which no scan hits
    return ((z - 0.2) ** 2 + (y - 0.31) ** 2 + (x + 0.17) ** 2 <= radius**2).astype(np.uint8)


def box(inner: tuple[int, int, int]) -> NDArray[np.uint8]:
    return np.pad(np.ones(inner, np.uint8), 3)


def half_space(
    normal: tuple[float, float, float], spacing: Spacing, edge: int = 40
) -> NDArray[np.uint8]:
    z, y, x = coordinates((edge, edge, edge), spacing)
    return (normal[0] * z + normal[1] * y + normal[2] * x > 0.13).astype(np.uint8)


@pytest.mark.parametrize(
    ("spacing", "expected"),
    [
        ((1, 1, 1), (0.091556, 0.091556, 0.073961, 0.073961, 0.070391)),
        ((2, 1, 1), (0.033480, 0.125340, 0.112580, 0.050269, 0.072401)),
        ((3, 1, 1), (0.016318, 0.140089, 0.131400, 0.036207, 0.073969)),
        ((5, 1, 1), (0.006180, 0.153218, 0.148305, 0.022555, 0.075139)),
    ],
)
def test_direction_weights_are_the_published_cells(
    spacing: Spacing, expected: tuple[float, ...]
) -> None:
    weights = direction_weights(spacing)
    assert weights[[0, 1, 3, 5, 9]].round(6) == pytest.approx(expected, abs=1e-9)
    assert weights.sum() == pytest.approx(1, abs=1e-12)


def test_cubic_direction_weights_have_twelve_digits() -> None:
    cells = (0.04577789120476, 0.03698062787608, 0.03519563978232)
    assert direction_weights()[[0, 3, 9]] / 2 == pytest.approx(cells, abs=1e-12)


@pytest.mark.parametrize("unit", [1e-9, 1e6])
def test_weights_scale_with_the_unit_of_length(unit: float) -> None:
    spacing = (3.0, 2.0, 1.0)
    scaled = (3.0 * unit, 2.0 * unit, 1.0 * unit)
    for weights, power in (
        (crofton_weights, 2),
        (face_weights, 2),
        (marching_cubes_weights, 2),
        (mean_curvature_weights, 1),
    ):
        assert weights(scaled) == pytest.approx(
            weights(spacing) * unit**power, rel=1e-9, abs=1e-12 * unit**power
        )


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("radius", [10, 20])
def test_ball(radius: int, spacing: Spacing) -> None:
    labels = ball(radius, spacing)
    hist = octant_histogram(labels, [1])
    area = 4 * math.pi * radius**2
    tolerance = {1: 0.005, 2: 0.01, 3: 0.03, 5: 0.04}[int(spacing[0])]
    assert hist @ crofton_weights(spacing) / 8 == pytest.approx(area, rel=tolerance)
    assert hist @ mean_curvature_weights(spacing) / 8 == pytest.approx(
        4 * math.pi * radius, rel=tolerance
    )
    assert hist @ volume_weights(spacing) / 8 == labels.sum() * math.prod(spacing)
    assert hist @ euler_weights(26) / 8 == hist @ euler_weights(6) / 8 == 1
    gradient = gradient_area(labels, [1], spacing=spacing) * gradient_quantum(spacing)
    assert gradient == pytest.approx(area, rel=0.03 if spacing[0] < 5 else 0.08)


def test_gradient_and_crofton_tend_to_the_area_of_a_large_ball() -> None:
    labels = ball(40, (1, 1, 1))
    area = 4 * math.pi * 40**2
    assert octant_histogram(labels, [1]) @ crofton_weights() / 8 == pytest.approx(area, rel=5e-4)
    assert gradient_area(labels, [1]) * gradient_quantum((1, 1, 1)) == pytest.approx(area, rel=3e-3)


@pytest.mark.parametrize("spacing", SPACINGS)
def test_plane_limit_of_crofton(spacing: Spacing) -> None:
    """On a plane of normal n the estimate is 2 sum w_d |n . u_d| of the area, whatever the weights do on a ball."""
    unit = np.array(DIRECTIONS, float) * spacing
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    labels = half_space((1, 0, 0), spacing)
    limit = 2 * direction_weights(spacing) @ np.abs(unit[:, 0])
    assert octant_histogram(labels, [1]) @ crofton_weights(spacing) / 8 == pytest.approx(
        40 * 40 * limit, rel=1e-12
    )
    normals = np.random.default_rng(0).normal(size=(200, 3))
    limits = (
        2 * np.abs(normals @ unit.T) @ direction_weights(spacing) / np.linalg.norm(normals, axis=1)
    )
    worst = {1: 0.074, 2: 0.127, 3: 0.158, 5: 0.233}[int(spacing[0])]
    assert np.abs(limits - 1).max() < worst


@pytest.mark.parametrize("spacing", SPACINGS)
def test_gradient_is_right_on_aligned_planes(spacing: Spacing) -> None:
    for axis in range(3):
        normal = tuple(float(a == axis) for a in range(3))
        area = gradient_area(half_space(normal, spacing), [1], spacing=spacing) * gradient_quantum(
            spacing
        )
        assert area == pytest.approx(40 * 40 * math.prod(spacing) / spacing[axis], rel=1e-6)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.5, 1.0, 0.7)])
def test_marching_cubes_equals_the_mesh_of_skimage(spacing: Spacing) -> None:
    labels = np.random.default_rng(4).integers(0, 2, (12, 13, 14), dtype=np.uint8)
    vertices, faces, _, _ = marching_cubes(labels.astype(np.float32), 0.5, spacing=spacing)
    hist = configuration_histogram(labels, [1], "inside")
    assert hist @ marching_cubes_weights(spacing) == pytest.approx(
        mesh_surface_area(vertices, faces), rel=1e-6
    )


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("inner", [(1, 1, 1), (4, 7, 11)])
def test_box_has_the_area_of_its_faces_and_euler_number_one(
    inner: tuple[int, int, int], spacing: Spacing
) -> None:
    hist = octant_histogram(box(inner), [1])
    a, b, c = (n * d for n, d in zip(inner, spacing, strict=True))
    assert hist @ face_weights(spacing) / 8 == pytest.approx(2 * (a * b + b * c + c * a))
    assert hist @ euler_weights(26) / 8 == hist @ euler_weights(6) / 8 == 1


@pytest.mark.parametrize("spacing", SPACINGS)
def test_mean_curvature_of_a_box_counts_the_lattice_planes_that_hit_it(spacing: Spacing) -> None:
    """Every lattice plane cuts a convex body in one piece, so M = 2 pi sum w_d s_d (planes that hit)."""
    inner = (4, 7, 11)
    inverse = np.array([1 / d for d in spacing])
    hits = [sum(abs(h) * (n - 1) for h, n in zip(d, inner, strict=True)) + 1 for d in DIRECTIONS]
    distances = 1 / np.linalg.norm(np.array(DIRECTIONS) * inverse, axis=1)
    expected = 2 * math.pi * np.sum(direction_weights(tuple(inverse)) * distances * hits)
    assert octant_histogram(box(inner), [1]) @ mean_curvature_weights(spacing) / 8 == pytest.approx(
        expected, rel=1e-12
    )


def test_mean_curvature_of_a_box_is_low_like_the_area_of_an_aligned_plane() -> None:
    """The edges of an aligned box meet the 13 normals as an aligned plane meets the 13 directions: 7.3 % too few."""
    inner = (100, 120, 140)
    measured = octant_histogram(box(inner), [1]) @ mean_curvature_weights() / 8
    plane = crofton_weights()[0b00001111]
    assert measured == pytest.approx(plane * math.pi * sum(inner), rel=0.005)


def test_mean_curvature_of_the_complement_is_opposite() -> None:
    labels = np.random.default_rng(5).integers(0, 2, (8, 9, 10), dtype=np.uint8)
    w = mean_curvature_weights((2, 1, 3))
    assert octant_histogram(labels, [1]) @ w == pytest.approx(
        -(octant_histogram(labels, [0]) @ w), rel=1e-10
    )


def test_electrode_has_the_published_face_counts(data_dir: Path) -> None:
    path = data_dir / "volumes" / "electrode-256.tiff"
    if not path.is_file():
        pytest.skip(f"no {path}")
    labels = np.ascontiguousarray(tifffile.imread(path)).astype(np.uint8)
    codes = np.unique(labels).tolist()
    found = [float(density(octant_histogram(labels, [code]), face_weights())) for code in codes]
    assert sorted(found) == [0.14610451459884644, 0.30683690309524536, 0.34222638607025146]


@pytest.mark.parametrize(
    "spacing", [(0, 1, 1), (1, 1), (1, -1, 1), (math.nan, 1, 1), (math.inf, 1, 1)]
)
def test_a_wrong_spacing_is_refused(spacing: Spacing) -> None:
    with pytest.raises(ArgumentError, match="three positive lengths"):
        crofton_weights(spacing)


def test_other_connectivities_are_refused() -> None:
    with pytest.raises(ArgumentError, match="use 26 or 6"):
        euler_weights(18)
