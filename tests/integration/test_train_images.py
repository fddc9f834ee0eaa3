"""Pairs of images and masks of any sizes teach a forest or a network; what does not fit is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

import tim3d
from tim3d import Phases
from tim3d.cli.main import main
from tim3d.errors import ArgumentError, InputError, MixedRunError, Tim3dError
from tim3d.models.segmentation.model_file import read_model

pytest.importorskip("sklearn", reason="forests are trained by scikit-learn")
PHASES = Phases(unlabelled=0, fine=1, coarse=2)
FOREST = {"phases": PHASES, "scales": [1.0, 2.0, 4.0], "trees": 10}
SIZES = ((40, 52), (33, 41), (48, 36), (40, 40))


def textures(seed: int, size: tuple[int, int], deep: bool) -> tuple[np.ndarray, np.ndarray]:
    """An image of two textures of one mean, and its labels 1 and 2."""
    random = np.random.default_rng(seed)
    labels = np.ones(size, np.uint8)
    labels[:, size[1] // 2 :] = 2
    fine, coarse = random.normal(size=size), ndimage.gaussian_filter(random.normal(size=size), 2)
    grey = np.clip(128 + 35 * np.where(labels == 1, fine, coarse / coarse.std()), 0, 255)
    return (grey * 257).astype(np.uint16) if deep else grey.astype(np.uint8), labels


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Images of other sizes and depths, whole masks, strokes, and lists."""
    monkeypatch.chdir(tmp_path)
    for name in ("images", "masks", "strokes"):
        Path(name).mkdir()
    for number, size in enumerate(SIZES):
        grey, labels = textures(number, size, deep=number % 2 == 1)
        strokes = np.zeros_like(labels)
        strokes[5::9] = labels[5::9]
        for where, values in (("images", grey), ("masks", labels), ("strokes", strokes)):
            Image.fromarray(values).save(f"{where}/i{number}.png")
    lists = {"train": ["i0", "i1"], "judge": ["i3"], "both": ["i1", "i2"]}
    Path("lists.json").write_text(json.dumps(lists))


def record(path: str) -> dict[str, Any]:
    return dict(read_model(path).description["training"])


def test_strokes_on_images_of_any_size_and_depth_teach_a_forest() -> None:
    tim3d.train_strokes_images(
        "images", "strokes", "m.safetensors", validate=["i3"], folds=3, **FOREST
    )
    about = record("m.safetensors")
    assert (about["images"], about["validation_images"]) == (["i0", "i1", "i2"], ["i3"])
    assert about["validation"] > 0.65
    assert len(about["fold_iou"]) == 3
    assert min(about["fold_iou"]) > 0.5
    tim3d.segment_images(
        "images", "found", model="m.safetensors", phases=Phases(fine=1, coarse=2), progress=False
    )
    found = tim3d.evaluate_images("found", "masks", true_phases=Phases(fine=1, coarse=2))
    assert float(found.pooled_iou.mean()) > 0.6


def test_an_image_that_judges_is_not_learnt_from() -> None:
    """Whatever is painted on it, the forest is the same."""
    files = []
    for number in range(2):
        name = f"{number}.safetensors"
        tim3d.train_strokes_images("images", "strokes", name, validate=["i3"], **FOREST)
        files.append(read_model(name).tensors()["threshold"].numpy().tobytes())
        other = np.array(Image.open("strokes/i3.png"))
        Image.fromarray(np.where(other, 3 - other, 0).astype(np.uint8)).save("strokes/i3.png")
    assert files[0] == files[1]
    scores = [record(f"{number}.safetensors")["validation"] for number in range(2)]
    assert scores[0] > 0.65 > 0.3 > scores[1]
    with pytest.raises(MixedRunError, match="another training"):
        tim3d.train_strokes_images("images", "strokes", "1.safetensors", validate=["i3"], **FOREST)


def test_the_same_training_is_kept_and_lists_choose(capsys: pytest.CaptureFixture[str]) -> None:
    how = {"splits": "lists.json", "subset": "train", "validate": ["judge"], **FOREST}
    model = tim3d.train_strokes_images("images", "strokes", "m.safetensors", **how)
    before = model.read_bytes()
    assert record("m.safetensors")["images"] == ["i0", "i1"]
    tim3d.train_strokes_images("images", "strokes", "m.safetensors", **how)
    assert model.read_bytes() == before
    asked = [
        "train-strokes-images", "images", "strokes", "m.safetensors", "--splits", "lists.json", "--subset", "train",
        "--validate", "judge", "--phases", "unlabelled=0,fine=1,coarse=2", "--scales", "1,2,4", "--trees", "10",
    ]  # fmt: skip
    assert main([*asked, "--plan"]) == 0
    assert "nothing is left to do" in capsys.readouterr().out
    assert main(["both" if one == "judge" else one for one in asked]) == 3
    assert "i1 would be learnt from and judge" in capsys.readouterr().err


