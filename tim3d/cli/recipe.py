"""A recipe: a TOML file of steps, each a verb with its arguments as in the shell.

A recipe that is run again resumes where it ended.
"""

from __future__ import annotations

import contextlib
import logging
import math
import re
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tim3d import engine
from tim3d.cli.parsing import accepted, call, call_plan, parameters
from tim3d.cli.recipe_each import check_each, each_step
from tim3d.cli.recipe_paths import refusal, refusal_of_cluster
from tim3d.credentials import refuse_credentials
from tim3d.engine.job_array import DEFAULT_WAIT_SECONDS
from tim3d.errors import ArgumentError, InputError
from tim3d.forecast import forecasting
from tim3d.spelling import suggestion
from tim3d.storage.files import read_toml
from tim3d.typed import Minutes, Settings
from tim3d.verbs import VERBS, option_of

log = logging.getLogger(__name__)
# Keys of a recipe: the type of each, and how it is written.
_TOP: dict[str, tuple[type, str]] = {
    "sample": (str, "sample = 'name.zarr'"),
    "cluster": (dict, "keys under [cluster]"),
    "step": (list, "arguments under [[step]]"),
    "each": (dict, "what differs between samples under [each]"),
    "title": (str, "title = 'some words'"),
}
_CLUSTER: dict[str, tuple[type, ...]] = {
    "kind": (str,), "workers": (int,), "threads": (int,), "memory_gib": (int, float), "site": (str,), "tls": (str,),
}  # fmt: skip
# Verbs that only read the sample: one part of a job array does them.
_READERS = ("table", "relate", "contact", "bond_line", "report", "inspect")
# Verbs that no recipe runs.
NOT_STEPS = ("view",)


@dataclass(frozen=True)
class Step:
    """One verb of a recipe and its arguments; ``--set NAME.argument=value`` refers to `name`."""

    name: str
    verb: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class Recipe:
    """Steps in their order, the sample they work on, and the cluster they run on."""

    sample: str
    steps: tuple[Step, ...]
    cluster: Mapping[str, Any]


def load_recipe(path: str | Path, settings: Iterable[str] = (), *, trust: bool = False) -> Recipe:
    """Read a recipe and change it by ``sample=...``, ``cluster.kind=...`` or ``STEP.ARGUMENT=...``.

    A recipe may come from an untrusted source. Its own values, unlike `settings`, may therefore
    name files only in the arguments that `recipe_paths` lists, and only files in the working
    folder, beside the recipe or in an object store; and neither a scheduler nor a site file, which
    run foreign code. `trust` lifts all these restrictions.

    Raises
    ------
    InputError
        If the file is missing or is not valid TOML.
    ArgumentError
        If a key, verb, step or setting is not known, a path leads out, or the sample's URL carries
        credentials.
    """
    try:
        content = read_toml(path, "recipe")
    except OSError as error:
        raise InputError(f"no recipe at {path}. See the folder pipelines/ for some") from error
    unknown = sorted(set(content) - set(_TOP))
    if unknown:
        raise ArgumentError(f"recipe {path} has {unknown[0]!r}; expected {', '.join(_TOP)}")
    _check_types(content, path)
    steps = [_step(entry, path) for entry in content.get("step", [])]
    if not steps or len({s["name"] for s in steps}) < len(steps):
        raise ArgumentError(
            f"recipe {path} needs at least one [[step]], and a name of its own for each"
        )
    check_each(content, steps, Path(path))
    settings = list(settings)
    keys = [setting.partition("=")[0] for setting in settings]
    if twice := [key for place, key in enumerate(keys) if key in keys[:place]]:
        raise ArgumentError(f"--set {twice[0]} is given twice: give it once")
    if not trust:
        _refuse_outside(content, steps, Path(path), keys)
    for setting in settings:
        _apply(content, steps, setting)
    if "sample" not in content:
        raise ArgumentError(
            f"recipe {path} names no sample; add  sample = 'name.zarr'  or  --set sample=name.zarr"
        )
    refuse_credentials(content["sample"])
    made = tuple(
        Step(s["name"] + of, s["verb"], {k: v for k, v in s.items() if k not in ("name", "verb")})
        for step in steps
        for of, s in each_step(step, content.get("each", {}))
    )
    return Recipe(str(content["sample"]), made, content.get("cluster", {}))


def _check_types(content: Mapping[str, Any], path: str | Path) -> None:
    for key, value in content.items():
        of, written = _TOP[key]
        if not isinstance(value, of):
            raise ArgumentError(f"recipe {path}: {key} is {value!r}, expected {written}")


def _step(entry: Any, path: str | Path) -> dict[str, Any]:
    if not isinstance(entry, dict):
        raise ArgumentError(f"recipe {path}: a step is {entry!r}, expected {_TOP['step'][1]}")
    verb = entry.get("verb")
    if not isinstance(verb, str) or verb not in VERBS:
        meant = suggestion(str(verb), VERBS)
        raise ArgumentError(
            f"recipe {path}: a step has verb {verb!r}{meant}; there are {', '.join(VERBS)}"
        )
    if verb in NOT_STEPS:
        raise ArgumentError(
            f"recipe {path}: {verb} is not a step: it goes on until it is ended. "
            f"Type: tim3d {verb} SAMPLE"
        )
    if not isinstance(entry.get("name", verb), str):
        raise ArgumentError(
            f"recipe {path}: a step has the name {entry['name']!r}, expected text: name = {verb!r}"
        )
    return {"name": verb, **entry}


