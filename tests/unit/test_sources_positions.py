"""z positions from names, and the resampling that makes their steps even."""

from __future__ import annotations

import itertools
import pickle
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from tim3d.errors import ArgumentError, InputError
from tim3d.sources import (
    Source,
    open_source,
    resample,
    resolve_voxel_size,
    spacing_statistics,
    uniform_resampling,
)
from tim3d.sources.positions import natural_key, position_nm, positions_of

# The published steps of the shale stack, in nm.
SHALE_STEPS = [11.9, 14.0, 11.1, 13.0, 11.6, 10.8, 11.4, 10.8, 10.5, 10.2, 11.3, 9.0, 12.2]


@dataclass(frozen=True, kw_only=True)
class ArraySource(Source):
    """A source in memory that notes which slices were read."""

    voxels: np.ndarray = field(compare=False)
    log: list[int] = field(default_factory=list, compare=False)

    @property
    def label(self) -> str:
        return "memory"

    def parts(self) -> tuple[object, ...]:
        return ()

    def load(self, z0: int, z1: int) -> np.ndarray:
        self.log.extend(range(z0, z1))
        return self.voxels[z0:z1]


def in_memory(voxels: np.ndarray) -> ArraySource:
    return ArraySource(
        shape=voxels.shape, dtype=voxels.dtype, voxels=voxels, voxel_size_nm=(None, 5.0, 5.0)
    )


@st.composite
def rising(draw: st.DrawFn) -> list[float]:
    steps = draw(st.lists(st.floats(0.5, 50.0), min_size=1, max_size=12))
    return np.cumsum([draw(st.floats(-1000, 1000)), *steps]).tolist()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("slice_00596_z=5.9104um.tif", 5910.4),
        ("z=12nm.png", 12.0),
        ("a_Z = 0.25 µm", 250.0),
        ("z=0.25μm", 250.0),
        ("z=-3.5um", -3500.0),
        ("z=1.5e-3mm_x", 1500.0),
        ("z=2micron", 2000.0),
        ("slice_12.tif", None),
        ("size=5um", None),
        ("z=5", None),
        ("z=5umbra", None),
    ],
)
def test_position_in_a_name(name: str, expected: float | None):
    assert position_nm(name) == expected


def test_positions_of_all_names_or_none():
    assert positions_of(["a", "b"]) is None
    assert positions_of(["z=1nm", "z=2nm"]) == (1.0, 2.0)
    with pytest.raises(InputError, match=r"1 of 2 slice names .* 'b' holds none"):
        positions_of(["z=1nm", "b"])


def test_positions_from_imagej_labels_of_files_and_of_pages(tmp_path: Path):
    labels = ["slice_1_z=0.1um", "slice_2_z=0.112um", "slice_3_z=0.12um"]
    (tmp_path / "files").mkdir()
    for i, label in enumerate(labels):
        tifffile.imwrite(
            tmp_path / "files" / f"{i}.tif",
            np.zeros((2, 2), np.uint8),
            imagej=True,
            metadata={"Labels": [label]},
        )
    tifffile.imwrite(
        tmp_path / "pages.tif",
        np.zeros((3, 2, 2), np.uint8),
        imagej=True,
        metadata={"axes": "ZYX", "Labels": labels},
    )
    for name in ("files", "pages.tif"):
        assert open_source(tmp_path / name).positions_nm == (100.0, 112.0, 120.0)


@given(rising())
def test_statistics_equal_the_definition(positions: list[float]):
    found = spacing_statistics(positions)
    steps = [b - a for a, b in itertools.pairwise(positions)]
    mean = sum(steps) / len(steps)
    assert found.steps == len(steps)
    assert found.mean_nm == pytest.approx(mean)
    assert (found.min_nm, found.max_nm) == (min(steps), max(steps))
    assert found.sd_nm == pytest.approx(
        (sum((s - mean) ** 2 for s in steps) / len(steps)) ** 0.5, abs=1e-9
    )
    assert found.monotonic
    assert spacing_statistics(positions[::-1]).monotonic


def test_statistics_say_when_steps_turn_or_are_even():
    assert not spacing_statistics([0.0, 2.0, 1.0]).monotonic
    assert "not monotonic" in str(spacing_statistics([0.0, 2.0, 1.0]))
    assert not spacing_statistics([0.0, 0.0]).monotonic
    assert spacing_statistics([0.0, 10.0, 20.0]).is_uniform()
    assert spacing_statistics([20.0, 10.0, 0.0]).is_uniform()
    assert not spacing_statistics([0.0, 10.0, 21.0]).is_uniform()


