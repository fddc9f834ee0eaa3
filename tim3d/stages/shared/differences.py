"""Differences between what a sample holds and what is asked for, in words for messages."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from tim3d.commands import renewal, shell_text
from tim3d.storage import schema
from tim3d.storage.schema import Field

WAS, MADE = "{key} was {before}, now {now}", "{key} {before} (now {now})"


_FACTS = "shape", "type", "voxel size (z, y, x)", "phases"


def changed(before: Mapping[str, Any], now: Mapping[str, Any], form: str = WAS) -> Iterator[str]:
    """Yield each parameter that differs, with both values; one with a structure of its own by name only.

    Parameters
    ----------
    before, now : mapping
        Parameters by name.
    form : str
        Sentence with the places `key`, `before` and `now`.

    Examples
    --------
    >>> list(changed({"bar": 4, "thresholds": [119.0]}, {"bar": 4, "thresholds": [120.0, 130.5], "blur": None}))
    ['thresholds was 119, now 120,130.5']
    >>> list(changed({"steps": [{"kind": "crop"}]}, {"steps": []}))
    ['other steps']
    """
    for key in sorted({*before, *now}):
        old, new = before.get(key), now.get(key)
        if schema.fingerprint(v=old) == schema.fingerprint(v=new):
            continue
        nested = _is_nested(old) or _is_nested(new)
        yield f"other {key}" if nested else form.format(key=key, before=_text(old), now=_text(new))


def changed_field(before: Field, now: Field) -> Iterator[str]:
    """Yield the shape, type, voxel size and phases that differ, each with both values."""
    for name, old, new in zip(_FACTS, _facts(before), _facts(now), strict=True):
        if old != new:
            yield f"{name} {'were' if name == 'phases' else 'was'} {old}, now {new}"


def origin(record: Mapping[str, Any], sample: str, said: str) -> str:
    """Command that made a node, where the words name a parameter without its values; else empty."""
    return f"; it was made by  {renewal(record, sample)}  " if re.search(r"\bother ", said) else ""


def _facts(field: Field) -> tuple[str, ...]:
    """Values of `_FACTS` as text."""
    edges = " x ".join(f"{edge:g}" for edge in field.spacing_nm)
    phases = shell_text(dict(field.phases)) if field.phases else "none"
    return " x ".join(map(str, field.shape)), field.dtype, f"{edges} nm", phases


def _is_nested(value: Any) -> bool:
    """Whether a value has a structure that no option of the shell shows."""
    parts = value if isinstance(value, list | tuple) else [value]
    return any(isinstance(one, Mapping) for one in parts)


def _text(value: Any) -> str:
    return "not given" if value is None or value == [] else shell_text(value)
