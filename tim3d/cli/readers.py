"""Readers of typed arguments, one for each type, with the form that messages ask for."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tim3d.cleaning import STEPS as CLEANING
from tim3d.cli import values
from tim3d.cli.declared import NEEDED, choices, declared
from tim3d.corrections import STEPS as CORRECTIONS
from tim3d.errors import ArgumentError
from tim3d.models.promptable.mask_rules import RULES
from tim3d.models.promptable.prompting import PROMPTS
from tim3d.spelling import suggestion
from tim3d.steps import BARE

# Steps of each type of argument by the names that they have in the shell: module and class.
STEPS = {
    "Steps": CORRECTIONS,
    "CleaningSteps": CLEANING,
    "PromptWord": PROMPTS,
    "MaskWord": RULES,
}


@dataclass(frozen=True)
class Reader:
    """Conversion of a text or a TOML value to one type, and the form of such a text.

    Parameters
    ----------
    read : callable
        Returns the value; raises an error for a value that it cannot convert.
    form : str
        Form to write, as the end of a sentence, with ``{}`` in place of the example.
    example : str
        A value as it could be typed.
    shown : str
        Placeholder of the value in help.
    several : bool
        Whether it is a list of words in the shell.
    """

    read: Callable[[Any], Any]
    form: str
    example: str = ""
    shown: str | None = None
    several: bool = False

    @property
    def what_to_write(self) -> str:
        """Form to write, for a message."""
        return "write " + self.form.format(self.example)


def reader(kind: str) -> Reader | None:
    """Reader of a type; None for a type whose values are taken as they are.

    >>> reader("Shape").read("64, 512,512"), reader("Literal[6, 18, 26]").read("6"), reader("Sequence[Thing]")
    ((64, 512, 512), 6, None)
    """
    if listed := choices(kind):
        return READERS[type(listed[0]).__name__]
    return READERS.get(kind)


def example_of(kind: str) -> str:
    """Example of a value of a type as it is typed; empty if there is none."""
    listed, by = choices(kind), READERS.get(kind)
    return str(listed[0]) if listed else by.example if by else ""


def _steps(kind: str) -> Callable[[Any], tuple[Any, ...]]:
    """Reader of steps: from words of the shell, from tables of a recipe, or as they are."""

    def rule(value: Any) -> tuple[Any, ...]:
        return tuple(_step(one, STEPS[kind]) for one in _words_of_steps(value))

    return rule


def _one_step(kind: str) -> Callable[[Any], Any]:
    """Reader of one step."""

    def rule(value: Any) -> Any:
        return _step(value, STEPS[kind])

    return rule


def _words_of_steps(value: Any) -> Any:
    return value.split() if isinstance(value, str) else value


def given_to_steps(kind: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield what a recipe gives steps: each parameter with its type, and all else without one.

    >>> list(given_to_steps("Steps", "align:table=a/b.csv"))
    [('', 'align'), ('', 'table'), ('str | Path', 'a/b.csv')]
    """
    for one in _words_of_steps(value) if isinstance(value, str | list) else [value]:
        try:
            name, given = _step_parts(one)
        except (ValueError, AttributeError, ArgumentError):
            yield "", one
            continue
        place = STEPS[kind].get(name)
        known = declared(*place).parameters if place else {}
        yield "", name
        for key, text in given.items():
            yield "", key
            yield known[key].kind if key in known else "", text


def _step(value: Any, steps: Mapping[str, tuple[str, str]]) -> Any:
    if not isinstance(value, str | Mapping):
        return value
    name, given = _step_parts(value)
    if name not in steps:
        raise ArgumentError(
            f"no step {name!r}{suggestion(name, steps)}; there are {', '.join(steps)}"
        )
    module, of = steps[name]
    known = declared(module, of).parameters
    for key in given:
        if key not in known:
            raise ArgumentError(
                f"{name} has no {key!r}{suggestion(key, known)}; it has {', '.join(known)}"
            )
    missing = [key for key, one in known.items() if one.default is NEEDED and key not in given]
    if missing:
        raise ArgumentError(
            f"{name} needs {' and '.join(missing)}: {_whole_form(name, given, missing)}"
        )
    made = {key: _of_step(name, key, known[key].kind, text) for key, text in given.items()}
    return getattr(importlib.import_module(module), of)(**made)


