"""Intrusion is that of labelled thresholds and painted balls, for any blocks; a neck lets through what it holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

import tim3d
from tests.property.test_distance import QUIET, SHAPES, WHOLE, Spacing, by_scipy, ingested, volume
from tests.property.test_thickness import by_hand
from tim3d.descriptors.porosimetry import ByRadius
from tim3d.errors import ArgumentError, InputError, MissingFieldError
from tim3d.grid import Triple
from tim3d.kernels.morphology.widest_path import widen
from tim3d.storage import store


def widths(radii: np.ndarray, direction: str) -> np.ndarray:
    """Largest threshold at which a voxel hangs together with the inlet."""
    axis, found = "zyx".index(direction[1]), np.zeros_like(radii)
    inlet = (slice(None),) * axis + (0 if direction[0] == "+" else -1,)
    for level in np.unique(radii[radii > 0]):
        numbers, _ = ndimage.label(radii >= level, np.ones((3, 3, 3)))
        reached = np.unique(numbers[inlet])
        found[np.isin(numbers, reached[reached > 0])] = level
    return found


@given(SHAPES, WHOLE, st.integers(0, 99))
def test_the_widest_path_is_that_of_labelled_thresholds(
    shape: Triple, spacing: Spacing, seed: int
) -> None:
    radii = by_scipy(volume(shape, seed), spacing, [0])
    found = np.zeros_like(radii)
    found[0] = radii[0]
    widen(found, radii)
    assert np.array_equal(found, widths(radii, "+z"))


def halves(values: np.ndarray) -> float:
    """Largest radius that half of the voxels have or more."""
    levels = [level for level in np.unique(values) if level > 0 and (values >= level).mean() >= 0.5]
    return max(levels, default=np.nan)


@given(st.lists(st.integers(0, 6), min_size=1, max_size=12))
def test_half_is_filled_from_half_of_the_voxels_on(drawn: list[int]) -> None:
    """Also where just half of them have the radius or more, and where one of the parts has none."""
    values, middle = np.array(drawn, float), len(drawn) // 2
    parts = [np.unique(part, return_counts=True) for part in (values[:middle], values[middle:])]
    found = ByRadius.added(parts)
    np.testing.assert_equal(found.half, halves(values))
    shares = [(values >= level).mean() for level in range(8)]
    assert found.share_from(np.arange(8.0)) == pytest.approx(shares)


@pytest.mark.parametrize(
    ("shard", "spacing", "directions"),
    [
        pytest.param((3, 4, 8), (1.0, 1.0, 1.0), ("+z", "-x"), marks=pytest.mark.long),
        ((7, 11, 20), (4.0, 1.0, 2.0), ("-y",)),
    ],
)
def test_intrusion_is_that_of_the_whole_for_any_blocks(
    tmp_path: Path, shard: Triple, spacing: Spacing, directions: tuple[str, ...]
) -> None:
    labels = volume((7, 11, 20), 4)
    sample = ingested(tmp_path, labels, spacing, shard)
    few = tim3d.Options(progress=False, block=shard)
    with pytest.raises(MissingFieldError, match="tim3d distance"):
        tim3d.porosimetry(sample, phase="pore", options=QUIET)
    tim3d.distance(sample, options=few)
    found = tim3d.porosimetry(sample, phase="pore", directions=directions, options=few)
    radii, inside = by_scipy(labels, spacing, [0]), labels == 0
    assert found.r_max.item() == halves(by_hand(radii, spacing)[inside])
    for direction in directions:
        one, way = found.sel(direction=direction), widths(radii, direction)
        entered = by_hand(way, spacing)[inside]
        np.testing.assert_equal(one.r_min.item(), halves(entered))
        axis, last = "zyx".index(direction[1]), -1 if direction[0] == "+" else 0
        assert one.percolation_radius.item() == np.take(way, last, axis).max()
        shares = [(entered >= level).mean() for level in one.radius.values]
        np.testing.assert_allclose(one.intruded_share, shares)
    assert found.r_max.attrs["units"] == "nm"
    assert not [name for name in store.nodes(sample) if "scratch" in name]


def test_a_neck_lets_through_what_it_holds(tmp_path: Path) -> None:
    labels = np.full((24, 17, 17), 3, np.uint8)
    labels[:9, 1:16, 1:16] = labels[15:, 1:16, 1:16] = 0
    labels[9:15, 6:11, 6:11] = 0
    sample = ingested(tmp_path, labels, (1.0, 1.0, 1.0), (24, 17, 17))
    tim3d.distance(sample, options=QUIET)
    found = tim3d.porosimetry(sample, phase="pore", options=QUIET)
    np.testing.assert_array_equal(
        found.radius_voxels * min(found.attrs["spacing_nm"]), found.radius
    )
    # Five voxels from wall to wall: three from the centre of the middle one to the wall's.
    assert found.percolation_radius.values.tolist() == [3.0, 3.0]
    assert found.r_max == 8
    # A face lets in whatever lies on it: from both sides half of the volume is filled at once.
    assert (found.r_min <= found.r_max).all()
    assert found.constriction.values == pytest.approx((found.r_min / found.r_max).values ** 2)


def test_what_cannot_be_intruded_is_refused(tmp_path: Path) -> None:
    labels = volume((1, 9, 9), 2)
    sample = ingested(tmp_path, labels, (1.0, 1.0, 1.0), (1, 9, 9))
    tim3d.distance(sample, options=QUIET)
    tim3d.distance(sample, phases=["solid"], out="far", options=QUIET)
    before = store.nodes(sample)
    for given_, error in (
        ({"phase": "metal"}, ArgumentError),
        ({"phase": "pore"}, ArgumentError),  # one voxel along z
        ({"phase": "pore", "directions": ["up"]}, ArgumentError),
        ({"phase": "pore", "directions": ["+y", "+y"]}, ArgumentError),
        ({"phase": "pore", "directions": ["+y"], "distance": "far"}, ArgumentError),
        ({"phase": "dirt", "directions": ["+y"]}, InputError),
    ):
        with pytest.raises(error):
            tim3d.porosimetry(sample, **given_, options=QUIET)
    assert store.nodes(sample) == before
    half = ByRadius(np.array([0.0, 3.0]), np.array([6, 4])).half
    assert np.isnan(half)
