"""Plans of fields made from files that an earlier step of a recipe has yet to write."""

from __future__ import annotations

from tim3d.engine import Outline, Plan
from tim3d.stages.shared.field import Making, Options, plan_field
from tim3d.storage import store


def plan_awaiting(sample: str, making: Making, options: Options, path: str) -> list[Plan | Outline]:
    """Plan a field that is made from a file which does not exist yet.

    If the field exists already, only the file can show whether it is the requested one: a stack or
    network that is made again is the same again.
    """
    if store.node_attributes(sample, making.field.name) and not options.overwrite:
        kept = f"{making.field.name!r} exists; whether it is the requested one is checked when {path} exists"
        return [Outline(making.verb, kept)]
    return list(plan_field(sample, making, options))


def cannot_plan(verb: str, path: str) -> list[Outline]:
    """Plan of a step that reads a file which an earlier step writes but does not describe."""
    return [Outline(verb, f"cannot be planned before {path} exists")]
