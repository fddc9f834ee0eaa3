"""Several answers as one: no block shows in their mean, and equal answers have nothing to disagree about."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

import tim3d
from tests.nets import tiny_checkpoint
from tim3d.cli.main import main
from tim3d.errors import ArgumentError, CheckpointError, MixedRunError
from tim3d.grid import Box
from tim3d.kernels.windows.views import PLAIN, views
from tim3d.models.segmentation.ensemble import Ensemble, Member, entropy_of
from tim3d.models.segmentation.segmenter import EXACT, Segmenter
from tim3d.phases import Phases
from tim3d.stages.segmentation.ensembles import members_of
from tim3d.storage import store

QUIET = tim3d.Options(progress=False)


@dataclass(frozen=True)
class Slope(Segmenter):
    """Probability of solid by the grey value and by the one below it in y: a view changes the answer."""

    level: float = 128.0
    kind: ClassVar[str] = "slope"
    classes = ("pore", "solid")
    maps = (EXACT,)
    halo = (0, 1, 1)

    def open(self):
        return self.look

    def look(self, grey, place):
        below = np.concatenate([grey[:, :1], grey[:, :-1]], axis=1).astype(np.float32)
        solid = 1 / (1 + np.exp((np.float32(self.level) - (2 * grey + below) / 3) / 20))
        solid = solid.astype(np.float32)
        labels = (solid > 0.5).astype(np.uint8)
        return {"labels": labels, "probability": np.stack([1 - solid, solid])}


def cut(segmenter: Segmenter, values: np.ndarray, core: Box) -> dict[str, np.ndarray]:
    box = segmenter.read_box(values.shape, core)
    return segmenter.region(values.shape, core, values[box.slices], box)


@given(st.data())
def test_a_part_has_the_maps_of_the_whole(data: st.DataObject) -> None:
    shape = tuple(data.draw(st.integers(2, 11)) for _ in range(3))
    start = tuple(data.draw(st.integers(0, n - 1)) for n in shape)
    stop = tuple(data.draw(st.integers(a + 1, n)) for a, n in zip(start, shape, strict=True))
    values = np.random.default_rng(sum(shape)).integers(0, 256, shape).astype(np.uint8)
    ensemble = members_of([Slope(), Slope(90.0)], views(square=True))
    whole, core = cut(ensemble, values, Box.whole(shape)), Box(start, stop)
    for name, part in cut(ensemble, values, core).items():
        assert np.array_equal(part, whole[name][(..., *core.slices)]), name


def test_the_mean_and_its_entropy_are_those_of_the_members_one_by_one() -> None:
    values = np.random.default_rng(1).integers(0, 256, (3, 7, 6)).astype(np.uint8)
    whole = Box.whole(values.shape)
    every = []
    for view in views(square=True):
        solid = cut(Slope(), view.of(values), Box.whole(view.shape(values.shape)))["probability"]
        every.append(view.back(solid))
    found = cut(members_of([Slope()], views(square=True)), values, whole)
    mean = np.mean(every, axis=0, dtype=np.float64)
    assert np.abs(found["probability"] / 65535 - mean).max() < 2e-5
    assert np.abs(found["entropy"] - entropy_of(mean.astype(np.float32))).max() < 2e-4
    expected = entropy_of(mean.astype(np.float32)) - np.mean(
        [entropy_of(one) for one in every], axis=0
    )
    assert np.abs(found["mutual_information"] - expected).max() < 5e-4
    assert found["mutual_information"].max() > 0.01


def test_equal_members_share_no_information() -> None:
    values = np.random.default_rng(2).integers(0, 256, (2, 5, 5)).astype(np.uint8)
    found = cut(Ensemble((Member(Slope(), PLAIN),) * 3), values, Box.whole(values.shape))
    assert found["mutual_information"].max() <= 1 / 4096
    assert np.array_equal(found["labels"], cut(Slope(), values, Box.whole(values.shape))["labels"])


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    folder = tmp_path_factory.mktemp("ensemble")
    grey = np.random.default_rng(3).integers(0, 256, (5, 24, 20)).astype(np.uint8)
    tifffile.imwrite(folder / "v.tif", grey)
    url = str(folder / "s.zarr")
    size = {"z": 20, "y": 5, "x": 5}
    tim3d.ingest(folder / "v.tif", url, voxel_size=size, shard=(2, 16, 16), options=QUIET)
    return url, tiny_checkpoint(folder / "a.safetensors")


def fields(url: str, out: str) -> dict[str, np.ndarray]:
    names = [one for one in store.nodes(url) if one == out or one.startswith(f"{out}_")]
    return {one.removeprefix(out): tim3d.open_field(url, one).values for one in names}


@pytest.mark.long
def test_blocks_do_not_show_in_the_views_of_a_network(sample: tuple[str, Path]) -> None:
    url, model = sample
    how = {"model": model, "uncertainty": "views", "window": (16, 16), "halo": 4}
    tim3d.segment(url, **how, out="one", options=QUIET)
    small = tim3d.Options(progress=False, block=(2, 16, 16))
    tim3d.segment(url, **how, out="two", options=small)
    one, two = fields(url, "one"), fields(url, "two")
    assert set(one) == {
        "",
        "_probability_pore",
        "_probability_solid",
        "_entropy",
        "_mutual_information",
    }
    assert all(np.array_equal(one[name], two[name]) for name in one)
    assert one["_mutual_information"].max() > 0
    about = tim3d.open_field(url, "one_entropy").attrs
    assert about["units"] == "nat"
    record = store.node_attributes(url, "one")["parameters"]
    assert [member["view"] for member in record["members"]][:3] == ["", "y", "x"]


@pytest.mark.long
def test_several_models_are_a_mean_of_their_own_fingerprint(
    sample: tuple[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    url, model = sample
    other = tiny_checkpoint(model.with_name("b.safetensors"), seed=6)
    assert main(["segment", url, "--model", f"{model},{other}", "--out", "both", "--quiet"]) == 0
    mean = tim3d.open_field(url, "both_probability_pore").values / 65535
    each = []
    for number, one in enumerate((model, other)):
        tim3d.segment(url, model=one, out=f"m{number}", probabilities=True, options=QUIET)
        each.append(tim3d.open_field(url, f"m{number}_probability_pore").values / 255)
    assert np.abs(mean - np.mean(each, axis=0)).max() < 1 / 255
    with pytest.raises(MixedRunError, match="both"):
        tim3d.segment(url, model=[model, other], uncertainty="views", out="both", options=QUIET)
    assert main(["segment", url, "--model", str(model), "--uncertainty", "views", "--plan"]) == 0
    assert "phase" in capsys.readouterr().out


def test_what_cannot_be_compared_is_refused(sample: tuple[str, Path], tmp_path: Path) -> None:
    url, model = sample
    strange = tiny_checkpoint(tmp_path / "c.safetensors", classes=("solid", "pore"))
    with pytest.raises(ArgumentError, match="two or more"):
        tim3d.segment(url, model=model, uncertainty="models")
    with pytest.raises(ArgumentError, match="twice"):
        tim3d.segment(url, model=[model, model])
    with pytest.raises(CheckpointError, match="in one order"):
        tim3d.segment(url, model=[model, strange])
    with pytest.raises(ArgumentError, match="leave out --probabilities"):
        tim3d.segment(url, model=model, uncertainty="views", probabilities=True)
    with pytest.raises(ArgumentError, match="changes nothing with --method"):
        tim3d.segment(url, method="otsu", phases=Phases(a=0, b=1), uncertainty="views")
