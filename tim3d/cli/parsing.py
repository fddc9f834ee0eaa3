"""What a user types, in the shell or in a recipe, turned into the arguments of the verbs. One table for both."""

from __future__ import annotations

import importlib
import inspect
import math
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tim3d.credentials import refuse_credentials
from tim3d.errors import ArgumentError
from tim3d.grid import Triple
from tim3d.phases import Phases
from tim3d.spelling import suggestion

VERBS = {
    "generate": "tim3d.stages.generation.generate",
    "train_generator": "tim3d.reporting.generator",
    "import_generator": "tim3d.stages.generation.import_generator",
    "simulate": "tim3d.stages.generation.simulate",
    "ingest": "tim3d.stages.ingest",
    "annotate": "tim3d.stages.segmentation.annotate",
    "train": "tim3d.stages.segmentation.train",
    "segment": "tim3d.stages.segmentation.segment",
    "label": "tim3d.stages.components.label",
    "measure": "tim3d.stages.measurement.measure",
    "solve": "tim3d.stages.conduction.solve",
    "geodesic": "tim3d.stages.geodesic.geodesic",
    "describe": "tim3d.stages.measurement.describe",
    "score": "tim3d.stages.segmentation.score",
    "study": "tim3d.stages.representative.study",
    "fidelity": "tim3d.stages.comparison.fidelity",
    "report": "tim3d.reporting.report",
}
OPTIONS = ("block", "overwrite", "progress", "durable", "time_limit")


def verb(name: str) -> Any:
    """The function behind a verb.

    Raises
    ------
    ArgumentError
        If there is no such verb.
    """
    if name not in VERBS:
        raise ArgumentError(f"no verb {name!r}{suggestion(name, VERBS)}; there are {', '.join(VERBS)}")
    return getattr(importlib.import_module(VERBS[name]), name)


def call(name: str, given: Mapping[str, Any]) -> Any:
    """Call a verb with what was typed; options of the run go into its `options`.

    Raises
    ------
    ArgumentError
        If a name is not one of the verb's arguments, a value cannot be read, or a URL carries credentials.
    """
    return verb(name)(**_arguments(name, given))


def call_plan(name: str, given: Mapping[str, Any]) -> list[Any]:
    """The plan of a verb from what was typed; nothing is written.

    Raises
    ------
    ArgumentError
        As `call`.
    """
    return list(verb(name).plan(**_arguments(name, given)))


def plan(name: str, *arguments: Any, **given: Any) -> list[Any]:
    """Say what a verb would do, and do nothing: one line a pass with its blocks, bytes and peak memory.

    Parameters
    ----------
    name : str
        The verb, such as ``"segment"``.
    *arguments, **given
        As the verb takes them.

    Returns
    -------
    list of Plan or Outline
        Empty if nothing is left to do; ``str`` of each is a line to read.

    Raises
    ------
    ArgumentError
        If there is no such verb; and what the verb itself raises before it starts.
    """
    return list(verb(name).plan(*arguments, **given))


