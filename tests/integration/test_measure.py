"""Measuring through the store equals measuring the array at once, for any blocks, workers and regions."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import tifffile
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import tim3d
from tests.examples import costly
from tim3d.cli.main import main
from tim3d.descriptors.base import (
    Counts,
    Descriptor,
    Labels,
    Material,
    Partial,
    Values,
    Variable,
    compute_partials,
    partials_of,
)
from tim3d.descriptors.builtin import BUILTIN
from tim3d.descriptors.in_memory import describe_array
from tim3d.errors import ArgumentError, MissingFieldError, MixedRunError
from tim3d.grid import Box, Triple
from tim3d.storage import store

ALL = list(BUILTIN.values())
PHASES = tim3d.Phases(pore=0, solid=1, filler=9)
SPACING = (20.0, 5.0, 4.0)
MATERIAL = Material(PHASES, SPACING)


def quiet(block: Triple | None = None, *, overwrite: bool = False) -> tim3d.Options:
    return tim3d.Options(progress=False, block=block, overwrite=overwrite)


def volume(shape: Triple, seed: int = 0) -> NDArray[np.uint8]:
    return np.array(PHASES.codes, np.uint8)[np.random.default_rng(seed).integers(0, 3, shape)]


def ingested(
    folder: Path, labels: NDArray[np.uint8], shard: Triple, phases: tim3d.Phases = PHASES
) -> str:
    """A sample with the field `phase`."""
    np.save(folder / "phase.npy", labels)
    url, size = str(folder / "a.zarr"), dict(zip("zyx", SPACING, strict=True))
    tim3d.ingest(
        folder / "phase.npy",
        url,
        voxel_size=size,
        field="phase",
        phases=phases,
        shard=shard,
        options=quiet(),
    )
    return url


def assert_same(found: xr.Dataset, expected: xr.Dataset) -> None:
    """Equal to the last bit, with all attributes of the variables."""
    assert set(found.data_vars) == set(expected.data_vars)
    for name, variable in expected.data_vars.items():
        np.testing.assert_array_equal(found[name].values, variable.values, err_msg=str(name))
        assert found[name].dims == variable.dims
        assert found[name].attrs == variable.attrs
    for name, coordinate in expected.coords.items():
        assert found[name].values.tolist() == coordinate.values.tolist()


edges = st.tuples(*[st.integers(2, 11)] * 3)


@pytest.mark.long
@given(
    shape=edges, shard=st.tuples(*[st.integers(1, 6)] * 3), many=st.tuples(*[st.integers(1, 3)] * 3)
)
@costly
def test_any_blocks_of_whole_shards_give_the_same_partials_and_results(
    shape: Triple, shard: Triple, many: Triple
) -> None:
    labels = volume(shape)
    with tempfile.TemporaryDirectory() as folder:
        url = ingested(Path(folder), labels, shard)
        stored = store.read_field(url, "phase").shard
        block = (stored[0] * many[0], stored[1] * many[1], stored[2] * many[2])
        measured = tim3d.measure(url, options=quiet(block)).load()
        partials = tim3d.open_dataset(url, "phase_partials").load()
    whole = compute_partials(labels, Box.whole(shape), ALL, MATERIAL)
    for partial in partials_of(ALL):
        total = partials[partial.name].sum(
            [d for d in partials[partial.name].dims if str(d).endswith("_block")]
        )
        assert total.dtype == np.int64
        np.testing.assert_array_equal(total.values, whole[partial.name])
    assert_same(measured, describe_array(labels, ALL, MATERIAL))


@pytest.fixture(scope="module")
def labels() -> NDArray[np.uint8]:
    return volume((13, 18, 21), seed=5)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory, labels: NDArray[np.uint8]) -> str:
    """Measured in blocks of 4 x 8 x 7 voxels."""
    url = ingested(tmp_path_factory.mktemp("measure"), labels, (4, 8, 7))
    tim3d.measure(url, options=quiet((4, 8, 7)))
    return url


@pytest.mark.long
def test_two_workers_give_what_one_process_gives(
    tmp_path: Path, labels: NDArray[np.uint8], two_workers: str
) -> None:
    with tim3d.cluster(two_workers):
        url = ingested(tmp_path, labels, (4, 8, 7))
        measured = tim3d.measure(url, options=quiet((4, 8, 7)))
    assert_same(measured, describe_array(labels, ALL, MATERIAL))


@pytest.mark.parametrize(
    "region",
    [Box((0, 0, 0), (13, 18, 21)), Box((4, 8, 7), (8, 16, 21)), Box((8, 0, 7), (13, 8, 14))],
)
def test_a_region_is_answered_from_the_partials_of_its_voxels(
    sample: str, labels: NDArray[np.uint8], region: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "read_box", None)  # no voxel is read
    ranges = {
        axis: slice(a * step, b * step)
        for axis, a, b, step in zip("zyx", region.start, region.stop, SPACING, strict=True)
    }
    described = tim3d.describe(sample, plain=True, **ranges)
    totals = compute_partials(labels, region, ALL, MATERIAL)
    expected = xr.merge([d.finalize(totals, MATERIAL, region.start) for d in ALL])
    assert_same(described, expected)
    assert described.attrs["origin_nm"] == [r.start for r in ranges.values()]
    assert described.attrs["end_nm"] == [r.stop for r in ranges.values()]
    assert float(described.z[0]) == (region.start[0] + 0.5) * 20


def test_regions_add_up(sample: str) -> None:
    parts = [
        tim3d.describe(sample, z=s) for s in (slice(None, 80), slice(80, 160), slice(160, None))
    ]
    weights = [4, 4, 5]
    total = sum(w * p.specific_surface for w, p in zip(weights, parts, strict=True)) / 13
    whole = tim3d.describe(sample).specific_surface
    np.testing.assert_allclose(total.values, whole.values, rtol=1e-12)


def _voxels(labels: Labels, core: Box, material: Material) -> Counts:
    inside = labels[core.slices]
    return np.array([np.count_nonzero(inside == 9)], np.int64)


def _share(totals: Mapping[str, Counts], material: Material) -> dict[str, Values]:
    return {"filler_volume": np.asarray(totals["filler_voxels"][0] * material.voxel_volume)}


OWN = Descriptor(
    "filler_volume",
    (Partial("filler_voxels", (0, 0, 0), ("one",), lambda material: (1,), _voxels),),
    (Variable("filler_volume", (), 3, "volume of the filler", "voxel count", "doi:10.0/none"),),
    _share,
)


def test_a_descriptor_of_ones_own(tmp_path: Path, labels: NDArray[np.uint8]) -> None:
    url = ingested(tmp_path, labels, (4, 8, 7))
    measured = tim3d.measure(url, ["phase_fraction", OWN], options=quiet())
    assert measured.filler_volume.item() == np.count_nonzero(labels == 9) * 400.0
    assert measured.filler_volume.attrs["units"] == "nm3"
    assert "filler_volume" not in tim3d.describe(url)
    assert tim3d.describe(url, [OWN]).filler_volume.item() == measured.filler_volume.item()


def test_other_descriptors_of_the_same_partials_are_computed(
    tmp_path: Path, labels: NDArray[np.uint8]
) -> None:
    url = ingested(tmp_path, labels, (4, 8, 7))
    shared = [n for n, d in BUILTIN.items() if d.needs == BUILTIN["specific_surface"].needs]
    assert len(shared) > 1
    for name in shared:
        measured = tim3d.measure(url, [name], options=quiet())
        assert_same(measured, describe_array(labels, [BUILTIN[name]], MATERIAL))
        assert set(tim3d.describe(url).data_vars) >= set(measured.data_vars)
    assert set(tim3d.describe(url, shared)) > set(measured)
    with pytest.raises(ArgumentError, match="phase_fraction was not measured"):
        tim3d.describe(url, ["phase_fraction"])


def test_another_formula_under_the_same_name_is_used(
    tmp_path: Path, labels: NDArray[np.uint8]
) -> None:
    url = ingested(tmp_path, labels, (4, 8, 7))
    once = tim3d.measure(url, [OWN], options=quiet()).filler_volume.item()
    double = dataclasses.replace(
        OWN, formula=lambda totals, material: {"filler_volume": np.asarray(2.0 * once)}
    )
    assert tim3d.measure(url, [double], options=quiet()).filler_volume.item() == 2 * once


def test_a_run_killed_between_partials_and_results_is_finished_without_a_voxel(
    tmp_path: Path, labels: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = ingested(tmp_path, labels, (4, 8, 7))
    before = tim3d.measure(url, options=quiet()).load()
    store.delete_node(url, "phase_descriptors")
    with pytest.raises(MissingFieldError, match="Run: tim3d measure"):
        tim3d.describe(url)
    monkeypatch.setattr(store, "read_box", None)
    assert_same(tim3d.measure(url, options=quiet()), before)


def test_measuring_again_reads_no_voxel(sample: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = tim3d.describe(sample, plain=True).load()
    monkeypatch.setattr(store, "read_box", None)
    assert_same(tim3d.measure(sample, options=quiet((4, 8, 7))), before)


@pytest.mark.long
def test_other_blocks_are_taken_on_request_and_give_the_same(
    tmp_path: Path, labels: NDArray[np.uint8]
) -> None:
    url = ingested(tmp_path, labels, (4, 8, 7))
    first = tim3d.measure(url, ["specific_surface"], options=quiet((4, 8, 7))).load()
    with pytest.raises(
        MixedRunError, match=r"blocks of \(4, 8, 7\) \(now \(8, 8, 7\)\).*--overwrite"
    ):
        tim3d.measure(url, ["specific_surface"], options=quiet((8, 8, 7)))
    more = tim3d.measure(url, ["phase_fraction"], options=quiet())
    assert tim3d.open_dataset(url, "phase_partials").attrs["block_shape"] == [4, 8, 7]
    assert set(tim3d.describe(url, plain=True).data_vars) == {*first.data_vars, *more.data_vars}
    again = tim3d.measure(url, ["specific_surface"], options=quiet((8, 8, 7), overwrite=True))
    assert_same(again, first)
    assert tim3d.open_dataset(url, "phase_partials").attrs["block_shape"] == [8, 8, 7]


def test_a_field_that_was_replaced_is_measured_anew(
    tmp_path: Path, labels: NDArray[np.uint8]
) -> None:
    url = ingested(tmp_path, labels, (4, 8, 7))
    tim3d.measure(url, ["phase_fraction"], options=quiet())
    np.save(tmp_path / "phase.npy", np.zeros((3, 4, 5), np.uint8))
    size = {"z": 1, "y": 1, "x": 1}
    options = quiet(overwrite=True)
    tim3d.ingest(
        tmp_path / "phase.npy", url, voxel_size=size, field="phase", phases=PHASES, options=options
    )
    measured = tim3d.measure(url, ["phase_fraction"], options=quiet())
    assert measured.phase_fraction.values.tolist() == [1, 0, 0]


ELECTRODE = tim3d.Phases(pore=0, active=85, binder=170)


def test_the_published_numbers_of_a_battery_electrode(data_dir: Path, tmp_path: Path) -> None:
    stack = data_dir / "volumes" / "electrode-256.tiff"
    url, size = str(tmp_path / "a.zarr"), {"z": 1, "y": 1, "x": 1}
    shard = (64, 128, 256)
    tim3d.ingest(
        stack, url, voxel_size=size, field="phase", phases=ELECTRODE, shard=shard, options=quiet()
    )
    measured = tim3d.measure(
        url, ["phase_fraction", "specific_surface"], options=quiet((128, 128, 256))
    )
    voxels = np.array([7548361, 6718710, 2510145])
    assert measured.phase_fraction.values.tolist() == (voxels / 256**3).tolist()
    faces = [0.30683690309524536, 0.14610451459884644, 0.34222638607025146]
    assert measured.specific_surface_faces.sel(
        phase=["pore", "active", "binder"]
    ).values.tolist() == pytest.approx(faces, rel=1e-15)
    assert np.array_equal(tifffile.imread(stack), tim3d.open_field(url, "phase").values)


@pytest.mark.parametrize("shape", [(1, 12, 13), (6, 1, 7)])
def test_a_plane_is_not_measured_in_three_dimensions(
    tmp_path: Path,
    shape: Triple,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = ingested(tmp_path, volume(shape), (4, 8, 7))
    found = tim3d.measure(url, options=quiet())
    assert "phase_fraction" in found
    assert not {
        "specific_surface",
        "euler_density",
        "mean_curvature_integral",
        "interface_area",
    } & set(found)
    assert "need three dimensions" in caplog.text
    assert set(tim3d.describe(url, plain=True).data_vars) == set(found.data_vars)
    with pytest.raises(ArgumentError, match=r"is a plane \(") as error:
        tim3d.measure(url, ["phase_fraction", "euler_density"], options=quiet())
    if shape[0] > 1:
        return
    export, measure = str(error.value).partition("Of the plane: ")[2].split("; ")
    monkeypatch.chdir(tmp_path)
    assert main(export.split()[1:]) == main(measure.split()[1:]) == 0
    assert "perimeter_per_area (nm-1)" in capsys.readouterr().out
