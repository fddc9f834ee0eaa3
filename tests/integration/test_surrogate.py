"""From solved samples to a network, and from images to a conductivity with its interval."""

from __future__ import annotations

import csv
import inspect
import shutil
from pathlib import Path
from typing import Any

import pytest
import tifffile

import tim3d
from tests.nets import tiny_checkpoint
from tim3d.cli.parsing import verb
from tim3d.errors import MixedRunError, Tim3dError
from tim3d.generators import GaussianField, LevelCuts
from tim3d.kernels.image.section_look import Look, render

pytest.importorskip("torch", reason="networks need torch: pip install 'tim3d[seg]'")
QUIET = tim3d.Options(progress=False)
SHAPE, VOXEL, COUNT = (6, 16, 16), (20.0, 10.0, 10.0), 12
GREYS = {"resin": 70.0, "filler": 160.0}
LOOK = Look({0: 70.0, 1: 160.0})
SAMPLES = [f"s{n}.zarr" for n in range(COUNT)]
TRAIN: dict[str, Any] = {
    "samples": SAMPLES, "model": "net.safetensors", "greys": GREYS, "axis": "y", "per_sample": 3, "steps": 4,
    "every": 2, "batch": 4, "level": 0.5, "device": "cpu", "progress": False,
}  # fmt: skip
# Another value of each: refused while the file is there, or in a file of its own another network.
OTHERS: dict[str, Any] = {
    "samples": SAMPLES[::-1], "greys": {"resin": 60.0, "filler": 160.0}, "look": {"blur": 1.5}, "field": "other",
    "transport": "none", "axis": "z", "per_sample": 4, "per_prediction": 2, "adapt": ["standardise"], "images": "real",
    "weight": 2.0, "every": 3, "batch": 5, "learning_rate": 1e-3, "level": 0.4, "seed": 1, "threads": 2,
}  # fmt: skip
PLACES = {"model", "steps", "device", "overwrite", "progress"}


def volume(seed: int, shape: tuple[int, int, int] = SHAPE) -> LevelCuts:
    """A level cut whose filler grows with the seed."""
    field = GaussianField((30.0,) * 3, VOXEL, seed)
    share = 0.3 + 0.04 * seed
    return LevelCuts(field, (1 - share, share), tim3d.Phases(resin=0, filler=1))


def pictures(folder: Path, look: Look, count: int, edge: int = 16, pixel: float = 10.0) -> str:
    """Images of sections, with the size of their pixels."""
    folder.mkdir()
    for number in range(count):
        labels = volume(number).labels(tim3d.grid.Box((0, 0, 0), (1, edge, edge)))[0]
        tifffile.imwrite(
            folder / f"{number:02d}.tif", render(labels, look, 5, number), imagej=True,
            resolution=(1000 / pixel,) * 2, metadata={"unit": "um", "axes": "YX"},
        )  # fmt: skip
    return folder.name


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dozen solved samples, images of the same look and of another one, and a trained network."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for number, sample in enumerate(SAMPLES):
            tim3d.generate(sample, volume(number), shape=SHAPE, options=QUIET)
            tim3d.solve(sample, conductivity={"resin": 0.2, "filler": 20}, axis="y", options=QUIET)
        pictures(folder / "sem", LOOK, 4)
        pictures(folder / "real", Look({0: 120.0, 1: 180.0}), 4)
        tim3d.train_surrogate(**TRAIN)
    return folder


