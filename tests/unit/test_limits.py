"""Defaults and limits of every parameter of a step, an option or a model, and defaults of verbs.

They stand in a table, and limits are tried. A change of a limit or a default is thereby made in two places.
A new class fails the first test, which says the lines that are missing.
"""

from __future__ import annotations

import ast
import csv
import dataclasses
import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tim3d
from tests.limits import TABLE, listed, numeric_fields, taken
from tim3d.corrections.base import Correction, Measured, Stack
from tim3d.descriptors.base import Material
from tim3d.descriptors.parametric import Parametric
from tim3d.errors import ArgumentError, Tim3dError
from tim3d.generators import (
    Delamination,
    GaussianField,
    HardCore,
    Noise,
    Overlapping,
    Packed,
    Polycrystal,
    SpectralField,
    Spinodal,
    Voids,
)
from tim3d.kernels.generation.coarse_field import CoarseField, CoarseLaw
from tim3d.kernels.generation.particles import Grains
from tim3d.kernels.generation.plane_wave_field import LevelCut
from tim3d.kernels.generation.reverse_process import ReverseProcess
from tim3d.kernels.generation.rough_surface import RoughSurface
from tim3d.kernels.image.fibsem_simulation import Microscope
from tim3d.kernels.image.imaging_model import Imaging
from tim3d.kernels.image.section_look import Look
from tim3d.kernels.morphology.offset_votes import Voting
from tim3d.phantoms import Ball, HalfSpace, Layers
from tim3d.phases import Phases
from tim3d.relating.impedance import Question
from tim3d.relating.question import Question as Relation
from tim3d.stages.cleaning.steps import CleaningStep
from tim3d.stages.shared.agreement import Resampling
from tim3d.steps import Step
from tim3d.verbs import VERBS

pytest.importorskip(
    "torch", reason="losses and changes of crops need torch: pip install 'tim3d[seg]'"
)
from tim3d.models.common.conditioned_options import ConditionedOptions
from tim3d.models.common.training_run import Schedule
from tim3d.models.conditional.network_spec import ConditionalSpec, CriticSpec
from tim3d.models.conditional.training_options import ConditionalOptions
from tim3d.models.diffusion.drawing import Drawing
from tim3d.models.diffusion.network_spec import LocalNetworkSpec
from tim3d.models.diffusion.training_options import DiffusionOptions
from tim3d.models.generation.adversarial import AdversarialOptions
from tim3d.models.promptable.mask_rules.base import MaskRule
from tim3d.models.promptable.prompting.base import Prompting
from tim3d.models.promptable.prompting.decoder import Decoder
from tim3d.models.promptable.tuning_data import TuningOptions
from tim3d.models.segmentation.bpartis import BPartIS
from tim3d.models.segmentation.local_threshold import LocalThreshold
from tim3d.models.segmentation.stroke_training import ForestOptions
from tim3d.models.segmentation.training_options import TrainingOptions
from tim3d.models.segmentation.unet import UNetSpec
from tim3d.models.segmentation.unet_3d import UNet3DSpec
from tim3d.models.surrogate.examples import SurrogateOptions
from tim3d.models.translation.training import TranslatorOptions

