"""Particles of known shape: size, axes, surface, necks, and what the border of a volume takes away."""

from __future__ import annotations

import math

import numpy as np
import pytest
import xarray as xr

from tim3d.descriptors.particles import Measured, particles
from tim3d.grid import Box, triple
from tim3d.kernels.morphology.distance import lengths, metric_of, squared_distances
from tim3d.kernels.morphology.instances import added, tally
from tim3d.kernels.morphology.joined_basins import basins_of_volume
from tim3d.kernels.morphology.particle_shapes import border_weights

Spacing = tuple[float, float, float]
CUBIC, LONG = (1.0, 1.0, 1.0), (2.0, 1.0, 1.0)


def around(radius: float, spacing: Spacing, shift: float = 0.3) -> np.ndarray:
    """Coordinates of voxel centres around a point off the lattice, (3, z, y, x)."""
    counts = [2 * int(radius / s) + 7 for s in spacing]
    steps = np.meshgrid(*(np.arange(n) - n / 2 + shift for n in counts), indexing="ij")
    return np.array([step * s for step, s in zip(steps, spacing, strict=True)])


def measured(
    ids: np.ndarray, spacing: Spacing = CUBIC, radii: np.ndarray | None = None
) -> xr.Dataset:
    """Rows of numbered particles."""
    box = Box.whole(triple(ids.shape))
    rows = added([tally(ids.astype(np.uint32), radii, box, box)])
    return particles(Measured(rows, triple(ids.shape), spacing, radii is not None))


def told_apart(inside: np.ndarray, neck: float, spacing: Spacing = CUBIC) -> xr.Dataset:
    """Particles of a body."""
    metric = metric_of(spacing)
    radii = lengths(squared_distances(inside.astype(np.uint8), metric), metric) * inside
    return measured(basins_of_volume(radii, neck, spacing), spacing, radii)


@pytest.mark.parametrize("spacing", [CUBIC, LONG])
def test_a_ball_has_its_size_and_is_round(spacing: Spacing) -> None:
    errors = []
    for radius in (6.0, 12.0, 24.0):
        place = around(radius, spacing)
        found = told_apart((place**2).sum(axis=0) <= radius**2, 0.75, spacing)
        assert found.particle_count == 1
        assert found.particle_diameter.item() == pytest.approx(2 * radius, rel=0.01)
        assert found.particle_sphericity.item() == pytest.approx(1, abs=0.02)
        assert found.particle_axis_length.values == pytest.approx(2 * radius, rel=0.02)
        # From the centre of one voxel to that of another: up to a voxel more than the radius.
        assert abs(found.particle_inscribed_radius.item() - radius) <= max(spacing)
        errors.append(abs(found.particle_sphericity.item() - 1))
    assert errors[-1] < 0.005


@pytest.mark.parametrize("spacing", [CUBIC, LONG])
def test_an_ellipsoid_has_its_axes(spacing: Spacing) -> None:
    axes = np.array([18.0, 11.0, 7.0])
    turn, _ = np.linalg.qr(np.random.default_rng(2).standard_normal((3, 3)))
    place = np.einsum("ij,jzyx->izyx", turn, around(18.0, spacing))
    found = measured(((place / axes[:, None, None, None]) ** 2).sum(axis=0) <= 1, spacing)
    assert found.particle_axis_length.values[0] == pytest.approx(2 * axes, rel=0.02)
    along = np.abs((found.particle_axis_direction.values[0] * turn).sum(axis=1))
    assert along == pytest.approx(1, abs=1e-3)
    assert found.particle_volume.item() == pytest.approx(4 / 3 * math.pi * axes.prod(), rel=0.01)


DIRECTIONS = [(1.0, 0.0, 0.0), (0.0, 0.6, 0.8), (0.57, 0.36, -0.74)]


@pytest.mark.parametrize("spacing", [CUBIC, LONG])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_two_balls_are_one_or_two_by_the_width_of_their_neck(
    direction: tuple[float, float, float], spacing: Spacing
) -> None:
    radius, apart = 14.0, 20.0
    disc = math.sqrt(radius**2 - apart**2 / 4)  # 0.70 of the radius
    place, way = (
        around(radius + apart / 2, spacing),
        np.array(direction) / np.linalg.norm(direction),
    )
    steps = [place - sign * apart / 2 * way[:, None, None, None] for sign in (1, -1)]
    inside = np.any([(step**2).sum(axis=0) <= radius**2 for step in steps], axis=0)
    two = told_apart(inside, 0.85, spacing)
    assert two.particle_count == 2
    assert told_apart(inside, 0.5, spacing).particle_count == 1
    assert two.particle_coordination.values.tolist() == [1, 1]
    assert two.contact_neck_radius.item() == pytest.approx(disc, abs=max(spacing))
    assert two.contact_area.item() == pytest.approx(
        math.pi * disc**2, rel=0.05 if spacing == CUBIC else 0.08
    )
    # The border of two basins is rough: up to a fifth more, and Crofton's formula is low along the grid.
    assert 0.85 < two.contact_surface.item() / (math.pi * disc**2) < 1.2
    assert two.particle_neighbour_distance.values == pytest.approx(apart, rel=0.15)