def accepted(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Those of some options of a run that a verb has."""
    from tim3d.stages.shared.field import UNUSED

    known = inspect.signature(verb(name)).parameters
    of_run = set(OPTIONS) - set(UNUSED.get(name, ())) if "options" in known else set()
    return {key: value for key, value in options.items() if key in known or key in of_run}


def _arguments(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    function = verb(name)
    for value in given.values():
        for one in value if isinstance(value, list | tuple) else [value]:
            refuse_credentials(one)
    known = inspect.signature(function).parameters
    typed = {key: convert(key, value, name) for key, value in given.items()}
    arguments = {key: value for key, value in typed.items() if key in known}
    rest = {key: value for key, value in typed.items() if key not in known}
    if "options" in known:
        from tim3d.stages.shared.field import Options

        arguments["options"] = Options(**{key: rest.pop(key) for key in OPTIONS if key in rest})
    rest.pop("progress", None)  # a verb without a bar has nothing to show
    if rest:
        key = next(iter(rest))
        raise ArgumentError(f"{name} has no argument {key!r}{suggestion(key, known)}; it has {', '.join(known)}")
    _refuse_without(name, arguments, known)
    return arguments


def _refuse_without(name: str, arguments: Mapping[str, Any], known: Mapping[str, inspect.Parameter]) -> None:
    needed = [key for key, one in known.items() if one.default is one.empty]
    if missing := [key for key in needed if key not in arguments]:
        raise ArgumentError(f"{name} needs the argument {missing[0]!r}: {_what_to_write(missing[0], name)}")


def convert(name: str, value: Any, verb: str = "") -> Any:
    """A typed or TOML value as the verb wants it.

    A rule of a verb, written ``verb.name``, goes before the rule of the name; a number or a truth value without a rule
    must be what the verb's annotation says.

    Raises
    ------
    ArgumentError
        If the value cannot be read, or names something twice.

    Examples
    --------
    >>> convert("block", "64,512,512"), convert("slices", "0:200"), convert("phases", {"pore": 0})
    ((64, 512, 512), slice(0, 200, None), Phases(pore=0))
    >>> convert("voxel_size", "10,5,5")
    {'z': 10.0, 'y': 5.0, 'x': 5.0}
    """
    own = f"{verb}.{name}"
    rule = _RULES.get(own) or _RULES.get(name) or _plain(verb, name)
    if rule is None or value is None:
        return value
    try:
        return rule(value)
    except ArgumentError as error:
        raise ArgumentError(f"--{name.replace('_', '-')}: {error}") from error
    except (ValueError, TypeError, AttributeError) as error:
        example = _what_to_write(name, verb)
        raise ArgumentError(f"--{name.replace('_', '-')} {value!r} cannot be read: {example}") from error


def _what_to_write(argument: str, verb: str) -> str:
    example = _EXAMPLES.get(f"{verb}.{argument}") or _EXAMPLES.get(argument)
    return example or "write " + _KINDS[_kind(verb, argument)][1]


def _plain(name: str, argument: str) -> Callable[[Any], Any] | None:
    """The rule of a number, a truth value or a text, None for anything else."""
    kind = _kind(name, argument)
    return _KINDS[kind][0] if kind in _KINDS else None


def _kind(name: str, argument: str) -> str:
    """What the annotation of a verb's argument says, without "or None"."""
    if name not in VERBS:
        return ""
    known = {**_OPTION_KINDS, **inspect.get_annotations(verb(name))}
    kind = str(known.get(argument, "")).removesuffix(" | None")
    return "str" if kind.startswith("Literal[") else kind


def _parts(value: Any) -> list[Any]:
    return value.split(",") if isinstance(value, str) else list(value)


def _names(value: Any) -> list[str]:
    names = [str(part).strip() for part in _parts(value)]
    if not all(names):
        raise ValueError
    _refuse_twice(names, value)
    return names


def _refuse_twice(found: Iterable[Any], value: Any) -> None:
    """Refuse what is listed twice: a slip of the keyboard, of which one half would be lost without a word."""
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
    parts = value.split(":") if isinstance(value, str) else value if isinstance(value, list | tuple) else [value]
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
        raise ArgumentError(f"{value!r} is empty: the end of a range is beyond its start, as in 0:200")
    return slice(low, high)


def _floats(value: Any) -> list[float]:
    return [float(v) for v in ([value] if isinstance(value, int | float) else _parts(value))]


def _one_or_all(values: list[float]) -> float | list[float]:
    return values[0] if len(values) == 1 else values


def _integer(value: Any) -> int:
    """A whole number; one with a fraction is not cut."""
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise ValueError
    return int(value)


def _pair(value: Any) -> tuple[int, int]:
    y, x = map(_integer, _parts(value))
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
    """Any text would count as true, "no" too."""
    if not isinstance(value, bool):
        raise ValueError
    return value


def _text(value: Any) -> Any:
    if not isinstance(value, str | os.PathLike):
        raise ValueError
    return value


def _path(value: Any) -> Any:
    if not str(_text(value)):
        raise ValueError
    return value


def _paths(value: Any) -> Any:
    for one in value if isinstance(value, list | tuple) else [value]:
        _path(one)
    return value


# How a value without a rule of its own is read, by the annotation of the argument, and what to write.
_KINDS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "int": (_integer, "a whole number"),
    "float": (_float, "a number"),
    "bool": (_truth, "true or false"),
    "str": (_text, "text, in a recipe in quotes"),
    "str | Path": (_path, "a path"),
    "str | Path | Sequence[str]": (_paths, "a path, or several"),
    "str | Path | Sequence[str | Path]": (_paths, "a path, or three"),
    "Sequence[str]": (_paths, "names"),
}
_OPTION_KINDS = dict.fromkeys(OPTIONS, "bool") | {"time_limit": "float"}


