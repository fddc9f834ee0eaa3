"""Draws of a label field, made by `sample_labels`: found by all that measures, and treated like the field.

A draw is a label field of its own. `phase_draws` names those of `phase`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, TypeVar

from tim3d.engine import Outline, Plan
from tim3d.errors import ArgumentError, MissingFieldError
from tim3d.forecast import expected, names_below
from tim3d.stages.shared.verb import Task, Verb
from tim3d.storage import store

R = TypeVar("R")


def draw_name(field: str, number: int) -> str:
    """Name of a draw of a label field.

    >>> draw_name("phase", 3)
    'phase_draw_03'
    """
    return f"{field}_draw_{number:02d}"


def node_of(field: str) -> str:
    """Name of the result that lists the draws of a field.

    >>> node_of("phase")
    'phase_draws'
    """
    return f"{field}_draws"


def draws_of(sample: str, field: str) -> list[str]:
    """Names of the draws of a field that are there, or that an earlier step of a recipe makes; outdated
    ones are none."""
    node = node_of(field)
    if expected("node", f"{sample}/{node}"):
        start = draw_name(field, 0)[:-2]
        return sorted(one for one in names_below("field", sample) if one.startswith(start))
    record = store.node_attributes(sample, node)
    if record.get("status") != "complete" or store.outdated(sample, node):
        return []
    return [draw_name(field, n) for n in range(int(record["parameters"]["draws"]))]


def with_draws(verb: Verb[..., R], arguments: Mapping[str, Any]) -> Task[R]:
    """Task of a verb for a field and for all of its draws; returns the result of the field.

    Parameters
    ----------
    verb : Verb
        The verb; its parameters `field` and `draws` are replaced.
    arguments : mapping
        Its arguments by name.

    Raises
    ------
    MissingFieldError
        If there are no draws.
    ArgumentError
        If `out` names one result for all of them.
    """
    sample, field = str(arguments["sample"]), str(arguments["field"])
    if arguments.get("out"):
        raise ArgumentError("--draws makes a result for each draw, named after it: leave out --out")
    names = draws_of(sample, field)
    if not names:
        raise MissingFieldError(
            f"{sample} has no draws of {field!r}. Run: tim3d sample-labels {sample} --field {field}"
        )
    call = partial(_task, verb, arguments)
    call(field)  # bad arguments are refused before any work

    def plans() -> list[Plan | Outline]:
        return [plan for name in (field, *names) for plan in call(name).plans()]

    def run() -> R:
        found = call(field).run()
        for name in names:
            call(name).run()
        return found

    return Task(plans, run)


def _task(verb: Verb[..., R], arguments: Mapping[str, Any], name: str) -> Task[R]:
    return verb.task(**{**arguments, "field": name, "draws": False})
