"""BPartIS learns from masks of instances: random weights, and discs that are the known answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tim3d
from tests.trainings import Changed, KilledError, killed_in
from tim3d.errors import ArgumentError, MixedRunError
from tim3d.kernels.masks.mask_set import boxed
from tim3d.models.promptable.tuning_data import Example
from tim3d.segmenters import read_model

torch = pytest.importorskip("torch", reason="networks need torch: pip install 'tim3d[seg]'")

from tim3d.models.promptable import embedding_tuning as tuning  # noqa: E402
from tim3d.models.segmentation.bpartis import SPREAD, UNIT, numbers_in  # noqa: E402

QUIET = tim3d.Options(progress=False, overwrite=True)
SHAPE = (4, 28, 44)


def discs() -> np.ndarray:
    """Two discs that touch in every slice, numbered."""
    y, x = np.indices(SHAPE[1:])
    ids = np.zeros(SHAPE, np.uint32)
    for z, plane in enumerate(ids):
        for number, (cy, cx) in enumerate([(12 + z, 12), (12 + z, 30 - z)], 1):
            plane[np.hypot(y - cy, x - cx) < 9 - z / 2] = number
    return ids


def perfect(ids: np.ndarray) -> np.ndarray:
    """Output of a network that knows the middles, and how far members may point beside them."""
    values = np.zeros((5, *ids.shape), np.float32)
    y, x = np.indices(ids.shape)
    for number in np.unique(ids[ids > 0]):
        inside = ids == number
        values[0][inside] = np.arctanh((x[inside].mean() - x[inside]) / UNIT)
        values[1][inside] = np.arctanh((y[inside].mean() - y[inside]) / UNIT)
    values[2:4] = np.log(np.log(2) / 3.0**2 * UNIT**2) / SPREAD  # a half at 3 pixels
    values[4] = np.where(ids > 0, 9, -9)
    return values


def loss(values: np.ndarray, ids: np.ndarray) -> float:
    every = np.unique(ids[ids > 0])
    found = tuning.embedding_loss(torch.tensor(values), torch.tensor(ids.astype(np.int64)), every)
    return float(found)


def test_the_loss_is_least_where_pixels_know_their_middles() -> None:
    """What the clustering numbers without a fault has nearly no loss; each fault costs."""
    ids = discs()[0]
    values = perfect(ids)
    assert np.array_equal(numbers_in(values, 1) > 0, ids > 0)
    assert len(np.unique(numbers_in(values, 1))) == 3
    best = loss(values, ids)
    assert best < 0.1
    for plane, change in ((0, 8 / UNIT), (4, -9.0)):
        worse = values.copy()
        worse[plane][(ids == 1) & (np.indices(ids.shape)[1] < 12)] += change
        assert loss(worse, ids) > best + 0.01
    narrow = values.copy()
    narrow[2:4] += np.random.default_rng(0).normal(0, 0.1, narrow[2:4].shape).astype(np.float32)
    assert loss(narrow, ids) > best + 0.01


def test_the_loss_knows_no_axis_and_no_pixel_that_is_not_known() -> None:
    ids = discs()[1].astype(np.int64)
    values = perfect(ids) + np.random.default_rng(1).normal(0, 0.01, (5, *ids.shape))
    values = values.astype(np.float32)
    other = np.ascontiguousarray(values[[1, 0, 3, 2, 4]].transpose(0, 2, 1))
    assert loss(other, np.ascontiguousarray(ids.T)) == pytest.approx(loss(values, ids), rel=1e-5)
    hidden = ids.copy()
    hidden[:, :2] = -1
    noisy = values.copy()
    noisy[:, :, :2] = 3.0
    assert loss(noisy, hidden) == loss(values, hidden)


def test_all_eight_ways_to_turn_an_image_are_different_and_keep_its_pixels() -> None:
    plane = np.arange(12).reshape(3, 4)
    ways = [tuning.turned(plane, n) for n in range(8)]
    assert len({(one.shape, one.tobytes()) for one in ways}) == 8
    assert all(np.array_equal(np.sort(one.ravel()), np.arange(12)) for one in ways)


def test_objects_of_an_example_become_numbers() -> None:
    square = np.ones((2, 2), bool)
    known = np.ones((3, 5), bool)
    known[:, 4] = False
    masks = (boxed((0, 0), square), boxed((1, 1), square), boxed((0, 3), square))
    found = tuning.numbered(Example(np.zeros((3, 5), np.float32), masks, known))
    assert found.tolist() == [[1, 1, 0, 3, -1], [1, 1, 2, 3, -1], [0, 2, 2, 0, -1]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sample of discs and their numbers, and BPartIS with random weights."""
    from tim3d.models.segmentation.branched_erfnet import BranchedErfnet

    folder = tmp_path_factory.mktemp("particles")
    ids = discs()
    grey = np.where(ids > 0, 180, 60) + np.random.default_rng(0).normal(0, 6, SHAPE)
    for name, values in (
        ("raw", np.rint(grey).astype(np.uint8)),
        ("by_hand", ids.astype(np.uint16)),
    ):
        np.save(folder / "volume.npy", values)
        tim3d.ingest(
            folder / "volume.npy", str(folder / "a.zarr"), voxel_size={"z": 10, "y": 5, "x": 5}, field=name,
            options=QUIET,
        )  # fmt: skip
    torch.manual_seed(0)
    torch.save(BranchedErfnet().state_dict(), folder / "seg-model.pt")
    tim3d.import_network(folder / "seg-model.pt", folder / "base.safetensors")
    return folder