@pytest.fixture
def here(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(made)
    return made


def test_images_become_conductivities_with_intervals(here: Path, tmp_path: Path) -> None:
    table = tmp_path / "k.csv"
    found = tim3d.predict_images("sem", model="net.safetensors", csv=table)
    assert found.predicted.attrs["units"] == "W m-1 K-1"
    assert (found.predicted_low < found.predicted).all()
    assert (found.predicted < found.predicted_high).all()
    assert found.attrs["level"] == 0.5
    assert found.attrs["scatter_of_one_section"] > 0
    with table.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == ["00", "01", "02", "03"]
    assert float(rows[1]["predicted [W m-1 K-1]"]) == float(found.predicted[1])


def test_a_finished_training_is_left_and_another_is_refused(here: Path) -> None:
    path = Path("net.safetensors")
    before = path.read_bytes(), path.stat().st_mtime_ns
    assert tim3d.plan("train_surrogate", **TRAIN) == []
    assert tim3d.train_surrogate(**TRAIN) == path
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    assert tim3d.plan("train_surrogate", **TRAIN | {"steps": 6})
    with pytest.raises(MixedRunError, match="another training"):
        tim3d.plan("train_surrogate", **TRAIN | {"seed": 1})


@pytest.mark.long
def test_two_calls_end_as_one_and_overwriting_makes_the_same_again(
    here: Path, tmp_path: Path
) -> None:
    path = tmp_path / "cut.safetensors"
    tim3d.train_surrogate(**TRAIN | {"model": path, "steps": 2})
    tim3d.train_surrogate(**TRAIN | {"model": path})
    assert path.read_bytes() == Path("net.safetensors").read_bytes()
    before = path.stat().st_mtime_ns
    tim3d.train_surrogate(**TRAIN | {"model": path, "overwrite": True})
    assert path.read_bytes() == Path("net.safetensors").read_bytes()
    assert path.stat().st_mtime_ns > before


def test_the_table_holds_every_parameter() -> None:
    assert set(inspect.signature(verb("train_surrogate")).parameters) - PLACES == set(OTHERS)


@pytest.mark.parametrize("name", OTHERS)
def test_a_parameter_changed_alone_is_refused_and_the_network_stays(here: Path, name: str) -> None:
    before = Path("net.safetensors").read_bytes()
    with pytest.raises(Tim3dError) as said:
        tim3d.train_surrogate(**TRAIN | {name: OTHERS[name]})
    assert "\n" not in str(said.value)
    assert Path("net.safetensors").read_bytes() == before


PREDICT = {"folder": "sem", "model": "net.safetensors"}
CHANGED: dict[str, Any] = {
    "folder": "real", "model": "none.safetensors", "pixel_size": 20.0, "outside": "refuse", "splits": "lists.json",
    "subset": "test",
}  # fmt: skip


def test_every_parameter_of_predictions_changes_them_or_is_refused(here: Path) -> None:
    def said(**given: Any) -> str:
        try:
            return str(tim3d.predict_images(**{**PREDICT, **given}).to_dict())
        except Tim3dError:
            return "refused"

    assert set(inspect.signature(verb("predict_images")).parameters) - {"csv"} == set(CHANGED)
    first = said()
    for name, value in CHANGED.items():
        assert said(**{name: value}) != first or name == "outside"


def test_images_of_another_look_are_warned_of_or_refused(
    here: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = tim3d.predict_images("real", model="net.safetensors")
    said = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]
    assert len(said) == 1
    assert "outside the range of the training set" in said[0]
    assert (found.distance_from_training > 1).all()
    assert not found.within_training.any()
    with pytest.raises(Tim3dError, match="--outside warn"):
        tim3d.predict_images("real", model="net.safetensors", outside="refuse")


@pytest.mark.parametrize("adapt", ["adabn", "coral", "dann"])
def test_images_that_a_network_was_adapted_to_are_within(
    here: Path, tmp_path: Path, adapt: str
) -> None:
    path = tmp_path / "adapted.safetensors"
    tim3d.train_surrogate(**TRAIN | {"model": path, "adapt": [adapt], "images": "real"})
    found = tim3d.predict_images("real", model=path)
    assert bool(found.within_training[0])


REFUSED = [
    ({"greys": {"resin": 70.0}}, "--greys names resin, and the phases are resin, filler"),
    ({"look": {"glow": 1.0}}, "a look has no 'glow'; it has edge"),
    ({"axis": "x"}, "solved along y, and not along x"),
    ({"samples": [*SAMPLES[1:], SAMPLES[1]]}, "is given twice"),
    ({"samples": SAMPLES[:8]}, "8 samples are too few"),
    ({"per_sample": 7, "per_prediction": 8}, "at most --per-sample"),
    ({"per_sample": 7}, "a sample has 1 to 6 sections"),
    ({"adapt": ["dann"]}, "--adapt adabn --images sem"),
    ({"adapt": ["cut"]}, "no adaptation 'cut'"),
    ({"level": 1.0}, "between 0 and 1"),
]


@pytest.mark.parametrize(("change", "says"), REFUSED)
def test_what_cannot_be_learnt_from_is_one_line_and_leaves_nothing(
    here: Path, tmp_path: Path, change: dict[str, Any], says: str
) -> None:
    path = tmp_path / "new.safetensors"
    with pytest.raises(Tim3dError, match=says) as said:
        tim3d.train_surrogate(**TRAIN | {"model": path} | change)
    assert "\n" not in str(said.value)
    assert not path.exists()


def test_images_that_the_network_cannot_look_at_are_refused(here: Path, tmp_path: Path) -> None:
    pictures(tmp_path / "small", LOOK, 1, edge=8)
    pictures(tmp_path / "coarse", LOOK, 1, pixel=30.0)
    tiny_checkpoint(tmp_path / "unet.safetensors")
    shutil.copytree("sem", tmp_path / "pair")
    pair = tmp_path / "pair.safetensors"
    tim3d.train_surrogate(**TRAIN | {"model": pair, "per_prediction": 3})
    for folder, model, says in (
        (tmp_path / "small", "net.safetensors", "a smaller one gives less"),
        (tmp_path / "coarse", "net.safetensors", "pixels of 30 x 30 nm, and the network was trained on 10 x 10"),
        ("sem", tmp_path / "unet.safetensors", "a network for segmentation"),
        ("sem", tmp_path / "none.safetensors", "tim3d train-surrogate"),
        (tmp_path / "pair", pair, "has 4 images, and the network takes 3 together"),
    ):  # fmt: skip
        with pytest.raises(Tim3dError, match=says):
            tim3d.predict_images(folder, model=model)


def test_training_is_planned_in_a_recipe_before_its_samples_are_there(tmp_path: Path) -> None:
    from tim3d.cli.recipe import plan_recipe

    names = ", ".join(f'"{tmp_path}/{n}.zarr"' for n in "abcdefghijkl")
    entries = "\n".join(
        f"{n} = {{ generate = {{ seed = {k} }} }}" for k, n in enumerate("abcdefghijkl")
    )
    recipe = tmp_path / "r.toml"
    recipe.write_text(
        f"""
sample = "{tmp_path}/a.zarr"
[each]
{entries}
[[step]]
verb = "generate"
each = true
sample = "{tmp_path}/{{each}}.zarr"
kind = "field"
shape = [8, 8, 8]
voxel_size = {{ z = 10, y = 10, x = 10 }}
fractions = {{ resin = 0.5, filler = 0.5 }}
correlation_nm = 30
[[step]]
verb = "train_surrogate"
samples = [{names}]
model = "{tmp_path}/net.safetensors"
greys = {{ resin = 70, filler = 160 }}
level = 0.5
""".replace("{{", "{").replace("}}", "}")
    )
    plans = dict(plan_recipe(recipe))
    assert "cannot be planned before" in str(plans["train_surrogate"][0])
