"""Values with a kind and parameters (corrections, descriptors, losses): their records, and their words in the shell."""

from __future__ import annotations

import math
from abc import ABC
from collections.abc import Iterable, Mapping
from dataclasses import Field, fields, is_dataclass
from pathlib import PurePath
from typing import Any, ClassVar, TypeVar

from tim3d.errors import ArgumentError
from tim3d.spelling import given_twice, suggestion

# Field whose value stands first and without its name in the shell, as in holes:solid.
BARE = "phase"


class Step(ABC):  # noqa: B024
    """Base of steps, to be inherited by a frozen dataclass; its fields are what is recorded.

    Attributes
    ----------
    kind : str
        Name of the step, in the shell too. With `version` and the fields of the dataclass it forms
        the description that is recorded and hashed into the fingerprint of what the step makes.
    version : int
        To be raised when the same fields give other voxels.
    """

    kind: ClassVar[str] = ""
    version: ClassVar[int] = 1

    @property
    def in_shell(self) -> bool:
        """Whether the shell has a word for it, which `str` gives."""
        return type(self).__module__.startswith("tim3d.")

    def description(self) -> dict[str, Any]:
        """All that decides the voxels, for JSON.

        Raises
        ------
        ArgumentError
            If it has no kind or is not a dataclass.
        """
        if not self.kind or not is_dataclass(type(self)):
            raise ArgumentError(
                f"{type(self).__name__} has no description: make it a frozen dataclass with a kind, "
                'as kind = "unsharp"'
            )
        given = {one.name: self._plain(one.name) for one in self._fields()}
        return {"kind": self.kind, "version": self.version, **given}

    def _plain(self, name: str) -> Any:
        value = getattr(self, name)
        if isinstance(value, float) and not math.isfinite(value):
            raise ArgumentError(f"step {self}: {name} must be a finite number")
        return plain(value)

    def __str__(self) -> str:
        """Word of the shell: the kind, and the fields that differ from their defaults."""
        given = {one.name: getattr(self, one.name) for one in self._fields()}
        words = [
            word(given[one.name]) if one.name == BARE else f"{one.name}={word(given[one.name])}"
            for one in self._fields()
            if given[one.name] != one.default
        ]
        return f"{self.kind}:{','.join(words)}" if words else self.kind

    def _fields(self) -> tuple[Field[Any], ...]:
        return fields(self) if is_dataclass(type(self)) else ()  # type: ignore[arg-type]


Kind = TypeVar("Kind", bound=Step)


def check_length(step: Step, name: str, most: float, what: str, cure: str = "") -> None:
    """Raise `ArgumentError` unless a length in nm is finite, not negative and at most that of what it lies in.

    Parameters
    ----------
    step : Step
        The step, for the message.
    name : str
        Field of the step that holds the length; None is a default, which fits.
    most : float
        Largest length in nm.
    what : str
        What is that long, as in "the longest edge of the volume".
    cure : str
        What to type instead, if not a shorter length.
    """
    length = getattr(step, name)
    if length is None:
        return
    if not (math.isfinite(length) and length >= 0):
        raise ArgumentError(f"step {step}: {name} must be a finite length in nm, 0 or more")
    if length > most:
        raise ArgumentError(
            f"step {step}: {name} is longer than {what}, {most:g} nm; {cure or f'write {name}={most:g} or less'}"
        )


def checked_steps(
    steps: Step | Iterable[Any], allowed: tuple[type[Step], ...], verb: str, example: str
) -> tuple[Any, ...]:
    """Return the steps as a tuple.

    Raises
    ------
    ArgumentError
        If there is none, or one is not a step of the verb.
    """
    listed = (steps,) if isinstance(steps, Step) else tuple(steps)
    if not listed:
        raise ArgumentError(f"{verb} needs at least one step: tim3d {verb} SAMPLE {example}")
    for one in listed:
        if not isinstance(one, allowed):
            names = " or ".join(kind.__name__ for kind in allowed)
            raise ArgumentError(f"{one!r} is not a step of {verb}; give values of {names}")
    return listed


def spelt(text: str, kinds: Mapping[str, type[Kind]], what: str) -> Kind:
    """Value of a word of the shell, as ``focal:gamma=3``.

    Parameters
    ----------
    text : str
        Its kind, and the parameters that differ from their defaults.
    kinds : mapping of str to type
        The kinds by name.
    what : str
        What the kinds are, for messages.

    Raises
    ------
    ArgumentError
        If there is no such kind or parameter, or a value cannot be read.
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
    return kinds[kind](**{key: _value(kinds[kind], key, value) for key, value in pairs})


def _value(of: type[Step], key: str, text: str) -> Any:
    known = {one.name: one.default for one in fields(of)}  # type: ignore[arg-type]
    if key not in known:
        listed = f"it has {', '.join(known)}" if known else "it has no parameters"
        raise ArgumentError(f"{of.kind} has no {key!r}{suggestion(key, known)}; {listed}")
    default = known[key]
    kind: type[Any] = float if default is None else type(default)
    try:
        return kind(text)
    except ValueError:
        wanted = {int: "a whole number", float: "a number"}.get(kind, "a text")
        example = "" if default is None else f", as {key}={word(default)}"
        raise ArgumentError(f"{of.kind}: {key} is {wanted}, not {text!r}{example}") from None


def plain(value: Any) -> Any:
    """Value of a field for JSON.

    >>> plain((10.0, 2.5)), plain(slice(0, 5))
    ([10, 2.5], [0, 5])
    """
    if isinstance(value, slice):
        return [value.start, value.stop]
    if isinstance(value, tuple | list):
        return [plain(one) for one in value]
    if isinstance(value, float) and math.isfinite(value):
        return int(value) if value.is_integer() else value
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, PurePath):
        return str(value)
    raise ArgumentError(
        f"a step is described by numbers and texts, and has a {type(value).__name__}: {value!r}"
    )


def word(value: Any) -> str:
    """Value of a field as it is typed in the shell.

    >>> word(slice(0, 200)), word((3, 17)), word(2.0), word(True)
    ('0:200', '3,17', '2', 'true')
    """
    if isinstance(value, slice):
        return f"{'' if value.start is None else value.start}:{'' if value.stop is None else value.stop}"
    if isinstance(value, tuple | list):
        return ",".join(word(one) for one in value)
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)
