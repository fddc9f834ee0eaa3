"""A network of segmentation-models-pytorch from elsewhere: what it gave there is what it gives here."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch

import tim3d
from tests.nets import network_file, smp_unet
from tim3d import Phases
from tim3d.errors import ArgumentError, CheckpointError, MixedRunError
from tim3d.models.segmentation import checkpoint

SIZE = {"z": 10, "y": 5, "x": 5}
ASKED = {
    "classes": ["pore", "solid"], "mean": [120.0], "std": [40.0], "voxel_size": SIZE, "encoder": "mobilenet_v2",
    "depth": 2,
}  # fmt: skip
# Of ImageNet, in grey levels.
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def imported(path, folder, **changes):
    return tim3d.import_network(path, folder / "own.safetensors", **ASKED | changes)


def theirs(net, grey, mean, std):
    """Logits as a user computes them: the grey image as three colours, each normalised."""
    rgb = np.stack([(grey - m) / s for m, s in zip(mean, std, strict=True)])[None].astype(
        np.float32
    )
    with torch.no_grad():
        return net(torch.from_numpy(rgb))


def ours(model, grey):
    found = checkpoint.load(model)
    (mean,), (std,) = found.description.normalisation.of_slices([0])
    with torch.no_grad():
        return found.model(torch.from_numpy(((grey - mean) / std)[None, None].astype(np.float32)))


@pytest.mark.long
@pytest.mark.parametrize(("mean", "std"), [((120.0,) * 3, (40.0,) * 3), (MEAN, STD)])
def test_logits_are_those_of_the_network_of_colours_up_to_the_border(tmp_path, mean, std):
    """With equal statistics the first convolution is summed; with those of ImageNet the colours are made."""
    grey = np.random.default_rng(0).integers(0, 255, (32, 40)).astype(np.uint8)
    given = {
        "mean": list(mean[: 1 if len(set(mean)) == 1 else 3]),
        "std": list(std[: 1 if len(set(std)) == 1 else 3]),
    }
    model = imported(network_file(tmp_path / "n.pth"), tmp_path, **given)
    expected = theirs(smp_unet(), grey.astype(float), mean, std)
    torch.testing.assert_close(ours(model, grey.astype(float)), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.long
def test_it_segments_a_sample_and_says_where_it_comes_from(tmp_path):
    path = network_file(tmp_path / "n.pth")
    model = imported(path, tmp_path, mean=list(MEAN), std=list(STD))
    told = checkpoint.describe(model).training["imported"]
    assert told["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    volume = np.random.default_rng(0).integers(0, 255, (2, 20, 24)).astype(np.uint8)
    np.save(tmp_path / "v.npy", volume)
    tim3d.ingest(tmp_path / "v.npy", str(tmp_path / "a.zarr"), voxel_size=SIZE)
    found = tim3d.segment(str(tmp_path / "a.zarr"), model=model, device="cpu").values
    for grey, labels in zip(volume, found, strict=True):
        expected = theirs(smp_unet(), grey.astype(float), MEAN, STD)[0]
        close = (expected[0] - expected[1]).abs() < 1e-3
        assert np.array_equal(expected.argmax(0).numpy()[~close], labels[~close])


@pytest.mark.long
@pytest.mark.parametrize(
    "wrapped",
    [
        lambda state: {f"module.{k}": v for k, v in state.items()},
        lambda state: {"model_state_dict": state, "epoch": 4},
        lambda state: {
            "state_dict": {f"model.{k}": v for k, v in state.items()}
            | {"loss.weight": torch.ones(1)}
        },
        lambda state: {f"_orig_mod.{k}": v for k, v in state.items()},
    ],
)
def test_prefixes_of_trainings_are_taken_off_by_name(tmp_path, wrapped):
    plain = checkpoint.load(imported(network_file(tmp_path / "n.pth"), tmp_path)).model.state_dict()
    torch.save(wrapped(smp_unet().state_dict()), tmp_path / "w.pth")
    other = tim3d.import_network(tmp_path / "w.pth", tmp_path / "other.safetensors", **ASKED)
    found = checkpoint.load(other).model.state_dict()
    assert all(torch.equal(found[name], value) for name, value in plain.items())


@pytest.mark.long
def test_a_training_goes_on_from_an_imported_network(tmp_path):
    model = imported(network_file(tmp_path / "n.pth"), tmp_path, mean=list(MEAN), std=list(STD))
    grey = np.random.default_rng(0).integers(0, 255, (3, 16, 16)).astype(np.uint8)
    for name, values, phases in (
        ("raw", grey, None),
        ("truth", (grey > 99).astype(np.uint8), Phases(a=0, b=1)),
    ):
        np.save(tmp_path / "v.npy", values)
        tim3d.ingest(
            tmp_path / "v.npy", str(tmp_path / "a.zarr"), voxel_size=SIZE, field=name, phases=phases
        )
    later = tim3d.train(
        str(tmp_path / "a.zarr"), tmp_path / "t.safetensors", labels="truth", start_from=model, epochs=1, steps=1,
        batch=1, crop=16, device="cpu", progress=False,
    )  # fmt: skip
    assert checkpoint.describe(later).spec.colours == checkpoint.describe(model).spec.colours


@pytest.mark.long
@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"mean": None, "classes": None}, ArgumentError, "needs --classes, --mean too"),
        ({"preprocessing": "sam"}, ArgumentError, "--preprocessing is of promptable networks"),
        (
            {"encoder": "resnet18"},
            CheckpointError,
            r"lacks \d+ of \d+ tensors.* Its encoder is mobilenet_v2",
        ),
        ({"depth": 3}, CheckpointError, "does not fit Unet on mobilenet_v2 of depth 3"),
        ({"classes": ["a", "b", "c"]}, CheckpointError, "with 3 classes.* It has 2 classes"),
        ({"decoder_channels": [8, 4]}, CheckpointError, r"expected \(8, "),
        ({"architecture": "FPN", "depth": 3}, CheckpointError, "does not fit FPN"),
        ({"mean": [1.0, 2.0]}, ArgumentError, "give one each, or 3"),
        ({"std": [0.0]}, ArgumentError, "above 0"),
        (
            {"context": 1, "mean": list(MEAN), "std": list(STD)},
            ArgumentError,
            "neighbouring slices",
        ),
        ({"voxel_size": {"z": 1, "y": 1}}, ArgumentError, "an edge above 0 along z, y and x"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_written(tmp_path, changes, error, says):
    path = network_file(tmp_path / "n.pth")
    with pytest.raises(error, match=says) as caught:
        imported(path, tmp_path, **changes)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == [path]


def test_a_whole_pickled_network_is_refused(tmp_path):
    torch.save(smp_unet(), tmp_path / "n.pth")
    with pytest.raises(CheckpointError, match=r"holds code.*torch.save\(model.state_dict\(\)"):
        imported(tmp_path / "n.pth", tmp_path)


@pytest.mark.long
@pytest.mark.parametrize(
    "changes",
    [
        {"mean": [110.0]},
        {"std": [50.0]},
        {"classes": ["void", "solid"]},
        {"voxel_size": SIZE | {"z": 20}},
    ],
)
def test_other_words_are_another_network(tmp_path, changes):
    path = network_file(tmp_path / "n.pth")
    model = imported(path, tmp_path)
    first = model.read_bytes()
    assert imported(path, tmp_path).read_bytes() == first
    with pytest.raises(MixedRunError, match="--overwrite"):
        imported(path, tmp_path, **changes)
    assert model.read_bytes() == first
    assert imported(path, tmp_path, overwrite=True, **changes).read_bytes() != first
