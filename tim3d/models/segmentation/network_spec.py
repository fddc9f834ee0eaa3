"""Specs of networks as JSON holds them, whatever the family."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any, TypeVar

from tim3d.errors import ArgumentError

Spec = TypeVar("Spec")
# Fields that earlier versions lack: written only where they are not the default.
_LATER = ("colours", "dropout")


def spec_from(kind: type[Spec], values: dict[str, Any]) -> Spec:
    """Return a spec from the output of `spec_values`; lists may replace tuples.

    Raises
    ------
    ArgumentError
        If there are fields that the spec does not have.
    """
    unknown = sorted(set(values) - {field.name for field in fields(kind)})  # type: ignore[arg-type]
    if unknown:
        raise ArgumentError(f"unknown fields of a network: {', '.join(unknown)}")
    return kind(**{name: _tuples(value) for name, value in values.items()})


def spec_values(spec: Any) -> dict[str, Any]:
    """All fields of a spec, for JSON."""
    plain = {field.name: field.default for field in fields(spec)}
    return {
        name: value
        for name, value in asdict(spec).items()
        if name not in _LATER or value != plain[name]
    }


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list | tuple) else value
