"""Text of the shell or of a recipe converted to arguments of the verbs, by one table."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from tim3d.cli.declared import NEEDED, Parameter, constant, declared
from tim3d.cli.readers import reader
from tim3d.credentials import refuse_credentials
from tim3d.errors import ArgumentError
from tim3d.spelling import suggestion
from tim3d.verbs import BY_VALUE, PYTHON_ONLY, VERBS, option_of

OPTIONS = declared("tim3d.stages.shared.field", "Options").parameters


def parameters(name: str) -> Mapping[str, Parameter]:
    """The parameters of a verb, as its signature declares them."""
    return declared(VERBS[name], name).parameters


def verb(name: str) -> Any:
    """The function behind a verb.

    Raises
    ------
    ArgumentError
        If the verb does not exist.
    """
    if name not in VERBS:
        raise ArgumentError(
            f"no verb {name!r}{suggestion(name, VERBS)}; there are {', '.join(VERBS)}"
        )
    return getattr(importlib.import_module(VERBS[name]), name)


def call(name: str, given: Mapping[str, Any]) -> Any:
    """Call a verb with typed arguments; options of the run go into its `options`.

    Raises
    ------
    ArgumentError
        If a name is not one of the verb's arguments, a value cannot be read, or a URL carries
        credentials.
    """
    return verb(name)(**_arguments(name, given), **_figures(name))


def _figures(name: str) -> dict[str, Any]:
    """Argument of a training that draws its figures: the default in the shell only."""
    if name not in ("train_generator", "train_diffusion", "train_cgan"):
        return {}
    from tim3d.reporting.generator import write_figures

    return {"on_look": write_figures}


def call_plan(name: str, given: Mapping[str, Any]) -> list[Any]:
    """Plan a verb with typed arguments; nothing is written.

    Raises
    ------
    ArgumentError
        As `call`.
    """
    return list(verb(name).plan(**_arguments(name, given)))


def plan(name: str, *arguments: Any, **given: Any) -> list[Any]:
    """Plan a verb without running it: each pass with its blocks, bytes and peak memory.

    Parameters
    ----------
    name : str
        The verb, such as ``"segment"``.
    *arguments, **given
        As the verb takes them.

    Returns
    -------
    list of Plan or Outline
        Empty if nothing is left to do; ``str`` of each is a line for display.

    Raises
    ------
    ArgumentError
        If the verb does not exist. Errors of the verb itself before it starts are raised too.
    """
    function = (
        getattr(importlib.import_module(BY_VALUE[name]), name) if name in BY_VALUE else verb(name)
    )
    return list(function.plan(*arguments, **given))


def accepted(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a run that a verb takes, out of the given ones."""
    return {
        key: value
        for key, value in options.items()
        if key in parameters(name) or key in options_of(name)
    }


def options_of(name: str) -> dict[str, Parameter]:
    """Options of the run that a verb takes."""
    unused = constant("tim3d.stages.shared.field", "UNUSED").get(name, ())
    return (
        {key: one for key, one in OPTIONS.items() if key not in unused}
        if "options" in parameters(name)
        else {}
    )


def _arguments(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    for value in given.values():
        for one in value if isinstance(value, list | tuple) else [value]:
            refuse_credentials(one)
    declares = parameters(name)
    known = {key: one for key, one in declares.items() if key not in PYTHON_ONLY}
    typed = {key: convert(key, value, name) for key, value in given.items()}
    arguments = {key: value for key, value in typed.items() if key in known}
    rest = {key: value for key, value in typed.items() if key not in known}
    if "options" in declares:
        from tim3d.stages.shared.field import Options

        arguments["options"] = Options(**{key: rest.pop(key) for key in OPTIONS if key in rest})
    progress = {
        key: rest.pop(key) for key in ("progress",) if key in rest
    }  # accepted by every verb, also without a bar
    if rest:
        key = next(iter(rest))
        raise ArgumentError(
            f"{name} has no argument {key!r}{suggestion(key, known)}; it has {', '.join(known)}"
        )
    _refuse_without(name, arguments, known)
    return arguments | {key: value for key, value in progress.items() if key in declares}


def _refuse_without(
    name: str, arguments: Mapping[str, Any], known: Mapping[str, Parameter]
) -> None:
    if missing := [
        key for key, one in known.items() if one.default is NEEDED and key not in arguments
    ]:
        one = reader(known[missing[0]].kind)
        raise ArgumentError(
            f"{name} needs the argument {missing[0]!r}" + (f": {one.what_to_write}" if one else "")
        )


def convert(name: str, value: Any, verb: str = "") -> Any:
    """Convert a typed or TOML value to the type of an argument of a verb or an option of the run.

    Raises
    ------
    ArgumentError
        If the value cannot be read, or names something twice.

    Examples
    --------
    >>> convert("block", "64,512,512"), convert("slices", "0:200", "evaluate"), convert("phases", {"pore": 0}, "ingest")
    ((64, 512, 512), slice(0, 200, None), Phases(pore=0))
    >>> convert("voxel_size", "10,5,5", "ingest")
    {'z': 10.0, 'y': 5.0, 'x': 5.0}
    """
    known = {**OPTIONS, **(parameters(verb) if verb in VERBS else {})}
    # Steps are typed without an option.
    label = "steps" if name == "steps" and verb in ("prepare", "clean") else option_of(name)
    return read(known[name], value, label) if name in known else value


def read(parameter: Parameter, value: Any, option: str) -> Any:
    """Convert a value to the type of a parameter; messages name the option.

    Raises
    ------
    ArgumentError
        If the value cannot be read, or names something twice.
    """
    by = reader(parameter.kind)
    if by is None or value is None:
        return value
    try:
        return by.read(value)
    except ArgumentError as error:
        raise ArgumentError(f"{option}: {error}") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise ArgumentError(f"{option} {value!r} cannot be read: {by.what_to_write}") from error
