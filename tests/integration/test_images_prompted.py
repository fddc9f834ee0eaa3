"""A folder of images segmented by prompts."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile

import tim3d
from tests.promptable import saved_folder
from tim3d.errors import ArgumentError, CheckpointError, InputError
from tim3d.models.promptable.mask_rules import AsObjects
from tim3d.models.promptable.prompting import Grid, Listed, Strokes
from tim3d.sources.image import read_pixels

FREE = AsObjects(iou=0, stability=0, smallest=2)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two images that are not square, and a random tiny SAM."""
    folder = tmp_path_factory.mktemp("images")
    (folder / "images").mkdir()
    rng = np.random.default_rng(0)
    for name, shape in (("a", (20, 40)), ("b", (36, 24))):
        tifffile.imwrite(folder / "images" / f"{name}.tif", rng.integers(0, 255, shape, np.uint8))
    tim3d.import_network(saved_folder("sam", folder / "sam"), folder / "sam.safetensors")
    return folder


def segmented(place: Path, out: Path, **how: object) -> object:
    given = {"model": place / "sam.safetensors", "masks": FREE, "progress": False, **how}
    return tim3d.segment_images(place / "images", out, **given)


def test_masks_of_a_grid(place, tmp_path):
    found = segmented(place, tmp_path / "masks", prompts=Grid(side=3))
    assert found.phase.values.tolist() == ["background", "object"]
    assert tim3d.plan(
        "segment_images", place / "images", tmp_path / "masks", model=place / "sam.safetensors", masks=FREE,
        prompts=Grid(side=3),
    ) == []  # fmt: skip


def test_prompts_of_a_file_name_their_images(place, tmp_path):
    rows = tmp_path / "points.csv"
    rows.write_text("image,x,y,phase\nb,20,30,pore\n")
    found = segmented(place, tmp_path / "masks", prompts=Listed(rows))
    share = found.area_fraction.sel(phase="pore").values
    assert share[0] == 0
    for text, error, said in (
        ("image,x,y\na,39,30\n", InputError, "outside: a"),
        ("z,x,y\n0,3,3\n", ArgumentError, "without an image"),
    ):
        rows.write_text(text)
        with pytest.raises(error, match=said):
            segmented(place, tmp_path / "other", prompts=Listed(rows))


def test_what_does_not_fit_is_refused(place, tmp_path):
    out = tmp_path / "masks"
    with pytest.raises(CheckpointError, match="add --prompts"):
        segmented(place, out, masks=None)
    with pytest.raises(ArgumentError, match="those of prompts"):
        segmented(place, out)
    with pytest.raises(ArgumentError, match="field of a sample"):
        segmented(place, out, prompts=Strokes("strokes"))
    with pytest.raises(ArgumentError, match="not known"):
        segmented(place, out, prompts="grid")
    with pytest.raises(InputError, match=r"a\.tif: .*no mask of an expected IoU"):
        segmented(place, out, prompts=Grid(side=2), masks=AsObjects(iou=1.0))


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_a_mask_may_hold_the_numbers_of_its_objects(place, tmp_path, suffix):
    how = {"prompts": Grid(side=3), "format": suffix}
    segmented(place, tmp_path / "labels", **how)
    segmented(place, tmp_path / "numbers", values="objects", **how)
    for name in ("a", "b"):
        labels, numbers = (
            read_pixels(tmp_path / kind / f"{name}.{suffix}").values
            for kind in ("labels", "numbers")
        )
        assert numbers.dtype == np.uint16
        assert ((numbers > 0) == (labels > 0)).all()
        _, first = np.unique(numbers[numbers > 0], return_index=True)
        assert list(first) == sorted(first)
        assert set(np.unique(numbers)) - {0} == set(range(1, numbers.max() + 1))
    shutil.copytree(tmp_path / "numbers", tmp_path / "again")
    found = tim3d.evaluate_images(tmp_path / "again", tmp_path / "numbers")
    assert (found.panoptic_quality == 1).all()
    with pytest.raises(ArgumentError, match="labels are read"):
        tim3d.measure_images(tmp_path / "numbers")
    with pytest.raises(ArgumentError, match="holds labels and no numbers"):
        tim3d.evaluate_images(tmp_path / "labels", tmp_path / "numbers")


def test_numbers_of_objects_need_prompts(place, tmp_path):
    with pytest.raises(ArgumentError, match="numbers of the masks of prompts"):
        tim3d.segment_images(
            place / "images",
            tmp_path / "masks",
            method="otsu",
            phases=tim3d.Phases(pore=0, solid=1),
            values="objects",
        )