def tuned(made: Path, name: str, **how: Any) -> Path:
    """The file of a training of a few steps."""
    given = {"labels": "by_hand", "steps": 2, "every": 1, "batch": 2, "progress": False} | how
    return tim3d.fine_tune(
        str(made / "a.zarr"), made / name, start_from=made / "base.safetensors", **given
    )


@pytest.mark.long
def test_the_tuned_network_segments_and_says_where_it_comes_from(made: Path) -> None:
    model = tuned(made, "few.safetensors")
    about = read_model(model).description["training"]
    assert about["base"]["sha256"] == read_model(made / "base.safetensors").sha256
    assert about["windows"] == [3, 1]
    assert about["objects"] == [6, 2]
    assert {"held_out_loss", "held_out_panoptic_quality"} <= set(about["history"][-1])
    changed = [
        name for name, one in read_model(model).tensors().items()
        if not torch.equal(one, read_model(made / "base.safetensors").tensors()[name])
    ]  # fmt: skip
    assert "decoders.0.output_conv.weight" in changed
    assert not [name for name in changed if "running_" in name]  # statistics stay
    tim3d.segment(str(made / "a.zarr"), model=model, out="grains", options=QUIET)
    assert tuned(made, "few.safetensors") == model  # there already
    plan = tim3d.fine_tune.plan(
        str(made / "a.zarr"), made / "few.safetensors", start_from=made / "base.safetensors", labels="by_hand",
        steps=2, every=1, batch=2, progress=False,
    )  # fmt: skip
    assert plan == []
    with pytest.raises(MixedRunError, match="another network or training"):
        tuned(made, "few.safetensors", seed=1)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"adapt": "lora"}, "takes no prompts"), ({"give": "point"}, "takes no prompts"),
        ({"jitter": 0.2}, "takes no prompts"), ({"rank": 2}, "takes no prompts"),
        ({"embeddings": "raw_embedding"}, "leave out --embeddings"), ({"window": (20, 24)}, "multiples of 8"),
        ({"halo": 8}, "whole slices have no border"), ({"window": (4, 24, 24)}, "two edges"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(made: Path, how: dict[str, Any], said: str) -> None:
    with pytest.raises(ArgumentError, match=said):
        tuned(made, "never.safetensors", **how)
    assert not (made / "never.safetensors").exists()


@pytest.mark.long
def test_a_killed_training_ends_with_the_same_bits(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tim3d.stages.shared import training

    ordinary = training.carry_out

    def changed(name: str, change: Callable[[Any], Any]) -> Path:
        run = lambda one, *rest, **how: ordinary(Changed(one, change), *rest, **how)  # noqa: E731
        monkeypatch.setattr(training, "carry_out", run)
        return tuned(made, name, steps=3, window=(16, 24))

    whole = changed("whole.safetensors", lambda learner: learner).read_bytes()
    for step in (1, 3):
        with pytest.raises(KilledError):
            changed("killed.safetensors", killed_in(step))
    assert changed("killed.safetensors", lambda learner: learner).read_bytes() == whole


@pytest.mark.long
def test_particles_are_told_apart_after_and_not_before(made: Path) -> None:
    model = tuned(made, "long.safetensors", steps=100, every=20, learning_rate=1e-3)
    history = read_model(model).description["training"]["history"]
    quality = [one["held_out_panoptic_quality"] for one in history]
    assert quality[0] < 0.3
    assert max(quality) > 0.5
