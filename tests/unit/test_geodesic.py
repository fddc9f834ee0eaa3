"""Geodesic kernels: revisits, what is counted, what is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from tests.traced import traced_peak
from tim3d.errors import ArgumentError, InputError
from tim3d.kernels.geodesic.eikonal import UNIT, UNREACHED
from tim3d.kernels.geodesic.geodesic import (
    METRICS,
    Mask,
    Units,
    arrive,
    distance,
    geodesic_bytes,
    in_length,
    plane_sums,
    refine,
    tortuosity,
)

metrics = pytest.mark.parametrize("metric", METRICS)


def block(shape: tuple[int, int, int] = (6, 7, 8)) -> tuple[Units, Mask]:
    """A full block that nothing has reached, with its halo."""
    return np.full(shape, UNREACHED, np.uint32), np.ones(shape, np.uint8)


@pytest.mark.long
@metrics
def test_a_block_without_seeds_stays_unreached(metric: str) -> None:
    arrival, region = block()
    arrive(arrival, region, (1, 1, 1), metric=metric)
    assert (arrival == UNREACHED).all()
    assert refine(arrival.copy(), arrival, region, (1, 1, 1)) == 0


@metrics
def test_only_the_core_changes_and_the_region_bounds_it(metric: str) -> None:
    arrival, region = block()
    region[:, :, 5] = 0
    arrival[0, 3, 3] = 7
    arrive(arrival, region, (1, 1, 1), metric=metric)
    assert np.count_nonzero(arrival < UNREACHED) == 1 + 4 * 5 * 4
    assert arrival[0, 3, 3] == 7
    assert arrival[1, 3, 3] == 7 + UNIT
    assert (arrival[:, :, 5:] == UNREACHED).all()


@metrics
def test_a_halo_that_falls_lowers_what_it_should_and_a_second_call_nothing(metric: str) -> None:
    arrival, region = block((20, 20, 20))
    arrival[0] = 9 * UNIT
    arrive(arrival, region, (1, 1, 1), metric=metric)
    before = arrival.copy()
    arrive(arrival, region, (1, 1, 1), metric=metric)
    np.testing.assert_array_equal(arrival, before)
    arrival[-1, 10, 10] = 5 * UNIT
    fresh = np.where(np.pad(np.ones((18, 18, 18), bool), 1), np.uint32(UNREACHED), arrival)
    arrive(arrival, region, (1, 1, 1), metric=metric)
    arrive(fresh, region, (1, 1, 1), metric=metric)
    np.testing.assert_array_equal(arrival, fresh)
    assert (arrival < before).sum() > 100


@metrics
def test_many_scattered_seeds_outgrow_the_first_ring(metric: str) -> None:
    rng = np.random.default_rng(1)
    region = np.ones((40, 40, 40), np.uint8)
    near = distance(region, rng.random(region.shape) < 0.3, metric=metric)
    assert np.nanmax(near) < 4
    assert not np.isnan(near).any()


@metrics
def test_a_wide_front_from_the_halo_outgrows_the_first_ring(metric: str) -> None:
    arrival, region = block((6, 90, 90))
    arrival[0] = 0
    arrive(arrival, region, (1, 1, 1), metric=metric)
    np.testing.assert_array_equal(
        arrival[1:-1, 1:-1, 1:-1], np.arange(1, 5)[:, None, None] * UNIT + np.zeros((88, 88))
    )


def test_a_diagonal_contact_carries_the_graph_only() -> None:
    region = np.zeros((2, 2, 1), np.uint8)
    region[0, 0] = region[1, 1] = 1
    seeds = np.zeros_like(region)
    seeds[0, 0] = 1
    assert distance(region, seeds, (3, 4, 1), metric="graph26")[1, 1, 0] == pytest.approx(
        5, rel=1e-5
    )
    assert math.isnan(distance(region, seeds, (3, 4, 1))[1, 1, 0])


def test_seeds_count_inside_the_region_only_and_any_type_will_do() -> None:
    region = np.array([[[0, 2, 2, 2]]], np.int16)
    seeds = np.array([[[True, False, True, False]]])
    np.testing.assert_array_equal(distance(region, seeds, (1, 1, 2)), [[[np.nan, 2, 0, 2]]])


def test_known_values_never_change_and_what_waits_stays_unknown() -> None:
    arrival, region = block((5, 5, 9))
    arrival[2, 2] = np.arange(9) * UNIT + 5
    exact = np.full_like(arrival, UNREACHED)
    assert refine(exact, arrival, region, (1, 1, 1)) == 0
    assert (exact == UNREACHED).all()
    exact[2, 2, 0], exact[2, 2, 1] = 11, 11 + UNIT
    assert refine(exact, arrival, region, (1, 1, 1)) == 5
    np.testing.assert_array_equal(exact[2, 2, :7], 11 + UNIT * np.arange(7))
    assert refine(exact, arrival, region, (1, 1, 1)) == 0


def test_what_nothing_leads_to_stays_unknown_and_ends() -> None:
    arrival, region = block((5, 5, 9))
    arrival[2, 2, 4] = UNIT
    exact = np.full_like(arrival, UNREACHED)
    assert refine(exact, arrival, region, (1, 1, 1)) == 0
    assert (exact == UNREACHED).all()


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_do_not_matter(threads: int) -> None:
    rng = np.random.default_rng(8)
    region = rng.random((40, 41, 43)) < 0.8
    seeds = rng.random(region.shape) < 0.001
    alone, shared = (distance(region, seeds, (2, 1, 1.5), threads=n) for n in (1, threads))
    np.testing.assert_array_equal(shared, alone)


@metrics
def test_a_distance_too_long_is_refused(metric: str) -> None:
    with pytest.raises(InputError, match="exceeds 65371 times the shortest voxel edge"):
        distance(
            np.ones((656, 1, 1)), np.arange(656)[:, None, None] == 0, (100, 1, 1), metric=metric
        )
    far = distance(
        np.ones((654, 1, 1)), np.arange(654)[:, None, None] == 0, (100, 1, 1), metric=metric
    )
    assert far[-1, 0, 0] == 65300


@pytest.mark.parametrize(
    "spacing", [(1, 1), (1, 1, 0), (1, -1, 1), (1, 1, math.nan), (math.inf, 1, 1)]
)
def test_a_spacing_that_is_none_is_refused(spacing: Any) -> None:
    with pytest.raises(ArgumentError, match="give three positive voxel edges"):
        distance(np.ones((2, 2, 2)), np.ones((2, 2, 2)), spacing)


def test_another_metric_is_refused() -> None:
    for call in (
        lambda: geodesic_bytes((9, 9, 9), "chess"),
        lambda: arrive(*block(), (1, 1, 1), metric="chess"),
    ):
        with pytest.raises(ArgumentError, match="metric is 'chess'; use 'eikonal' or 'graph26'"):
            call()


def test_arrays_that_do_not_fit_are_refused() -> None:
    arrival, region = block()
    bad = [
        (arrival.astype(np.int64), region),
        (arrival, region[1:]),
        (arrival, region.astype(bool)),
    ]
    bad += [(arrival.T, region.T), (arrival[0], region[0])]
    for values, inside in bad:
        with pytest.raises(InputError, match="is needed"):
            arrive(values, inside, (1, 1, 1))
    with pytest.raises(InputError, match="a halo of 2"):
        refine(*(block((4, 9, 9))[0],) * 2, block((4, 9, 9))[1], (1, 1, 1))
    with pytest.raises(InputError, match="must be of one shape"):
        distance(np.ones((2, 2, 2)), np.ones((2, 2, 3)))


def test_bytes_bound_what_a_call_holds() -> None:
    arrival, region = block((40, 150, 150))
    arrival[1] = 0
    exact = np.full_like(arrival, UNREACHED)
    for work in (
        lambda: arrive(arrival, region, (1, 1, 1)),
        lambda: refine(exact, arrival, region, (1, 1, 1)),
    ):
        assert arrival.size < traced_peak(work) < geodesic_bytes((40, 150, 150))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_planes_add_up_over_blocks_and_count_what_is_not_reached(axis: int) -> None:
    rng = np.random.default_rng(0)
    region = (rng.random((9, 8, 7)) < 0.7).astype(np.uint8)
    units = np.where(
        region & (rng.random(region.shape) < 0.9),
        rng.integers(0, 2**32 - 1, region.shape),
        UNREACHED,
    )
    units = units.astype(np.uint32)
    parts = [plane_sums(*(np.moveaxis(a, 0, axis) for a in (units[:, s], region[:, s])), axis) for s in
             (slice(3), slice(3, 8))]  # fmt: skip
    whole = plane_sums(np.moveaxis(units, 0, axis), np.moveaxis(region, 0, axis), axis)
    for a, b, total in zip(*parts, whole, strict=True):
        np.testing.assert_array_equal(a + b, total)
        assert total.dtype == np.int64
    assert whole[0][4] == sum(int(u) for u in units[4].ravel() if u != UNREACHED)


def test_tortuosity_names_what_it_averages() -> None:
    reached, phase = np.array([4, 4, 2, 4, 4]), np.array([4, 4, 4, 4, 4])
    sums = np.array([0, 8, 12, 24, 40]) * UNIT
    found = tortuosity(sums, reached, phase, (4, 2, 2), 0)
    np.testing.assert_array_equal(found.profile, [np.nan, 1, 1.5, 1, 1.25])
    assert (found.last_quarter, found.last_plane, found.all_planes) == (1.125, 1.25, 1.1875)
    assert found.reached == 0.9


def test_a_plane_that_nothing_reaches_is_not_hidden() -> None:
    reached, phase = np.array([4, 4, 4, 0]), np.array([4, 4, 4, 4])
    found = tortuosity(np.array([0, 4, 8, 0]) * UNIT, reached, phase, (1, 1, 1), 2)
    assert math.isnan(found.last_plane)
    assert math.isnan(found.last_quarter)
    assert math.isnan(found.all_planes)
    assert found.profile[2] == 1
    with pytest.raises(InputError, match="2 planes or more"):
        tortuosity(np.array([0]), np.array([1]), np.array([1]), (1, 1, 1), 0)


def test_lengths_are_in_the_unit_of_the_spacing() -> None:
    assert in_length(np.array([3 * UNIT], np.uint32), (30, 10, 20)).tolist() == [30]
