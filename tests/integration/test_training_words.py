"""Words of `train`: first weights, losses, crops and schedules; what is recorded, resumed, kept and refused."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path

import numpy as np
import pytest

import tim3d
from tim3d import Phases
from tim3d.errors import ArgumentError, InputError, MemoryPlanError, MixedRunError, Tim3dError

pytest.importorskip("torch", reason="networks need torch: pip install 'tim3d[seg]'")
from tests.nets import encoder_file
from tests.trainings import KilledError
from tim3d.models.segmentation import checkpoint
from tim3d.models.segmentation.crops import Augmentation
from tim3d.models.segmentation.memory import counted_bytes
from tim3d.models.segmentation.training import TrainingOptions
from tim3d.models.segmentation.training import train as train_network
from tim3d.models.segmentation.training_cost import training_bytes
from tim3d.models.segmentation.unet import UNetSpec

TINY = {
    "labels": "truth", "encoder": "mobilenet_v2", "depth": 2, "epochs": 1, "steps": 1, "batch": 1, "crop": 16,
    "device": "cpu", "progress": False,
}  # fmt: skip
SIZE = {"z": 10, "y": 10, "x": 10}


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """Grey values, two phases, three phases, and labels of one phase only."""
    folder = tmp_path_factory.mktemp("words")
    place = str(folder / "a.zarr")
    noise = np.random.default_rng(0).integers(0, 100, (6, 24, 24)).astype(np.uint8)
    noise[:, :, 12:] += 100
    kinds = {
        "raw": (noise, None),
        "truth": (noise > 95, Phases(pore=0, solid=1)),
        "three": (noise // 70, Phases(pore=0, solid=1, binder=2)),
        "one": (np.zeros_like(noise), Phases(pore=0, solid=1)),
    }
    for name, (values, phases) in kinds.items():
        np.save(folder / "volume.npy", values.astype(np.uint8))
        tim3d.ingest(folder / "volume.npy", place, voxel_size=SIZE, field=name, phases=phases)
    return place


def train(sample, model, **changes):
    return tim3d.train(sample, model, **TINY | changes)


def about(model):
    return checkpoint.describe(model)


def weights(model):
    return checkpoint.load(model).model.state_dict()


@pytest.mark.long
def test_weights_of_an_encoder_are_recorded_by_their_digest_whatever_the_name(sample, tmp_path):
    path = encoder_file(tmp_path / "w.pth", "mobilenet_v2")
    model = train(sample, tmp_path / "a.safetensors", encoder_weights=path)
    told = about(model).training["first_weights"]
    assert told["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (told["file"], told["from"], told["dropped"]) == ("w.pth", "encoder", ["classifier"])
    first = model.read_bytes()
    same = path.rename(tmp_path / "other.pth")
    assert train(sample, model, encoder_weights=same).read_bytes() == first
    with pytest.raises(MixedRunError):
        train(sample, model)
    with pytest.raises(MixedRunError):
        train(
            sample, model, encoder_weights=encoder_file(tmp_path / "w.pth", "mobilenet_v2", seed=2)
        )


@pytest.mark.long
def test_a_training_goes_on_into_another_file_and_the_first_one_stays(sample, tmp_path):
    one = train(sample, tmp_path / "one.safetensors", epochs=2)
    before = one.read_bytes()
    # A rate so small that nothing moves: what it begins with is what the first one ended with.
    two = train(sample, tmp_path / "two.safetensors", start_from=one, learning_rate=1e-12)
    three = train(sample, tmp_path / "three.safetensors", start_from=two)
    assert one.read_bytes() == before
    assert about(two).spec == about(one).spec
    told = [about(model).training["first_weights"] for model in (two, three)]
    assert [t["epochs_before"] for t in told] == [2, 3]
    assert [t["head"] for t in told] == ["kept", "kept"]
    assert told[0]["sha256"] == checkpoint.digest(one)
    first, later = weights(one), weights(two)
    assert all(np.allclose(first[k], later[k], atol=1e-9) for k in first if k.endswith("weight"))
    with pytest.raises(ArgumentError, match=r"Write to another file: one-2\.safetensors"):
        train(sample, one, start_from=one)


@pytest.mark.long
def test_other_classes_get_a_new_head_and_that_is_said(sample, tmp_path, caplog):
    one = train(sample, tmp_path / "one.safetensors")
    with caplog.at_level(logging.INFO, logger="tim3d"):
        two = train(
            sample,
            tmp_path / "two.safetensors",
            labels="three",
            start_from=one,
            learning_rate=1e-12,
        )
    assert about(two).spec.classes == ("pore", "solid", "binder")
    assert about(two).training["first_weights"]["head"] == "new, instead of pore, solid"
    assert any("new, instead of pore, solid" in r.message for r in caplog.records)
    first, later = weights(one), weights(two)
    assert len(later["segmentation_head.0.weight"]) == 3
    body = [k for k in first if k.endswith("weight") and "head" not in k]
    assert all(np.allclose(first[k], later[k], atol=1e-9) for k in body)


@pytest.mark.long
def test_the_network_of_a_model_to_start_from_is_not_contradicted(sample, tmp_path):
    one = train(sample, tmp_path / "one.safetensors")
    with pytest.raises(ArgumentError, match=r"has depth 2, and 4 is asked for.*Leave out --depth"):
        train(sample, tmp_path / "two.safetensors", start_from=one, depth=4)
    plain = {name: value for name, value in TINY.items() if name not in ("encoder", "depth")}
    two = tim3d.train(sample, tmp_path / "two.safetensors", start_from=one, **plain)
    assert about(two).spec == about(one).spec
    with pytest.raises(ArgumentError, match="leave out --encoder-weights"):
        train(sample, tmp_path / "x.safetensors", start_from=one, encoder_weights=one)


@pytest.mark.long
def test_all_words_together_resume_to_the_bit(tmp_path):
    words = TrainingOptions(
        epochs=3, steps=2, batch=2, crop=16, device="cpu", threads=1, augmentation=Augmentation(more=("sem",)),
        loss=("focal:gamma=1", "boundary"), class_weights=(2.0, 1.0), crops="balanced", schedule="one-cycle",
        encoder_rate=0.1,
    )  # fmt: skip
    spec = UNetSpec(("a", "b"), encoder="mobilenet_v2", depth=2, decoder_channels=(8, 4))
    grey = np.random.default_rng(0).integers(0, 100, (4, 24, 24)).astype(np.uint8)
    labels = (grey > 50).astype(np.uint8)

    def asked(name, on_epoch=None):
        return train_network(
            grey,
            labels,
            spec,
            tmp_path / name,
            words,
            spacing_nm=(9.0, 9.0, 9.0),
            on_epoch=on_epoch,
        )

    def kill(record):
        if record["epoch"] == 2:
            raise KilledError

    whole = asked("whole").description.training["options"]
    assert whole["augmentation"]["more"] == ["sem"]
    assert {name: whole[name] for name in ("crops", "schedule", "encoder_rate")} == {
        "crops": "balanced", "schedule": "one-cycle", "encoder_rate": 0.1,
    }  # fmt: skip
    with pytest.raises(KilledError):
        asked("killed", kill)
    asked("killed")
    assert (tmp_path / "killed").read_bytes() == (tmp_path / "whole").read_bytes()


def test_defaults_that_are_written_out_are_the_training_without_them(sample, tmp_path):
    model = train(sample, tmp_path / "a.safetensors")
    first = model.read_bytes()
    told = about(model).training
    assert {"loss", "class_weights", "schedule", "crops", "encoder_rate"}.isdisjoint(
        told["options"]
    )
    assert "first_weights" not in told
    assert "more" not in told["options"]["augmentation"]
    written = {
        "loss": ["cross-entropy:weight=1", "dice"], "augment": [], "crops": "random", "schedule": "cosine",
        "decoder_channels": (16, 8),
    }  # fmt: skip
    assert train(sample, model, **written).read_bytes() == first


BAD = [
    ({"labels": "one"}, InputError, "labels of one class only, pore"),
    (
        {"crop": 32},
        InputError,
        r"slices of 24 x 24 pixels are smaller than the crop of 32; use --crop 24",
    ),
    ({"class_weights": {"pore": 2}}, ArgumentError, "--class-weights pore=2,solid=1"),
    ({"class_weights": {"pores": 2}}, ArgumentError, "did you mean 'pore'"),
    ({"class_weights": {"pore": -1, "solid": 1}}, ArgumentError, "above 0"),
    ({"class_weights": {"pore": np.inf, "solid": 1}}, ArgumentError, "finite"),
    ({"encoder_rate": 0.0}, ArgumentError, "encoder rate 0.0"),
    ({"schedule": "linear"}, ArgumentError, "choose cosine, one-cycle, constant"),
    ({"crops": "even"}, ArgumentError, "choose random, balanced"),
    ({"encoder_weights": "none.pth"}, InputError, "cannot read none.pth"),
    ({"start_from": "none.safetensors"}, InputError, "none.safetensors"),
    ({"architecture": "FPN", "depth": 2}, ArgumentError, "--depth 3"),
]


@pytest.mark.parametrize(("asked", "error", "says"), BAD)
def test_what_cannot_be_trained_is_refused_before_anything_is_written(
    sample, tmp_path, asked, error, says
):
    model = tmp_path / "a.safetensors"
    with pytest.raises(error, match=says) as caught:
        train(sample, model, **asked)
    assert isinstance(caught.value, Tim3dError)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_plan_says_memory_and_measured_time_and_writes_nothing(sample, tmp_path):
    (line,) = tim3d.plan("train", sample, tmp_path / "a.safetensors", **TINY)
    assert "at most" in str(line)
    assert "a step took" in str(line)
    assert list(tmp_path.iterdir()) == []


def test_a_step_that_does_not_fit_into_memory_is_refused(sample, tmp_path):
    with pytest.raises(MemoryPlanError, match="Use a smaller --batch or --crop"):
        train(sample, tmp_path / "a.safetensors", batch=10**7)


def test_the_memory_of_a_step_is_that_of_its_layers_twice_and_of_five_copies_of_the_weights():
    spec = UNetSpec(("a", "b"), encoder="mobilenet_v2", depth=2, decoder_channels=(8, 4))
    from tim3d.models.segmentation.unet import build

    held = sum(p.numel() * 4 for p in build(spec).parameters())
    assert training_bytes(spec, 3, 32) == 5 * held + 2 * counted_bytes(spec, 3, (32, 32))


@pytest.mark.long
def test_a_recipe_plans_to_go_on_from_a_model_that_it_has_yet_to_train(
    sample, tmp_path, monkeypatch
):
    from tim3d.cli.recipe import plan_recipe, run_recipe

    monkeypatch.chdir(tmp_path)
    words = {k: v for k, v in TINY.items() if k != "progress"}
    steps = [
        {"model": "one.safetensors"},
        {"model": "two.safetensors", "start_from": "one.safetensors"},
    ]
    text = f'sample = "{sample}"\n'
    for step in steps:
        lines = "\n".join(f"{k} = {json.dumps(v)}" for k, v in {**words, **step}.items())
        text += f'[[step]]\nname = "{step["model"][:3]}"\nverb = "train"\n{lines}\n'
    Path("r.toml").write_text(text)
    assert len(list(plan_recipe("r.toml", trust=True))) == 2
    run_recipe("r.toml", progress=False, trust=True)
    assert about("two.safetensors").training["first_weights"]["epochs_before"] == 1