PACKAGES = (
    "corrections",
    "descriptors",
    "stages.cleaning",
    "models.promptable",
    "models.segmentation",
)
SHAPE = (40, 60, 80)
PHASES = Phases(pore=0, solid=1, third=2)
# Of what is needed: any value that is taken.
NEEDED: dict[str, Any] = {
    "phase": "solid", "source": "third", "name": "solid", "into": "pore", "to": "other", "field": "phase",
    "radius_nm": 50.0, "below_voxels": 9, "nm": 40.0, "scale_nm": 200.0, "box_nm": 50.0, "angle": 38.0,
    "axis": "y", "slices": (1,), "width_nm": 200.0,
}  # fmt: skip
# Of what else is given, for the same reason.
GIVEN: dict[str, dict[str, Any]] = {"islands": {"below_voxels": 9}}
# What excludes a parameter.
INSTEAD: dict[str, dict[str, Any]] = {"below_nm3": {"below_voxels": None}}
# Defaults that leave a choice to the verb.
NOTHING = {"None", "''", "()", "False", repr(slice(None)), repr(inspect.Parameter.empty)}
# How values of these bases are checked, beside their making.
CHECKS: dict[type, Callable[[Any], object]] = {
    Correction: lambda one: one.check(Stack(SHAPE, "uint8", (20.0, 10.0, 5.0))),
    Measured: lambda one: one.check(Stack(SHAPE, "uint8", (20.0, 10.0, 5.0))),
    CleaningStep: lambda one: one.after(PHASES, SHAPE, (20.0, 10.0, 5.0)),
    MaskRule: lambda one: one.check(()),
    Prompting: lambda one: one.ready("", SHAPE),
    Decoder: lambda one: one.check(),
    Parametric: lambda one: one.check(SHAPE, Material(PHASES, (20.0, 10.0, 5.0))),
    ForestOptions: lambda one: one.check(),
    Question: lambda one: one.check(),
    Voting: lambda one: one.check(),
    Relation: lambda one: one.check(),
    Resampling: lambda one: one.check(),
}
# Values of classes that are no steps.
OTHERS: list[Any] = [
    ForestOptions(),
    TrainingOptions(),
    Question(None, "phase", "", "z", 0.95),
    Imaging({"pore": 60.0, "solid": 160.0}),
    RoughSurface(30.0, 0.8, 640.0, 80.0, (10.0, 20.0), (128, 64), seed=1),
    SurrogateOptions(), TranslatorOptions(), DiffusionOptions(), AdversarialOptions(), TuningOptions(),
    ConditionedOptions(), ConditionalOptions(), ConditionalSpec(1, 4), CriticSpec(1, 4),
    UNetSpec(("a", "b")), UNet3DSpec(("a", "b")), LocalNetworkSpec(2, 2, (8,)), LocalThreshold(("a", "b")),
    BPartIS("weights", "", (1, 64, 64)), Drawing(), Schedule(100), ReverseProcess(),
    Voting(100.0, (1, 2, 2)), Resampling(0, 0.95, 0), Look({0: 40.0, 1: 90.0}), Microscope(),
    Noise(0), Grains((100.0,), (1.0,)), LevelCut(0.4, 50.0, 0), Layers(0, 5.0, 9.0), Voids(0.1, 50.0),
    Ball((5.0,) * 3, 4.0),
    Delamination(50.0, 10.0, below=0.1), GaussianField((50.0,) * 3, (5.0,) * 3, 0),
    Overlapping(Grains((100.0,), (1.0,)), 0.3, (10.0,) * 3, 0),
    Polycrystal(200.0, (10.0,) * 3, 0, (64, 64, 64)),
    Spinodal((0.5, 0.5), (200.0,) * 3, (10.0,) * 3, 0, (64, 64, 64)),
    HardCore(Grains((100.0,), (1.0,)), 0.1, (10.0,) * 3, 0), Relation("k", physics={"density": "d"}),
    HalfSpace((1.0, 0.0, 0.0), 5.0),
    Packed(Grains((100.0,), (1.0,)), 0.3, (10.0,) * 3, 0, (600.0,) * 3),
    CoarseLaw(100.0, 0.4, 0.001, 0.004, 400.0, 50.0),
    CoarseField(CoarseLaw(100.0, 0.4, 0.001, 0.004, 400.0, 50.0), (5.0,) * 3, 0),
    SpectralField((0.0, 10.0, 20.0), (1.0, 0.5, 0.2), (5.0,) * 3, 0),
]  # fmt: skip


# Classes whose numbers are refused beside a sample, a network or other classes, and bases of others.
NOT_ALONE = {
    f"tim3d.{name}"
    for name in (
        "kernels.generation.rough_contact.RoughContact",
        "kernels.generation.thermal_interface.ThermalInterface",
        "kernels.windows.lattice.Lattice",
        "models.diffusion.reverse_field.DiffusionField",
        "models.generation.synthesis.NetworkField",
        "models.promptable.mask_rules.base.MaskRule",
        "models.promptable.prompted_segmenter.PromptedSegmenter",
        "models.segmentation.losses.Loss",
        "models.segmentation.predictor.Predictor",
        "models.segmentation.sem_augmentation.Change",
        "models.surrogate.training.SurrogateTraining",
        "models.translation.training.TranslatorTraining",
        "relating.rendered.SolvedSamples",
        "stages.comparison.base.Case",
        "stages.generation.diffusion.Diffusion",
        "stages.imaging.adaptations.BySpectrum",
        "stages.segmentation.tuning_examples.LabelledWindows",
    )
}


def step_classes() -> Iterator[type[Step]]:
    """Every step that the package has a word for."""
    for name in PACKAGES:
        package = importlib.import_module(f"tim3d.{name}")
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    found: list[type[Step]] = [Step]
    for one in found:
        found += [sub for sub in one.__subclasses__() if sub not in found]
    for one in found:
        if one.__module__.startswith("tim3d.") and one.kind and dataclasses.is_dataclass(one):
            yield one


