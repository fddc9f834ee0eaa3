"""Folders of single images: masks of the same names, tables of the plane, comparisons of pairs; never a sample."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

import tim3d
from tim3d.cleaning import Holes
from tim3d.cli.main import main
from tim3d.cli.parsing import call
from tim3d.errors import (
    ArgumentError,
    InputError,
    MemoryPlanError,
    MixedRunError,
    Tim3dError,
)
from tim3d.stages.images import segment_images as stage
from tim3d.verbs import VERBS

TWO = tim3d.Phases(pore=0, solid=1)
SHAPES = {"a 1": (20, 30), "b": (25, 15), "c": (16, 16)}
OTSU = {"method": "otsu", "phases": TWO, "progress": False}


def grey(shape: tuple[int, int]) -> np.ndarray:
    """A bright disc on dark, with noise."""
    y, x = np.indices(shape)
    disc = (y - shape[0] / 2) ** 2 + (x - shape[1] / 2) ** 2 < 25
    return (60 + 100 * disc + np.random.default_rng(shape[0]).integers(0, 30, shape)).astype(
        np.uint8
    )


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three images of different sizes and types, their true masks, and lists of them."""
    monkeypatch.chdir(tmp_path)
    for name in ("images", "truth"):
        (tmp_path / name).mkdir()
    for name, shape in SHAPES.items():
        values = grey(shape)
        truth = np.where(values > 110, 2, 1).astype(np.uint8)
        Image.fromarray(truth).save(f"truth/{name}_mask.png")
        if name == "b":
            Image.fromarray(values.astype(np.uint16) * 257).save(f"images/{name}.png")
        elif name == "c":
            tifffile.imwrite(
                "images/c.tif", values, imagej=True, resolution=(200, 100), metadata={"unit": "um"}
            )
        else:
            Image.fromarray(values).save(f"images/{name}.png")
    Path("images/notes.txt").write_text("not an image")
    Path("lists.json").write_text(json.dumps({"set": {"test": ["b", "a 1"], "train": ["c.tif"]}}))
    Path("lists.csv").write_text("name,set\nb,test\nc,train\n")
    return tmp_path


def test_masks_have_the_names_and_sizes_of_their_images(folder: Path) -> None:
    found = tim3d.segment_images("images", "masks", **OTSU)
    assert sorted(p.name for p in (folder / "masks").iterdir()) == [
        "a 1.png", "b.png", "c.png", "masks.json",
    ]  # fmt: skip
    for name, shape in SHAPES.items():
        mask = np.asarray(Image.open(f"masks/{name}.png"))
        assert np.array_equal(mask, (grey(shape) > 110).astype(np.uint8))
        assert float(found.area_fraction.sel(image=name, phase="solid")) == mask.mean()
    record = json.loads(Path("masks/masks.json").read_text())
    assert record["phases"] == {"pore": 0, "solid": 1}
    assert record["images"]["b"]["thresholds"][0] > 255  # in the grey values of the file
    assert record["images"]["c"]["pixel_nm"] == pytest.approx([10.0, 5.0])


def test_16_bits_reduced_give_the_mask_of_8_bits(folder: Path) -> None:
    tim3d.segment_images("images", "masks", to_8_bit=True, **OTSU)
    record = json.loads(Path("masks/masks.json").read_text())["images"]
    assert record["b"]["thresholds"][0] < 256


@pytest.mark.parametrize(
    ("given", "values"),
    [
        ({"values": "black-white"}, [0, 255]),
        ({"values": "palette", "phases": tim3d.Phases(pore=3, solid=7)}, [3, 7]),
        ({"values": "black-white", "format": "tif"}, [0, 255]),
        ({"polarity": "bright", "phases": tim3d.Phases(solid=1, pore=4)}, [1, 4]),
    ],
)
def test_pixels_of_masks_are_as_asked_and_are_measured_alike(
    folder: Path, given: dict[str, object], values: list[int]
) -> None:
    tim3d.segment_images("images", "masks", **{**OTSU, **given}, names="{name}_m")
    suffix = given.get("format", "png")
    path = f"masks/b_m.{suffix}"
    mask = tifffile.imread(path) if suffix == "tif" else np.asarray(Image.open(path))
    assert np.unique(mask).tolist() == values
    if given.get("values") == "palette":
        with Image.open(path) as image:
            assert image.mode == "P"
    found = tim3d.measure_images("masks", in_pixels=True)
    expected = (grey(SHAPES["b"]) > 110).mean()
    assert float(found.area_fraction.sel(image="b_m", phase="solid")) == expected


