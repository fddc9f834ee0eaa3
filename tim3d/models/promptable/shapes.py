"""Shapes of the weights of a file, by their names. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

Shapes: TypeAlias = Mapping[str, tuple[int, ...]]


def misfit(given: Shapes, wanted: Shapes) -> str:
    """First weight that is missing, too many or of another shape; empty if all fit.

    >>> misfit({"a": (2,)}, {"a": (3,)}), misfit({}, {"a": (3,)}), misfit({"a": (2,)}, {"a": (2,)})
    ('a has the shape (2,), not (3,)', 'a is missing', '')
    """
    for name, shape in wanted.items():
        if name not in given:
            return f"{name} is missing"
        if given[name] != shape:
            return f"{name} has the shape {given[name]}, not {shape}"
    return next((f"{name} is too many" for name in given if name not in wanted), "")
