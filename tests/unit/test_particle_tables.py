"""Rows of particles are what voxels say, and numbers of the volume what rows say, by the formulas of the test."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import xarray as xr

from tim3d.descriptors.coupled import PARTICLES, ROW_DIMENSIONS
from tim3d.descriptors.lengths import QUANTILES
from tim3d.descriptors.particles import Measured, particles
from tim3d.grid import Box
from tim3d.kernels.morphology.instances import added, tally
from tim3d.phases import Phases

SPACING = (20.0, 10.0, 8.0)
SHAPE = (15, 19, 26)
SUBSTRATES = ("z", "y", "x", "z-high", "y-high", "x-high")


def boxes(seed: int, count: int = 45) -> np.ndarray:
    """Numbered boxes that overlap, cut and touch each other and the border."""
    draw, ids = np.random.default_rng(seed), np.zeros(SHAPE, np.uint32)
    for number in range(1, count + 1):
        start = [draw.integers(0, n - 1) for n in SHAPE]
        part = tuple(slice(a, a + draw.integers(1, 6)) for a in start)
        ids[part] = 7 * number
    return ids


IDS = boxes(3)
RADII = np.random.default_rng(4).random(SHAPE).astype(np.float32) + 1
EVERY = [int(n) for n in np.unique(IDS) if n]


def measured(substrate: str = "none", phase: str = "", ids: np.ndarray = IDS) -> xr.Dataset:
    """Rows and numbers of the boxes."""
    box = Box.whole(SHAPE)
    rows = added([tally(ids, RADII, box, box)])
    return particles(Measured(rows, SHAPE, SPACING, True, substrate, phase))


FOUND = measured()


@pytest.mark.parametrize("place", range(len(EVERY)))
def test_a_row_is_what_the_voxels_of_the_particle_say(place: int) -> None:
    own = np.isin(IDS, EVERY[place])
    one, at = FOUND.isel(particle=place), np.argwhere(own)
    points = (at + 0.5) * SPACING
    assert one.particle == EVERY[place]
    assert one.particle_voxels == own.sum()
    volume = own.sum() * math.prod(SPACING)
    assert one.particle_volume == pytest.approx(volume)
    assert math.pi / 6 * one.particle_diameter.item() ** 3 == pytest.approx(volume)
    assert one.particle_inscribed_radius.item() == pytest.approx(RADII[own].max())
    assert one.particle_centroid.values == pytest.approx(points.mean(axis=0))
    # A voxel is a brick, and not a point.
    moments = np.cov(points.T, bias=True).reshape(3, 3) + np.diag(np.array(SPACING) ** 2) / 12
    lengths, ways = one.particle_axis_length.values, one.particle_axis_direction.values
    assert (np.diff(lengths) <= 1e-9).all()
    assert moments @ ways.T == pytest.approx(ways.T * lengths**2 / 20, abs=1e-6)
    assert ways @ ways.T == pytest.approx(np.eye(3), abs=1e-9)
    assert (np.take_along_axis(ways, np.abs(ways).argmax(axis=1)[:, None], 1) > 0).all()
    ends = np.stack([at.min(axis=0) == 0, at.max(axis=0) == np.array(SHAPE) - 1], axis=1)
    assert np.array_equal(one.particle_touches, ends)
    extent = at.max(axis=0) - at.min(axis=0) + 1
    clear = [sum(a > 0 and a + e < n for a in range(n)) for e, n in zip(extent, SHAPE, strict=True)]
    weight = 0 if ends.any() else math.prod(SHAPE) / math.prod(clear)
    assert one.particle_weight == pytest.approx(weight)
    round_ = math.pi ** (1 / 3) * (6 * volume) ** (2 / 3) / one.particle_surface.item()
    assert one.particle_sphericity.item() == pytest.approx(
        math.nan if ends.any() else round_, nan_ok=True
    )


def test_the_nearest_particle_is_the_nearest_of_all_others() -> None:
    points = FOUND.particle_centroid.values
    far = np.linalg.norm(points[:, None] - points, axis=2)
    np.fill_diagonal(far, np.inf)
    assert FOUND.particle_neighbour_distance.values == pytest.approx(far.min(axis=1))
    assert FOUND.particle_neighbour.values.tolist() == [EVERY[n] for n in far.argmin(axis=1)]


def test_contacts_are_faces_between_two_particles_and_belong_to_both() -> None:
    net: dict[tuple[int, int], np.ndarray] = {}
    for axis in range(3):
        turned = np.moveaxis(IDS, axis, 0).astype(int)
        for a, b in zip(turned[:-1].ravel(), turned[1:].ravel(), strict=True):
            if a and b and a != b:
                pair = (min(a, b), max(a, b))
                net.setdefault(pair, np.zeros(3))[axis] += 1 if a < b else -1
    ends = list(zip(FOUND.contact_first.values, FOUND.contact_second.values, strict=True))
    assert sorted(ends) == sorted(net)
    faces = math.prod(SPACING) / np.array(SPACING)
    areas = [np.linalg.norm(net[pair] * faces) for pair in ends]
    assert FOUND.contact_area.values == pytest.approx(areas)
    for place, number in enumerate(EVERY):
        own, one = [number in pair for pair in ends], FOUND.isel(particle=place)
        assert one.particle_coordination == sum(own)
        assert one.particle_contact_area == pytest.approx(FOUND.contact_area.values[own].sum())
        free = one.particle_surface - FOUND.contact_surface.values[own].sum()
        assert one.particle_free_surface == pytest.approx(free)


@pytest.mark.parametrize("substrate", SUBSTRATES)
def test_gaps_are_counted_from_the_face_that_is_named(substrate: str) -> None:
    found, axis = measured(substrate), "zyx".index(substrate[0])
    length = SHAPE[axis] * SPACING[axis]
    for place, number in enumerate(EVERY):
        lows = np.argwhere(np.isin(IDS, number))[:, axis] * SPACING[axis]
        middle = lows.mean() + SPACING[axis] / 2
        gap = length - lows.max() - SPACING[axis] if "high" in substrate else lows.min()
        far = length - middle if "high" in substrate else middle
        one = found.isel(particle=place)
        assert one.particle_substrate_gap == pytest.approx(gap)
        assert one.particle_substrate_distance == pytest.approx(far)


@pytest.mark.parametrize("phase", ["", "grain"])
@pytest.mark.parametrize("seed", range(6))
def test_numbers_of_the_volume_are_those_of_the_rows(seed: int, phase: str) -> None:
    found = measured(phase=phase, ids=boxes(seed))
    rows = found.to_dict()["data_vars"]
    weight, diameter, volume, sphericity, coordination = (
        np.array(rows[f"particle_{name}"]["data"], float)
        for name in ("weight", "diameter", "volume", "sphericity", "coordination")
    )
    inside = weight > 0
    assert 5 < inside.sum() < len(weight) - 5

    def mean(values: np.ndarray, by: np.ndarray) -> float:
        return float((values[inside] * by[inside]).sum() / by.sum())

    def quantile(level: float, by: np.ndarray) -> float:
        return min(d for d in diameter[inside] if by[diameter <= d].sum() >= level * by.sum())

    for name, value in {
        "particle_count": len(weight),
        "particle_count_inside": inside.sum(),
        "particle_number_density": weight.sum() / (math.prod(SHAPE) * math.prod(SPACING)),
        "particle_diameter_mean": mean(diameter, weight),
        "particle_diameter_median": quantile(0.5, weight),
        "particle_diameter_mean_uncorrected": diameter.mean(),
        "particle_diameter_volume_mean": mean(diameter, weight * volume),
        "particle_diameter_volume_median": quantile(0.5, weight * volume),
        "particle_sphericity_mean": mean(sphericity, weight),
        "particle_coordination_mean": mean(coordination, weight),
        "contact_count": found.sizes["contact"],
        "contact_neck_radius_mean": found.contact_neck_radius.values.mean(),
    }.items():
        assert found[name].item() == pytest.approx(value), name
        assert found[name].dims == (("phase",) if phase else ())
    quantiles = [quantile(level, weight) for level in QUANTILES]
    assert found.particle_diameter_quantile.values.ravel() == pytest.approx(quantiles)


def test_a_description_has_every_number_that_is_not_a_row() -> None:
    found = measured(phase="grain")
    taken = PARTICLES.take(found, Phases(pore=0, grain=4))
    numbers = {n for n, v in found.data_vars.items() if not set(v.dims) & set(ROW_DIMENSIONS)}
    assert numbers <= set(taken.data_vars)
    for name in numbers:
        np.testing.assert_array_equal(taken[name].sel(phase=["grain"]), found[name])
        assert np.isnan(taken[name].sel(phase="pore")).all()


def test_the_neck_of_a_contact_is_the_widest_way_between_its_voxels() -> None:
    for first, second, neck in zip(
        FOUND.contact_first.values, FOUND.contact_second.values, FOUND.contact_neck_radius.values, strict=True
    ):  # fmt: skip
        one, other = (np.argwhere(np.isin(IDS, end)) for end in (first, second))
        beside = np.abs(one[:, None] - other).max(axis=2) == 1
        a, b = (RADII[tuple(places.T)] for places in (one, other))
        assert neck == pytest.approx(np.minimum(a[:, None], b)[beside].max())


def test_every_variable_of_a_particle_stands_along_it() -> None:
    for name, variable in FOUND.data_vars.items():
        if "particle" in variable.dims:
            assert (variable.dims[0], variable.sizes["particle"]) == ("particle", len(EVERY)), name
    assert set(itertools.chain(*(v.dims for v in FOUND.data_vars.values()))) == {
        "particle", "contact", "axis", "side", "rank", "quantile",
    }  # fmt: skip
