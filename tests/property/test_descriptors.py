"""The law of the algebra: blocks of any size add up to the whole, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.examples import costly
from tim3d.descriptors.base import (
    Descriptor,
    Material,
    add_blocks,
    compute_partials,
    halo_of,
    partials_of,
)
from tim3d.descriptors.builtin import BUILTIN
from tim3d.descriptors.in_memory import describe_array
from tim3d.grid import Box, Grid, Triple
from tim3d.phases import Phases

ALL: list[Descriptor] = list(BUILTIN.values())
MATERIALS = {
    2: Material(Phases(pore=0, solid=1), (10, 5, 5)),
    3: Material(Phases(pore=0, matrix=1, filler=2), (3, 1, 2)),
    4: Material(Phases(a=0, b=1, c=2, d=3), (1, 1, 1)),
}

edges = st.tuples(*[st.integers(1, 9)] * 3)


def volume(shape: Triple, phases: int, seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, phases, shape, dtype=np.uint8)


@given(
    shape=edges,
    block=edges,
    extra=st.integers(0, 2),
    phases=st.sampled_from([2, 3, 4]),
    seed=st.integers(0, 99),
)
def test_partials_of_any_blocking_add_up_to_the_whole(
    shape: Triple, block: Triple, extra: int, phases: int, seed: int
) -> None:
    labels, material = volume(shape, phases, seed), MATERIALS[phases]
    whole = compute_partials(labels, Box.whole(shape), ALL, material)
    grid = Grid(shape, block, tuple(h + extra for h in halo_of(ALL)))
    pieces = (
        (b, compute_partials(labels[b.read.slices], b.core.within(b.read), ALL, material))
        for b in grid
    )
    totals = add_blocks(partials_of(ALL), shape, pieces, material)
    for partial in partials_of(ALL):
        total = totals[partial.name]
        assert total.dtype == np.int64
        assert np.array_equal(total, whole[partial.name]), partial.name


@given(shape=edges, phases=st.sampled_from([2, 3, 4]), seed=st.integers(0, 99))
def test_every_partial_has_the_shape_it_declares(shape: Triple, phases: int, seed: int) -> None:
    labels, material = volume(shape, phases, seed), MATERIALS[phases]
    computed = compute_partials(labels, Box.whole(shape), ALL, material)
    for partial in partials_of(ALL):
        assert computed[partial.name].shape == partial.shape(shape, material)
        assert computed[partial.name].ndim == len(partial.dims)


@given(block=edges, seed=st.integers(0, 9))
@costly
def test_results_do_not_depend_on_the_blocks(block: Triple, seed: int) -> None:
    labels = volume((9, 8, 7), 3, seed)
    whole = describe_array(labels, ALL, MATERIALS[3])
    xr.testing.assert_identical(describe_array(labels, ALL, MATERIALS[3], block), whole)


@given(shape=edges, phases=st.sampled_from([2, 3, 4]), seed=st.integers(0, 99))
def test_interfaces_of_a_phase_add_up_to_its_surface(shape: Triple, phases: int, seed: int) -> None:
    ds = describe_array(volume(shape, phases, seed), ALL, MATERIALS[phases])
    for pair, single in (
        ("interface_area", "specific_surface"),
        ("interface_area_faces", "specific_surface_faces"),
    ):
        assert ds[pair].sum("phase_other").values == pytest.approx(
            ds[single].values, rel=1e-9, abs=1e-12
        )
    assert ds.phase_fraction.sum() == pytest.approx(1)
