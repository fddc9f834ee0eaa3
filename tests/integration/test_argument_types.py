"""What a recipe says of an argument, whatever its type: the step is planned, or one line says what to write."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tim3d
from tests import flips
from tim3d.cli.parsing import call_plan, verb
from tim3d.errors import ArgumentError, Tim3dError
from tim3d.verbs import VERBS

SHAPE, SIZE = [8, 16, 16], {"z": 10, "y": 5, "x": 5}
# What each verb cannot do without, and no more than that.
NEEDED: dict[str, dict[str, Any]] = {
    "ingest": {"source": "raw.npy", "voxel_size": SIZE},
    "segment": {"method": "fixed", "thresholds": [100], "phases": {"pore": 0, "solid": 1}},
    "solve": {"conductivity": {"pore": 1, "solid": 20}},
    "study": {"quantity": "phase_fraction", "phase": "pore", "windows": [4, 8]},
    "generate": {
        "kind": "field",
        "shape": SHAPE,
        "voxel_size": SIZE,
        "fractions": {"a": 0.5},
        "correlation_nm": 20,
    },
    "report": {"out": "r.html"},
    "export": {"field": "phase", "out": "e.ply", "phases": ["solid"]},
    "train": {"model": "n.safetensors", "labels": "truth"},
    "train_strokes": {"model": "f.safetensors", "labels": "truth"},
    "simulate": {"folder": "sim"},
    "train_images": {"folder": "images", "masks": "images", "model": "n.safetensors"},
    "train_strokes_images": {"folder": "images", "masks": "images", "model": "n.safetensors"},
    "paint": {"folder": "next"},
    "combine_labels": {"labels": ["truth", "phase"]},
    "take_painted": {"folder": "next"},
    "watershed": {"heights": "raw", "phase": "solid", "depth": 5.0},
    "confidence": {"instances": "phase", "uncertainty": "raw", "limits": [0.1]},
    "link_slices": {"field": "phase"},
    "annotate_instances": {"instances": "phase"},
    "train_generator": {"micrograph": "raw.npy", "out": "gan"},
    "train_diffusion": {"micrograph": "raw.npy", "out": "flow"},
    "train_cgan": {
        "micrograph": "raw.npy",
        "out": "cgan",
        "phases": {"a": 0, "b": 1},
        "conditions": "heats.csv",
    },
    "import_generator": {"checkpoint": "raw.npy", "weights": "w.safetensors", "voxel_size": SIZE},
    "fine_tune": {"model": "w.safetensors", "start_from": "base.safetensors", "labels": "truth"},
    "propagate": {"model": "w.safetensors", "labels": "truth"},
    "embed": {"model": "w.safetensors"},
    "tune_masks": {"rule": "rule.json", "model": "w.safetensors", "prompts": "grid"},
    "tune_masks_images": {
        "folder": "images",
        "truth": "images",
        "rule": "rule.json",
        "model": "w.safetensors",
        "prompts": "grid",
    },
    "segment_prompted": {"model": "w.safetensors", "prompts": "grid"},
    "import_network": {"checkpoint": "raw.npy", "weights": "w.safetensors"},
    "library": {"folder": "lib"},
    "fidelity": {"volumes": ["a.zarr"], "micrograph": "raw.npy"},
    "likeness": {"like": "a.zarr"},
}
ODD = (5, {"a": 1}, "", True)
AS_ODD = (["a"], [], float("nan"), [[1]])


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A folder with a sample of grey values, labels and a truth."""
    place, before = tmp_path_factory.mktemp("odd"), Path.cwd()
    sample = flips.fields(place)
    tim3d.segment(
        sample, method="fixed", thresholds=[100], phases=flips.PHASES, options=flips.QUIET
    )
    os.chdir(place)
    yield
    os.chdir(before)


def arguments(name: str, **given: Any) -> dict[str, Any]:
    """What a verb needs, changed."""
    sample = {"sample": "a.zarr"} if "sample" in inspect.signature(verb(name)).parameters else {}
    return sample | NEEDED.get(name, {}) | given


@pytest.mark.parametrize("name", VERBS)
@pytest.mark.parametrize(
    "values",
    [pytest.param(ODD, id="some"), pytest.param(AS_ODD, id="more", marks=pytest.mark.long)],
)
def test_a_value_of_any_type_is_planned_or_one_line(name: str, values: tuple[Any, ...]) -> None:
    said = []
    for argument in set(inspect.signature(verb(name)).parameters) - {"sample"}:
        for value in values:
            try:
                call_plan(name, arguments(name, **{argument: value}))
            except Tim3dError as error:
                said.append(str(error))
            except Exception as error:
                pytest.fail(f"{name}.{argument} = {value!r}: {type(error).__name__}: {error}")
    assert [one for one in said if "\n" in one] == []


@pytest.mark.parametrize(
    ("name", "argument", "says"),
    [
        ("ingest", "source", "write a path, or several"),
        ("generate", "shape", "write three edges z,y,x as 96,256,256"),
        ("generate", "kind", "write text, in a recipe in quotes"),
        ("solve", "conductivity", "write one number for each phase"),
        ("study", "quantity", "write text, in a recipe in quotes"),
        ("report", "out", "write a path"),
        ("train", "model", "write a path"),
        ("train_generator", "micrograph", "write a path, or three"),
    ],
)
def test_a_step_without_what_its_verb_needs_is_one_line(
    name: str, argument: str, says: str
) -> None:
    given = {key: value for key, value in arguments(name).items() if key != argument}
    with pytest.raises(ArgumentError, match=f"^{name} needs the argument '{argument}': {says}"):
        call_plan(name, given)


@pytest.mark.parametrize(
    ("name", "argument"),
    [("segment", "segmenter"), ("train_generator", "on_look"), ("measure", "options")],
)
def test_what_only_python_has_is_not_an_argument_of_a_step(name: str, argument: str) -> None:
    with pytest.raises(ArgumentError, match=f"^{name} has no argument '{argument}'"):
        call_plan(name, arguments(name, **{argument: "a"}))
