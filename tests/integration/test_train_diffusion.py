"""From micrographs, tables of them and volumes to a local network in a folder: what is written, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

import tim3d
from tests.micrographs import blobs, layers, shades
from tim3d.cli import parsing
from tim3d.errors import ArgumentError, InputError, MissingFieldError, MixedRunError
from tim3d.forecast import forecasting
from tim3d.generators import Diffusion, GaussianField, LevelCuts
from tim3d.phases import Phases
from tim3d.stages.generation.train_diffusion import train_diffusion
from tim3d.stages.generation.training_images import Look

pytest.importorskip("torch", reason="networks need torch: pip install 'tim3d[seg]'")
PORES = Phases(pore=0, solid=255)
QUICK: dict[str, Any] = {
    "widths": (4, 4), "crop": 16, "batch": 2, "steps": 4, "every": 2, "device": "cpu", "progress": False,
}  # fmt: skip
IMAGE = {"pixel_size": 10, "phases": PORES}


def written(path: Path, pixels: np.ndarray) -> Path:
    tifffile.imwrite(path, pixels)
    return path


def trained(micrograph: Any, out: Path, **given: Any) -> Any:
    """Description of the network of a quick training."""
    from tim3d.models.diffusion.network_file import describe_network

    return describe_network(train_diffusion(micrograph, out, **{**QUICK, **given}))[0]


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return written(tmp_path / "image.tif", blobs(64, 1.2) * 255)


@pytest.fixture
def sample(tmp_path: Path) -> str:
    made = str(tmp_path / "a.zarr")
    volume = np.stack([blobs(24, 1.5, seed=n) for n in range(24)])
    np.save(tmp_path / "volume.npy", np.where(volume > 0, np.uint8(7), np.uint8(3)))
    size = {"z": 20, "y": 10, "x": 10}
    tim3d.ingest(
        tmp_path / "volume.npy",
        made,
        voxel_size=size,
        field="phase",
        phases=Phases(pore=3, solid=7),
    )
    return made


def test_a_training_leaves_a_network_that_says_all_about_itself(
    image: Path, tmp_path: Path
) -> None:
    looks: list[Look] = []
    about = trained(image, tmp_path / "out", **IMAGE, on_look=looks.append)
    assert (about.phases, about.spacing_nm, about.conditions) == (PORES, (10, 10, 10), ())
    assert (about.spec.dimensions, about.spec.channels, about.spec.widths) == (2, 1, (4, 4))
    assert [s["file"] for s in about.training["images"]] == ["image.tif"]
    history = json.loads((tmp_path / "out" / "history.json").read_text())
    assert [r["step"] for r in history] == [2, 4]
    assert about.training["chosen_step"] == min(history, key=lambda r: r["score"])["step"]
    assert [len(look.history) for look in looks] == [1, 2]
    assert all(s.shape == (32, 32) and s.max() <= 1 for s in looks[-1].slices)
    assert looks[-1].names == ("image 0", "image 1", "image 2")


def test_a_plan_states_the_cost_and_a_finished_training_has_none(
    image: Path, tmp_path: Path
) -> None:
    given = {**QUICK, **IMAGE}
    (line,) = map(str, train_diffusion.plan(image, tmp_path / "out", **given))
    assert "a voxel depends on those within 31" in line
    assert "memory 0.0" in line
    assert not (tmp_path / "out").exists()
    trained(image, tmp_path / "out", **IMAGE)
    assert train_diffusion.plan(image, tmp_path / "out", **given) == []
    assert train_diffusion.plan(image, tmp_path / "out", **given | {"steps": 6})


def test_more_steps_go_on_and_another_training_is_refused(image: Path, tmp_path: Path) -> None:
    whole = train_diffusion(
        image, tmp_path / "whole", **{**QUICK, **IMAGE, "steps": 6}
    ).read_bytes()
    trained(image, tmp_path / "out", **IMAGE)
    with pytest.raises(MixedRunError, match="--overwrite"):
        trained(image, tmp_path / "out", **IMAGE, seed=1)
    path = train_diffusion(image, tmp_path / "out", **{**QUICK, **IMAGE, "steps": 6})
    assert path.read_bytes() == whole


def test_the_shell_draws_curves_and_samples(image: Path, tmp_path: Path) -> None:
    typed = {"micrograph": [str(image)], "out": str(tmp_path / "out"), **QUICK, **IMAGE}
    parsing.call("train_diffusion", typed)
    assert {"curves.png", "samples.png", "generator.safetensors"} <= {
        p.name for p in (tmp_path / "out").iterdir()
    }


def test_three_planes_have_their_axis_as_a_condition(tmp_path: Path) -> None:
    three = [
        written(tmp_path / f"{n}.tif", i * 255) for n, i in zip("zyx", layers(64), strict=True)
    ]
    looks: list[Look] = []
    about = trained(
        three, tmp_path / "out", phases=PORES, pixel_size=[20, 10, 5], on_look=looks.append
    )
    assert about.spacing_nm == (20, 10, 5)
    assert [(one.name, one.classes) for one in about.conditions] == [("axis", ("z", "y", "x"))]
    assert looks[-1].names == ("axis z", "axis y", "axis x")


def test_grey_values_are_learnt_without_phases(tmp_path: Path) -> None:
    image = written(tmp_path / "grey.tif", shades(64))
    looks: list[Look] = []
    about = trained(image, tmp_path / "out", pixel_size=10, objective="ddpm", on_look=looks.append)
    assert (about.phases, about.spec.channels, about.spec.objective) == (None, 1, "ddpm")
    assert looks[-1].slices[0].max() > 1


def series(folder: Path, table: str, count: int = 4) -> tuple[list[Path], Path]:
    """Images of some shapes with a table of their conditions."""
    images = [
        written(folder / f"{n}.tif", blobs(48, 1.2, 0.3 + 0.1 * n, seed=n)[: 40 + n] * 255)
        for n in range(count)
    ]
    (folder / "table.csv").write_text(table)
    return images, folder / "table.csv"


TABLE = (
    "file,material,temperature\n0.tif,Ag,200\n1.tif,Ag,250\n2.tif,Cu,\n3.tif,Cu,300\n4.tif,Zn,900\n"
)


def test_a_table_gives_classes_and_numbers(tmp_path: Path) -> None:
    images, table = series(tmp_path, TABLE)
    looks: list[Look] = []
    about = trained(images, tmp_path / "out", conditions=table, **IMAGE, on_look=looks.append)
    material, temperature = about.conditions
    assert (material.name, material.classes) == ("material", ("Ag", "Cu"))
    assert (temperature.classes, temperature.lowest, temperature.highest) == ((), 200, 300)
    assert about.training["images"][2]["conditions"] == {"material": "Cu"}
    assert looks[-1].names[0] == "material Ag, temperature 200.0"
    assert about.inputs({"material": "Cu", "temperature": 250}) == (0, 1, 0)


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ("file,material\n0.tif,Ag\n", "no row for 1.tif"),
        ("name,material\n0.tif,Ag\n", "no column 'file': it should be a table of conditions"),
        ("file\n0.tif\n1.tif\n", "names no condition"),
        ("file,material\n0.tif,Ag\n1.tif,Ag\n", "the value 'Ag' only"),
        ("file,material\n0.tif,Ag\n1.tif,Cu\n1.tif,Zn\n", "two rows for 1.tif"),
        ("file,material\n0.tif,Ag\n1.tif,Cu,new\n", "row 3 has 3 cells"),
        ("file,heat\n0.tif,200\n1.tif,25O\n", "the number 200 and the text '25O'"),
        ("file,heat\n0.tif,200\n1.tif,nan\n", "the number 200 and the text 'nan'"),
        ("file,heat\n0.tif,200\n1.tif,200.0\n", "the value '200' only"),
        ("file,axis\n0.tif,u\n1.tif,v\n", "a column 'axis'"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(table: str, text: str, tmp_path: Path) -> None:
    images, path = series(tmp_path, table, 2)
    with pytest.raises(InputError, match=text):
        trained(images, tmp_path / "out", conditions=path, **IMAGE)


def test_a_file_that_is_missing_is_named_before_the_table(tmp_path: Path) -> None:
    images, table = series(tmp_path, TABLE, 2)
    lost = tmp_path / "lost.tif"
    with pytest.raises(InputError, match=rf"no micrograph at {lost}"):
        trained([*images, lost], tmp_path / "out", conditions=table, **IMAGE)


def test_rows_without_an_image_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    images, table = series(tmp_path, TABLE)
    train_diffusion.plan(images, tmp_path / "out", conditions=table, **QUICK, **IMAGE)
    (said,) = [r.getMessage() for r in caplog.records if "rows for images" in r.getMessage()]
    assert said.endswith("that were not given: 4.tif")


def test_images_of_one_name_are_refused(tmp_path: Path) -> None:
    images, table = series(tmp_path, TABLE, 1)
    (tmp_path / "more").mkdir()
    other = written(tmp_path / "more" / "0.tif", blobs(48, 1.2, 0.5) * 255)
    with pytest.raises(InputError, match=r"two images are called 0\.tif"):
        trained([*images, other], tmp_path / "out", conditions=table, **IMAGE)


def test_a_volume_trains_a_network_of_volumes(sample: str, tmp_path: Path) -> None:
    about = trained(sample, tmp_path / "out", field="phase", crop=8, widths=(4,), held_out=0.4)
    assert (about.spec.dimensions, about.spacing_nm) == (3, (20, 10, 10))
    assert dict(about.phases) == {"pore": 3, "solid": 7}
    with pytest.raises(MissingFieldError, match="other"):
        trained(sample, tmp_path / "out", field="other")


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"crop": 18}, "give 16"),
        ({"crop": 128}, "the shortest edge is 64"),
        ({"field": "phase"}, "phases are for images"),
        ({"widths": ()}, "a local network has"),
        ({"steps": 0}, "steps is 0"),
        ({"dropout": 1.0}, "dropout 1"),
    ],
)
def test_what_does_not_fit_is_refused_before_the_work(
    image: Path, tmp_path: Path, given: dict[str, Any], text: str
) -> None:
    with pytest.raises((ArgumentError, InputError), match=text):
        train_diffusion.plan(image, tmp_path / "out", **{**QUICK, **IMAGE, **given})


def test_two_images_need_a_table_and_colours_are_refused(image: Path, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="--conditions"):
        trained([image, image], tmp_path / "out", **IMAGE)
    colour = written(tmp_path / "colour.tif", np.stack([shades(64, seed=n) for n in range(3)], -1))
    with pytest.raises(InputError, match="is in colour"):
        trained(colour, tmp_path / "out", pixel_size=10)


def test_what_follows_a_training_is_planned_before_it(image: Path, tmp_path: Path) -> None:
    net, made = tmp_path / "net", str(tmp_path / "v.zarr")
    weights = net / "generator.safetensors"
    with forecasting():
        train_diffusion.plan(image, net, **QUICK, **IMAGE)
        drawn = tim3d.plan("generate_images", weights, tmp_path / "drawn", count=3)
        planned = tim3d.plan("generate", made, Diffusion(weights, steps=2), shape=(8, 8, 8))
        assert "3 of 3 images left" in str(drawn[0])
        assert [p.name for p in planned] == [
            "phase_scratch/72x72x72/002-of-2",
            "phase_scratch",
            "phase/s0",
        ]
        assert tim3d.plan("measure", made)
    train_diffusion(image, net, **QUICK, **IMAGE)
    known = tim3d.plan("generate", made, Diffusion(weights, steps=2), shape=(8, 8, 8))
    # What the process holds already is part of a peak, and a training leaves some.
    for before, after in zip(planned, known, strict=True):
        assert before.name == after.name
        peaks = [getattr(one, "peak_bytes", 0) for one in (before, after)]
        assert peaks[0] == pytest.approx(peaks[1], rel=0.1)


COARSE: dict[str, Any] = {**IMAGE, "coarse_window": 160.0}


def test_a_coarse_window_puts_the_law_of_the_local_fraction_into_the_file(
    image: Path, tmp_path: Path
) -> None:
    looks: list[Look] = []
    about = trained(image, tmp_path / "out", **COARSE, on_look=looks.append)
    law = about.coarse
    assert (about.spec.coarse, law.window_nm) == (1, 160)
    assert law.mean == (tifffile.imread(image) == 0).mean()
    assert about.training["coarse"]["slow_variance"] == law.slow_variance
    assert looks[-1].slices[0].max() == 1
    assert train_diffusion.plan(image, tmp_path / "out", **QUICK, **COARSE) == []
    (line,) = map(str, train_diffusion.plan(image, tmp_path / "new", **QUICK, **COARSE))
    assert f"local fraction of pore in windows of 160 nm: {law.mean:.3f}" in line
    with pytest.raises(MixedRunError, match="--overwrite"):
        trained(image, tmp_path / "out", **COARSE | {"coarse_window": 150.0})
    with pytest.raises(MixedRunError, match="--overwrite"):
        trained(image, tmp_path / "out", **IMAGE)


def test_a_volume_is_generated_with_its_coarse_field(sample: str, tmp_path: Path) -> None:
    given = {"field": "phase", "crop": 8, "widths": (4,), "coarse_window": 85.0}
    about = trained(sample, tmp_path / "out", **given)
    assert about.coarse.mean == pytest.approx(
        float(1 - tim3d.open_field(sample, "phase").isin([7]).mean())
    )
    made, net = str(tmp_path / "v.zarr"), tmp_path / "out" / "generator.safetensors"
    generator = Diffusion(net, steps=1, device="cpu", coarse=0.5)
    tim3d.generate(made, generator, shape=(8, 8, 8), options=tim3d.Options(progress=False))
    told = (tmp_path / "v.zarr" / "phase" / "zarr.json").read_text().replace(" ", "")
    assert '"amount":0.5' in told


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (
            {"coarse_window": 39.0},
            "give a finite length of 4 voxels or more, as --coarse-window 40",
        ),
        ({"coarse_window": 170.0}, "640 x 640 nm have no room for 16 windows of 170 nm"),
        ({"coarse_window": 0.0}, "--coarse-window 40"),
    ],
)
def test_a_coarse_window_that_does_not_fit_is_refused(
    image: Path, tmp_path: Path, given: dict[str, Any], text: str
) -> None:
    with pytest.raises((ArgumentError, InputError), match=text):
        train_diffusion.plan(image, tmp_path / "out", **{**QUICK, **IMAGE, **given})


def test_a_coarse_window_is_of_one_material_of_two_phases(tmp_path: Path) -> None:
    images, table = series(tmp_path, TABLE)
    with pytest.raises(ArgumentError, match=r"there are conditions \(material, temperature\)"):
        trained(images, tmp_path / "out", conditions=table, **COARSE)
    three = written(
        tmp_path / "three.tif", np.uint8(np.arange(64) % 3) + np.zeros((64, 1), np.uint8)
    )
    phases = Phases(a=0, b=1, c=2)
    with pytest.raises(ArgumentError, match="these are 3 phases"):
        trained(three, tmp_path / "out", phases=phases, pixel_size=10, coarse_window=160.0)
    grey = written(tmp_path / "grey.tif", shades(64))
    with pytest.raises(ArgumentError, match="these are grey values"):
        trained(grey, tmp_path / "out", pixel_size=10, coarse_window=160.0)


def test_a_volume_that_is_yet_to_be_made_is_not_counted_in_a_plan(tmp_path: Path) -> None:
    made, net = str(tmp_path / "v.zarr"), tmp_path / "net"
    field = GaussianField((40.0,) * 3, (10.0,) * 3, seed=1)
    with forecasting():
        tim3d.plan("generate", made, LevelCuts(field, (0.4, 0.6)), shape=(48, 48, 48))
        (line,) = train_diffusion.plan(
            made, net, **{**QUICK, "field": "phase", "coarse_window": 160.0}
        )
    assert "cannot be planned before" in str(line)