BAD: list[tuple[str, dict[str, Any], type[Tim3dError], str]] = [
    ("two of one name", {}, InputError, "have one name"),
    ("no mask", {}, InputError, "no partner called {name} for i0"),
    ("another size", {}, InputError, "40 x 40 pixels, and .* 40 x 52"),
    ("stray value", {}, InputError, "holds the values 7, which no phase has"),
    ("colours", {}, InputError, "is in colour .0-0-0, 9-8-7.; a mask"),
    ("one class painted", {}, InputError, "no mask to learn from has a pixel of coarse"),
    ("", {"phases": Phases(unlabelled=0, fine=1)}, ArgumentError, "a classifier needs two"),
    ("", {"validate": ["i9"]}, ArgumentError, "i9"),
    ("", {"validate": ["i0", "i1", "i2", "i3"]}, ArgumentError, "leave some to learn from"),
]


def spoil(what: str) -> None:
    """Make an input what it must not be."""
    strokes = np.array(Image.open("strokes/i0.png"))
    if what == "two of one name":
        Image.fromarray(strokes).save("images/i0.tif")
    elif what == "no mask":
        Path("strokes/i0.png").unlink()
    elif what == "another size":
        Image.fromarray(strokes[:, :40]).save("strokes/i0.png")
    elif what == "stray value":
        strokes[3, 3] = 7
        Image.fromarray(strokes).save("strokes/i0.png")
    elif what == "colours":
        coloured = np.zeros((*strokes.shape, 3), np.uint8)
        coloured[3, 3] = (9, 8, 7)
        Image.fromarray(coloured).save("strokes/i0.png")
    elif what == "one class painted":
        for path in Path("strokes").iterdir():
            values = np.array(Image.open(path))
            Image.fromarray(np.where(values == 2, 0, values).astype(np.uint8)).save(path)


@pytest.mark.parametrize(("what", "given", "error", "said"), BAD)
@pytest.mark.parametrize("verb", ["train_strokes_images", "train_images"])
def test_what_does_not_fit_is_refused_before_anything_is_written(
    verb: str, what: str, given: dict[str, Any], error: type[Tim3dError], said: str
) -> None:
    spoil(what)
    own = {"pixel_size": 5.0, "progress": False} if verb == "train_images" else {}
    with pytest.raises(error, match=said):
        getattr(tim3d, verb)(
            "images", "strokes", "m.safetensors", **{"phases": PHASES, **own, **given}
        )
    assert not list(Path().glob("m.safetensors*"))


def test_more_folds_than_images_and_a_size_that_no_file_states_are_refused() -> None:
    with pytest.raises(ArgumentError, match="--folds 5"):
        tim3d.train_strokes_images("images", "strokes", "m.safetensors", folds=5, **FOREST)
    pytest.importorskip("torch", reason="networks need torch: pip install 'tim3d[seg]'")
    with pytest.raises(ArgumentError, match="--pixel-size 5"):
        tim3d.train_images("images", "masks", "n.safetensors", phases=PHASES, progress=False)


@pytest.mark.long
def test_a_network_is_trained_on_images_of_any_size_and_judged_by_those_named() -> None:
    pytest.importorskip("torch", reason="networks need torch: pip install 'tim3d[seg]'")
    how: dict[str, Any] = {
        "phases": PHASES, "validate": ["i3"], "encoder": "mobilenet_v2", "depth": 2, "epochs": 1, "steps": 2,
        "batch": 2, "crop": 16, "pixel_size": 5.0, "device": "cpu", "progress": False,
    }  # fmt: skip
    model = tim3d.train_images("images", "strokes", "n.safetensors", **how)
    about = record("n.safetensors")
    assert (about["training_slices"], about["validation_slices"]) == (3, 1)
    before = model.read_bytes()
    tim3d.train_images("images", "strokes", "n.safetensors", **how)
    assert model.read_bytes() == before
    with pytest.raises(MixedRunError, match="another training"):
        tim3d.train_images("images", "strokes", "n.safetensors", **{**how, "validate": ["i2"]})
    tim3d.segment_images(
        "images", "found", model=model, phases=Phases(fine=1, coarse=2), progress=False
    )
    shapes = [np.array(Image.open(f"found/i{n}.png")).shape for n in range(4)]
    assert shapes == list(SIZES)
