"""Laws that a slip once escaped: each fails where one number, sign or refusal of the code is another."""

from __future__ import annotations

import base64
import dataclasses
import math
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr

import tim3d
from tests.extend.test_descriptor import GREY
from tests.nets import tiny_checkpoint
from tests.variants import ome_planes
from tim3d.engine.passes.summary import Summary
from tim3d.errors import ArgumentError, CheckpointError, SchemaError
from tim3d.exporting.job import mark_of
from tim3d.formats.builtin import SURFACES
from tim3d.generators import GaussianField, LevelCuts
from tim3d.grid import Box
from tim3d.kernels.image.imaging_model import Imaging
from tim3d.kernels.masks.mask_set import mask_of
from tim3d.kernels.statistics.comparison import deviations
from tim3d.models.promptable.key_sets import COPY, EXPECTED
from tim3d.models.promptable.prompting.file import read_rows
from tim3d.models.segmentation import checkpoint
from tim3d.models.segmentation.first_weights import of_model
from tim3d.models.segmentation.unet import UNetSpec, build
from tim3d.plotting.uncertainty import calibration_figure
from tim3d.relating.rendered import SolvedSamples
from tim3d.reporting.likeness import rows as rows_of_likeness
from tim3d.reporting.provenance import short
from tim3d.stages.imaging.looked_at import boxes
from tim3d.stages.shared import draws
from tim3d.stages.shared.first_network import Words
from tim3d.stages.shared.stored_results import joined
from tim3d.storage import schema
from tim3d.storage.schema import Field
from tim3d.storage.strict_store import seal

QUIET = tim3d.Options(progress=False)
LOOKS = ("edge", "relief", "blur", "shot", "read", "shading", "stripes", "charging")
BINS = ("stage", "where", "of", "bin")


@pytest.mark.parametrize(
    ("through", "shine", "slices"), [("", 0.0, 0), ("pore", 0.0, 0), ("pore", 0.5, 8)]
)
def test_only_a_phase_that_shines_through_looks_into_the_depth(
    through: str, shine: float, slices: int
) -> None:
    model = Imaging({"pore": 60.0, "solid": 160.0}, through=through, shine=shine, decay_nm=20.0)
    assert model.halo((10.0, 5.0, 5.0))[0] == slices


def test_an_empty_mask_has_no_box() -> None:
    with pytest.raises(ValueError, match="an empty mask has no box"):
        mask_of(np.zeros((4, 5), bool))


def test_the_names_that_are_expected_are_those_of_three_parts_and_a_copy() -> None:
    assert COPY in EXPECTED
    parts = {name.split(".")[0] for name in EXPECTED - {COPY}}
    assert parts >= {"vision_encoder", "prompt_encoder", "mask_decoder"}
    assert len(EXPECTED) > 100


def test_first_weights_that_were_replaced_since_are_refused(tmp_path: Path) -> None:
    model = tiny_checkpoint(tmp_path / "a.safetensors")
    spec: Any = checkpoint.describe(model).spec
    first = of_model(model, spec)
    first.put_into(build(spec))
    tiny_checkpoint(model, seed=6)
    with pytest.raises(CheckpointError, match=r"a.safetensors has changed since"):
        first.put_into(build(spec))


@pytest.mark.parametrize("one", SURFACES, ids=lambda one: one.name)
def test_a_surface_says_who_wrote_it(one: Any) -> None:
    assert one.keeps_mark


def test_a_comment_of_metaio_is_as_long_as_it_may_be(tmp_path: Path) -> None:
    names = {f"a_phase_with_a_long_name_{code}": code for code in range(12)}
    labels = (np.arange(4 * 6 * 8) % 12).reshape(4, 6, 8).astype(np.uint8)
    np.save(tmp_path / "v.npy", labels)
    sample, size = str(tmp_path / "a.zarr"), dict.fromkeys("zyx", 5.0)
    tim3d.ingest(
        tmp_path / "v.npy", sample, field="phase", phases=names, voxel_size=size, options=QUIET
    )
    tim3d.export(sample, "phase", tmp_path / "v.mha", options=QUIET)
    head = (tmp_path / "v.mha").read_bytes().split(b"ElementDataFile")[0].decode()
    (comment,) = (line for line in head.splitlines() if line.startswith("Comment = "))
    assert len(comment.removeprefix("Comment = ")) == 200


