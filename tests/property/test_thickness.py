"""The thickness of a voxel is that of the largest ball over it, by brute force, for any blocks and voxels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tim3d
from tests.property.test_distance import (
    OTHER,
    QUIET,
    SHAPES,
    THREE,
    WHOLE,
    Spacing,
    ingested,
    volume,
)
from tim3d.errors import ArgumentError, MissingFieldError
from tim3d.grid import Box, Grid, Triple, triple
from tim3d.kernels.morphology.distance import lengths, metric_of, squared_distances
from tim3d.kernels.morphology.painting import largest_ball


def distances(shape: Triple, spacing: Spacing, seed: int) -> np.ndarray:
    labels, metric = volume(shape, seed), metric_of(spacing)
    if len(np.unique(labels)) == 1:
        return np.zeros(shape, np.float32)
    return lengths(squared_distances(labels, metric), metric)


def by_hand(radii: np.ndarray, spacing: Spacing) -> np.ndarray:
    """Every ball into every voxel nearer to its centre than its radius."""
    found, places = np.zeros(radii.shape, np.float32), np.indices(radii.shape)
    for centre in np.argwhere(radii > 0):
        radius = radii[tuple(centre)]
        steps = (places - centre[:, None, None, None]) * np.array(spacing)[:, None, None, None]
        inside = (steps**2).sum(axis=0) < np.float64(radius) ** 2 * (1 - 1e-6)
        found[inside] = np.maximum(found[inside], radius)
    return found


@pytest.mark.long
@given(SHAPES, st.one_of(WHOLE, OTHER), st.integers(0, 99))
def test_the_largest_ball_is_that_of_brute_force(
    shape: Triple, spacing: Spacing, seed: int
) -> None:
    radii = distances(shape, spacing, seed)
    found = largest_ball(radii, metric_of(spacing), Box.whole(shape))
    assert np.array_equal(found, by_hand(radii, spacing))


@given(SHAPES, st.tuples(*[st.integers(1, 9)] * 3), WHOLE, st.integers(0, 99))
def test_blocks_change_no_ball(shape: Triple, block: Triple, spacing: Spacing, seed: int) -> None:
    radii, metric = distances(shape, spacing, seed), metric_of(spacing)
    halo = triple(int(radii.max() / s) + 1 for s in spacing)
    whole = largest_ball(radii, metric, Box.whole(shape))
    for one in Grid(shape, block, halo):
        core = one.core.within(one.read)
        part = largest_ball(np.ascontiguousarray(radii[one.read.slices]), metric, core)
        assert np.array_equal(part, whole[one.core.slices])


@pytest.mark.long
def test_stored_thickness_is_that_of_the_whole_and_is_measured(tmp_path: Path) -> None:
    spacing, labels = (2.0, 1.0, 1.0), volume((6, 11, 20), 1)
    sample = ingested(tmp_path, labels, spacing, (2, 4, 10))
    few = tim3d.Options(progress=False, block=(2, 4, 10))
    with pytest.raises(MissingFieldError, match="tim3d distance"):
        tim3d.thickness(sample, options=QUIET)
    with pytest.raises(MissingFieldError, match="tim3d thickness"):
        tim3d.measure(sample, ["thickness"], options=QUIET)
    with pytest.raises(ArgumentError, match="holds no distances"):
        tim3d.thickness(sample, distance="phase", options=QUIET)
    radii = tim3d.distance(sample, options=few).values
    found = tim3d.thickness(sample, options=few)
    assert found.name == "phase_thickness"
    assert np.array_equal(found.values, 2 * by_hand(radii, spacing))
    measured = tim3d.measure(sample, ["thickness", "distance"], options=few)
    for code, name in zip(THREE.codes, THREE, strict=True):
        values = found.values[labels == code].astype(float)
        one = measured.sel(phase=name)
        if not len(values):
            assert np.isnan(one.thickness_mean)
            continue
        assert one.thickness_mean.item() == pytest.approx(values.mean(), abs=1e-5)
        assert one.thickness_std.item() == pytest.approx(values.std(), abs=1e-2)
        # A quantile is as fine as its bin: 1.1 % of the value.
        for level in (0.25, 0.75):
            asked = one.thickness_quantile.sel(quantile=level).item()
            low, high = (np.quantile(values, level + by) for by in (-0.02, 0.02))
            assert low / 1.011 <= asked <= high * 1.011
        assert one.thickness_share.sum().item() == pytest.approx(1)
        assert one.distance_mean.item() == pytest.approx(radii[labels == code].mean(), abs=1e-5)
    assert measured.thickness_mean.attrs["units"] == "nm"
    part = tim3d.describe(sample, ["thickness"], z=slice(0, 4))
    inside = found.values[:2][labels[:2] == 0].astype(float)
    assert part.thickness_mean.sel(phase="pore").item() == pytest.approx(inside.mean(), abs=1e-5)