def _refuse_outside(
    content: Mapping[str, Any], steps: list[dict[str, Any]], path: Path, replaced: Collection[str]
) -> None:
    homes = (Path.cwd(), path.absolute().parent)
    for key, value, why in _refusals(content, steps, homes):
        if why and key not in replaced:
            raise ArgumentError(
                f"recipe {path}: {key} is {value!r}, {why}. Name it yourself (--set {key}=...), or add --trust "
                "if you know who wrote the recipe"
            )


def _refusals(
    content: Mapping[str, Any], steps: list[dict[str, Any]], homes: Collection[Path]
) -> Iterator[tuple[str, Any, str]]:
    """Yield every value of a recipe with its key and the reason why it is refused, or none."""
    sample = content.get("sample", "")
    yield "sample", sample, refusal("*", "sample", sample, homes)
    for key, value in content.get("cluster", {}).items():
        yield f"cluster.{key}", value, refusal_of_cluster(key, value, homes)
    for step in steps:
        for _, one in each_step(step, content.get("each", {})):
            for key, value in one.items():
                yield f"{one['name']}.{key}", value, refusal(one["verb"], key, value, homes)


def _apply(content: dict[str, Any], steps: list[dict[str, Any]], setting: str) -> None:
    key, equals, value = setting.partition("=")
    if not equals:
        raise ArgumentError(f"--set {setting!r} is not of the form key=value")
    if key == "sample":
        content["sample"] = value
        return
    name, _, argument = key.partition(".")
    targets = (
        [content.setdefault("cluster", {})]
        if name == "cluster"
        else [s for s in steps if s["name"] == name]
    )
    if not targets or not argument:
        raise ArgumentError(
            f"--set {key}: no such step; there are {', '.join(s['name'] for s in steps)}"
        )
    targets[0][argument] = _typed(value)


def _typed(value: str) -> Any:
    """A number or truth value as TOML reads it, else the text itself."""
    try:
        return tomllib.loads(f"value = {value}")["value"]
    except (ValueError, RecursionError):
        return value