def test_a_stopped_run_does_what_is_left_and_another_question_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, seen = stage.read_pixels, []

    def counted(path: Path) -> object:
        seen.append(path.name)
        if path.name == "b.png" and len(seen) == 2:
            raise InputError("stopped")
        return read(path)

    monkeypatch.setattr(stage, "read_pixels", counted)
    with pytest.raises(InputError, match="stopped"):
        tim3d.segment_images("images", "masks", **OTSU)
    with pytest.raises(InputError, match=r"lacks 2 of 3 masks \(first: b\).*segment-images"):
        tim3d.measure_images("masks")
    seen.clear()
    tim3d.segment_images("images", "masks", **OTSU)
    assert seen == ["b.png", "c.tif"]
    assert tim3d.plan("segment_images", "images", "masks", **OTSU) == []
    with pytest.raises(MixedRunError, match="--overwrite"):
        tim3d.segment_images("images", "masks", **OTSU, blur="binomial")
    Image.fromarray(255 - grey(SHAPES["a 1"])).save("images/a 1.png")  # changed: its mask only
    seen.clear()
    tim3d.segment_images("images", "masks", **OTSU)
    assert seen == ["a 1.png"]
    tim3d.segment_images("images", "masks", **OTSU, format="tif", overwrite=True)
    assert not list((folder / "masks").glob("*.png"))


@pytest.mark.long
@pytest.mark.parametrize("way", ["otsu", "network"])
def test_an_image_is_segmented_as_the_one_slice_of_a_sample(folder: Path, way: str) -> None:
    how: dict[str, object] = {"method": "otsu", "phases": TWO, "blur": "binomial"}
    if way == "network":
        pytest.importorskip("torch", reason="networks need torch: pip install 'tim3d[seg]'")
        from tests.nets import tiny_checkpoint

        tiny_checkpoint(folder / "net.safetensors")
        how = {"model": "net.safetensors"}
    quiet = tim3d.Options(progress=False)
    size = {"z": 10, "y": 10, "x": 10}
    tim3d.segment_images("images", "masks", **how, progress=False)
    for name in ("a 1", "b"):
        tim3d.ingest(f"images/{name}.png", f"{name}.zarr", voxel_size=size, options=quiet)
        whole = tim3d.segment(f"{name}.zarr", **how, options=quiet).values[0]
        assert np.array_equal(np.asarray(Image.open(f"masks/{name}.png")), whole)


def test_an_image_beyond_the_memory_is_refused_before_any_work(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "available_memory", lambda: 9000)
    with pytest.raises(MemoryPlanError, match=r"a 1.png needs 0.0 MiB"):
        tim3d.segment_images("images", "masks", **OTSU)
    assert not (folder / "masks").exists()


def test_lists_choose_images(folder: Path) -> None:
    for lists, subset in (("lists.json", "set/test"), ("lists.csv", "test")):
        found = tim3d.segment_images("images", f"m-{lists}", splits=lists, subset=subset, **OTSU)
        assert found.image.values.tolist() == (["b", "a 1"] if lists.endswith("n") else ["b"])
    with pytest.raises(ArgumentError, match="set/test, set/train"):
        tim3d.measure_images("images", splits="lists.json", subset="set", phases=TWO)
    with pytest.raises(ArgumentError, match="no list 'set/val'"):
        tim3d.measure_images("images", splits="lists.json", subset="set/val", phases=TWO)
    with pytest.raises(ArgumentError, match="go together"):
        tim3d.measure_images("images", splits="lists.json", phases=TWO)


