"""A recipe: a TOML file of steps, each a verb with the arguments that it has in the shell; run again, it resumes."""

from __future__ import annotations

import logging
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tim3d import engine
from tim3d.arguments import VERBS, call
from tim3d.errors import ArgumentError, InputError

log = logging.getLogger(__name__)
_TOP = ("sample", "cluster", "step", "title")


@dataclass(frozen=True)
class Step:
    """One verb of a recipe and its arguments; `name` is what ``--set name.argument=value`` speaks of."""

    name: str
    verb: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class Recipe:
    """Steps in their order, the sample they work on, and the cluster they run on."""

    sample: str
    steps: tuple[Step, ...]
    cluster: Mapping[str, Any]


def load_recipe(path: str | Path, settings: Iterable[str] = ()) -> Recipe:
    """Read a recipe and change it by ``sample=...``, ``cluster.kind=...`` or ``STEP.ARGUMENT=...``.

    Raises
    ------
    InputError
        If the file is missing or no TOML.
    ArgumentError
        If a key, verb, step or setting is not known.
    """
    try:
        content = tomllib.loads(Path(path).read_text())
    except OSError as error:
        raise InputError(f"no recipe at {path}. See the folder pipelines/ for some") from error
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"recipe {path} is no TOML: {error}") from error
    unknown = sorted(set(content) - set(_TOP))
    if unknown:
        raise ArgumentError(f"recipe {path} has {unknown[0]!r}; expected {', '.join(_TOP)}")
    steps = [_step(entry, path) for entry in content.get("step", [])]
    if not steps or len({s["name"] for s in steps}) < len(steps):
        raise ArgumentError(f"recipe {path} needs at least one [[step]], and a name of its own for each")
    for setting in settings:
        _apply(content, steps, setting)
    if "sample" not in content:
        raise ArgumentError(f"recipe {path} names no sample; add  sample = 'name.zarr'  or  --set sample=name.zarr")
    made = tuple(Step(s["name"], s["verb"], {k: v for k, v in s.items() if k not in ("name", "verb")}) for s in steps)
    return Recipe(str(content["sample"]), made, content.get("cluster", {}))


def _step(entry: Mapping[str, Any], path: str | Path) -> dict[str, Any]:
    verb = entry.get("verb")
    if verb not in VERBS:
        raise ArgumentError(f"recipe {path}: a step has verb {verb!r}; there are {', '.join(VERBS)}")
    return {"name": verb, **entry}


def _apply(content: dict[str, Any], steps: list[dict[str, Any]], setting: str) -> None:
    key, equals, value = setting.partition("=")
    if not equals:
        raise ArgumentError(f"--set {setting!r} is not of the form key=value")
    if key == "sample":
        content["sample"] = value
        return
    name, _, argument = key.partition(".")
    targets = [content.setdefault("cluster", {})] if name == "cluster" else [s for s in steps if s["name"] == name]
    if not targets or not argument:
        raise ArgumentError(f"--set {key}: no such step; there are {', '.join(s['name'] for s in steps)}")
    targets[0][argument] = _typed(value)


def _typed(value: str) -> Any:
    """A number or truth value as TOML would read it, else the text itself."""
    try:
        return tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return value


def run_recipe(path: str | Path, settings: Iterable[str] = (), **options: Any) -> dict[str, Any]:
    """Run the steps of a recipe in their order; what is done already is not done again.

    Parameters
    ----------
    path : path
        The recipe.
    settings : iterable of str
        ``key=value`` changes, as after ``--set``.
    **options
        Given to every step: `plan`, `overwrite`, `progress`, `durable`.

    Returns
    -------
    dict
        What each step returned, by its name.
    """
    recipe = load_recipe(path, settings)
    with engine.cluster(**_cluster_arguments(recipe.cluster)) as on:
        log.info("cluster: %s%s", on, f", dashboard {on.dashboard}" if on.dashboard else "")
        return {step.name: _run_step(recipe, step, options) for step in recipe.steps}


def _run_step(recipe: Recipe, step: Step, options: Mapping[str, Any]) -> Any:
    log.info("%s ...", step.name)
    sample = {} if step.verb == "simulate" else {"sample": recipe.sample}
    return call(step.verb, {**sample, **step.arguments, **options})


def _cluster_arguments(given: Mapping[str, Any]) -> dict[str, Any]:
    unknown = sorted(set(given) - {"kind", "workers", "threads", "memory_gib"})
    if unknown:
        raise ArgumentError(f"[cluster] has {unknown[0]!r}; expected kind, workers, threads, memory_gib")
    arguments = {key: value for key, value in given.items() if key != "memory_gib"}
    if "memory_gib" in given:
        arguments["memory_bytes"] = int(float(given["memory_gib"]) * 2**30)
    return {"kind": "serial"} | arguments
