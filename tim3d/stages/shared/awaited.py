"""Plans of what is made from files that an earlier step of a recipe has yet to write."""

from __future__ import annotations

from tim3d.engine import Outline, Plan
from tim3d.stages.shared.field import Making, Options, plan_field
from tim3d.storage import store


def plan_awaiting(sample: str, making: Making, options: Options, path: str) -> list[Plan | Outline]:
    """Plans of a field that is made from a file that is not there yet.

    If the field is there already, only the file can show whether it is the one asked for: a stack or a network that is
    made a second time is the same again.
    """
    if store.node_attributes(sample, making.field.name) and not options.overwrite:
        kept = f"{making.field.name!r} is there; that it is the one asked for is checked when {path} exists"
        return [Outline(making.verb, kept)]
    return list(plan_field(sample, making, options))


def cannot_plan(verb: str, path: str) -> list[Outline]:
    """The plan of a step that reads a file which an earlier step writes and does not describe."""
    return [Outline(verb, f"cannot be planned before {path} exists")]
