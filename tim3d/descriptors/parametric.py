"""Descriptors with parameters: values whose fields are recorded, and their words in the shell."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, ClassVar

from tim3d.descriptors.base import Descriptor, Material
from tim3d.descriptors.inputs import LABELS, Input
from tim3d.errors import ArgumentError
from tim3d.grid import Triple
from tim3d.spelling import given_twice, suggestion
from tim3d.steps import Step, word


class Parametric(Step):
    """A descriptor with parameters, to be inherited by a frozen dataclass.

    Its word, as ``correlation:lags=64``, is the name under which it is measured and asked for.
    Variables and partials carry the parameters that are not defaults, as ``two_point_lags_64``, so
    that descriptors of other parameters stand beside each other in a sample.

    Attributes
    ----------
    kind, version
        As of every step.
    reads : tuple of Input
        Fields that its partials read.
    """

    reads: ClassVar[tuple[Input, ...]] = (LABELS,)

    @property
    def name(self) -> str:
        """Name by which a user asks for it: its word."""
        return str(self)

    @property
    def suffix(self) -> str:
        """Ending of the names of its variables: every parameter that is not its default."""
        given = {one.name: getattr(self, one.name) for one in self._fields()}
        other = [
            f"_{n.name}_{word(given[n.name])}" for n in self._fields() if given[n.name] != n.default
        ]
        return "".join(other)

    def check(self, shape: Triple, material: Material) -> None:
        """Raise `ArgumentError` if the parameters do not fit a volume of this shape."""

    @abstractmethod
    def descriptor(self, material: Material) -> Descriptor:
        """Descriptor of these parameters for voxels of this size."""


def spelt(text: str, kinds: Mapping[str, type[Parametric]]) -> Parametric:
    """Descriptor of a word of the shell.

    Parameters
    ----------
    text : str
        Its kind, and parameters that differ from their defaults: ``correlation:lags=64``.
    kinds : mapping of str to type
        The kinds by name.

    Raises
    ------
    ArgumentError
        If there is no such kind or parameter, or a value cannot be read.
    """
    kind, _, rest = text.partition(":")
    if kind not in kinds:
        raise ArgumentError(
            f"no descriptor {kind!r} with parameters{suggestion(kind, kinds)}; there are {', '.join(kinds)}"
        )
    pairs = [part.partition("=")[::2] for part in rest.split(",")] if rest else []
    if twice := given_twice(key for key, _ in pairs):
        raise ArgumentError(f"{twice!r} is given twice in {text!r}: give it once")
    of = kinds[kind]
    return of(**{key: _value(of, key, value) for key, value in pairs})


def _value(of: type[Parametric], key: str, text: str) -> Any:
    known = {one.name: one.default for one in fields(of)}  # type: ignore[arg-type]
    if key not in known:
        listed = f"it has {', '.join(known)}" if known else "it has no parameters"
        raise ArgumentError(f"{of.kind} has no {key!r}{suggestion(key, known)}; {listed}")
    number: type[Any] = type(known[key])
    try:
        return number(text)
    except ValueError:
        wanted = {int: "a whole number", float: "a number"}.get(number, "a text")
        raise ArgumentError(
            f"{of.kind}: {key}={text!r} cannot be read; write {wanted}, as {key}={word(known[key])}"
        ) from None
