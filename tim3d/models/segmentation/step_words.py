"""Words of losses and of changes of crops, as ``focal:gamma=3``: values whose fields are recorded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from tim3d.errors import ArgumentError
from tim3d.spelling import given_twice, suggestion
from tim3d.steps import Step

Kind = TypeVar("Kind", bound=Step)


def spelt(text: str, kinds: Mapping[str, type[Kind]], what: str) -> Kind:
    """Value of a word: its kind, and the numbers that are not defaults.

    Raises
    ------
    ArgumentError
        If there is no such kind or number, or one cannot be read.
    """
    if not isinstance(text, str):
        raise ArgumentError(f"a {what} is a word, one of {', '.join(kinds)}, not {text!r}")
    kind, _, rest = text.partition(":")
    if kind not in kinds:
        raise ArgumentError(
            f"no {what} {kind!r}{suggestion(kind, kinds)}; there are {', '.join(kinds)}"
        )
    pairs = [part.partition("=")[::2] for part in rest.split(",")] if rest else []
    if twice := given_twice(key for key, _ in pairs):
        raise ArgumentError(f"{twice!r} is given twice in {text!r}: give it once")
    return kinds[kind](**{key: _number(kinds[kind], key, value, text) for key, value in pairs})


def _number(kind: type[Step], key: str, value: str, text: str) -> Any:
    known = [one.name for one in fields(kind)]  # type: ignore[arg-type]
    if key not in known:
        raise ArgumentError(
            f"{text!r} has no {key!r}{suggestion(key, known)}; {kind.kind} has {', '.join(known)}"
        )
    try:
        return float(value)
    except ValueError as error:
        raise ArgumentError(f"{text!r}: {key} is a number, not {value!r}") from error
