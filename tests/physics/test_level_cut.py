"""The closed forms of a level cut of a Gaussian field, each against an estimate that knows nothing of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from skimage import measure

from tim3d.grid import Box
from tim3d.kernels.generation.plane_wave_field import LevelCut, plane_waves

SHAPE = (48, 96, 96)
SPACING = (2.0, 1.0, 1.0)
BOX_VOLUME = math.prod(SHAPE) * math.prod(SPACING)
SEEDS = range(4)


def cut(fraction: float, seed: int) -> LevelCut:
    return LevelCut(fraction, 8.0, seed, waves=256)


@pytest.fixture(scope="module")
def fields() -> list[np.ndarray]:
    return [cut(0.5, seed).field(Box.whole(SHAPE), SPACING) for seed in SEEDS]


def test_the_field_has_zero_mean_unit_variance_and_the_stated_correlation(fields):
    every = np.stack(fields)
    assert every.mean() == pytest.approx(0.0, abs=0.03)
    assert every.var() == pytest.approx(1.0, abs=0.04)
    for lag in (2, 4, 8):
        expected = math.exp(-((lag / 8.0) ** 2))
        assert (every[..., lag:] * every[..., :-lag]).mean() == pytest.approx(expected, abs=0.04)
        slices = lag // 2
        assert (every[:, slices:] * every[:, :-slices]).mean() == pytest.approx(expected, abs=0.04)


@pytest.mark.parametrize("fraction", [0.3, 0.5, 0.7])
def test_solid_fraction(fields, fraction):
    level = cut(fraction, 0).level
    assert np.mean([field > level for field in fields]) == pytest.approx(fraction, abs=0.015)


@pytest.mark.parametrize("fraction", [0.3, 0.5, 0.7])
def test_specific_surface_by_marching_cubes_on_the_smooth_field(fields, fraction):
    """Mesh of the real-valued field, which has no voxel bias; it cuts corners and so lies about 1 % low."""
    law = cut(fraction, 0)
    inner = math.prod(n - 1 for n in SHAPE) * math.prod(SPACING)
    areas = []
    for field in fields:
        vertices, faces, _, _ = measure.marching_cubes(field, law.level, spacing=SPACING)
        areas.append(measure.mesh_surface_area(vertices, faces) / inner)
    assert np.mean(areas) == pytest.approx(law.specific_surface, rel=0.03)


def test_specific_surface_by_crofton_lines(fields):
    """Crossings per length of straight lines: S_V = 2 P_L, along every axis alone since the field is isotropic."""
    law = cut(0.5, 0)
    for axis, step in enumerate(SPACING):
        signs = np.stack(fields) > law.level
        crossings = np.diff(signs, axis=axis + 1).mean() / step
        # A step of 1/4 (z) or 1/8 (y, x) of the correlation length misses few pairs of crossings.
        assert 2 * crossings == pytest.approx(law.specific_surface, rel=0.04)


@pytest.mark.parametrize("fraction", [0.2, 0.5, 0.8])
def test_mean_curvature_is_the_divergence_of_the_normal(fields, fraction):
    """k1 + k2 = div n with n the outer normal of {g > u}; a band of levels turns the surface into a volume integral.

    The integral over the surface per volume is the mean of (div n) / 2 |grad g| delta(g - u), by
    the coarea formula.
    """
    law = cut(fraction, 0)
    band, total, count = 0.15, 0.0, 0
    for field in fields:
        gradient = np.gradient(field, *SPACING)
        size = np.sqrt(sum(g**2 for g in gradient))
        divergence = sum(np.gradient(-gradient[i] / size, SPACING[i], axis=i) for i in range(3))
        near = np.abs(field - law.level) < band
        total += float((divergence * size)[near].sum() / 2 / (2 * band))
        count += field.size
    assert total / count == pytest.approx(law.mean_curvature_density, abs=0.05 * 2 / 8.0**2)


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.85])
def test_euler_density(fields, fraction):
    """Pieces - tunnels + cavities of the cut, counted on voxels; every voxel corner is judged once."""
    law = cut(fraction, 0)
    scale = law.correlation_nm**-3
    densities = []
    for field in fields:
        solid = field > law.level
        densities.append(open_euler(solid) / BOX_VOLUME)
    assert np.mean(densities) == pytest.approx(law.euler_density, abs=0.012 * scale)


def open_euler(solid: np.ndarray) -> int:
    """Alternating sum of the cells, faces, edges and corners of the union of closed voxels, one set for every voxel."""
    total = 0
    for spread in np.ndindex(2, 2, 2):
        cells = solid[1:, 1:, 1:] & False
        for shift in np.ndindex(*(1 if s else 2 for s in spread)):
            z, y, x = shift
            cells = (
                cells
                | solid[
                    1 - z : solid.shape[0] - z,
                    1 - y : solid.shape[1] - y,
                    1 - x : solid.shape[2] - x,
                ]
            )
        total += (-1) ** sum(spread) * int(cells.sum())
    return total


def test_both_phases_share_the_surface_and_swap_the_curvature():
    solid, pore = LevelCut(0.3, 5.0, 1), LevelCut(0.7, 5.0, 1)
    assert solid.specific_surface == pytest.approx(pore.specific_surface)
    assert solid.mean_curvature_density == pytest.approx(-pore.mean_curvature_density)
    assert solid.euler_density == pytest.approx(pore.euler_density)
    assert solid.mean_curvature_density > 0


def test_lengths_scale():
    small, large = LevelCut(0.6, 5.0, 1), LevelCut(0.6, 50.0, 1)
    assert small.specific_surface == pytest.approx(10 * large.specific_surface)
    assert small.mean_curvature_density == pytest.approx(100 * large.mean_curvature_density)
    assert small.euler_density == pytest.approx(1000 * large.euler_density)
    assert np.array_equal(
        small.labels(Box.whole((4, 9, 9)), (1.0, 1.0, 1.0)),
        large.labels(Box.whole((4, 9, 9)), (10.0, 10.0, 10.0)),
    )


def test_wave_vectors_have_exact_second_moments():
    vectors, phases = plane_waves(100, 7.0, seed=5)
    assert np.allclose(vectors.T @ vectors / 100, 2 / 49 * np.eye(3))
    assert phases.shape == (100,)
    assert not np.array_equal(vectors, plane_waves(100, 7.0, seed=6)[0])
