"""What a user types, in the shell or in a recipe, turned into the arguments of the verbs. One table for both."""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from tim3d.credentials import refuse_credentials
from tim3d.errors import ArgumentError
from tim3d.grid import triple
from tim3d.phases import Phases

VERBS = {
    "generate": "tim3d.stages.generate",
    "train_generator": "tim3d.reporting.generator",
    "import_generator": "tim3d.stages.import_generator",
    "simulate": "tim3d.stages.simulate",
    "ingest": "tim3d.stages.ingest",
    "annotate": "tim3d.stages.annotate",
    "train": "tim3d.stages.train",
    "segment": "tim3d.stages.segment",
    "label": "tim3d.stages.label",
    "measure": "tim3d.stages.measure",
    "solve": "tim3d.stages.solve",
    "geodesic": "tim3d.stages.geodesic",
    "describe": "tim3d.stages.describe",
    "score": "tim3d.stages.score",
    "study": "tim3d.stages.study",
    "fidelity": "tim3d.stages.fidelity",
    "report": "tim3d.reporting.html",
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
        raise ArgumentError(f"no verb {name!r}{_suggestion(name, VERBS)}; there are {', '.join(VERBS)}")
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
    known = inspect.signature(verb(name)).parameters
    return {key: value for key, value in options.items() if key in known or ("options" in known and key in OPTIONS)}


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
        from tim3d.stages.field import Options

        arguments["options"] = Options(**{key: rest.pop(key) for key in OPTIONS if key in rest})
    rest.pop("progress", None)  # a verb without a bar has nothing to show
    if rest:
        key = next(iter(rest))
        raise ArgumentError(f"{name} has no argument {key!r}{_suggestion(key, known)}; it has {', '.join(known)}")
    return arguments


def convert(name: str, value: Any, verb: str = "") -> Any:
    """A typed or TOML value as the verb wants it; names without a rule pass through.

    A rule of a verb, written ``verb.name``, goes before the rule of the name.

    >>> convert("block", "64,512,512"), convert("slices", "0:200"), convert("phases", {"pore": 0})
    ((64, 512, 512), slice(0, 200, None), Phases(pore=0))
    >>> convert("voxel_size", "10,5,5")
    {'z': 10.0, 'y': 5.0, 'x': 5.0}
    """
    rule = _RULES.get(f"{verb}.{name}", _RULES.get(name))
    if rule is None or value is None:
        return value
    try:
        return rule(value)
    except ArgumentError:
        raise
    except (ValueError, TypeError) as error:
        raise ArgumentError(f"--{name.replace('_', '-')} {value!r} cannot be read: {_EXAMPLES[name]}") from error


def _parts(value: Any) -> list[Any]:
    return value.split(",") if isinstance(value, str) else list(value)


def _pairs(value: Any) -> dict[str, str]:
    if isinstance(value, Mapping):
        return {str(k): str(v) for k, v in value.items()}
    pairs = [part.split("=") for part in _parts(value)]
    return {key.strip(): item.strip() for key, item in pairs}


def _phases(value: Any) -> Phases:
    return Phases.parse(value) if isinstance(value, str) else Phases(**value)


def _voxel_size(value: Any) -> dict[str, float]:
    if isinstance(value, Mapping) or (isinstance(value, str) and "=" in value):
        return _numbers_by_name(value)
    z, y, x = _parts(value)
    return {"z": float(z), "y": float(y), "x": float(x)}


def _numbers_by_name(value: Any) -> dict[str, float]:
    return {key: float(item) for key, item in _pairs(value).items()}


def _conductivities(value: Any) -> dict[str, float | list[float]]:
    """A number, or three for z, y, x."""
    pairs = value.items() if isinstance(value, Mapping) else _pairs(value).items()
    return {str(key): _number_or_three(item) for key, item in pairs}


def _number_or_three(value: Any) -> float | list[float]:
    parts = value.split(":") if isinstance(value, str) else value if isinstance(value, list | tuple) else [value]
    numbers = [float(part) for part in parts]
    return numbers[0] if len(numbers) == 1 else numbers


def _slice(value: Any) -> slice:
    start, _, stop = str(value).partition(":")
    if ":" not in str(value):
        raise ValueError
    return slice(int(start) if start else None, int(stop) if stop else None)


def _lengths(value: Any) -> slice:
    start, _, stop = str(value).partition(":")
    if ":" not in str(value):
        raise ValueError
    return slice(float(start) if start else None, float(stop) if stop else None)


def _floats(value: Any) -> list[float]:
    return [float(v) for v in ([value] if isinstance(value, int | float) else _parts(value))]


def _one_or_all(values: list[float]) -> float | list[float]:
    return values[0] if len(values) == 1 else values


def _pair(value: Any) -> tuple[int, int]:
    y, x = (int(v) for v in _parts(value))
    return (y, x)


def _integers(value: Any) -> tuple[int, ...]:
    return tuple(int(v) for v in _parts(value))


_RULES: dict[str, Callable[[Any], Any]] = {
    "phases": _phases,
    "voxel_size": _voxel_size,
    "merge": _pairs,
    "conductivity": _conductivities,
    "interface": _numbers_by_name,
    "contact": _floats,
    "axis": lambda v: [str(p).strip() for p in _parts(v)],
    "block": lambda v: triple(_strict_three(v)),
    "shard": lambda v: triple(_strict_three(v)),
    "shape": lambda v: triple(_strict_three(v)),
    "window": _pair,
    "decoder_channels": _integers,
    "thresholds": _floats,
    "slices": _slice,
    "descriptors": lambda v: [str(p).strip() for p in _parts(v)],
    "windows": lambda v: _integers([v] if isinstance(v, int) else v),
    "windows_nm": _floats,
    "study.axis": str,
    "lags": lambda v: _integers([v] if isinstance(v, int) else v),
    "lags_nm": _floats,
    "fidelity.slices": int,
    "pixel_size": lambda v: _one_or_all(_floats(v)),
    "train_generator.slices": int,
    "generate.correlation_nm": _floats,
    "fractions": _numbers_by_name,
    "sizes": _numbers_by_name,
    "orientation": _floats,
    "cell_nm": lambda v: [float(p) for p in _strict_three(v)],
    "label.phases": lambda v: [str(p).strip() for p in _parts(v)],
    "geodesic.phases": lambda v: [str(p).strip() for p in _parts(v)],
    "directions": lambda v: [str(p).strip() for p in _parts(v)],
    "seeds": lambda v: [str(p).strip() for p in _parts(v)],
    "z": _lengths,
    "y": _lengths,
    "x": _lengths,
}
_EXAMPLES = {
    "phases": "write for example pore=0,solid=1",
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


def _strict_three(value: Any) -> list[Any]:
    parts = _parts(value)
    if len(parts) != 3:
        raise ValueError
    return parts


def _suggestion(name: str, known: Any) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""
