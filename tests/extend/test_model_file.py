"""A model file chooses its segmenter by the kind that it states; a kind of one's own is one function."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import tim3d
from tests.nets import tiny_checkpoint
from tim3d import segmenters
from tim3d.errors import ArgumentError, CheckpointError
from tim3d.models.common.weights import read_weights, write_weights
from tim3d.models.segmentation import checkpoint
from tim3d.stages.segmentation.kinds import KINDS

torch = pytest.importorskip("torch", reason="model files need torch: pip install 'tim3d[seg]'")
QUIET = tim3d.Options(progress=False)


@dataclass(frozen=True)
class Linear(tim3d.Segmenter):
    """Solid is where weight * grey + bias is above 0, of a weight and a bias that were learnt."""

    weight: float
    bias: float
    sha256: str

    kind: ClassVar[str] = "linear"
    classes = ("pore", "solid")

    def open(self) -> Callable[..., Mapping[str, np.ndarray]]:
        return self.look

    def look(self, grey: np.ndarray, place: object) -> Mapping[str, np.ndarray]:
        return {"labels": (self.weight * grey + self.bias > 0).astype(np.uint8)}


def opened(file: segmenters.ModelFile) -> Linear:
    """The segmenter of a file."""
    weights = file.tensors()
    return Linear(float(weights["weight"]), float(file.description["bias"]), file.sha256)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "linear.safetensors"
    segmenters.write_model(path, "linear", {"weight": torch.tensor(2.0)}, {"bias": -200.0})
    return path


@pytest.fixture
def registered() -> Iterator[None]:
    segmenters.register("linear", opened)
    yield
    del KINDS["linear"]


@pytest.fixture
def sample(tmp_path: Path) -> str:
    grey = np.random.default_rng(0).integers(60, 150, (6, 20, 20)).astype(np.uint8)
    np.save(tmp_path / "grey.npy", grey)
    url = str(tmp_path / "s.zarr")
    tim3d.ingest(tmp_path / "grey.npy", url, voxel_size={"z": 20, "y": 5, "x": 5}, options=QUIET)
    return url


@pytest.mark.usefixtures("registered")
def test_a_registered_kind_is_chosen_by_the_file(sample: str, model: Path) -> None:
    labels = tim3d.segment(sample, model=model, options=QUIET)
    np.testing.assert_array_equal(labels, tim3d.open_field(sample, "raw") > 100)
    assert tim3d.plan("segment", sample, model=model, options=QUIET) == []
    segmenters.write_model(model, "linear", {"weight": torch.tensor(2.0)}, {"bias": -210.0})
    with pytest.raises(tim3d.Tim3dError, match="from another model"):
        tim3d.segment(sample, model=model, options=QUIET)


@pytest.mark.usefixtures("registered")
def test_options_of_the_unet_are_refused_with_another_kind(sample: str, model: Path) -> None:
    with pytest.raises(
        ArgumentError, match="--batch changes nothing with a model of the kind 'linear'"
    ):
        tim3d.segment(sample, model=model, batch=2, options=QUIET)


def test_an_unknown_kind_is_refused_with_the_known_ones(sample: str, model: Path) -> None:
    with pytest.raises(
        CheckpointError,
        match=r"kind 'linear', and the known ones are bpartis, .*strokes, unet.*register",
    ):
        tim3d.segment(sample, model=model, options=QUIET)
    with pytest.raises(CheckpointError, match="kind 'linear', and a network is needed"):
        checkpoint.load(model)
    with pytest.raises(CheckpointError, match="kind 'linear', and a network is needed"):
        checkpoint.describe(model)


def test_a_segmenter_that_forgets_its_file_is_refused(sample: str, model: Path) -> None:
    segmenters.register("linear", lambda file: replace(opened(file), sha256=""))
    try:
        with pytest.raises(ArgumentError, match="must keep the sha256"):
            tim3d.segment(sample, model=model, options=QUIET)
    finally:
        del KINDS["linear"]


def test_a_file_without_a_kind_is_a_unet_and_gives_the_same_labels(
    sample: str, tmp_path: Path
) -> None:
    new = tiny_checkpoint(tmp_path / "new.safetensors")
    stored = read_weights(new, "segmentation")
    text = json.loads(stored.text)
    assert text.pop("kind") == "unet"
    write_weights(tmp_path / "old.safetensors", stored.tensors(), json.dumps(text))
    made = [
        tim3d.segment(sample, model=tmp_path / f"{name}.safetensors", out=name, options=QUIET)
        for name in ("old", "new")
    ]
    np.testing.assert_array_equal(*made)


def test_what_a_file_holds_is_what_was_written(model: Path) -> None:
    file = segmenters.read_model(model)
    assert (file.kind, dict(file.description)) == ("linear", {"bias": -200.0})
    assert file.tensors()["weight"] == 2.0
    model.write_bytes(model.read_bytes().replace(b"-200", b"-201", 1))
    with pytest.raises(CheckpointError, match="is damaged"):
        segmenters.read_model(model)


@pytest.mark.parametrize(
    ("kind", "described"), [("", {}), ("own", {"kind": "b"}), ("own", {"a": float("nan")})]
)
def test_what_cannot_be_described_is_not_written(
    tmp_path: Path, kind: str, described: dict[str, Any]
) -> None:
    with pytest.raises(ArgumentError):
        segmenters.write_model(tmp_path / "m.safetensors", kind, {}, described)
    assert list(tmp_path.iterdir()) == []


def test_the_kind_of_the_unet_is_taken() -> None:
    with pytest.raises(ArgumentError, match="choose another name"):
        segmenters.register("unet", opened)
