"""From a series of images to a conditional generator in a folder, and from that to images of any size."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

import tim3d
from tests.micrographs import blobs
from tests.nets import untrained_cgan, untrained_translator
from tim3d.cli import parsing
from tim3d.errors import (
    ArgumentError,
    CheckpointError,
    DeviceError,
    InputError,
    MemoryPlanError,
    MixedRunError,
)
from tim3d.forecast import forecasting
from tim3d.phases import Phases
from tim3d.stages.generation.train_cgan import train_cgan
from tim3d.stages.generation.training_images import Look
from tim3d.stages.images.generate_images import generate_images

pytest.importorskip("torch", reason="networks need torch: pip install 'tim3d[seg]'")
PORES = Phases(pore=0, solid=255)
TABLE = "file,material,temperature\n0.tif,Ag,200\n1.tif,Ag,250\n2.tif,Cu,\n3.tif,Cu,300\n"
QUICK: dict[str, Any] = {
    "phases": PORES, "pixel_size": 10, "widths": (4, 6), "critic_widths": (4, 6), "crop": 16, "batch": 2, "steps": 4,
    "every": 2, "device": "cpu", "progress": False,
}  # fmt: skip


@pytest.fixture
def series(tmp_path: Path) -> dict[str, Any]:
    """Four images with a table of their conditions."""
    images = [tmp_path / f"{n}.tif" for n in range(4)]
    for n, path in enumerate(images):
        tifffile.imwrite(path, blobs(48, 1.2, 0.3 + 0.1 * n, seed=n)[: 40 + n] * 255)
    (tmp_path / "table.csv").write_text(TABLE)
    return {"micrograph": images, "conditions": tmp_path / "table.csv", **QUICK}


def trained(series: dict[str, Any], out: Path, **given: Any) -> Any:
    """Description of the network of a quick training."""
    from tim3d.models.conditional.network_file import describe_conditional

    return describe_conditional(train_cgan(**{**series, "out": out, **given}))[0]


def test_a_training_leaves_a_network_that_says_all_about_itself(
    series: dict[str, Any], tmp_path: Path
) -> None:
    looks: list[Look] = []
    about = trained(series, tmp_path / "out", on_look=looks.append)
    assert (about.phases, about.spacing_nm) == (PORES, (10, 10, 10))
    material, temperature = about.conditions
    assert (material.name, material.classes) == ("material", ("Ag", "Cu"))
    assert (temperature.lowest, temperature.highest) == (200, 300)
    assert about.training["images"][2]["conditions"] == {"material": "Cu"}
    assert about.training["critic"]["widths"] == [4, 6]
    history = json.loads((tmp_path / "out" / "history.json").read_text())
    assert [record["step"] for record in history] == [2, 4]
    assert about.training["chosen_step"] == min(history, key=lambda r: r["score"])["step"]
    assert [len(look.history) for look in looks] == [1, 2]
    assert all(one.shape == (32, 32) and one.max() <= 1 for one in looks[-1].slices)
    assert looks[-1].names[0] == "material Ag, temperature 200.0"


def test_a_plan_states_the_cost_and_a_finished_training_has_none(
    series: dict[str, Any], tmp_path: Path
) -> None:
    series |= {"out": tmp_path / "out"}
    (line,) = map(str, train_cgan.plan(**series))
    assert "noise in cells of 2 pixels, of which a pixel depends on those within 6" in line
    assert (
        "4 of 40 x 48, 41 x 48, 42 x 48, 43 x 48 pixels of 10 nm, by material, temperature" in line
    )
    assert "memory 0.0" in line
    assert not (tmp_path / "out").exists()
    train_cgan(**series)
    assert train_cgan.plan(**series) == []
    assert train_cgan.plan(**series | {"steps": 6})


def test_more_steps_go_on_and_another_training_is_refused(
    series: dict[str, Any], tmp_path: Path
) -> None:
    whole = train_cgan(**series | {"out": tmp_path / "whole", "steps": 6}).read_bytes()
    trained(series, tmp_path / "out")
    with pytest.raises(MixedRunError, match="--overwrite"):
        trained(series, tmp_path / "out", seed=1)
    assert train_cgan(**series | {"out": tmp_path / "out", "steps": 6}).read_bytes() == whole


def test_the_shell_draws_curves_and_samples(series: dict[str, Any], tmp_path: Path) -> None:
    typed = {**series, "micrograph": [str(p) for p in series["micrograph"]]}
    parsing.call(
        "train_cgan",
        typed | {"out": str(tmp_path / "out"), "conditions": str(series["conditions"])},
    )
    assert {"curves.png", "samples.png", "generator.safetensors", "training.state"} <= {
        path.name for path in (tmp_path / "out").iterdir()
    }


@pytest.mark.parametrize(
    ("given", "kind", "text"),
    [
        ({"crop": 128}, InputError, "the shortest edge is 40, and training sees 128"),
        ({"crop": 2}, ArgumentError, "a crop of 2 is below 4"),
        ({"widths": (4,)}, ArgumentError, "two or more widths"),
        ({"critic_widths": ()}, ArgumentError, "a critic has one or more"),
        ({"blocks": 0}, ArgumentError, "a conditional generator has"),
        ({"steps": 0}, ArgumentError, "steps is 0"),
        ({"batch": 0}, ArgumentError, "batch 0"),
        ({"held_out": 0.1}, ArgumentError, "leaves a part below 16 pixels"),
    ],
)
def test_what_does_not_fit_is_refused_before_the_work(
    series: dict[str, Any], tmp_path: Path, given: dict[str, Any], kind: Any, text: str
) -> None:
    with pytest.raises(kind, match=text):
        train_cgan.plan(**series | {"out": tmp_path / "out", **given})


def test_a_series_of_one_condition_is_refused(series: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "one.csv").write_text("file,heat\n0.tif,200\n1.tif,200\n2.tif,200\n3.tif,200\n")
    with pytest.raises(InputError, match="the value '200' only"):
        trained(series, tmp_path / "out", conditions=tmp_path / "one.csv")
    with pytest.raises(InputError, match="the value 'Ag' only"):
        trained(series, tmp_path / "out", micrograph=series["micrograph"][0])
    (tmp_path / "none.csv").write_text("file\n0.tif\n1.tif\n2.tif\n3.tif\n")
    with pytest.raises(InputError, match="names no condition"):
        trained(series, tmp_path / "out", conditions=tmp_path / "none.csv")


def test_what_follows_a_training_is_planned_before_it(
    series: dict[str, Any], tmp_path: Path
) -> None:
    weights = tmp_path / "out" / "generator.safetensors"
    with forecasting():
        train_cgan.plan(**series, out=tmp_path / "out")
        (line,) = tim3d.plan("generate_images", weights, tmp_path / "drawn", count=3)
        assert "3 of 3 images left, of 128 x 128 pixels in one pass" in str(line)
        with pytest.raises(ArgumentError, match="no condition 'heat'"):
            tim3d.plan("generate_images", weights, tmp_path / "drawn", conditions={"heat": 1})


@pytest.fixture
def net(tmp_path: Path) -> Path:
    path = tmp_path / "cgan.safetensors"
    untrained_cgan(path)
    return path


DRAW: dict[str, Any] = {"shape": (70, 90), "count": 2, "device": "cpu", "progress": False}


def drawn(net: Path, out: Path, **given: Any) -> dict[str, np.ndarray]:
    generate_images(net, out, **{**DRAW, **given})
    return {p.name: np.asarray(Image.open(p)) for p in sorted(out.glob("*.png"))}


def test_images_are_of_any_size_and_a_larger_one_begins_with_the_smaller(
    net: Path, tmp_path: Path
) -> None:
    given = {"conditions": {"material": "Cu", "temperature": "250"}}
    small = drawn(net, tmp_path / "small", **given)
    large = drawn(net, tmp_path / "large", shape=(150, 100), count=3, **given)
    assert [image.shape for image in small.values()] == [(70, 90)] * 2
    for name, image in small.items():
        assert np.array_equal(image, large[name][:70, :90])
        assert set(np.unique(image)) == {0, 7}
    assert len({image.tobytes() for image in large.values()}) == 3
    found = tim3d.measure_images(tmp_path / "large", in_pixels=True)
    assert found.sizes["image"] == 3


def test_a_larger_folder_begins_with_the_smaller_one_and_a_lost_file_comes_back(
    net: Path, tmp_path: Path
) -> None:
    whole = drawn(net, tmp_path / "whole", count=4)
    drawn(net, tmp_path / "out", count=2)
    (tmp_path / "out" / "image_00001.png").unlink()
    (line,) = generate_images.plan(net, tmp_path / "out", **DRAW | {"count": 4})
    assert "3 of 4 images left" in str(line)
    again = drawn(net, tmp_path / "out", count=4)
    assert all(np.array_equal(again[name], image) for name, image in whole.items())
    assert generate_images.plan(net, tmp_path / "out", **DRAW | {"count": 4}) == []


@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_an_image_that_does_not_fit_is_refused_by_its_plan_too(
    device: str, net: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    asked = DRAW | {"shape": (10**6, 10**6), "device": device}
    (line,) = generate_images.plan(net, tmp_path / "out", **asked)
    with pytest.raises(MemoryPlanError, match="give a smaller --shape"):
        line.check()
    with pytest.raises(MemoryPlanError, match="give a smaller --shape"):
        generate_images(net, tmp_path / "out", **asked)
    assert not (tmp_path / "out").exists()
    for line in generate_images.plan(net, tmp_path / "out", **DRAW):
        line.check()


def test_a_plan_names_a_device_that_is_not_there(net: Path, tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="no device 'nope'"):
        generate_images.plan(net, tmp_path / "out", **DRAW | {"device": "nope"})


def test_conditions_and_the_seed_change_images_and_beyond_the_training_they_are_warned_of(
    net: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    given = {"material": "Cu", "temperature": "250"}
    asked = drawn(net, tmp_path / "asked", conditions=given)
    for name, changes in (
        ("plain", {}),
        ("seed", {"conditions": given, "seed": 1}),
        ("other", {"conditions": given | {"material": "Ag"}}),
    ):
        other = drawn(net, tmp_path / name, **changes)
        assert not np.array_equal(other["image_00000.png"], asked["image_00000.png"])
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        drawn(net, tmp_path / "far", conditions={"temperature": "400"})
    assert "by 100 % of its range" in caplog.text
    with pytest.raises(MixedRunError, match="--overwrite"):
        drawn(net, tmp_path / "asked")


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"steps": 8}, "makes an image in one pass: --steps is for networks of train-diffusion"),
        ({"sampler": "heun"}, "--sampler is for networks of train-diffusion"),
        ({"guidance": 2.0}, "--guidance is for networks of train-diffusion"),
        ({"conditions": {"heat": "3"}}, "no condition 'heat'; it has material, temperature"),
        ({"conditions": {"material": "Zn"}}, "not among the classes of the training: Ag, Cu"),
        ({"conditions": {"temperature": "hot"}}, "a finite number is expected"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    net: Path, tmp_path: Path, given: dict[str, Any], text: str
) -> None:
    with pytest.raises(ArgumentError, match=text):
        generate_images.plan(net, tmp_path / "out", **{**DRAW, **given})


def test_other_verbs_and_other_files_are_refused(net: Path, tmp_path: Path) -> None:
    from tim3d.generators import Diffusion

    with pytest.raises(
        CheckpointError, match="holds a network for generating images under conditions"
    ):
        tim3d.plan("generate", str(tmp_path / "a.zarr"), Diffusion(net), shape=(8, 8, 8))
    untrained_translator(tmp_path / "t.safetensors")
    with pytest.raises(CheckpointError, match="that of tim3d train-diffusion or tim3d train-cgan"):
        generate_images.plan(tmp_path / "t.safetensors", tmp_path / "out")
