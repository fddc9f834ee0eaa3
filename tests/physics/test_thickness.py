"""Thickness of bodies whose thickness is known: slab, ball, rod, two balls that touch; how fast the voxels converge."""

from __future__ import annotations

import numpy as np
import pytest

from tim3d.grid import Box, triple
from tim3d.kernels.morphology.distance import lengths, metric_of, squared_distances
from tim3d.kernels.morphology.painting import largest_ball

Spacing = tuple[float, float, float]
CUBIC, FLAT = (1.0, 1.0, 1.0), (2.0, 1.0, 1.0)


def diameters(inside: np.ndarray, spacing: Spacing = CUBIC) -> np.ndarray:
    """Local thickness of a body, 0 outside of it."""
    metric = metric_of(spacing)
    radii = lengths(squared_distances(inside.astype(np.uint8), metric), metric) * inside
    return 2 * largest_ball(radii, metric, Box.whole(triple(inside.shape)))


def around(radius: float, spacing: Spacing, shift: float = 0.3) -> list[np.ndarray]:
    """Coordinates of voxel centres around a point off the lattice."""
    counts = [2 * int(radius / s) + 6 for s in spacing]
    steps = np.meshgrid(*(np.arange(n) - n / 2 + shift for n in counts), indexing="ij")
    return [step * s for step, s in zip(steps, spacing, strict=True)]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_slab_is_as_thick_as_its_voxels_or_one_more(axis: int) -> None:
    for count in (1, 4, 7):
        shape = [9, 9, 9]
        shape[axis] = count + 4
        inside = np.zeros(shape, bool)
        inside[(slice(None),) * axis + (slice(2, 2 + count),)] = True
        found = diameters(inside, FLAT)[inside]
        # From centre to centre: an odd number of voxels has one of them in the middle.
        assert (found == (count + count % 2) * FLAT[axis]).all()


@pytest.mark.parametrize("spacing", [CUBIC, FLAT])
def test_a_ball_is_as_thick_as_its_diameter_less_a_voxel(spacing: Spacing) -> None:
    errors = []
    for radius in (6, 12, 24):
        z, y, x = around(radius, spacing)
        inside = z**2 + y**2 + x**2 <= radius**2
        found = diameters(inside, spacing)[inside]
        errors.append(np.mean(found) / (2 * radius) - 1)
        # Too thin by about a voxel: near the surface only balls off the middle reach a voxel.
        assert -1.3 * max(spacing) <= np.mean(found) - 2 * radius <= 0
    # Of first order: a quarter of the voxel, a quarter of the error, to the scatter of the lattice.
    assert errors[2] / errors[0] == pytest.approx(0.25, abs=0.08)


@pytest.mark.parametrize("spacing", [CUBIC, FLAT])
def test_a_rod_is_as_thick_as_its_diameter_less_a_voxel(spacing: Spacing) -> None:
    radius = 12.0
    z, y, _ = around(radius, spacing)
    inside = z**2 + y**2 <= radius**2
    found = diameters(inside, spacing)[inside]
    assert -1.3 * max(spacing) <= np.mean(found) - 2 * radius <= 0


@pytest.mark.parametrize("spacing", [CUBIC, FLAT])
def test_two_balls_that_overlap_keep_their_own_thickness(spacing: Spacing) -> None:
    large, small, apart = 14.0, 8.0, 18.0
    z, y, x = around(large + small, spacing)
    one = z**2 + y**2 + (x + 6) ** 2 <= large**2
    two = z**2 + y**2 + (x + 6 - apart) ** 2 <= small**2
    found = diameters(one | two, spacing)
    assert np.median(found[one & ~two]) == pytest.approx(2 * large, abs=1.3 * max(spacing))
    assert np.median(found[two & ~one]) == pytest.approx(2 * small, abs=1.3 * max(spacing))
