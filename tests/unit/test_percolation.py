"""Which share of a phase leads from face to face, on volumes that can be counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray

from tim3d.descriptors.percolation import percolation
from tim3d.grid import triple
from tim3d.kernels.morphology.components import label_volume
from tim3d.phases import Phases

PHASES = Phases(pore=0, solid=1)


def found(labels: NDArray[np.uint8], phases: Phases = PHASES, connectivity: int = 6) -> xr.Dataset:
    _, table = label_volume(labels, phases.codes, connectivity)
    return percolation(table, phases, triple(labels.shape), connectivity)


def example() -> NDArray[np.uint8]:
    """Pores in 6 x 8 x 10: a channel of 6 voxels along z, two dead ends of 2 and 1 on its faces, an island of 4."""
    labels = np.ones((6, 8, 10), np.uint8)
    labels[:, 2, 2] = 0
    labels[:2, 4, 4] = 0
    labels[5, 6, 8] = 0
    labels[2:4, 4:6, 7] = 0
    return labels


def test_through_dead_ends_and_islands_along_an_axis() -> None:
    pore = found(example()).sel(phase="pore")
    assert pore.component_count == 4
    assert pore.largest_share == 6 / 13
    z = pore.sel(axis="z")
    assert (z.percolating_fraction, z.dead_end_fraction, z.isolated_fraction) == (
        6 / 13,
        3 / 13,
        4 / 13,
    )
    assert pore.percolates.values.tolist() == [True, False, False]
    assert pore.isolated_fraction.sel(axis="y") == 1


def test_the_solid_around_them_percolates_everywhere() -> None:
    solid = found(example()).sel(phase="solid")
    assert solid.percolating_fraction.values.tolist() == [1, 1, 1]
    assert (solid.component_count, solid.largest_share) == (1, 1)


@pytest.mark.parametrize("connectivity", [6, 18, 26])
def test_shares_add_up_to_one(connectivity: int) -> None:
    labels = np.random.default_rng(2).integers(0, 2, (9, 8, 7)).astype(np.uint8)
    ds = found(labels, connectivity=connectivity)
    total = ds.percolating_fraction + ds.dead_end_fraction + ds.isolated_fraction
    np.testing.assert_allclose(total.values, 1, rtol=1e-15)
    assert ((ds.percolating_fraction > 0) == ds.percolates).all()
    assert ds.component_voxels.sum() == labels.size


def test_a_diagonal_leads_through_by_corners_only() -> None:
    labels = np.ones((5, 5, 5), np.uint8)
    labels[np.arange(5), np.arange(5), np.arange(5)] = 0
    through = [
        found(labels, connectivity=c).percolating_fraction.sel(phase="pore", axis="z")
        for c in (6, 18, 26)
    ]
    assert [float(t) for t in through] == [0, 0, 1]


def test_on_an_axis_of_one_voxel_everything_leads_through() -> None:
    ds = found(np.array([[[0, 1, 0, 1]]], np.uint8))
    assert ds.percolating_fraction.sel(axis="z").values.tolist() == [1, 1]
    assert ds.percolating_fraction.sel(axis="x").values.tolist() == [0, 0]


def test_a_phase_without_voxels_has_no_shares() -> None:
    absent = found(np.zeros((3, 3, 3), np.uint8)).sel(phase="solid")
    assert absent.component_count == 0
    assert not absent.percolates.any()
    for name in ("largest_share", "percolating_fraction", "dead_end_fraction", "isolated_fraction"):
        assert np.isnan(absent[name]).all()


def test_the_table_of_components() -> None:
    ds = found(example(), Phases(pore=0))
    assert ds.component.values.tolist() == [1, 2, 3, 4]
    assert ds.component_voxels.values.tolist() == [6, 2, 4, 1]
    island = ds.sel(component=3)
    assert island.component_start.values.tolist() == [2, 4, 7]
    assert island.component_stop.values.tolist() == [4, 6, 8]
    assert not island.component_touches.any()
    assert ds.component_touches.sel(component=2, axis="z").values.tolist() == [True, False]


def test_every_variable_says_what_it_is() -> None:
    ds = found(example(), connectivity=18)
    for variable in ds.data_vars.values():
        assert {"units", "long_name", "method", "reference", "connectivity"} <= set(variable.attrs)
        assert variable.attrs["units"] == "1"
        assert "faces or edges (18)" in variable.attrs["method"]
    assert ds.component_phase.attrs["flag_meanings"] == "pore solid"
