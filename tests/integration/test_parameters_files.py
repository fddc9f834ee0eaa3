"""The law of parameters for the verbs that write files: changed alone, none leaves what was there without a word."""

from __future__ import annotations

import inspect
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

import tim3d
from tests import recorded_changes
from tests.micrographs import blobs
from tim3d import Options, Phases
from tim3d.cli.parsing import verb
from tim3d.errors import MixedRunError, Tim3dError
from tim3d.kernels.generation.architecture import PRESETS, Architecture
from tim3d.models.promptable.mask_rules import AsObjects
from tim3d.models.promptable.prompting import Grid
from tim3d.sections import Section

QUIET = Options(progress=False)
A, B = "a.zarr", "b.zarr"
TWO, BLACK = Phases(pore=0, solid=1), Phases(pore=0, solid=255)
SIZE = {"z": 10, "y": 10, "x": 10}


@dataclass(frozen=True)
class Case:
    """A call of a verb, and for every parameter another value than in that call, by what it does beside the first.

    Parameters
    ----------
    given : dict
        What the call is given.
    refused : dict
        Changed alone, it is another making: refused, and what is there stays.
    decides : dict
        Changed alone, it gives another file in the place of the first: a training that goes on, a
        report.
    elsewhere : dict
        Says where the same file is kept.
    runs : dict
        Says how it runs: the same file.
    """

    given: dict[str, Any]
    refused: dict[str, Any] = field(default_factory=dict)
    decides: dict[str, Any] = field(default_factory=dict)
    elsewhere: dict[str, Any] = field(default_factory=dict)
    runs: dict[str, Any] = field(default_factory=dict)


