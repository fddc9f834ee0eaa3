"""A checkpoint comes back as it went, or not at all."""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np
import pytest
import safetensors.torch
import torch

from tim3d.errors import ArgumentError, CheckpointError, InputError, WriteError
from tim3d.models.common.weights import read_weights
from tim3d.models.segmentation import checkpoint
from tim3d.models.segmentation.checkpoint import (
    Description,
    Normalisation,
    describe,
    digest,
    load,
    save,
)
from tim3d.models.segmentation.unet import UNetSpec, build
from tim3d.storage import outputs

SPEC = UNetSpec(classes=("pore", "solid"), encoder="mobilenet_v2", depth=2, decoder_channels=(8, 4))
ABOUT = Description(
    SPEC,
    Normalisation("volume", (100.0,), (30.0,)),
    (20.0, 5.0, 5.0),
    {"seed": 1, "note": 'a"sha256":"b'},
)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return build(SPEC).eval()


@pytest.fixture
def path(tmp_path, model):
    save(tmp_path / "net.safetensors", model, ABOUT)
    return tmp_path / "net.safetensors"


def test_weights_and_description_come_back(path, model):
    back = load(path, classes=("pore", "solid"))
    x = torch.randn(1, 1, 16, 16)
    assert torch.equal(back.model(x), model(x))
    assert back.description == dataclasses.replace(ABOUT, tim3d=back.description.tim3d)
    assert back.description.tim3d
    assert back.classes == ("pore", "solid")
    assert not back.model.training
    assert describe(path) == back.description


def test_the_digest_is_that_of_the_file_with_the_field_blank(path, model, tmp_path):
    sha256 = digest(path)
    blank = path.read_bytes().replace(sha256.encode(), b"0" * 64, 1)
    assert hashlib.sha256(blank).hexdigest() == sha256 == load(path).sha256
    assert save(tmp_path / "again.safetensors", model, ABOUT) == sha256
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


def test_one_changed_byte_anywhere_is_refused(tmp_path):
    path = tmp_path / "tiny.safetensors"
    save(path, torch.nn.Linear(8, 8), ABOUT)
    data = path.read_bytes()
    rng = np.random.default_rng(0)
    for place in range(len(data)):
        damaged = bytearray(data)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError):
            digest(path)
    path.write_bytes(data)
    assert digest(path)


def test_a_damaged_file_does_not_load(path):
    data = bytearray(path.read_bytes())
    data[-5] ^= 4
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="copy it again"):
        load(path)
    path.write_bytes(data[:-100])
    with pytest.raises(CheckpointError, match="damaged"):
        load(path)


@pytest.mark.parametrize(
    "content", [b"", b"short", b"\xff" * 64, b"PK\x03\x04 a zip file of pickles" * 9]
)
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / "x.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        load(tmp_path / "x.pt")


def test_foreign_safetensors_and_missing_files_are_refused(tmp_path):
    safetensors.torch.save_file({"a": torch.zeros(3)}, tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        load(tmp_path / "a.safetensors")
    with pytest.raises(InputError, match=r"none\.safetensors"):
        load(tmp_path / "none.safetensors")


@pytest.mark.parametrize(
    ("kind", "cure"),
    [
        ("segmentation", "import-network"),
        ("generator", "import-generator"),
        ("diffusion", ""),
        ("translator", ""),
    ],
)
def test_weights_of_another_program_are_sent_to_the_verb_that_imports_them(tmp_path, kind, cure):
    """Files of torch.save, also of old ones, and plain safetensors; a text is not taken for one."""
    weights = {"a": torch.zeros(3)}
    torch.save(weights, tmp_path / "new.pt")
    torch.save(weights, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    safetensors.torch.save_file(weights, tmp_path / "plain.safetensors")
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    for name in ("new.pt", "old.pt", "plain.safetensors", "t.csv"):
        with pytest.raises(CheckpointError, match="is not a checkpoint of tim3d") as caught:
            read_weights(tmp_path / name, kind)
        assert (f"imported first: tim3d {cure}" in str(caught.value)) == bool(
            cure and name != "t.csv"
        )
        assert str(caught.value).endswith(cure if cure and name != "t.csv" else "")


def test_a_newer_schema_is_refused(tmp_path, model, monkeypatch):
    monkeypatch.setattr(checkpoint, "SCHEMA", 2)
    save(tmp_path / "new.safetensors", model, ABOUT)
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match=r"new\.safetensors.*schema 2.*reads schema 1"):
        load(tmp_path / "new.safetensors")
    with pytest.raises(CheckpointError, match="schema 2"):
        describe(tmp_path / "new.safetensors")


def test_weights_of_another_network_are_refused(tmp_path, model):
    other = dataclasses.replace(ABOUT, spec=dataclasses.replace(SPEC, decoder_channels=(8, 8)))
    save(tmp_path / "odd.safetensors", model, other)
    with pytest.raises(CheckpointError, match="its own description"):
        load(tmp_path / "odd.safetensors")
    save(tmp_path / "less.safetensors", torch.nn.Sequential(torch.nn.Conv2d(1, 1, 1)), ABOUT)
    with pytest.raises(CheckpointError, match=r"[Mm]issing key"):
        load(tmp_path / "less.safetensors")


@pytest.mark.parametrize("classes", [("pore", "solid", "dirt"), ("solid", "pore"), ("a", "b")])
def test_other_classes_than_asked_for_are_refused(path, classes):
    with pytest.raises(CheckpointError, match="2 classes"):
        load(path, classes=classes)


def test_a_failed_write_leaves_the_old_file_and_no_other(path, model, monkeypatch):
    before = path.read_bytes()

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(outputs.os, "fsync", full)
    with pytest.raises(WriteError, match="no space left"):
        save(path, model, ABOUT)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_folder_that_is_a_file_is_named(path, model):
    with pytest.raises(WriteError, match="cannot write"):
        save(path / "below.safetensors", model, ABOUT)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (("volume", (1.0, 2.0), (1.0, 1.0)), "one mean"),
        (("table", (1.0,), (1.0, 1.0)), "1 means and 2"),
        (("volume", (), ()), "0 means"),
        (("volume", (1.0,), (0.0,)), "constant"),
        (("volume", (1.0,), (float("nan"),)), "constant"),
        (("crop", (1.0,), (1.0,)), "crop"),
    ],
)
def test_normalisations_that_cannot_be_are_refused(values, words):
    with pytest.raises(ArgumentError, match=words):
        Normalisation(*values)
