"""Phases of a label field that a verb is asked for, by name."""

from __future__ import annotations

from collections.abc import Sequence

from tim3d.errors import ArgumentError
from tim3d.phases import Phases
from tim3d.spelling import given_twice
from tim3d.storage.schema import Field


def phases_of_labels(labels: Field) -> Phases:
    """Phases of a label field; raise `ArgumentError` if it has none."""
    if labels.phases is None:
        raise ArgumentError(
            f"field {labels.name!r} holds no phases; segment it first, or ingest it with --phases"
        )
    return labels.phases


def chosen_phases(labels: Field, names: Sequence[str] | None) -> Phases:
    """Phases of a label field by name, in the order of the field (default: all).

    Raises
    ------
    ArgumentError
        If the field has no phases, or a name is not known, given twice or missing.
    """
    every = phases_of_labels(labels)
    unknown = [name for name in names or () if name not in every]
    if unknown or (names is not None and not names):
        raise ArgumentError(
            f"{labels.name!r} has no phase {', '.join(unknown)}; it has {', '.join(every)}"
        )
    if twice := given_twice(names or ()):
        raise ArgumentError(f"{twice!r} is given twice: give it once in --phases")
    return Phases(**{name: code for name, code in every.items() if names is None or name in names})