def _different(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A list in which nothing stands twice."""

    def rule(value: Any) -> Any:
        found = read(value)
        _refuse_twice(found, value)
        return found

    return rule


_RULES: dict[str, Callable[[Any], Any]] = {
    "phases": _phases,
    "voxel_size": _voxel_size,
    "merge": _pairs,
    "conductivity": _conductivities,
    "interface": _by_pair,
    "contact": _floats,
    "axis": _names,
    "block": _three,
    "shard": _three,
    "shape": _three,
    "window": _pair,
    "decoder_channels": _integers,
    "thresholds": _different(_floats),
    "slices": _slice,
    "descriptors": _names,
    "windows": _different(_integers),
    "windows_nm": _different(_floats),
    "study.axis": str,
    "lags": _different(_integers),
    "lags_nm": _different(_floats),
    "fidelity.slices": _integer,
    "pixel_size": lambda v: _one_or_all(_floats(v)),
    "train_generator.slices": _integer,
    "generate.correlation_nm": _floats,
    "fractions": _numbers_by_name,
    "sizes": _sizes,
    "orientation": _floats,
    "cell_nm": _three_floats,
    "label.phases": _names,
    "geodesic.phases": _names,
    "directions": _names,
    "seeds": _names,
    "z": _lengths,
    "y": _lengths,
    "x": _lengths,
}
_EXAMPLES = {
    "phases": "write for example pore=0,solid=1",
    "label.phases": "write names as pore,solid",
    "geodesic.phases": "write names as pore,solid",
    "fidelity.slices": "write how many, as 8",
    "train_generator.slices": "write how many, as 16",
    "voxel_size": "write z,y,x as 10,5,5 or z=10,y=5,x=5",
    "merge": "write for example shine_through=pore",
    "conductivity": "write one number for each phase as copper=400,pore=0.026, or three for z, y, x as 10:10:400",
    "interface": "write a conductance per area for two phases as copper:polymer=1e8",
    "contact": "write one conductance per area, or two for the low and the high face, as 1e7,2e7",
    "axis": "write z, y or x, or several as z,y,x",
    "directions": "write some of +z,-z,+y,-y,+x,-x",
    "seeds": "write a label field and one of its phases as phase,metal",
    "lags": "write lags in voxels as 1,2,4,8",
    "lags_nm": "write lags in nm as 10,20,40",
    "pixel_size": "write one length in nm, or two for y, x as 20,10 (of three micrographs: three for z, y, x)",
    "correlation_nm": "write one length in nm, or three for z, y, x as 80,40,40",
    "fractions": "write one share for each phase as pore=0.4,solid=0.6",
    "sizes": "write diameters in nm and how many have each as 150=3,250=1",
    "orientation": "write three weights z,y,x as 1,1,1",
    "cell_nm": "write three edges z,y,x in nm as 2000,2000,2000",
    "block": "write three edges z,y,x as 64,512,512",
    "shard": "write three edges z,y,x as 64,512,512",
    "shape": "write three edges z,y,x as 96,256,256",
    "window": "write two edges y,x as 512,512",
    "windows": "write edges in voxels as 64,96,128",
    "windows_nm": "write edges in nm as 640,960",
    "decoder_channels": "write for example 64,32,16",
    "thresholds": "write grey values as 85 or 85,170",
    "slices": "write numbers of slices as 0:200",
    "descriptors": "write names as phase_fraction,specific_surface",
    "z": "write a range in nm as 0:5120",
    "y": "write a range in nm as 0:5120",
    "x": "write a range in nm as 0:5120",
}