@given(rising(), st.sampled_from([1, -1]))
def test_default_step_keeps_number_and_ends(positions: list[float], sign: int):
    positions = [sign * z for z in positions]
    plan = uniform_resampling(positions)
    assert len(plan) == len(positions)
    assert plan.positions_nm[0] == positions[0]
    assert plan.positions_nm[-1] == pytest.approx(positions[-1])
    assert plan.step_nm == pytest.approx(abs(positions[-1] - positions[0]) / (len(positions) - 1))


@given(rising(), st.floats(0.3, 200.0), st.sampled_from([1, -1]))
def test_weights_are_those_of_linear_interpolation(positions: list[float], step: float, sign: int):
    positions = [sign * z for z in positions]
    plan = uniform_resampling(positions, step)
    steps = np.diff(plan.positions_nm)
    np.testing.assert_allclose(sign * steps, step, rtol=1e-6)
    assert abs(positions[-1] - plan.positions_nm[-1]) < step * (1 + 1e-5)
    source = np.asarray(positions)
    weights = np.asarray(plan.weights)
    assert ((weights >= 0) & (weights < 1)).all()
    between = (1 - weights) * source[list(plan.lower)] + weights * source[list(plan.upper)]
    np.testing.assert_allclose(between, plan.positions_nm, atol=1e-4)
    assert set(np.subtract(plan.upper, plan.lower)) <= {0, 1}


@given(
    rising(),
    st.floats(2.0, 60.0),
    st.sampled_from(["uint8", "uint16", "float32"]),
    st.booleans(),
    st.data(),
)
def test_any_cut_gives_the_same_bits(
    positions: list[float], step: float, dtype: str, labels: bool, data: st.DataObject
):
    rng = np.random.default_rng(len(positions))
    voxels = (rng.random((len(positions), 3, 4)) * 250).astype(dtype)
    found = resample(in_memory(voxels), uniform_resampling(positions, step), labels=labels)
    n = found.shape[0]
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, n - 1)), max_size=5)) | {0, n})
    parts = [found.read(a, b) for a, b in itertools.pairwise(cuts)]
    np.testing.assert_array_equal(np.concatenate(parts), found.read(0, n))


@given(rising(), st.floats(2.0, 60.0), st.sampled_from(["uint8", "float32"]))
def test_values_equal_numpy_interp(positions: list[float], step: float, dtype: str):
    column = (np.random.default_rng(7).random(len(positions)) * 250).astype(dtype)
    plan = uniform_resampling(positions, step)
    found = resample(in_memory(column.reshape(-1, 1, 1)), plan).read(0, len(plan)).ravel()
    expected = np.interp(plan.positions_nm, positions, column)
    tolerance = 0.5 + 1e-3 if dtype == "uint8" else 1e-2
    np.testing.assert_allclose(found, expected, atol=tolerance)


def test_integers_are_rounded_to_nearest():
    voxels = np.array([0, 200], np.uint8).reshape(2, 1, 1)
    found = resample(in_memory(voxels), uniform_resampling([0.0, 100.0], 33.4)).read(0, 3).ravel()
    assert found.tolist() == [0, 67, 134]


def test_labels_come_from_the_nearer_slice_and_no_value_is_new():
    voxels = np.array([0, 200, 7], np.uint8).reshape(3, 1, 1)
    source = in_memory(voxels)
    found = resample(source, uniform_resampling([0.0, 10.0, 20.0], 2.5), labels=True)
    assert found.read(0, 9).ravel().tolist() == [0, 0, 0, 200, 200, 200, 200, 7, 7]


def test_even_positions_leave_every_bit():
    voxels = np.random.default_rng(0).random((6, 3, 4)).astype(np.float32)
    positions = [5910.4 + 11.1 * i for i in range(6)]
    found = resample(in_memory(voxels), uniform_resampling(positions))
    np.testing.assert_array_equal(found.read(0, 6), voxels)


def test_only_the_needed_slices_are_read_and_each_once():
    source = in_memory(np.zeros((9, 2, 2), np.uint8))
    found = resample(source, uniform_resampling([10.0 * i for i in range(9)], 5.0))
    found.read(4, 9)
    assert source.log == [2, 3, 4]
    source.log.clear()
    resample(source, uniform_resampling([10.0 * i for i in range(9)], 40.0)).read(0, 3)
    assert source.log == [0, 4, 8]


