"""Laws that a slip once escaped: each fails where one number, sign or refusal of the code is another."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import tim3d
from tests.extend.test_descriptor import GREY
from tests.nets import tiny_checkpoint
from tim3d.errors import CheckpointError
from tim3d.formats.builtin import SURFACES
from tim3d.generators import GaussianField, LevelCuts
from tim3d.kernels.image.imaging_model import Imaging
from tim3d.kernels.masks.mask_set import mask_of
from tim3d.kernels.statistics.comparison import deviations
from tim3d.models.promptable.key_sets import COPY, EXPECTED
from tim3d.models.segmentation import checkpoint
from tim3d.models.segmentation.first_weights import of_model
from tim3d.models.segmentation.unet import build
from tim3d.plotting.uncertainty import calibration_figure
from tim3d.relating.rendered import SolvedSamples
from tim3d.reporting.provenance import short

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
