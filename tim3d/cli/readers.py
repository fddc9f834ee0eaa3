"""Readers of typed arguments, one for each type, with the form that messages ask for."""

from __future__ import annotations

import importlib
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tim3d.cleaning import STEPS as CLEANING
from tim3d.cli.declared import NEEDED, choices, declared
from tim3d.corrections import STEPS as CORRECTIONS
from tim3d.errors import ArgumentError
from tim3d.grid import Triple
from tim3d.models.promptable.words import PROMPTS, RULES
from tim3d.phases import Phases
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


def _parts(value: Any) -> list[Any]:
    return value.split(",") if isinstance(value, str) else list(value)


def _names(value: Any) -> list[str]:
    names = [str(part).strip() for part in _parts(value)]
    if not all(names):
        raise ValueError
    _refuse_twice(names, value)
    return names


def _words(value: Any) -> list[Any]:
    """Names with parameters: a part that is a parameter belongs to the name before it."""
    if not isinstance(value, str):
        return list(value)
    words: list[str] = []
    for part in _parts(value):
        if words and ":" in words[-1] and "=" in part and ":" not in part:
            words[-1] += f",{part.strip()}"
        else:
            words.append(part.strip())
    return _names(words)


def _refuse_twice(found: Iterable[Any], value: Any) -> None:
    """Refuse an entry that is listed twice: a typing error that would be lost silently."""
    listed = list(found)
    if twice := [one for place, one in enumerate(listed) if one in listed[:place]]:
        shown = repr(twice[0]) if isinstance(twice[0], str) else f"{twice[0]:g}"
        raise ArgumentError(f"{shown} is given twice in {value!r}: give it once")


def _pairs(value: Any) -> dict[str, str]:
    if isinstance(value, Mapping):
        return {str(k): str(v) for k, v in value.items()}
    pairs = [[half.strip() for half in part.split("=")] for part in _parts(value)]
    if not all(len(pair) == 2 and all(pair) for pair in pairs):
        raise ValueError
    _refuse_twice((key for key, _ in pairs), value)
    return dict(pairs)


def _phases(value: Any) -> Phases:
    return Phases.parse(value) if isinstance(value, str) else Phases(**value)


def _voxel_size(value: Any) -> dict[str, float]:
    if isinstance(value, Mapping) or (isinstance(value, str) and "=" in value):
        return _numbers_by_name(value)
    z, y, x = _parts(value)
    return {"z": float(z), "y": float(y), "x": float(x)}


def _numbers_by_name(value: Any) -> dict[str, float]:
    return {key: float(item) for key, item in _pairs(value).items()}


def _sizes(value: Any) -> dict[str, float]:
    sizes = _numbers_by_name(value)
    _refuse_twice(map(float, sizes), value)  # 150 and 150.0 are one
    return sizes


def _by_pair(value: Any) -> dict[str, float]:
    """Numbers by pairs of phases; a:b and b:a are one."""
    numbers = _numbers_by_name(value)
    _refuse_twice((":".join(sorted(key.split(":"))) for key in numbers), value)
    return numbers


def _conductivities(value: Any) -> dict[str, float | list[float]]:
    """A number, or three for z, y, x."""
    pairs = value.items() if isinstance(value, Mapping) else _pairs(value).items()
    return {str(key): _number_or_three(item) for key, item in pairs}


def _number_or_three(value: Any) -> float | list[float]:
    parts = (
        value.split(":")
        if isinstance(value, str)
        else value
        if isinstance(value, list | tuple)
        else [value]
    )
    numbers = [float(part) for part in parts]
    return numbers[0] if len(numbers) == 1 else numbers


def _slice(value: Any) -> slice:
    return _range(value, int)


def _lengths(value: Any) -> slice:
    return _range(value, float)


def _range(value: Any, number: type) -> slice:
    start, colon, stop = str(value).partition(":")
    if not colon:
        raise ValueError
    low, high = (number(end) if end.strip() else None for end in (start, stop))
    if low is not None and high is not None and high <= low and min(low, high) >= 0:
        raise ArgumentError(
            f"{value!r} is empty: the end of a range is beyond its start, as in 0:200"
        )
    return slice(low, high)


def _floats(value: Any) -> list[float]:
    return [float(v) for v in ([value] if isinstance(value, int | float) else _parts(value))]


def _one_or_all(values: list[float]) -> float | list[float]:
    return values[0] if len(values) == 1 else values


def _integer(value: Any) -> int:
    """A whole number; a fraction is an error and is not cut off."""
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise ValueError
    return int(value)


def _window(value: Any) -> tuple[int, ...]:
    edges = tuple(map(_integer, _parts(value)))
    if len(edges) not in (2, 3):
        raise ValueError(f"{len(edges)} edges")
    return edges


