"""Distances are those of scipy on the whole array, for any blocks, phases and voxels of any shape."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import ndimage

import tim3d
from tests.examples import costly
from tests.traced import OBJECTS, traced_peak
from tim3d.errors import ArgumentError, InputError, MissingFieldError
from tim3d.grid import Grid, Triple
from tim3d.kernels.morphology.distance import (
    MIXED,
    cells,
    lengths,
    metric_of,
    reaches,
    squared_distances,
)
from tim3d.phases import Phases
from tim3d.stages.morphology.distance import CellKernel, DistanceWork
from tim3d.storage import store

Spacing = tuple[float, float, float]
THREE = tim3d.Phases(pore=0, solid=3, dirt=9)
CODES = np.array([0, 3, 9], np.uint8)
QUIET = tim3d.Options(progress=False)
SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 13), st.integers(1, 40))
# Edges in the ratio of whole numbers, whose squares scipy adds without rounding.
WHOLE = st.sampled_from([(1.0, 1.0, 1.0), (20.0, 5.0, 5.0), (4.0, 1.0, 2.0), (3.0, 7.0, 7.0)])
OTHER = st.sampled_from([(10.0, 5.2, 5.2), (np.pi, 1.0, 1.37), (0.1, 0.3, 0.1)])
RANKS = np.zeros(256, np.uint8)
RANKS[CODES] = 1, 2, 3


def volume(shape: Triple, seed: int, smooth: float = 1.5) -> np.ndarray:
    """Labels of smoothed noise, of two phases or three."""
    noise = np.random.default_rng(seed).standard_normal(shape)
    noise = ndimage.gaussian_filter(noise, smooth if seed % 3 else 0.0)
    cuts = [0.0, 1.0] if seed % 2 else [noise.std() / 2]
    return np.asarray(CODES[np.digitize(noise, cuts)])


def by_scipy(labels: np.ndarray, spacing: Spacing, codes: Any = CODES) -> np.ndarray:
    """Distance of each voxel of some phases to the nearest voxel that is not of its phase."""
    found = np.zeros(labels.shape)
    for code in codes:
        own = labels == code
        found += ndimage.distance_transform_edt(own, sampling=spacing) * own
    return found.astype(np.float32)


def ingested(folder: str | Path, labels: np.ndarray, spacing: Spacing, shard: Triple) -> str:
    """A sample of these labels."""
    np.save(Path(folder) / "labels.npy", labels)
    tim3d.ingest(
        Path(folder) / "labels.npy", f"{folder}/a.zarr", voxel_size=dict(zip("zyx", spacing, strict=True)),
        field="phase", phases=THREE, shard=shard, options=QUIET,
    )  # fmt: skip
    return f"{folder}/a.zarr"


@given(st.floats(1.0, 30.0), st.floats(1.0, 30.0), st.integers(0, 2))
@example(10.0, 10.001, 0)
@example(10.0, 10.01, 1)
@example(10.05, 10.0, 2)
def test_the_edges_of_a_metric_are_those_of_the_voxel(one: float, two: float, axis: int) -> None:
    """Also where they have no common measure: to seven digits."""
    spacing = tuple(one if n == axis else two for n in range(3))
    metric = metric_of(spacing)
    edges = np.sqrt(metric.weights) * metric.unit
    assert edges == pytest.approx(spacing, rel=1e-7)


@pytest.mark.parametrize("turned", [False, True])
def test_a_block_sees_as_far_as_its_farthest_voxel_needs(tmp_path: Path, turned: bool) -> None:
    """Most of its voxels lie near another phase, and those of one end are nearest to one in the next block."""
    labels = np.zeros((4, 16, 192), np.uint8)
    labels[..., :89:2] = labels[..., 170::2] = 3
    labels = labels[..., ::-1] if turned else labels
    sample = ingested(tmp_path, labels, (1.0, 1.0, 1.0), (4, 16, 64))
    few = tim3d.Options(progress=False, block=(4, 16, 64))
    found = tim3d.distance(sample, options=few)
    assert found.values.max() == 41
    np.testing.assert_array_equal(found.values, by_scipy(labels, (1.0, 1.0, 1.0)))


@given(SHAPES, WHOLE, st.integers(0, 99))
def test_distances_are_those_of_scipy_to_the_bit(
    shape: Triple, spacing: Spacing, seed: int
) -> None:
    labels, metric = volume(shape, seed), metric_of(spacing)
    if len(np.unique(labels)) > 1:
        found = lengths(squared_distances(labels, metric), metric)
        assert np.array_equal(found, by_scipy(labels, spacing))


@given(SHAPES, OTHER, st.integers(0, 99))
def test_other_voxels_differ_by_the_rounding_of_float32(
    shape: Triple, spacing: Spacing, seed: int
) -> None:
    labels, metric = volume(shape, seed), metric_of(spacing)
    if len(np.unique(labels)) > 1:
        found = lengths(squared_distances(labels, metric), metric)
        np.testing.assert_allclose(found, by_scipy(labels, spacing), rtol=2e-7)


@given(SHAPES, WHOLE, st.tuples(*[st.integers(1, 5)] * 3), st.integers(0, 99))
def test_no_distance_leaves_the_reach_of_its_cell(
    shape: Triple, spacing: Spacing, edges: Triple, seed: int
) -> None:
    labels = (volume(shape, seed) // 3).astype(np.uint8)
    if len(np.unique(labels)) > 1:
        coarse = cells(labels, edges)
        reach = np.kron(reaches(coarse, edges, spacing), np.ones(edges))
        inside = tuple(slice(0, n) for n in shape)
        assert (by_scipy(labels * 3, spacing) <= reach[inside] * (1 + 1e-6)).all()
        assert ((coarse == MIXED) <= np.isfinite(reaches(coarse, edges, spacing))).all()


def test_squares_are_whole_numbers_of_the_same_unit() -> None:
    assert metric_of((0.1, 0.3, 0.1)).weights == (1, 9, 1)
    assert metric_of((10.0, 5.2, 5.2)).weights == (625, 169, 169)
    assert metric_of((np.pi, 1.0, 1.37)).weights[1] == 2**24
    assert metric_of((1.0, 1.0, 1.0)).dtype((20000, 20000, 20000)) == np.int32
    assert metric_of((1.0, 1.0, 1.0)).dtype((30000, 30000, 30000)) == np.int64


@given(SHAPES, st.tuples(*[st.integers(1, 9)] * 3), WHOLE, st.integers(0, 99))
def test_blocks_change_no_distance(
    shape: Triple, block: Triple, spacing: Spacing, seed: int
) -> None:
    labels, metric = volume(shape, seed), metric_of(spacing)
    if len(np.unique(labels)) == 1:
        return
    grid, found = Grid(shape, block), np.empty(shape, np.float32)
    expected = by_scipy(labels, spacing)
    reach = np.zeros(grid.counts)
    for one in grid:
        reach[one.index] = expected[one.core.slices].max()
    work = DistanceWork("", "", "", RANKS, metric, spacing, shape, reach, durable=False)
    for one in grid:
        found[one.core.slices], _ = work.compute(one, RANKS[labels[work.box(one).slices]])
    assert np.array_equal(found, expected)


@pytest.mark.long
@costly
@given(
    st.sampled_from([((5, 7, 20), (2, 3, 10)), ((4, 9, 9), (4, 2, 9))]), WHOLE, st.integers(0, 9)
)
def test_stored_blocks_change_no_distance(
    cut: tuple[Triple, Triple], spacing: Spacing, seed: int
) -> None:
    shape, shard = cut
    labels = volume(shape, seed)
    with tempfile.TemporaryDirectory() as folder:
        sample = ingested(folder, labels, spacing, shard)
        found = tim3d.distance(sample, options=tim3d.Options(progress=False, block=shard))
        expected = by_scipy(labels, spacing)
        assert np.array_equal(found.values, expected)
        largest = store.node_attributes(sample, "phase_distance")["largest"]
        assert largest == {
            name: float(expected[labels == code].max(initial=0)) for name, code in THREE.items()
        }


@pytest.mark.long
def test_a_phase_far_from_all_others_is_read_as_far_as_it_reaches(tmp_path: Path) -> None:
    labels = np.zeros((4, 6, 60), np.uint8)
    labels[2, 3, 59] = 3
    sample = ingested(tmp_path, labels, (2.0, 1.0, 1.0), (2, 3, 10))
    few = tim3d.Options(progress=False, block=(2, 3, 10))
    found = tim3d.distance(sample, options=few)
    assert np.array_equal(found.values, by_scipy(labels, (2.0, 1.0, 1.0)))
    only = tim3d.distance(sample, phases=["solid"], options=few)
    assert only.name == "phase_distance_phases=solid"
    assert np.array_equal(only.values, by_scipy(labels, (2.0, 1.0, 1.0), [3]))


def test_what_has_no_distance_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    labels = np.zeros((3, 4, 5), np.uint8)
    sample = ingested(tmp_path, labels, (1.0, 1.0, 1.0), (3, 4, 5))
    for phases, message in (
        (None, "pore fills all"),
        (["pore"], "pore fills all"),
        (["solid"], "no voxel"),
    ):
        with pytest.raises(InputError, match=message):
            tim3d.distance(sample, phases=phases, options=QUIET)
    for phases in (["metal"], ["pore", "pore"], []):
        with pytest.raises(ArgumentError):
            tim3d.distance(sample, phases=phases, options=QUIET)
    with pytest.raises(MissingFieldError):
        tim3d.distance(sample, field="other", options=QUIET)
    assert store.nodes(sample) == ["phase", "phase_slices"] or store.nodes(sample) == ["phase"]


def test_planes_and_long_voxels_are_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    labels = volume((1, 9, 9), 1)
    sample = ingested(tmp_path, labels, (11.0, 1.0, 1.0), (1, 9, 9))
    found = tim3d.distance(sample, options=QUIET)
    assert np.array_equal(found.values, by_scipy(labels, (11.0, 1.0, 1.0)))
    assert "is a plane (1 x 9 x 9 voxels)" in caplog.text
    assert "11 times as long along z" in caplog.text


@pytest.mark.long
def test_the_look_before_needs_what_is_planned_and_not_eight_bytes_a_voxel() -> None:
    labels, phases = volume((96, 96, 96), 1), Phases(a=0, b=3, c=9)
    kernel = CellKernel(np.arange(256, dtype=np.uint8), phases, (4, 4, 4))
    (block,) = Grid(labels.shape, labels.shape)
    kernel((labels,), block)
    assert traced_peak(lambda: kernel((labels,), block)) < 2 * labels.size + OBJECTS