def run_recipe(
    path: str | Path,
    settings: Settings = (),
    *,
    part: str | None = None,
    trust: bool = False,
    wait_minutes: Minutes = DEFAULT_WAIT_SECONDS / 60,
    cluster: Mapping[str, Any] | None = None,
    journal: str | Path | None = None,
    pilot: str | Path | None = None,
    price: float | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Run the steps of a recipe in their order; what is done already is not done again.

    Parameters
    ----------
    path : path
        The recipe, a TOML file. Some are in the folder pipelines.
    settings : iterable of str
        Change of the recipe, for example ingest.source=scan/*.tif (default: none). As often as
        there are changes.
    part : str, optional
        Be part I of a job array of N processes, given as I/N (default: one process does it all).
        Processes share the blocks and need no scheduler, each started with its own I from 1 to N,
        with the sample on a disk that they share or in an object store. Only part 1 does steps that
        read alone (describe, report).
    trust : bool
        Let the recipe name paths outside its folder, a scheduler and a site file. That is the
        recipe itself; what the user says is not questioned. Its folder and the working folder are
        meant.
    wait_minutes : float
        Of a part: minutes for which it waits while no block gets done.
    cluster : mapping, optional
        Changes to what the recipe says under ``[cluster]``; with a `kind`, it takes the place of it
        all.
    journal : path, optional
        File to which a line of JSON is appended for every block, see `tim3d.engine.state.journal`.
    pilot : path, optional
        Journal of a run on a smaller sample, by which plans state their cost, see
        `tim3d.engine.costing`.
    price : float, optional
        Of an hour of a worker.
    **options
        Given to every step that has them: `overwrite`, `progress`, `durable`, `block`,
        `time_limit`.

    Returns
    -------
    dict
        What each step returned, by its name.
    """
    recipe = load_recipe(path, settings, trust=trust)
    _refuse_unused(recipe, options)
    own = None if part is None else _own_part(recipe, part, options)
    with contextlib.ExitStack() as stack:
        stack.enter_context(engine.journal(journal))
        stack.enter_context(engine.costing(pilot, price))
        stack.enter_context(engine.cluster(**_cluster_arguments(_chosen(recipe, cluster or {}))))
        if own is None:
            return {step.name: _run_step(recipe, step, options) for step in recipe.steps}
        stack.enter_context(engine.join_job_array(recipe.sample, own))
        steps = [step for step in recipe.steps if own.number == 1 or step.verb not in _READERS]
        return {
            step.name: engine.run_exclusively(
                recipe.sample, partial(_run_step, recipe, step, options), wait_minutes * 60
            )
            for step in steps
        }


def plan_recipe(
    path: str | Path,
    settings: Iterable[str] = (),
    *,
    trust: bool = False,
    cluster: Mapping[str, Any] | None = None,
    pilot: str | Path | None = None,
    price: float | None = None,
    **options: Any,
) -> Iterator[tuple[str, list[Any]]]:
    """Plan the steps of a recipe in order, each on the expected output of the earlier steps.

    Nothing is written, no worker is started, and only the input of the first steps needs to exist.

    Parameters
    ----------
    path, settings, trust, cluster, pilot, price
        As in `run_recipe`.
    **options
        Given to every step that has them: `overwrite`, `durable`, `block`.

    Yields
    ------
    (str, list of Plan or Outline)
        The name of a step and its plans, empty if nothing is left to do.

    Raises
    ------
    ArgumentError, InputError, MissingFieldError, MemoryPlanError
        Raised by the step that cannot be planned; the plans of earlier steps have been yielded.
    """
    recipe = load_recipe(path, settings, trust=trust)
    _refuse_of_parts(options)
    _refuse_unused(recipe, options)
    on = _cluster_arguments(_chosen(recipe, cluster or {}))
    with engine.costing(pilot, price), engine.prospective(**on), forecasting():
        for step in recipe.steps:
            with _naming_settings(step):
                plans = call_plan(step.verb, _step_arguments(recipe, step, options))
            yield step.name, plans


def _refuse_of_parts(options: Mapping[str, Any]) -> None:
    """Refuse to plan one part of a job array: its blocks depend on the other parts."""
    for name in (
        option for key, option in (("part", "--part"), ("wait_minutes", "--wait")) if key in options
    ):
        raise ArgumentError(
            f"--plan and {name} do not go together: a plan is of all parts, leave {name} out"
        )


def _refuse_unused(recipe: Recipe, options: Mapping[str, Any]) -> None:
    """Refuse an option that no step takes; a step that does not take it runs without."""
    for name in options:
        if name != "progress" and not any(
            accepted(step.verb, {name: None}) for step in recipe.steps
        ):
            raise ArgumentError(
                f"no step of the recipe has --{name.replace('_', '-')}: leave it out"
            )


def _chosen(recipe: Recipe, changes: Mapping[str, Any]) -> Mapping[str, Any]:
    return changes if "kind" in changes else {**recipe.cluster, **changes}


def _own_part(recipe: Recipe, text: str, options: Mapping[str, Any]) -> engine.Part:
    """Refuse options that the parts of a job array cannot share."""
    part = engine.Part.parse(text)
    if options.get("overwrite") or any(step.arguments.get("overwrite") for step in recipe.steps):
        raise ArgumentError(
            "--overwrite and --part do not go together: type it once without --part, then the parts"
        )
    for step in recipe.steps:
        if step.arguments.get("sample", recipe.sample) != recipe.sample:
            raise ArgumentError(
                f"step {step.name!r} has a sample of its own; with --part all steps share one"
            )
    return part


def _run_step(recipe: Recipe, step: Step, options: Mapping[str, Any]) -> Any:
    log.info("%s ...", step.name)
    with _naming_settings(step):
        return call(step.verb, _step_arguments(recipe, step, options))


@contextlib.contextmanager
def _naming_settings(step: Step) -> Iterator[None]:
    """Add to an error about the input what to type for a recipe in place of an option."""
    try:
        yield
    except InputError as error:
        typed = [
            f"--set {step.name}.{name}={found[1]}"
            for name in parameters(step.verb)
            if (found := re.search(rf"{option_of(name)} ([^\s;.)]+)", str(error)))
        ]
        if not typed:
            raise
        raise type(error)(f"{error}. In a recipe:  {' '.join(typed)}") from error


def _step_arguments(recipe: Recipe, step: Step, options: Mapping[str, Any]) -> dict[str, Any]:
    sample = {"sample": recipe.sample} if "sample" in parameters(step.verb) else {}
    return {**sample, **step.arguments, **accepted(step.verb, options)}


def _cluster_arguments(given: Mapping[str, Any]) -> dict[str, Any]:
    unknown = sorted(set(given) - set(_CLUSTER))
    if unknown:
        raise ArgumentError(f"[cluster] has {unknown[0]!r}; expected {', '.join(_CLUSTER)}")
    for key, value in given.items():
        _check_cluster(key, value)
    arguments = {key: value for key, value in given.items() if key != "memory_gib"}
    if "memory_gib" in given:
        arguments["memory_bytes"] = int(float(given["memory_gib"]) * 2**30)
    return {"kind": "serial"} | arguments


def _check_cluster(key: str, value: Any) -> None:
    """Refuse a value of the wrong type under ``[cluster]``; None is left to the cluster."""
    of = _CLUSTER[key]
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if value is not None and not (isinstance(value, of) and (str in of or number)):
        expected = "text" if str in of else "a whole number" if of == (int,) else "a number"
        raise ArgumentError(f"[cluster] {key} is {value!r}, expected {expected}")