def _whole_form(name: str, given: Mapping[str, Any], missing: Sequence[str]) -> str:
    """A step with what was typed and what is missing; the phase stands first.

    >>> _whole_form("close", {"phase": "solid"}, ["radius_nm"]), _whole_form("open", {}, ["phase"])
    ('close:solid,radius_nm=...', 'open:PHASE')
    """
    typed = {key: str(text) if key == BARE else f"{key}={text}" for key, text in given.items()}
    parts = typed | {key: key.upper() if key == BARE else f"{key}=..." for key in missing}
    return f"{name}:{','.join(parts[key] for key in sorted(parts, key=lambda key: key != BARE))}"


def _step_parts(value: str | Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Name and parameters: of open:solid,radius_nm=20, or of a table with the name under `step`."""
    if isinstance(value, Mapping):
        given = dict(value)
        return str(given.pop("step", "")), given
    name, _, rest = value.partition(":")
    parts = re.split(r",(?=[a-z]\w*=)", rest) if rest else []
    if parts and "=" not in parts[0]:
        parts[0] = f"{BARE}={parts[0]}"
    pairs = [part.partition("=")[::2] for part in parts]
    if not all(key and text for key, text in pairs):
        raise ValueError
    values.refuse_twice((key for key, _ in pairs), value)
    return name, dict(pairs)


def _of_step(name: str, key: str, kind: str, value: Any) -> Any:
    """A parameter of a step by its type; the shell writes truth values as words."""
    by = reader(kind)
    truth = {"true": True, "false": False}
    try:
        found = by.read(truth.get(value, value) if kind == "bool" else value) if by else value
    except (ValueError, TypeError, AttributeError) as error:
        raise ArgumentError(
            f"{name}: {key}={value!r} cannot be read: {by and by.what_to_write}"
        ) from error
    if (listed := choices(kind)) and found not in listed:
        raise ArgumentError(f"{name}: {key}={value!r}; it is {' or '.join(map(str, listed))}")
    return tuple(found) if isinstance(found, list) else found


_WHOLE, _NUMBER = "a whole number", "a number"
_THREE, _RANGE = "three edges z,y,x as {}", "a range in nm as {}"
READERS = {
    "int": Reader(values.whole_number, _WHOLE, shown="N"),
    "float": Reader(values.number, _NUMBER, shown="X"),
    "bool": Reader(values.truth_value, "true or false"),
    "str": Reader(values.text, "text, in a recipe in quotes"),
    "str | Path": Reader(values.path, "a path", shown="PATH"),
    "Phases": Reader(values.phases, "for example {}", "pore=0,solid=1", "NAME=N,..."),
    "Sources": Reader(values.paths, "a path, or several", "slices", "PATH", several=True),
    "Images": Reader(values.paths, "a path, or three", "image.png", "IMAGE", several=True),
    "Nodes": Reader(values.paths, "names", "raw", "NAME", several=True),
    "ModelFiles": Reader(
        values.model_files, "a path, or several as {}", "a.safetensors,b.safetensors", "PATH"
    ),
    "Samples": Reader(values.paths, "names", "a.zarr", "SAMPLE", several=True),
    "SampleSlices": Reader(
        values.sample_slices,
        "samples with ranges of slices as {}, or a range of the sample itself as 60:80",
        "b.zarr=0:40,c.zarr",
        "SAMPLE=A:B,...",
    ),
    "Folder": Reader(values.path, "a path", "folder", "FOLDER"),
    "Folders": Reader(values.model_files, "a folder, or several as {}", "otsu,adaptive", "FOLDER"),
    "CleaningSteps": Reader(
        _steps("CleaningSteps"),
        "steps, each with its phase and parameters, as {}",
        "islands:solid,below_nm3=1e6",
        "STEP:PHASE,NAME=VALUE,...",
        several=True,
    ),
    "PromptWord": Reader(
        _one_step("PromptWord"),
        "prompts with their parameters as {}",
        "structure:side=32",
        "PROMPTS:NAME=VALUE,...",
    ),
    "MaskWord": Reader(
        _one_step("MaskWord"),
        "a rule with its limits as {}",
        "objects:iou=0.9",
        "RULE:NAME=VALUE,...",
    ),
    "Settings": Reader(values.unchanged, "a change as {}", "ingest.field=raw", "KEY=VALUE"),
    "Names": Reader(values.names, "names as {}", "pore,solid", "NAME,..."),
    "Losses": Reader(
        values.words,
        "losses as {}, one with numbers as focal:gamma=3,weight=0.5",
        "cross-entropy,dice",
        "LOSS,...",
    ),
    "CropChanges": Reader(
        values.words,
        "changes as {}, one with numbers as blur:pixels=2; sem for all",
        "blur,curtain",
        "CHANGE,...",
    ),
    "Descriptors": Reader(
        values.words,
        "names as {}, one with parameters as correlation:lags=64",
        "phase_fraction,specific_surface",
        "NAME,...",
    ),
    "Axes": Reader(values.names, "z, y or x, or several as {}", "z,y,x", "A,..."),
    "Directions": Reader(values.names, "some of {}", "+z,-z,+y,-y,+x,-x", "D,..."),
    "Seeds": Reader(
        values.names, "a label field and one of its phases as {}", "phase,metal", "FIELD,PHASE"
    ),
    "Steps": Reader(
        _steps("Steps"),
        "corrections, each with its parameters, as {}",
        "crop:y=0:1024",
        "STEP:NAME=VALUE,...",
        several=True,
    ),
    "ConditionValues": Reader(
        values.pairs, "for example {}", "material=HPA,temperature=250", "NAME=VALUE,..."
    ),
    "Merges": Reader(values.pairs, "for example {}", "shine_through=pore", "FROM=TO,..."),
    "Derivations": Reader(
        values.pairs,
        "a name, a formula and its columns as {}",
        "alpha=bruggeman:tau:density",
        "NAME=FORMULA:COLUMN:...,...",
    ),
    "Roles": Reader(values.pairs, "what a column is, as {}", "density=phi", "ROLE=COLUMN,..."),
    "Pick": Reader(values.pick, "a number from 0, or a name, as {}", "0", "N"),
    "QuantityName": Reader(values.text, "text, in a recipe in quotes", "phase_fraction"),
    "FormatName": Reader(values.text, "text, in a recipe in quotes", "ome-tiff", "NAME"),
    "Shape": Reader(values.three_edges, _THREE, "96,256,256", "Z,Y,X"),
    "Edges": Reader(values.three_edges, _THREE, "64,512,512", "Z,Y,X"),
    "Window": Reader(values.window, "edges y,x or z,y,x as {}", "512,512", "Y,X or Z,Y,X"),
    "SliceRange": Reader(values.slice_of, "numbers of slices as {}", "0:200", "A:B"),
    "VoxelRange": Reader(values.slice_of, "numbers of voxels as {}", "0:1024", "A:B"),
    "PixelShift": Reader(values.two_numbers, "two numbers y,x as {}", "0.5,0", "Y,X"),
    "SliceNumbers": Reader(
        values.different(values.whole_numbers), "numbers of slices as {}", "3,17", "N,..."
    ),
    "Sizes": Reader(
        values.different(values.whole_numbers), "edges in voxels as {}", "64,96,128", "N,..."
    ),
    "VoxelLags": Reader(
        values.different(values.whole_numbers), "lags in voxels as {}", "1,2,4,8", "N,..."
    ),
    "Channels": Reader(values.whole_numbers, "for example {}", "64,32,16", "N,..."),
    "VoxelSize": Reader(values.voxel_size, "z,y,x as {} or z=10,y=5,x=5", "10,5,5", "Z,Y,X"),
    "PartialVoxelSize": Reader(values.voxel_size, "z,y,x as {} or z=10,y=5,x=5", "10,5,5", "Z,Y,X"),
    "PixelSize": Reader(
        values.one_or_several,
        "one length in nm, or two for y, x as {} (of three micrographs: three for z, y, x)",
        "20,10",
        "L,...",
    ),
    "Cell": Reader(
        values.three_numbers, "three edges z,y,x in nm as {}", "2000,2000,2000", "Z,Y,X"
    ),
    "Correlations": Reader(
        values.numbers, "one length in nm, or three for z, y, x as {}", "80,40,40", "L,..."
    ),
    "Lengths": Reader(values.different(values.numbers), "lengths in nm as {}", "640,960", "L,..."),
    "Range": Reader(values.lengths, _RANGE, "0:5120", "A:B"),
    "ByAxis": Reader(
        values.numbers_by_name, "a length along some axes as {}", "z=200,y=200", "A=L,..."
    ),
    "PixelScales": Reader(
        values.different(values.numbers), "numbers of pixels as {}", "1,2,4", "N,..."
    ),
    "GreyValues": Reader(
        values.different(values.numbers), "grey values as 85 or {}", "85,170", "G,..."
    ),
    "Fractions": Reader(
        values.numbers_by_name, "one share for each phase as {}", "pore=0.4,solid=0.6", "NAME=F,..."
    ),
    "GreyLevels": Reader(
        values.numbers_by_name,
        "a grey level for each phase as {}",
        "resin=70,filler=160",
        "NAME=G,...",
    ),
    "LookNumbers": Reader(
        values.numbers_by_name, "parameters of the images as {}", "blur=1.5,read=6", "NAME=V,..."
    ),
    "ClassWeights": Reader(
        values.numbers_by_name, "a weight for each class as {}", "pore=3,solid=1", "NAME=W,..."
    ),
    "Densities": Reader(
        values.numbers_by_name,
        "a density in g cm-3 for some phases as {}",
        "solid=8.96",
        "NAME=D,...",
    ),
    "Histogram": Reader(
        values.sizes, "diameters in nm and how many have each as {}", "150=3,250=1", "D=N,..."
    ),
    "Orientation": Reader(values.numbers, "three weights z,y,x as {}", "1,1,1", "Z,Y,X"),
    "ByName": Reader(
        values.numbers_by_name, "numbers by name as {}", "rms_nm=200,hurst=0.8", "NAME=X,..."
    ),
    "Targets": Reader(
        values.numbers_by_name,
        "numbers by name as {}",
        "phase_fraction=0.3,conductivity=12",
        "NAME=X,...",
    ),
    "Conductivities": Reader(
        values.conductivities,
        "one number for each phase as {}, or three for z, y, x as 10:10:400",
        "copper=400,pore=0.026",
        "NAME=K,...",
    ),
    "ByPair": Reader(
        values.by_pair,
        "a conductance per area for two phases as {}",
        "copper:polymer=1e8",
        "A:B=H,...",
    ),
    "Contacts": Reader(
        values.numbers,
        "one conductance per area, or two for the low and the high face, as {}",
        "1e7,2e7",
        "H,...",
    ),
    "Seconds": Reader(values.number, _NUMBER, shown="SECONDS"),
    "Minutes": Reader(values.number, _NUMBER, shown="MINUTES"),
    "Bytes": Reader(values.gibibytes, _NUMBER, shown="GIB"),
}