@pytest.mark.parametrize(
    ("each", "places"), [(1, [6]), (2, [3, 9]), (3, [2, 6, 10]), (12, list(range(12)))]
)
def test_sections_are_the_middles_of_equal_parts(
    tmp_path: Path, each: int, places: list[int]
) -> None:
    sample, shape = str(tmp_path / "a.zarr"), (4, 12, 6)
    cuts = LevelCuts(
        GaussianField((30.0,) * 3, (10.0,) * 3, 1), (0.5, 0.5), tim3d.Phases(pore=0, solid=1)
    )
    made = tim3d.generate(sample, cuts, shape=shape, options=QUIET).values
    tim3d.solve(sample, conductivity={"pore": 1.0, "solid": 2.0}, axis="z", options=QUIET)
    greys, plain = {"pore": 60.0, "solid": 160.0}, dict.fromkeys(LOOKS, 0.0)
    shown, _ = SolvedSamples((sample,), "phase", "", "z", each, greys, plain, 0).examples()
    sections = made[:, places].transpose(1, 0, 2)
    assert np.array_equal(shown.images[0] > 110, sections == 1)


def test_bins_without_a_voxel_are_not_drawn() -> None:
    shape, count = (2, 2, 1, 4), np.array([3.0, 0.0, 5.0, 0.0])
    found = xr.Dataset(
        {
            "bin_count": (BINS, np.broadcast_to(count, shape).copy()),
            "bin_confidence": (BINS, np.broadcast_to(count * 0.4, shape).copy()),
            "bin_hits": (BINS, np.broadcast_to(count * 0.5, shape).copy()),
            "ece": (BINS[:3], np.full(shape[:3], 0.1)),
        },
        coords={
            "stage": ["before", "after"], "where": ["all", "near"], "phase": ["pore"],
        },
        attrs={"distance_nm": 20.0},
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = calibration_figure(found)
    drawn = [
        line for line in figure.axes[0].lines if len(line.get_xdata()) != 2 or line.get_ls() == "-"
    ]
    assert [len(line.get_xdata()) for line in drawn] == [2, 2]


def test_a_field_beside_the_labels_that_was_replaced_is_measured_again(tmp_path: Path) -> None:
    sample, size = str(tmp_path / "a.zarr"), dict.fromkeys("zyx", 5.0)
    grey = np.random.default_rng(0).integers(0, 250, (4, 8, 8)).astype(np.uint8)
    for name, values, phases in (
        ("raw", grey, None),
        ("phase", grey > 99, {"pore": 0, "solid": 1}),
    ):
        np.save(tmp_path / "v.npy", values.astype(np.uint8))
        tim3d.ingest(
            tmp_path / "v.npy", sample, field=name, phases=phases, voxel_size=size, options=QUIET
        )
    first = tim3d.measure(sample, [GREY], options=QUIET).mean_grey.values
    np.save(tmp_path / "v.npy", 255 - grey)
    again = tim3d.Options(progress=False, overwrite=True)
    tim3d.ingest(tmp_path / "v.npy", sample, field="raw", voxel_size=size, options=again)
    second = tim3d.measure(sample, [GREY], options=QUIET).mean_grey.values
    assert second == pytest.approx(255 - first)


def test_curves_of_an_isotropic_material_are_averaged_over_directions_first() -> None:
    rng, (phases, lags) = np.random.default_rng(3), (2, 5)
    volume = {
        "phase_fraction": rng.random(phases), "two_point": rng.random((3, phases, lags)),
        "lineal_path": rng.random((3, phases, lags)), "surface": rng.random((3, phases)),
        "slice_tortuosity": rng.random((3, 2, phases)),
    }  # fmt: skip
    image = {
        "phase_fraction": rng.random((3, phases)), "two_point": rng.random((3, 2, phases, lags)),
        "lineal_path": rng.random((3, 2, phases, lags)), "surface": rng.random((3, 2, phases)),
        "slice_tortuosity": rng.random((3, 2, phases)),
    }  # fmt: skip
    planes = [(1, 2), (0, 2), (0, 1)]  # axes in a slice across z, y and x
    for isotropic in (False, True):
        found = deviations(volume, image, isotropic=isotropic)["two_point"]
        for slices, axes in enumerate(planes):
            apart = volume["two_point"][list(axes)] - image["two_point"][slices]
            apart = apart.mean(axis=0, keepdims=True) if isotropic else apart
            assert found[slices] == pytest.approx(np.abs(apart).mean(axis=(0, 2)))


def test_a_long_record_is_cut_where_it_says_so() -> None:
    assert short(["a" * 9] * 4) == '["aaaaaaaaa", "aaaaaaaaa", "aaaaaaaaa", "aaaaaaaaa"]'
    cut = short(["a" * 9] * 100)
    assert len(cut) == 300
    assert cut.endswith("…")
    assert short("0" * 64) == "0" * 10


FIRST = UNetSpec(("a", "b"), "MAnet", "resnet34", 4, (16, 8, 8, 4), 3, "instance", dropout=0.3)
KNOWN: dict[str, Any] = {
    "architecture": "MAnet", "encoder": "resnet34", "depth": 4, "decoder_channels": (16, 8, 8, 4), "context": 1,
    "norm": "instance",
}  # fmt: skip
OTHER: dict[str, Any] = {
    "architecture": "Linknet", "encoder": "resnet50", "depth": 5, "decoder_channels": (8, 8, 8, 8), "context": 2,
}  # fmt: skip


def test_a_training_that_starts_from_a_model_has_its_whole_network() -> None:
    assert Words().of(FIRST, "m") == FIRST
    assert Words(**KNOWN).of(FIRST, "m") == FIRST
    assert Words(dropout=0.1).of(FIRST, "m") == dataclasses.replace(FIRST, dropout=0.1)


@pytest.mark.parametrize("name", OTHER)
def test_another_network_than_that_of_the_first_model_is_refused(name: str) -> None:
    with pytest.raises(ArgumentError, match=f"Leave out --{name.replace('_', '-')}"):
        Words(**{name: OTHER[name]}).of(FIRST, "m")


def test_words_are_the_network_that_they_say() -> None:
    given = KNOWN | {"dropout": 0.3}
    assert Words(**given).spec(("a", "b")) == FIRST


@pytest.mark.parametrize("depth", [1, 15, 16, 17, 40, 64, 200])
@pytest.mark.parametrize("edges", [(10, 20), (768, 769), (2000, 900)])
def test_parts_that_are_looked_at_lie_from_the_first_slice_to_the_last(
    depth: int, edges: tuple[int, int]
) -> None:
    shape = (depth, *edges)
    parts = boxes(Field("raw", shape, "uint8", (10.0, 5.0, 5.0), shape, shape))
    assert parts[0].start[0] == 0
    assert depth < 32 or parts[-1].stop[0] == depth
    starts = [one.start[0] for one in parts]
    assert np.ptp(np.diff(starts)) <= 1 if len(starts) > 2 else True
    for one in parts:
        assert all(
            0 <= low < high <= n for low, high, n in zip(one.start, one.stop, shape, strict=True)
        )
        assert one.shape[0] == min(16, depth)
        for low, high, edge in zip(one.start[1:], one.stop[1:], edges, strict=True):
            assert high - low == min(768, edge)
            assert abs(low - (edge - high)) <= 1


@pytest.mark.parametrize("how", ["appended", "inline", "compressed"])
def test_a_vti_file_without_an_order_of_bytes_begins_with_the_lowest(
    tmp_path: Path, how: str
) -> None:
    values = (np.arange(24).reshape(2, 3, 4) * 300).astype("<u2")
    data = len(values.tobytes()).to_bytes(4, "little") + values.tobytes()
    text, appended = b'format="appended" offset="0">', b'<AppendedData encoding="raw">_' + data
    compressor = b""
    if how == "compressed":
        packed = zlib.compress(values.tobytes())
        numbers = np.array([1, values.nbytes, 0, len(packed)], "<u4").tobytes()
        appended = b'<AppendedData encoding="raw">_' + numbers + packed
        compressor = b' compressor="vtkZLibDataCompressor"'
    if how == "inline":
        text, appended = b'format="binary">' + base64.b64encode(data), b"<AppendedData>_"
    path = tmp_path / "a.vti"
    path.write_bytes(
        b'<VTKFile type="ImageData" version="1.0"' + compressor + b'><ImageData WholeExtent="0 3 0 2 0 1" '
        b'Spacing="5 5 5"><Piece Extent="0 3 0 2 0 1"><PointData><DataArray type="UInt16" Name="a" '
        + text + b"</DataArray></PointData></Piece></ImageData>" + appended + b"</AppendedData></VTKFile>"
    )  # fmt: skip
    size = dict.fromkeys("zyx", 5.0)
    found = tim3d.ingest(path, str(tmp_path / "a.zarr"), voxel_size=size, options=QUIET)
    assert np.array_equal(found.values, values)


TIMED = [
    ("train_cgan", {"micrograph": "a.tif", "out": "g", "conditions": "c.csv"}),
    ("train_generator", {"micrograph": "a.tif", "out": "g"}),
    ("train_diffusion", {"micrograph": "a.tif", "out": "g"}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "given"), TIMED)
@pytest.mark.parametrize(("minutes", "seconds"), [(2.0, 120.0), (None, math.inf)])
def test_minutes_of_a_training_are_sixty_seconds(
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    given: Any,
    minutes: Any,
    seconds: float,
) -> None:
    class AskedError(Exception):
        pass

    def kept(*numbers: float, **more: float) -> None:
        raise AskedError(numbers)

    if name == "train_cgan":
        given = given | {"phases": tim3d.Phases(a=0, b=1)}
    monkeypatch.setattr("tim3d.models.common.training_run.Schedule", kept)
    with pytest.raises(AskedError) as asked:
        getattr(tim3d, name)(**given, minutes=minutes, steps=7, every=3)
    assert asked.value.args[0][:3] == (7, 3, seconds)


def test_the_peak_of_a_run_is_that_of_its_largest_block() -> None:
    made = Summary("a", 3)
    for peak in (5, 9, 7):
        times = {f"{step}_seconds": 1.0 for step in ("read", "wait", "compute", "write")}
        record = times | {"voxels": 2, "read_bytes": 3, "write_bytes": 4, "host": "h", "pid": peak}
        made.add(record | {"peak_bytes": peak})
    assert (made.peak_bytes, made.computed, made.voxels) == (9, 3, 6)
    assert made.workers == {"h:5", "h:9", "h:7"}


@pytest.mark.parametrize("version", [schema.SCHEMA_VERSION - 1, schema.SCHEMA_VERSION + 1, 0, -1])
def test_a_sample_of_any_other_schema_is_refused(version: int) -> None:
    schema.check_version({"tim3d": {"schema": schema.SCHEMA_VERSION}}, "a")
    with pytest.raises(SchemaError, match=f"schema {version}, this tim3d reads"):
        schema.check_version({"tim3d": {"schema": version}}, "a")


@pytest.mark.parametrize("length", [100, 2**17, 2**17 + 40, 2**18, 10**6])
@pytest.mark.parametrize("at_the_end", [False, True])
def test_the_mark_of_an_export_is_found_at_both_ends(
    tmp_path: Path, length: int, at_the_end: bool
) -> None:
    mark, rest = b"tim3d export 0123456789abcdef", b"." * length
    path = tmp_path / "a.bin"
    path.write_bytes(rest + mark if at_the_end else mark + rest)
    assert mark_of(path) == mark.decode()
    path.write_bytes(rest)
    assert mark_of(path) == ""


def test_a_window_asks_for_the_boxes_whose_middle_lies_in_it(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("z,x0,y0,x1,y1\n0,2,2,20,8\n")
    rows, grey = read_rows(path), np.zeros((10, 12), np.uint8)
    boxes_of = [len(rows.marks(grey, Box((0, 0, x), (1, 10, x + 10)))) for x in (0, 10)]
    assert boxes_of == [0, 1]


def test_chance_that_is_not_known_is_a_dash() -> None:
    numbers = ("value", "chance", "chance_deviation", "p_value")
    found = xr.Dataset(
        {name: (("quantity", "field"), [[np.nan], [0.25]]) for name in numbers}
        | {"unit": ("quantity", ["1", "nm"])},
        coords={"quantity": ["a", "b"], "field": ["raw"]},
    )
    first, second = rows_of_likeness(found)
    assert first == ["a", "1", "-", "- ± -", "-"]
    assert second[:2] == ["b", "nm"]
    assert second[2:] == ["0.2500", "0.25 ± 0.25", "0.25"]


@pytest.mark.parametrize(("changed", "count"), [("", 3), ("phase", 0)])
def test_draws_of_labels_that_were_replaced_since_are_none(
    monkeypatch: pytest.MonkeyPatch, changed: str, count: int
) -> None:
    record = {"status": "complete", "parameters": {"draws": 3}}
    monkeypatch.setattr(draws.store, "node_attributes", lambda *_: record)
    monkeypatch.setattr(draws.store, "outdated", lambda *_: changed)
    assert len(draws.draws_of("a.zarr", "phase")) == count


def test_what_stood_in_a_node_stays_when_it_is_finished(tmp_path: Path) -> None:
    root = zarr.open_group(str(tmp_path / "a.zarr"), mode="w")
    root.create_group("raw").attrs.update(
        {"ome": {"version": "0.5"}, "tim3d": {"status": "running"}}
    )
    seal(root, "raw", {"tim3d": {"status": "complete"}}, [])
    held = dict(zarr.open_group(str(tmp_path / "a.zarr"), mode="r")["raw"].attrs)
    assert held["ome"] == {"version": "0.5"}
    assert held["tim3d"]["status"] == "complete"


def test_joined_results_have_axes_and_directions_in_the_order_of_the_stack() -> None:
    shape = (4, 6, 8)
    labels = Field("phase", shape, "uint8", (3.0, 2.0, 1.0), shape, shape)
    ways = xr.Dataset(
        {"way": ("direction", [1.0, 2.0, 3.0])}, coords={"direction": ["+x", "-z", "+z"]}
    )
    along = xr.Dataset({"flux": ("axis", [1.0, 2.0])}, coords={"axis": ["x", "z"]})
    found = joined([ways, along], labels)
    assert found["direction"].values.tolist() == ["+z", "-z", "+x"]
    assert found["way"].values.tolist() == [3.0, 2.0, 1.0]
    assert found["axis"].values.tolist() == ["z", "x"]
    assert found["flux"].values.tolist() == [2.0, 1.0]


def test_planes_on_both_sides_of_the_origin_are_as_far_apart_as_they_are(tmp_path: Path) -> None:
    path = ome_planes(tmp_path, [-0.04, -0.02, 0.0, 0.02])
    found = tim3d.ingest(path, str(tmp_path / "a.zarr"), options=QUIET)
    assert np.diff(found["z"].values) == pytest.approx([20.0] * 3)