def test_lengths_are_in_nm_where_all_images_have_a_size(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tim3d.segment_images("images", "masks", format="tif", **OTSU)
    with pytest.raises(InputError, match="2 of 3 images have no pixel size"):
        tim3d.measure_images("masks")
    own = tim3d.measure_images("masks", splits="lists.csv", subset="train", csv="t.csv")
    assert own.pixel_y.values[0] == pytest.approx(10.0)
    assert own.mean_chord.attrs["units"] == "nm"
    given = tim3d.measure_images("masks", pixel_size=[10.0, 5.0])
    for name in own.data_vars:
        assert np.allclose(
            given[name].sel(image="c"), own[name].sel(image="c"), rtol=1e-6, equal_nan=True
        )
    plain = tim3d.measure_images("masks", in_pixels=True)
    assert plain.perimeter_per_area.attrs["units"] == "pixel-1"
    solid = plain.sel(image="b", phase="solid")
    assert int(solid.features - solid.features_cut) >= 1
    Path("own.csv").write_text("image,label\nb,good\n")
    with pytest.raises(ArgumentError, match="not a table of images of tim3d"):
        tim3d.measure_images("masks", in_pixels=True, csv="own.csv")
    rows = list(csv.DictReader(Path("t.csv").read_text().splitlines()))
    assert [row["phase"] for row in rows] == ["pore", "solid"]
    assert float(rows[1]["perimeter_per_area [nm-1]"]) == float(own.perimeter_per_area[0, 1])


def test_masks_are_compared_in_pairs_by_name(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tim3d.segment_images("images", "masks", **OTSU)
    asked = {"names": "{name}_mask", "true_phases": tim3d.Phases(void=1, grain=2)}
    asked["merge"] = {"void": "pore", "grain": "solid"}
    found = tim3d.evaluate_images("masks", "truth", **asked)
    assert float(found.mean_iou_macro) == float(found.pooled_dice.sel(phase="solid")) == 1
    Path("truth/b_mask.png").unlink()
    with pytest.raises(InputError, match=r"no partner called \{name\}_mask for b \(1 of 3"):
        tim3d.evaluate_images("masks", "truth", **asked)
    fewer = tim3d.evaluate_images("masks", "truth", **asked, accept_missing=True, csv="s.csv")
    assert fewer.image.values.tolist() == ["a 1", "c"]
    assert Path("s.csv").read_text().startswith("image,phase,iou,")
    shutil.copytree("masks", "again")
    assert main(["evaluate-images", "masks", "again"]) == 0
    assert "pooled" in capsys.readouterr().out
    # What is judged by itself would be faultless, by another path too.
    Path("link").symlink_to("masks")
    for same in ("masks", "link"):
        assert main(["evaluate-images", "masks", same]) == 2
        assert "would be judged by itself" in capsys.readouterr().err


def test_masks_are_paired_by_the_numbers_at_the_ends_of_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder, names in {
        "masks": ("slice_00007", "slice_00012"),
        "truth": ("truth_00007", "truth_00012", "truth_00001"),
        "twice": ("a_00007", "b_00007"),
        "plain": ("sem",),
    }.items():
        Path(folder).mkdir()
        for name in names:
            grey = np.full((4, 4), int(name[-1:] == "7"), np.uint8)
            Image.fromarray(grey).save(f"{folder}/{name}.png")
    asked = {"phases": tim3d.Phases(pore=0, solid=1), "names": "truth_{number}"}
    found = tim3d.evaluate_images("masks", "truth", **asked)
    assert found.image.values.tolist() == ["slice_00007", "slice_00012"]
    assert (found.accuracy == 1).all()
    for folder, said in (
        ("twice", r"gives a_00007, b_00007 one partner, truth_00007"),
        ("plain", "needs the number at the end of a name, and the image 'sem' has none"),
    ):
        with pytest.raises(InputError, match=said):
            tim3d.evaluate_images(folder, "truth", **asked)
    for rule in ("truth_{number}_{number}", "{name}_{number}", "truth"):
        with pytest.raises(ArgumentError, match="must hold"):
            tim3d.evaluate_images("masks", "truth", **asked | {"names": rule})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"folder": "none"}, "no folder none"),
        ({"folder": "empty"}, "holds no image"),
        ({"method": None}, "--model unet.safetensors or --method otsu"),
        ({"phases": None}, "--phases pore=0,solid=1"),
        ({"phases": tim3d.Phases(a=0, b=1, c=2)}, "otsu gives 2 classes"),
        ({"method": "fixed"}, "--thresholds go with"),
        ({"thresholds": [3.0]}, "--thresholds go with"),
        ({"merge": {"a": "b"}}, "--merge changes nothing"),
        ({"names": "mask"}, "must hold"),
        ({"out": "images"}, "another folder"),
        ({"out": "truth"}, "holds other files"),
        ({"out": "no/masks"}, "no folder no"),
        ({"values": "palette", "format": "tif"}, "leave out --format tif"),
    ],
)
def test_what_does_not_fit_is_one_line_and_writes_nothing(
    folder: Path, given: dict[str, object], said: str
) -> None:
    (folder / "empty").mkdir()
    before = sorted(folder.rglob("*"))
    with pytest.raises(Tim3dError, match=said) as error:
        tim3d.segment_images(**{"folder": "images", "out": "masks", **OTSU, **given})
    assert "\n" not in str(error.value)
    assert sorted(folder.rglob("*")) == before


def test_a_mask_of_other_values_is_refused(folder: Path) -> None:
    with pytest.raises(ArgumentError, match="name their values"):
        tim3d.measure_images("truth")
    with pytest.raises(InputError, match="values 2, which no phase has"):
        tim3d.measure_images("truth", phases=tim3d.Phases(a=0, b=1))


def test_no_verb_makes_a_sample_of_a_folder_of_images_by_accident(folder: Path) -> None:
    before = sorted(folder.rglob("*"))
    tried = {
        "annotate": {}, "label": {}, "measure": {}, "evaluate": {}, "describe": {}, "segment": OTSU,
        "clean": {"steps": [Holes("solid")]}, "train": {"model": "m.safetensors"}, "report": {"out": "a.html"},
    }  # fmt: skip
    assert set(tried) <= set(VERBS)
    for name, given in tried.items():
        with pytest.raises(Tim3dError) as error:
            call(name, {"sample": "images", **given})
        assert "tim3d ingest images images.zarr" in str(error.value)
        assert "tim3d segment-images images images-masks" in str(error.value)
    with pytest.raises(Tim3dError, match="other files"):
        tim3d.ingest("truth/b_mask.png", "images", voxel_size={"z": 1, "y": 1, "x": 1})
    assert sorted(folder.rglob("*")) == before