CASES = {
    "points": Case(
        {"sample": A, "folder": "looked", "count": 3},
        refused={"sample": B, "field": "grey", "count": 4, "patch": 33, "seed": 1},
        elsewhere={"folder": "second"},
        runs={"overwrite": True},
    ),
    "simulate": Case(
        {"folder": "stack", "shape": (2, 16, 16), "progress": False},
        refused={
            "shape": (3, 16, 16), "voxel_size": {"z": 30}, "solid_fraction": 0.5, "correlation_nm": 70.0, "seed": 1,
        },
        elsewhere={"folder": "second"},
        runs={"overwrite": True, "progress": True},
    ),
    "import_generator": Case(
        {"checkpoint": "one/a_Gen.pt", "weights": "own.safetensors", "voxel_size": SIZE, "phases": TWO},
        refused={
            "checkpoint": "two/a_Gen.pt", "voxel_size": SIZE | {"z": 20}, "phases": Phases(void=0, solid=1),
        },
        elsewhere={"weights": "second.safetensors"},
        runs={"overwrite": True},
    ),
    "import_network": Case(
        {"checkpoint": "sam", "weights": "sam.safetensors"},
        refused={
            "checkpoint": "sam2", "preprocessing": "medsam", "decoder": "decoder.pt", "classes": ["a", "b"],
            "mean": [1.0], "std": [1.0], "voxel_size": SIZE, "architecture": "MAnet", "encoder": "resnet18",
            "depth": 3, "decoder_channels": (8, 8), "context": 1,
        },
        elsewhere={"weights": "second.safetensors"},
        runs={"overwrite": True},
    ),
    "fit_imaging": Case(
        {"sample": A, "model": "look.json", "phases": ["pore", "solid"], "progress": False},
        refused={
            "sample": B, "field": "grey", "phases": ["void", "solid"], "thresholds": [95.0], "through": "pore",
        },
        elsewhere={"model": "second.json"},
        runs={"overwrite": True, "progress": True},
    ),
    "train_translator": Case(
        {
            "sample": A, "like": B, "like_field": "grey", "model": "look.safetensors", "labels": "truth",
            "crop": 16, "batch": 1, "steps": 1, "every": 1, "channels": 4, "progress": False,
        },
        refused={
            "sample": B, "like": A, "field": "grey", "labels": "other", "like_field": "raw", "method": "fastcut",
            "reach": 1, "channels": 2, "crop": 12, "batch": 2, "learning_rate": 1e-3, "pool": 3, "every": 2,
            "seed": 1, "threads": 2, "mixed_precision": False,
        },
        decides={"steps": 2},
        elsewhere={"model": "second.safetensors"},
        runs={"minutes": 9.0, "device": "cpu", "overwrite": True, "progress": True},
    ),
    "train": Case(
        {
            "sample": A, "model": "unet.safetensors", "field": "raw", "labels": "truth", "depth": 2, "epochs": 1,
            "decoder_channels": (8, 4), "encoder": "mobilenet_v2", "steps": 1, "batch": 1, "crop": 16,
            "progress": False,
        },
        refused={
            "sample": B, "field": "grey", "labels": "other", "slices": slice(0, 6), "every": 2, "dimensions": 3,
            "architecture": "MAnet", "encoder": "resnet34", "depth": 3, "decoder_channels": (8, 8), "context": 1,
            "norm": "instance", "normalisation": "slices", "epochs": 2, "steps": 2, "batch": 2, "crop": 8,
            "learning_rate": 1e-3, "patience": 4, "validation_fraction": 0.4, "seed": 1,
            "encoder_weights": "mobile.pth", "start_from": "net.safetensors", "loss": ["focal"],
            "class_weights": {"pore": 2, "solid": 1}, "augment": ["blur"], "crops": "balanced",
            "schedule": "constant", "encoder_rate": 0.5, "also": {B: slice(0, 4)}, "validate": {B: slice(0, 4)},
            "folds": 2, "dropout": 0.2,
        },
        elsewhere={"model": "second.safetensors"},
        runs={"device": "cpu", "overwrite": True, "progress": True},
    ),
    "train_strokes": Case(
        {"sample": A, "model": "strokes.safetensors", "labels": "truth", "scales": (10.0, 20.0), "trees": 3},
        refused={
            "sample": B, "field": "grey", "labels": "other", "scales": (10.0, 25.0), "planar": True,
            "normalisation": "slices", "trees": 4, "depth": 3, "leaf": 5, "most": 40, "seed": 1,
        },
        elsewhere={"model": "second.safetensors"},
        runs={"overwrite": True},
    ),
    "fine_tune": Case(
        {
            "sample": A, "model": "tuned.safetensors", "start_from": "base.safetensors", "labels": "truth", "steps": 1,
            "batch": 1, "progress": False,
        },
        refused={
            "sample": B, "start_from": "base2.safetensors", "field": "grey", "labels": "other", "slices": slice(0, 6),
            "window": (8, 8), "halo": 2, "embeddings": "none", "smallest": 1, "adapt": "lora", "rank": 2,
            "give": "point", "jitter": 0.2, "every": 2, "batch": 2, "learning_rate": 1e-3,
            "validation_fraction": 0.5, "seed": 1, "threads": 2,
        },
        decides={"steps": 2},
        elsewhere={"model": "second.safetensors"},
        runs={"device": "cpu", "overwrite": True, "progress": True},
    ),
    "tune_masks": Case(
        {
            "sample": A, "rule": "rule.json", "model": "base.safetensors", "prompts": Grid(side=3),
            "masks": AsObjects(iou=0, stability=0, smallest=4), "parameters": ["nms"],
        },
        refused={
            "sample": B, "model": "base2.safetensors", "prompts": Grid(side=4), "masks": AsObjects(iou=0.1),
            "field": "grey", "truth": "other", "slices": slice(0, 6), "window": (8, 8), "halo": 2,
            "embeddings": "none", "smallest": 1, "score": "iou_foreground", "parameters": ["iou"], "batch": 2,
        },
        elsewhere={"rule": "second.json"},
        runs={"device": "cpu", "overwrite": True},
    ),
    "train_generator": Case(
        {
            "micrograph": "blobs.tif", "out": "gen", "phases": BLACK, "pixel_size": 10, "preset": "small", "steps": 1,
            "every": 1, "batch": 1, "slices": 1, "critic_steps": 1, "progress": False,
        },
        refused={
            "micrograph": "other.tif", "phases": Phases(void=0, solid=255), "preset": "demo", "pixel_size": 20,
            "scale": 2, "every": 2, "batch": 2, "slices": 2, "critic_steps": 2, "learning_rate": 1e-3, "average": 0.9,
            "held_out": 0.5, "seed": 1, "threads": 2, "mixed_precision": False,
        },
        decides={"steps": 2},
        elsewhere={"out": "second"},
        runs={"minutes": 5.0, "device": "cpu", "overwrite": True, "progress": True, "on_look": print},
    ),
    "train_diffusion": Case(
        {
            "micrograph": "blobs.tif", "out": "flow", "phases": BLACK, "pixel_size": 10, "widths": (4, 4), "steps": 1,
            "every": 1, "batch": 1, "crop": 16, "progress": False,
        },
        refused={
            "micrograph": "other.tif", "phases": Phases(void=0, solid=255), "pixel_size": 20, "scale": 2,
            "conditions": "conditions.csv", "field": "phase", "objective": "ddpm", "widths": (4, 6), "blocks": 2,
            "coarse_window": 60.0,
            "unshuffle": 1, "crop": 8, "batch": 2, "learning_rate": 2e-3, "average": 0.9, "dropout": 0.2, "every": 2,
            "held_out": 0.5, "seed": 1, "threads": 2, "mixed_precision": False,
        },
        decides={"steps": 2},
        elsewhere={"out": "second"},
        runs={"minutes": 5.0, "device": "cpu", "overwrite": True, "progress": True, "on_look": print},
    ),
    "train_cgan": Case(
        {
            "micrograph": ["blobs.tif", "other.tif"], "out": "cgan", "phases": BLACK, "pixel_size": 10,
            "conditions": "heats.csv", "widths": (4, 4), "critic_widths": (4, 4), "steps": 1, "every": 1, "batch": 1,
            "crop": 16, "progress": False,
        },
        refused={
            "micrograph": ["other.tif", "blobs.tif"], "phases": Phases(void=0, solid=255), "pixel_size": 20, "scale": 2,
            "conditions": "times.csv", "widths": (4, 6), "blocks": 1, "critic_widths": (4, 6), "crop": 20, "batch": 2,
            "critic_steps": 1, "learning_rate": 2e-3, "average": 0.9, "dropout": 0.2, "every": 2, "held_out": 0.5,
            "seed": 1, "threads": 2, "mixed_precision": False,
        },
        decides={"steps": 2},
        elsewhere={"out": "second"},
        runs={"minutes": 5.0, "device": "cpu", "overwrite": True, "progress": True, "on_look": print},
    ),
    "export": Case(
        {"sample": A, "field": "phase", "out": "a.ply", "phases": ["solid"], "options": QUIET},
        refused={
            "sample": B, "field": "other", "z": slice(0, 40), "y": slice(0, 80), "x": slice(0, 80), "unit": "um",
            "phases": ["pore"], "smoothing": 2, "keep": 0.9, "beside": ["other"], "cells": "tetrahedra",
            "vectors": True, "drawing": "overlay", "format": "stl", "regions": True, "rows": "axis",
        },
        elsewhere={"out": "b.ply"},
        runs={"options": Options(progress=False, block=(5, 9, 17))},
    ),
    "plot": Case(
        {"sample": A, "out": "figures"},
        refused={
            "sample": B, "results": ["other_descriptors"], "drawings": ["chord"], "format": "jpeg",
        },
        elsewhere={"out": "others"},
        runs={"overwrite": True},
    ),
    "report": Case(
        {"sample": A, "out": "a.html"},
        decides={
            "sample": B, "raw": "grey", "field": "other", "truth": "truth", "annotation": "truth",
            "model": "net.safetensors", "title": "Another", "pore": ["solid"],
            "density": {"solid": 8.96}, "sections": [Section("Own", lambda parts, node: ["text"])],
        },
        elsewhere={"out": "b.html"},
    ),
}  # fmt: skip
# Their files hold what was learnt, whose last digits the machine decides.
TRAININGS = {
    "train", "train_strokes", "train_translator", "fine_tune", "train_generator", "train_diffusion", "train_cgan",
    "fit_imaging", "tune_masks",
}  # fmt: skip
NEAR = 0.02
# Layers of normalisation need more than one pixel of a crop.
UNTRAINED = {("train", "crop")}
# Does not fit the rest of the call, and is refused for that.
UNFIT = {
    # Of segmentation-models-pytorch, which wants all of them.
    "import_network.classes",
    "import_network.mean",
    "import_network.std",
    "import_network.voxel_size",
    "import_network.architecture",
    "import_network.encoder",
    "import_network.decoder_channels",
    "import_network.context",
    "fine_tune.embeddings",
    "fine_tune.halo",
    "tune_masks.embeddings",
    "tune_masks.halo",
    "dimensions",
    "depth",
    "preset",
    "scale",
    "beside",
    "cells",
    "drawing",
    "format",
    "train_translator.crop",
    "train_diffusion.conditions",
    "train_diffusion.field",
    "vectors",
    "regions",
    "rows",
    "results",
    "drawings",
}
CHANGES = [
    (name, how, one)
    for name, row in CASES.items()
    for how in ("refused", "decides", "elsewhere", "runs")
    for one in getattr(row, how)
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two samples of grey values and labels, images, networks, and files of the official SliceGAN."""
    torch = pytest.importorskip("torch", reason="networks need torch: pip install 'tim3d[seg]'")
    from tests.nets import encoder_file, tiny_checkpoint
    from tests.promptable import decoder_weights, saved_folder
    from tests.unit.test_official import written

    folder = tmp_path_factory.mktemp("files")
    for seed, sample in enumerate((A, B)):
        noise = np.random.default_rng(seed).integers(0, 100, (8, 16, 16)).astype(np.uint8)
        noise[:, :, 8:] += 100
        fields = {
            "phase": noise > 90,
            "truth": noise > 95,
            "other": noise > 50,
            "raw": noise,
            "grey": 255 - noise,
        }
        for name, values in fields.items():
            np.save(folder / "volume.npy", values.astype(np.uint8))
            phases = None if values.dtype == np.uint8 else TWO
            tim3d.ingest(
                folder / "volume.npy",
                str(folder / sample),
                voxel_size=SIZE,
                field=name,
                phases=phases,
                options=QUIET,
            )
        tim3d.measure(str(folder / sample), ["phase_fraction", "specific_surface"], options=QUIET)
    for seed, name in enumerate(("blobs", "other")):
        tifffile.imwrite(folder / f"{name}.tif", blobs(96, 1.2, seed=seed) * 255)
    for column, name in (("heat", "heats"), ("time", "times")):
        (folder / f"{name}.csv").write_text(f"file,{column}\nblobs.tif,200\nother.tif,300\n")
    tiny_checkpoint(folder / "net.safetensors")
    encoder_file(folder / "mobile.pth", "mobilenet_v2")
    torch.save(decoder_weights(True), folder / "decoder.pt")
    for family in ("sam", "sam2"):
        saved_folder(family, folder / family)
        name = family.replace("sam", "base")
        tim3d.import_network(folder / family, folder / f"{name}.safetensors")
    for name, resizes in (("one", False), ("two", True)):
        (folder / name).mkdir()
        written(folder / name, resizes)
    return folder


@pytest.fixture(scope="module")
def firsts(made: Path) -> dict[str, dict[str, bytes]]:
    """What each case wrote, and the bytes of it."""
    return {}


@pytest.fixture
def work(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder of its own with all of that."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(
        PRESETS, "small", Architecture("small", "transposed", (8, 32, 16, 2), (2, 2, 3), (16, 32))
    )
    return tmp_path


def call(name: str, **changes: Any) -> dict[str, bytes]:
    """The files that a call says that it wrote, by their names, without dates and the name in them."""
    target = Path(verb(name)(**CASES[name].given | changes))
    files = sorted(target.iterdir()) if target.is_dir() else [target]
    dates = re.compile(rb"\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?")
    own = target.name.encode()
    return {one.name: dates.sub(b"", one.read_bytes()).replace(own, b"") for one in files}


def first_of(
    name: str, firsts: dict[str, dict[str, bytes]], made: Path, work: Path
) -> dict[str, bytes]:
    """What the case gives as it stands: written here, or once before and copied."""
    kept = made.parent / f"{made.name}-{name}"
    if name not in firsts:
        firsts[name] = call(name)
        shutil.copytree(work, kept)
    shutil.copytree(kept, work, dirs_exist_ok=True)
    return firsts[name]


@pytest.mark.parametrize("name", CASES)
def test_the_table_holds_every_parameter(name: str) -> None:
    row = CASES[name]
    told = [*row.refused, *row.decides, *row.elsewhere, *row.runs]
    assert sorted(told) == sorted(inspect.signature(verb(name)).parameters)


@pytest.mark.parametrize(("name", "how", "parameter"), CHANGES)
@pytest.mark.long
def test_a_parameter_changed_alone_gives_another_file_or_is_refused(
    made: Path, work: Path, firsts: dict[str, dict[str, bytes]], name: str, how: str, parameter: str
) -> None:
    first = first_of(name, firsts, made, work)
    changes = {parameter: getattr(CASES[name], how)[parameter]}
    if how == "refused":
        unfit = bool({parameter, f"{name}.{parameter}"} & UNFIT)
        with pytest.raises(Tim3dError if unfit else MixedRunError) as told:
            call(name, **changes)
        assert call(name) == first
        key, known = f"{name} {parameter}", recorded_changes.of_files(first, work)
        recorded_changes.compare(name, known, None, name, NEAR)
        lines = recorded_changes.of(told.value, name, work)
        if name in TRAININGS and not unfit and (name, parameter) not in UNTRAINED:
            another = call(name, **changes, overwrite=True)
            lines |= recorded_changes.of_files(another, work)
            recorded_changes.compare(key, lines, known, name, NEAR)
            return
        recorded_changes.compare(key, lines, None, name, NEAR)
    else:
        found = call(name, **changes)
        assert (list(found.values()) == list(first.values())) == (how != "decides")
        assert (list(found) == list(first)) or how == "elsewhere"