def _two_floats(value: Any) -> tuple[float, float]:
    y, x = map(float, _parts(value))
    return (y, x)


def _three(value: Any) -> Triple:
    z, y, x = map(_integer, _parts(value))
    return (z, y, x)


def _three_floats(value: Any) -> list[float]:
    z, y, x = map(float, _parts(value))
    return [z, y, x]


def _integers(value: Any) -> tuple[int, ...]:
    return tuple(map(_integer, [value] if isinstance(value, int) else _parts(value)))


def _float(value: Any) -> float:
    if isinstance(value, bool) or math.isnan(float(value)):
        raise ValueError
    return float(value)


def _truth(value: Any) -> bool:
    """A truth value; a text is an error, because any text, "no" too, would count as true."""
    if not isinstance(value, bool):
        raise ValueError
    return value


def _text(value: Any) -> Any:
    if not isinstance(value, str | os.PathLike):
        raise ValueError
    return value


def _pick(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).strip():
        raise ValueError
    return str(value)


def _path(value: Any) -> Any:
    if not str(_text(value)):
        raise ValueError
    return value


def _paths(value: Any) -> Any:
    for one in value if isinstance(value, list | tuple) else [value]:
        _path(one)
    return value


def _different(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Wrap a reader of lists to refuse repeated entries."""

    def rule(value: Any) -> Any:
        found = read(value)
        _refuse_twice(found, value)
        return found

    return rule


def _same(value: Any) -> Any:
    return value


def _gibibytes(value: Any) -> int:
    return int(_float(value) * 2**30)


def _model_files(value: Any) -> Any:
    """One path, or several between commas; a comma may be part of the name of a file that is there."""
    if isinstance(value, str) and "," in value and not Path(value).exists():
        return [_path(part) for part in _names(value)]
    return _path(value) if isinstance(value, str) else [_path(one) for one in value]


def _one_or_several(value: Any) -> float | list[float]:
    return _one_or_all(_floats(value))


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
    _refuse_twice((key for key, _ in pairs), value)
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
    "int": Reader(_integer, _WHOLE, shown="N"),
    "float": Reader(_float, _NUMBER, shown="X"),
    "bool": Reader(_truth, "true or false"),
    "str": Reader(_text, "text, in a recipe in quotes"),
    "str | Path": Reader(_path, "a path", shown="PATH"),
    "Phases": Reader(_phases, "for example {}", "pore=0,solid=1", "NAME=N,..."),
    "Sources": Reader(_paths, "a path, or several", "slices", "PATH", several=True),
    "Images": Reader(_paths, "a path, or three", "image.png", "IMAGE", several=True),
    "Nodes": Reader(_paths, "names", "raw", "NAME", several=True),
    "ModelFiles": Reader(
        _model_files, "a path, or several as {}", "a.safetensors,b.safetensors", "PATH"
    ),
    "Samples": Reader(_paths, "names", "a.zarr", "SAMPLE", several=True),
    "Folder": Reader(_path, "a path", "folder", "FOLDER"),
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
    "Settings": Reader(_same, "a change as {}", "ingest.field=raw", "KEY=VALUE"),
    "Names": Reader(_names, "names as {}", "pore,solid", "NAME,..."),
    "Losses": Reader(
        _words,
        "losses as {}, one with numbers as focal:gamma=3,weight=0.5",
        "cross-entropy,dice",
        "LOSS,...",
    ),
    "CropChanges": Reader(
        _words,
        "changes as {}, one with numbers as blur:pixels=2; sem for all",
        "blur,curtain",
        "CHANGE,...",
    ),
    "Descriptors": Reader(
        _words,
        "names as {}, one with parameters as correlation:lags=64",
        "phase_fraction,specific_surface",
        "NAME,...",
    ),
    "Axes": Reader(_names, "z, y or x, or several as {}", "z,y,x", "A,..."),
    "Directions": Reader(_names, "some of {}", "+z,-z,+y,-y,+x,-x", "D,..."),
    "Seeds": Reader(
        _names, "a label field and one of its phases as {}", "phase,metal", "FIELD,PHASE"
    ),
    "Steps": Reader(
        _steps("Steps"),
        "corrections, each with its parameters, as {}",
        "crop:y=0:1024",
        "STEP:NAME=VALUE,...",
        several=True,
    ),
    "Merges": Reader(_pairs, "for example {}", "shine_through=pore", "FROM=TO,..."),
    "Derivations": Reader(
        _pairs,
        "a name, a formula and its columns as {}",
        "alpha=bruggeman:tau:density",
        "NAME=FORMULA:COLUMN:...,...",
    ),
    "Roles": Reader(_pairs, "what a column is, as {}", "density=phi", "ROLE=COLUMN,..."),
    "Pick": Reader(_pick, "a number from 0, or a name, as {}", "0", "N"),
    "QuantityName": Reader(_text, "text, in a recipe in quotes", "phase_fraction"),
    "FormatName": Reader(_text, "text, in a recipe in quotes", "ome-tiff", "NAME"),
    "Shape": Reader(_three, _THREE, "96,256,256", "Z,Y,X"),
    "Edges": Reader(_three, _THREE, "64,512,512", "Z,Y,X"),
    "Window": Reader(_window, "edges y,x or z,y,x as {}", "512,512", "Y,X or Z,Y,X"),
    "SliceRange": Reader(_slice, "numbers of slices as {}", "0:200", "A:B"),
    "VoxelRange": Reader(_slice, "numbers of voxels as {}", "0:1024", "A:B"),
    "PixelShift": Reader(_two_floats, "two numbers y,x as {}", "0.5,0", "Y,X"),
    "SliceNumbers": Reader(_different(_integers), "numbers of slices as {}", "3,17", "N,..."),
    "Sizes": Reader(_different(_integers), "edges in voxels as {}", "64,96,128", "N,..."),
    "VoxelLags": Reader(_different(_integers), "lags in voxels as {}", "1,2,4,8", "N,..."),
    "Channels": Reader(_integers, "for example {}", "64,32,16", "N,..."),
    "VoxelSize": Reader(_voxel_size, "z,y,x as {} or z=10,y=5,x=5", "10,5,5", "Z,Y,X"),
    "PartialVoxelSize": Reader(_voxel_size, "z,y,x as {} or z=10,y=5,x=5", "10,5,5", "Z,Y,X"),
    "PixelSize": Reader(
        _one_or_several,
        "one length in nm, or two for y, x as {} (of three micrographs: three for z, y, x)",
        "20,10",
        "L,...",
    ),
    "Cell": Reader(_three_floats, "three edges z,y,x in nm as {}", "2000,2000,2000", "Z,Y,X"),
    "Correlations": Reader(
        _floats, "one length in nm, or three for z, y, x as {}", "80,40,40", "L,..."
    ),
    "Lengths": Reader(_different(_floats), "lengths in nm as {}", "640,960", "L,..."),
    "Range": Reader(_lengths, _RANGE, "0:5120", "A:B"),
    "ByAxis": Reader(_numbers_by_name, "a length along some axes as {}", "z=200,y=200", "A=L,..."),
    "PixelScales": Reader(_different(_floats), "numbers of pixels as {}", "1,2,4", "N,..."),
    "GreyValues": Reader(_different(_floats), "grey values as 85 or {}", "85,170", "G,..."),
    "Fractions": Reader(
        _numbers_by_name, "one share for each phase as {}", "pore=0.4,solid=0.6", "NAME=F,..."
    ),
    "GreyLevels": Reader(
        _numbers_by_name, "a grey level for each phase as {}", "resin=70,filler=160", "NAME=G,..."
    ),
    "LookNumbers": Reader(
        _numbers_by_name, "parameters of the images as {}", "blur=1.5,read=6", "NAME=V,..."
    ),
    "ClassWeights": Reader(
        _numbers_by_name, "a weight for each class as {}", "pore=3,solid=1", "NAME=W,..."
    ),
    "Densities": Reader(
        _numbers_by_name, "a density in g cm-3 for some phases as {}", "solid=8.96", "NAME=D,..."
    ),
    "Histogram": Reader(
        _sizes, "diameters in nm and how many have each as {}", "150=3,250=1", "D=N,..."
    ),
    "Orientation": Reader(_floats, "three weights z,y,x as {}", "1,1,1", "Z,Y,X"),
    "ByName": Reader(
        _numbers_by_name, "numbers by name as {}", "rms_nm=200,hurst=0.8", "NAME=X,..."
    ),
    "Conductivities": Reader(
        _conductivities,
        "one number for each phase as {}, or three for z, y, x as 10:10:400",
        "copper=400,pore=0.026",
        "NAME=K,...",
    ),
    "ByPair": Reader(
        _by_pair, "a conductance per area for two phases as {}", "copper:polymer=1e8", "A:B=H,..."
    ),
    "Contacts": Reader(
        _floats,
        "one conductance per area, or two for the low and the high face, as {}",
        "1e7,2e7",
        "H,...",
    ),
    "Seconds": Reader(_float, _NUMBER, shown="SECONDS"),
    "Minutes": Reader(_float, _NUMBER, shown="MINUTES"),
    "Bytes": Reader(_gibibytes, _NUMBER, shown="GIB"),
}
