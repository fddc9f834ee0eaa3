"""The table of the steps of `clean`, and their reader: a new one is its file and a line here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, fields
from typing import Any

from tim3d.errors import ArgumentError
from tim3d.spelling import suggestion
from tim3d.stages.cleaning.balls import Closing, Majority, Opening
from tim3d.stages.cleaning.holes import Holes
from tim3d.stages.cleaning.islands import Floating, Islands
from tim3d.stages.cleaning.naming import Merge, Rename
from tim3d.stages.cleaning.steps import ComponentStep, LocalStep, Step

KINDS: dict[str, type[Step]] = {
    one.kind: one for one in (Islands, Floating, Holes, Opening, Closing, Majority, Merge, Rename)
}
FORMS = {
    "islands": "islands:solid,below_nm3=1e6",
    "floating": "floating:solid,faces=-z:+z",
    "holes": "holes:solid",
    "open": "open:solid,radius_nm=20",
    "close": "close:solid,radius_nm=20",
    "majority": "majority:radius_nm=20",
    "merge": "merge:binder,into=pore",
    "rename": "rename:pore,to=void",
}
_NUMBERS = {"float": float, "int": int}


def read_steps(given: Sequence[str | Mapping[str, Any] | Step]) -> tuple[Step, ...]:
    """Steps from their texts, or from tables of a recipe; values are taken as they are.

    Raises
    ------
    ArgumentError
        If there are none, or one cannot be read.

    Examples
    --------
    >>> given = ["open:solid,radius_nm=20.0", Holes("solid"), {"step": "holes", "phase": "pore"}]
    >>> [str(step) for step in read_steps(given)]
    ['open:solid,radius_nm=20', 'holes:solid', 'holes:pore']
    """
    listed = [given] if isinstance(given, str | Mapping | Step) else list(given)
    if not listed:
        raise ArgumentError(f"no steps given; write one or more, such as {FORMS['islands']}")
    texts = (_text(one) if isinstance(one, Mapping) else one for one in listed)
    return tuple(read_step(one) if isinstance(one, str) else _checked(one) for one in texts)


def _text(table: Mapping[str, Any]) -> str:
    """Text of a step that is written as a table, with its kind under `step`."""
    words = [f"{name}={value}" for name, value in table.items() if name != "step"]
    return f"{table.get('step', '')}:{','.join(words)}"


def _checked(step: object) -> Step:
    if not isinstance(step, LocalStep | ComponentStep):
        raise ArgumentError(
            f"{step!r} is not a step: inherit LocalStep or ComponentStep (docs/extend.md)"
        )
    return step


def read_step(text: str) -> Step:
    """A step from its text.

    Raises
    ------
    ArgumentError
        If the kind or a word is not known, or a number cannot be read.

    Examples
    --------
    >>> read_step("islands:solid,below_voxels=100")
    Islands(phase='solid', below_nm3=None, below_voxels=100, border='remove', connectivity=6)
    """
    kind, _, rest = text.partition(":")
    if kind not in KINDS:
        raise ArgumentError(
            f"no step {kind!r}{suggestion(kind, KINDS)}; there are {', '.join(FORMS.values())}"
        )
    declared = {one.name: one for one in fields(KINDS[kind])}  # type: ignore[arg-type]
    given: dict[str, Any] = {}
    for word in filter(None, rest.split(",")):
        name, equal, value = word.partition("=")
        name, value = (name, value) if equal else ("phase", word)
        if name not in declared or name in given:
            raise ArgumentError(f"step {text!r}: {word!r} is not understood. Write {FORMS[kind]}")
        given[name] = _value(text, declared[name], value)
    needed = [n for n, one in declared.items() if one.default is MISSING and n not in given]
    if needed:
        raise ArgumentError(f"step {text!r} lacks {needed[0]!r}. Write {FORMS[kind]}")
    return KINDS[kind](**given)


def _value(text: str, one: Field[Any], value: str) -> Any:
    kind = str(one.type).removesuffix(" | None")
    try:
        return _NUMBERS[kind](value) if kind in _NUMBERS else value
    except ValueError:
        raise ArgumentError(
            f"step {text!r}: {one.name} is {value!r}; it must be a {'whole ' * (kind == 'int')}number"
        ) from None