def test_a_resampled_source_is_a_source():
    source = in_memory(np.random.default_rng(1).integers(0, 9, (4, 2, 2), np.uint8))
    plan = uniform_resampling([0.0, 10.0, 21.0, 30.0])
    found = resample(source, plan)
    assert resolve_voxel_size(None, "nm", found) == (10.0, 5.0, 5.0)
    assert found.positions_nm == plan.positions_nm
    assert pickle.loads(pickle.dumps(plan)) == plan
    assert pickle.loads(pickle.dumps(found)).identity() == found.identity()
    others = [
        resample(source, uniform_resampling([0.0, 10.0, 21.0, 30.0], 9.0)),
        resample(source, plan, labels=True),
    ]
    assert len({found.identity(), source.identity(), *(other.identity() for other in others)}) == 4
    with pytest.raises(ArgumentError, match="made for 4 slices"):
        resample(in_memory(np.zeros((5, 2, 2), np.uint8)), plan)


@pytest.mark.parametrize(
    "bad", [[0.0, 10.0, 10.0], [0.0, 10.0, 5.0, 20.0], [20.0, 25.0, 0.0], [0.0, 0.0]]
)
def test_positions_that_turn_back_are_refused(bad: list[float]):
    with pytest.raises(InputError, match="against the order of the stack"):
        uniform_resampling(bad)


def test_positions_and_steps_that_make_no_stack():
    for bad in ([], [1.0], [0.0, float("nan")]):
        with pytest.raises(ArgumentError, match="at least two finite numbers"):
            uniform_resampling(bad)
    for step in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(ArgumentError, match="must be a positive number"):
            uniform_resampling([0.0, 1.0], step)


def test_missing_z_points_to_resampling(tmp_path: Path):
    for z in (1, 2):
        tifffile.imwrite(tmp_path / f"{z}_z={z}nm.tif", np.zeros((2, 2), np.uint8))
    with pytest.raises(InputError, match="resampling to a uniform z"):
        resolve_voxel_size({"y": 1.0, "x": 1.0}, "nm", open_source(tmp_path))


def test_real_shale_stack(data_dir: Path):
    source = open_source(data_dir / "shale-fibsem")
    assert source.shape == (14, 1104, 1720)
    assert source.voxel_size_nm == (None, None, None)
    assert source.positions_nm is not None
    assert (source.positions_nm[0], source.positions_nm[-1]) == (5910.4, 6058.2)
    np.testing.assert_allclose(np.diff(source.positions_nm), SHALE_STEPS, atol=1e-9)
    statistics = spacing_statistics(source.positions_nm)
    assert statistics.mean_nm == pytest.approx(11.37, abs=0.005)
    assert (statistics.min_nm, statistics.max_nm) == pytest.approx((9.0, 14.0))
    assert not statistics.is_uniform()


def test_real_shale_stack_resampled(data_dir: Path):
    source = open_source(data_dir / "shale-fibsem")
    plan = uniform_resampling(source.positions_nm or ())
    found = resample(source, plan)
    assert found.shape == source.shape
    assert resolve_voxel_size({"y": 10, "x": 10}, "nm", found)[0] == pytest.approx(147.8 / 13)
    low, high = (source.read(i, i + 1)[0].astype(float) for i in (plan.lower[6], plan.upper[6]))
    expected = np.rint((1 - plan.weights[6]) * low + plan.weights[6] * high)
    np.testing.assert_allclose(found.read(5, 8)[1], expected, atol=1)
    np.testing.assert_array_equal(found.read(0, 1), source.read(0, 1))
    np.testing.assert_array_equal(found.read(13, 14), source.read(13, 14))


@pytest.mark.parametrize("odd", [5.0, 15.0])
def test_one_odd_step_among_thousands_is_uneven(odd: float):
    """However long the longest step is, or the shortest: the mean hardly moves."""
    steps = np.full(4000, 10.0)
    steps[1234] = odd
    found = spacing_statistics(np.concatenate([[0.0], np.cumsum(steps)]))
    assert not found.is_uniform()
    assert found.is_uniform(0.6)
    assert not found.is_uniform(0.4)


def test_slices_are_sorted_by_length_and_not_by_number():
    names = ["s_z=1um.tif", "s_z=900nm.tif", "s_z=0.002mm.tif", "s_z=1.5e-6m.tif"]
    assert sorted(names, key=natural_key) == [names[1], names[0], names[3], names[2]]
    assert positions_of(sorted(names, key=natural_key)) == pytest.approx(
        (900.0, 1000.0, 1500.0, 2000.0)
    )


@pytest.mark.parametrize("step", [0.1, 0.7, 5.9104, 11.37])
def test_a_last_slice_at_a_whole_number_of_steps_is_kept(step: float) -> None:
    """Whatever the rounding of the division: 0.3 / 0.1 is below 3."""
    for steps in range(2, 60):
        positions = [0.0, step / 2, round(steps * step, 4)]
        assert len(uniform_resampling(positions, step)) == steps + 1