def test_weights_make_up_for_what_the_border_takes_away_exactly() -> None:
    window, period = (9, 7, 1), (20, 20, 1)
    for box in ((3, 2, 1), (7, 5, 1), (1, 1, 1)):
        starts = np.stack(
            np.meshgrid(*(np.arange(-p + 8, 8) + 2 for p in period), indexing="ij"), -1
        )
        start = starts.reshape(-1, 3) * (np.array(period) > 1)
        stop = start + np.array(box)
        weights = border_weights(start, stop, window)
        # A particle at every place of a period: as many as the window's share of it.
        assert weights.sum() == pytest.approx(np.prod(window))


def test_a_cut_of_a_packing_gives_the_sizes_of_the_packing() -> None:
    """Balls of two sizes that do not touch, in a periodic volume, seen through windows of a third of its edge."""
    edge, window, draw = 96, 32, np.random.default_rng(5)
    ids = np.zeros((edge,) * 3, np.uint32)
    radii = [4.0] * 90 + [9.0] * 30
    for number, radius in enumerate(sorted(radii, reverse=True), 1):
        while True:
            centre = draw.random(3) * edge
            gaps = [
                np.abs((np.arange(edge) + 0.5 - c + edge / 2) % edge - edge / 2) for c in centre
            ]
            far = sum(g**2 for g in np.ix_(*gaps))
            if not (ids[far <= (radius + 1) ** 2] > 0).any():
                ids[far <= radius**2] = number
                break
    truth = np.mean(radii) * 2
    corrected, plain, density = [], [], []
    for start in draw.integers(0, edge, (60, 3)):
        places = np.ix_(*((s + np.arange(window)) % edge for s in start))
        cut = ids[places]
        found = measured(cut)
        inside = found.particle_weight > 0
        # Weights of all windows are put together: a mean of ratios would be biased by itself.
        corrected.append(
            [(found.particle_weight * found.particle_diameter).sum(), found.particle_weight.sum()]
        )
        plain.append([found.particle_diameter.where(inside).sum(), inside.sum()])
        density.append(found.particle_weight.sum() / window**3)
    (total, weight), (seen, count) = np.sum(corrected, axis=0), np.sum(plain, axis=0)
    assert total / weight == pytest.approx(truth, rel=0.06)
    assert seen / count < 0.9 * truth
    assert np.mean(density) == pytest.approx(len(radii) / edge**3, rel=0.12)


def test_a_section_has_no_sphericity_and_no_number_in_a_volume() -> None:
    ids = np.zeros((1, 12, 12), np.uint32)
    ids[0, 3:8, 3:8] = 1
    found = measured(ids)
    assert found.particle_count_inside == 1
    assert np.isnan(found.particle_sphericity.item())
    assert np.isnan(found.particle_sphericity_mean)
    assert np.isnan(found.particle_number_density)


@pytest.mark.parametrize("across", [0, 1, 2])
@pytest.mark.parametrize("thick", [1.0, 7.0])
def test_a_section_is_as_wide_as_the_disc_of_its_area(across: int, thick: float) -> None:
    """The thickness of the plane, which is that of the sections too, has no part in their sizes."""
    spacing = (thick, *np.delete([3.0, 2.0, 1.0], across)[-2:])
    y, x = np.meshgrid(
        np.arange(-40, 41) * spacing[1], np.arange(-70, 71) * spacing[2], indexing="ij"
    )
    ellipse = ((y / 20) ** 2 + (x / 45) ** 2 < 1).astype(np.uint32)
    edges = np.insert(spacing[1:], across, thick)
    found = measured(np.expand_dims(ellipse, across), tuple(edges))  # type: ignore[arg-type]
    assert found.particle_diameter.item() == pytest.approx(2 * (20 * 45) ** 0.5, rel=0.01)
    assert found.particle_diameter_mean.item() == found.particle_diameter.item()
    major, middle, minor = found.particle_axis_length.values[0]
    assert (major, middle) == pytest.approx((90, 40), rel=0.02)
    assert np.isnan(minor)
    assert np.isnan(found.particle_axis_direction.values[0, 2]).all()
    way = np.insert([0.0, 1.0], across, 0.0)
    assert found.particle_axis_direction.values[0, 0] == pytest.approx(way, abs=1e-6)
    assert "disc of the same area" in found.particle_diameter.attrs["long_name"]


def test_a_particle_of_a_row_of_voxels_is_as_wide_as_it_is_long() -> None:
    ids = np.zeros((1, 1, 9), np.uint32)
    ids[0, 0, 2:6] = 1
    found = measured(ids, (5.0, 5.0, 2.0))
    assert found.particle_diameter.item() == 8
    assert found.particle_axis_length.values[0, 0] == pytest.approx(8)