def values() -> Iterator[Any]:
    """A value of every step that can be made from its parameters alone, and the others."""
    for kind in step_classes():
        needed = [
            f.name
            for f in dataclasses.fields(kind)
            if f.default is f.default_factory is dataclasses.MISSING
        ]
        made = {name: NEEDED[name] for name in needed if name in NEEDED} | GIVEN.get(kind.kind, {})
        try:
            yield kind(**made)
        except TypeError:  # a value that is made of others while a verb runs
            continue
    yield from OTHERS


def accepts(one: Any, name: str, value: Any) -> bool:
    try:
        changed = dataclasses.replace(one, **INSTEAD.get(name, {}), **{name: value})
        for base, check in CHECKS.items():
            if isinstance(changed, base):
                check(changed)
    except (ArgumentError, OverflowError):
        return False
    except Tim3dError:  # of the sample, which there is none
        return True
    return True


def rows() -> dict[tuple[str, str], tuple[str, str]]:
    """Default and accepted numbers of every numeric parameter."""
    found = {}
    for one in values():
        for field, kind in numeric_fields(type(one)):
            default = "" if field.default is dataclasses.MISSING else repr(field.default)
            with np.errstate(all="ignore"):
                limits = taken(lambda v, one=one, name=field.name: accepts(one, name, v), kind)
            assert limits, f"{one!r} takes no {field.name} at all: give what it needs beside it"
            found[f"{type(one).__module__}.{type(one).__name__}", field.name] = default, limits
    return found | defaults_of_verbs()


def defaults_of_verbs() -> dict[tuple[str, str], tuple[str, str]]:
    """What a verb takes where nothing is said; what runs it is left out."""
    return {
        (verb, one.name): (repr(one.default), "")
        for verb in VERBS
        for one in inspect.signature(getattr(tim3d, verb)).parameters.values()
        if repr(one.default) not in NOTHING and one.name not in ("options", "progress")
    }


def test_every_parameter_has_the_default_and_the_limits_of_the_table() -> None:
    found, expected = rows(), listed()
    wrong = [
        f"{','.join(key)}: {found.get(key)} for {expected.get(key)}"
        for key in {*found, *expected}
        if found.get(key) != expected.get(key)
    ]
    assert not wrong, "\n".join(sorted(wrong))


def checked_classes() -> Iterator[str]:
    """Every dataclass of the package with a number that its making or its `check` refuses."""
    root = Path(tim3d.__file__).parent
    for path in sorted(root.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.ClassDef):
                continue
            numbers = [
                one
                for one in node.body
                if isinstance(one, ast.AnnAssign)
                and {*ast.unparse(one.annotation).split(" | ")} <= {"int", "float", "None"}
            ]
            checks = [
                one
                for one in node.body
                if isinstance(one, ast.FunctionDef) and one.name in ("__post_init__", "check")
            ]
            refuses = any("raise ArgumentError" in ast.unparse(one) for one in checks)
            if numbers and refuses:
                yield ".".join((*path.relative_to(root.parent).with_suffix("").parts, node.name))


def test_every_class_whose_numbers_are_refused_stands_in_the_table() -> None:
    """Or is named as one that cannot be made alone."""
    there = {name for name, _ in listed()}
    found = set(checked_classes())
    assert found - there - NOT_ALONE == set(), "give a value of it in OTHERS"
    assert found - there >= NOT_ALONE


def test_defaults_that_pages_quote_are_those_of_the_table() -> None:
    """As in ``--overlap`` (0.5): of some verb or step whose option it is."""
    taken: dict[str, set[float]] = {}
    for (_, name), (default, _) in listed().items():
        if re.fullmatch(r"[\d.]+", default):
            taken.setdefault(name, set()).add(float(default))
    root = Path(__file__).parents[2]
    quoted = [
        (page.name, option, float(number))
        for page in (root / "README.md", *sorted((root / "docs").glob("*.md")))
        for option, number in re.findall(r"`--([a-z-]+)` \(([\d.]*\d)\)", page.read_text())
    ]
    assert len(quoted) > 5
    wrong = [one for one in quoted if one[2] not in taken.get(one[1].replace("-", "_"), ())]
    assert not wrong, wrong


if __name__ == "__main__":
    made = sorted(rows().items())
    with TABLE.open("w", newline="") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(("class", "parameter", "default", "takes"))
        lines.writerows((*key, *row) for key, row in made)
