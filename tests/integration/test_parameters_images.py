"""The law of parameters for folders of images: changed alone, each gives another result, or it is refused."""

from __future__ import annotations

import inspect
import json
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tim3d import Phases, import_network
from tim3d.cli.parsing import verb
from tim3d.errors import Tim3dError
from tim3d.models.promptable.mask_rules import AsObjects
from tim3d.models.promptable.prompting import Grid

TWO = Phases(pore=0, solid=1)
# What decides where a result is kept and how a run goes, and never a number.
PLACES = {"out", "csv", "overwrite", "progress"}
DRAWS = {"segment_images", "generate_images"}
TRAINS = {"train_strokes_images", "train_images"}
WRITES = TRAINS | {"tune_masks_images"}
LISTS = {"splits": "lists.json", "subset": "test"}
CASES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "segment by a threshold": (
        "segment_images",
        {"folder": "images", "out": "masks", "method": "otsu", "phases": TWO},
        {
            "folder": "others", "model": "net.safetensors", "method": "multi-otsu", "thresholds": [100.0],
            "phases": Phases(pore=0, copper=2), "merge": {"a": "pore"}, "blur": "binomial", "polarity": "bright",
            "to_8_bit": True, "splits": "lists.json", "subset": "test", "names": "{name}_m",
            "values": "black-white", "format": "tif", "device": "cpu", "prompts": Grid(side=3),
            "masks": AsObjects(),
        },
    ),
    "segment a list by a network": (
        "segment_images",
        {"folder": "images", "out": "masks", "model": "net.safetensors", **LISTS},
        {
            "folder": "others", "model": "no.safetensors", "method": "otsu", "thresholds": [100.0],
            "phases": Phases(pore=3, solid=4), "merge": {"pore": "solid"}, "blur": "binomial", "polarity": "bright",
            "to_8_bit": True, "splits": "lists.csv", "subset": "train", "names": "{name}_m", "values": "palette",
            "format": "tif", "device": "cpu", "prompts": Grid(side=3), "masks": AsObjects(),
        },
    ),
    "generate": (
        "generate_images",
        {"weights": "flow.safetensors", "out": "masks", "shape": (8, 8), "count": 2, "steps": 2, "device": "cpu"},
        {
            "weights": "flow2.safetensors", "shape": (8, 12), "count": 3, "conditions": {"material": "Cu"}, "steps": 3,
            "sampler": "heun", "guidance": 2.0, "coarse": 0.5, "seed": 1, "format": "tif", "device": "auto",
        },
    ),
    "measure": (
        "measure_images",
        {"folder": "truth", "phases": TWO, **LISTS},
        {
            "folder": "truer", "phases": Phases(pore=0, copper=1), "pixel_size": 5.0, "in_pixels": True,
            "connectivity": 4, "splits": "lists.csv", "subset": "train",
        },
    ),
    "evaluate": (
        "evaluate_images",
        {"folder": "truth", "truth": "truer", "phases": TWO},
        {
            "folder": "truer", "truth": "truth", "phases": Phases(pore=1, solid=0),
            "true_phases": Phases(solid=0, pore=1), "merge": {"pore": "solid"}, "objects": True,
            "names": "{name}_m", "accept_missing": True, "baseline": "truer", "tolerance": 1.0,
            "resamples": 0, "level": 0.3, "seed": 1, "splits": "lists.csv", "subset": "train",
        },
    ),
    "compare conditions": (
        "fidelity_images",
        {"conditions": "series.csv", "phases": TWO, "crop": 8, "draws": 20, "resamples": 20},
        {
            "conditions": "other.csv", "phases": Phases(solid=0, pore=1), "pixel_size": 5.0, "in_pixels": True,
            "crop": 9, "lags": [1, 2], "by": "heat", "draws": 30, "resamples": 30, "copies": 0, "seed": 1,
        },
    ),
    "choose limits of masks": (
        "tune_masks_images",
        {
            "folder": "images", "truth": "truth", "rule": "made.json", "model": "sam.safetensors",
            "prompts": Grid(side=3), "masks": AsObjects(iou=0, stability=0, smallest=4), "parameters": ["nms"],
        },
        {
            "folder": "others", "truth": "truer", "model": "sam2.safetensors", "prompts": Grid(side=4),
            "masks": AsObjects(iou=0, stability=0), "phases": TWO, "names": "{name}_m", "splits": "lists.json",
            "subset": "test", "smallest": 3, "score": "iou_foreground", "parameters": ["iou"], "device": "cpu",
        },
    ),
    "train a forest": (
        "train_strokes_images",
        {
            "folder": "images", "masks": "truth", "model": "made.safetensors", "phases": TWO, "scales": [1.0, 2.0],
            "trees": 3,
        },
        {
            "folder": "others", "masks": "truer", "phases": Phases(pore=1, solid=0), "names": "{name}_m",
            "splits": "lists.json", "subset": "test", "validate": ["1"], "folds": 2, "scales": [1.0, 3.0],
            "trees": 4, "depth": 2, "leaf": 5, "most": 30, "seed": 1,
        },
    ),
    "train a network": (
        "train_images",
        {
            "folder": "images", "masks": "truth", "model": "made.safetensors", "phases": TWO, "pixel_size": 5.0,
            "encoder": "mobilenet_v2", "depth": 2, "epochs": 1, "steps": 1, "batch": 2, "crop": 16,
        },
        {
            "folder": "others", "masks": "truer", "phases": Phases(pore=1, solid=0), "names": "{name}_m",
            "splits": "lists.json", "subset": "test", "validate": ["0"], "pixel_size": 6.0, "architecture": "Linknet",
            "encoder": "resnet18", "depth": 1, "epochs": 2, "steps": 2, "batch": 3, "crop": 24, "learning_rate": 1e-3,
            "patience": 4, "validation_fraction": 0.4, "seed": 1, "device": "cpu",
            "encoder_weights": "mobile.pth", "start_from": "net.safetensors", "loss": ["focal"],
            "class_weights": {"pore": 2, "solid": 1}, "augment": ["blur"], "crops": "balanced",
            "schedule": "constant", "encoder_rate": 0.5,
        },
    ),
}  # fmt: skip
# Leaves for what is not the case; what the devices of this machine share.
ALIKE = {
    ("segment a list by a network", "device"),
    ("generate", "device"),
    ("measure", "in_pixels"),
    ("compare conditions", "in_pixels"),
    ("train a network", "device"),
    ("choose limits of masks", "device"),
    ("train a network", "validation_fraction"),  # of two images one judges in any case
    ("evaluate", "accept_missing"),
    ("evaluate", "seed"),  # of two images there are three different resamples
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folders of images of 8 and 16 bits, their masks, a network, and lists."""
    folder = tmp_path_factory.mktemp("made")
    for seed, (images, masks) in enumerate((("images", "truth"), ("others", "truer"))):
        (folder / images).mkdir()
        (folder / masks).mkdir()
        for number, size in enumerate((24, 16)):
            noise = np.random.default_rng(10 * seed + number).integers(0, 100, (size, 16))
            noise[4:-4, 4:10] += 90
            wide = 257 if number else 1
            grey = (noise * wide).astype(np.uint16 if number else np.uint8)
            Image.fromarray(grey).save(folder / images / f"{number}.png")
            Image.fromarray((noise > 90).astype(np.uint8)).save(folder / masks / f"{number}.png")
    (folder / "lists.json").write_text(json.dumps({"test": ["1"], "train": ["0", "1"]}))
    (folder / "lists.csv").write_text("name,set\n0,test\n")
    (folder / "series.csv").write_text("heat,real,generated\n1,truth,truer\n2,truer,truth\n")
    (folder / "other.csv").write_text("heat,real,generated\n1,truth,truth\n2,truer,truth\n")
    if find_spec("torch"):
        from tests.nets import encoder_file, tiny_checkpoint, untrained_diffusion

        for seed, name in enumerate(("flow", "flow2")):
            untrained_diffusion(folder / f"{name}.safetensors", seed)
        tiny_checkpoint(folder / "net.safetensors")
        encoder_file(folder / "mobile.pth", "mobilenet_v2")
    if find_spec("transformers"):
        from tests.promptable import saved_folder

        for seed, name in enumerate(("sam", "sam2")):
            source = saved_folder("sam", folder / name, seed)
            import_network(source, folder / f"{name}.safetensors")
    return folder


@pytest.fixture(scope="module")
def firsts() -> dict[str, Any]:
    """What each case gives as it stands, computed once."""
    return {}


def outcome(made: Path, name: str, given: dict[str, Any]) -> Any:
    """The numbers, names and files of a call; or that it was refused, and left nothing."""
    before = sorted(made.rglob("*"))
    quiet = {"progress": False} if name in DRAWS | {"train_images"} else {}
    try:
        found = verb(name)(**given, **quiet)
        if name in WRITES:
            return Path(found).read_bytes()
        files = sorted(Path("masks").glob("*.*")) if name in DRAWS else []
        masks = {one.name: one.read_bytes() for one in files if one.suffix != ".json"}
        record = json.loads(Path("masks/masks.json").read_text())["fingerprint"] if files else ""
        return str(found.to_dict()), masks, record
    except Tim3dError:
        assert sorted(made.rglob("*")) == before
        return "refused"
    finally:
        shutil.rmtree("masks", ignore_errors=True)
        shutil.rmtree("made.json.masks", ignore_errors=True)
        for written in ("made.safetensors", "made.json"):
            Path(written).unlink(missing_ok=True)


@pytest.mark.parametrize("case", CASES)
def test_the_table_holds_every_parameter(case: str) -> None:
    name, given, others = CASES[case]
    places = PLACES | ({"model"} if name in TRAINS else set()) | ({"rule"} & set(given))
    assert set(inspect.signature(verb(name)).parameters) - places == set(others)


@pytest.mark.parametrize(
    ("case", "parameter"), [(case, one) for case, (*_, others) in CASES.items() for one in others]
)
@pytest.mark.long
def test_a_parameter_changed_alone_gives_another_result_or_is_refused(
    made: Path, firsts: dict[str, Any], monkeypatch: pytest.MonkeyPatch, case: str, parameter: str
) -> None:
    name, given, others = CASES[case]
    if name == "train_strokes_images":
        pytest.importorskip("sklearn", reason="forests are trained by scikit-learn")
    if name == "tune_masks_images":
        pytest.importorskip("transformers", reason="promptable networks: tim3d[promptable]")
    if {"model", "weights"} & set(given) or parameter == "model":
        pytest.importorskip("torch", reason="networks need torch: pip install 'tim3d[seg]'")
    monkeypatch.chdir(made)
    first = firsts.get(case) or firsts.setdefault(case, outcome(made, name, given))
    assert first != "refused"
    changed = outcome(made, name, {**given, parameter: others[parameter]})
    assert changed != first or (case, parameter) in ALIKE
