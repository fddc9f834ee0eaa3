"""Verbs: calling one runs its task, `plan` estimates the cost of running it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Number
from pathlib import PurePath
from typing import Any, Generic, ParamSpec, TypeVar

from tim3d.commands import command_line, current_command, recording
from tim3d.engine.passes.plan import Outline, Plan
from tim3d.errors import ArgumentError
from tim3d.phases import Phases
from tim3d.stages.shared.newer_fields import say_newer
from tim3d.typed import sequence_of

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Task(Generic[R]):
    """A task that can be planned and run.

    Parameters
    ----------
    plans : callable
        Returns the plans of the passes that are left, without writing a byte; empty if all is done.
    run : callable
        Does what is left and returns the verb's result.
    """

    plans: Callable[[], Sequence[Plan | Outline]]
    run: Callable[[], R]


class Verb(Generic[P, R]):
    """A verb: call it as a function, or get its plan.

    Made by decorating a function that checks its arguments and returns a `Task`, without doing any
    work.
    """

    def __init__(self, describe: Callable[P, Task[R]]) -> None:
        functools.update_wrapper(self, describe)
        self._describe, self._name = describe, describe.__name__
        self._signature = inspect.signature(describe)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the task, or what is left of it."""
        bound, is_outermost = self._bound(args, kwargs), not current_command()
        with recording(command_line(self._name, self._describe, bound.arguments)):
            task = self._describe(*bound.args, **bound.kwargs)
            if is_outermost:
                say_newer(self._name, self._describe, bound.arguments)
            return task.run()

    def plan(self, *args: P.args, **kwargs: P.kwargs) -> list[Plan | Outline]:
        """Plans of the same call, one per pass; nothing is written."""
        bound = self._bound(args, kwargs)
        task = self._describe(*bound.args, **bound.kwargs)
        say_newer(self._name, self._describe, bound.arguments)
        return list(task.plans())

    def task(self, *args: P.args, **kwargs: P.kwargs) -> Task[R]:
        """Task of the same call, for a verb that extends this one."""
        bound = self._bound(args, kwargs)
        return self._describe(*bound.args, **bound.kwargs)

    def _bound(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> inspect.BoundArguments:
        """Arguments by name; phases may be a plain dict of their codes, a text or samples a `Path`.

        A text where names are expected is one name: in Python it is a sequence too, of its letters.
        """
        bound = self._signature.bind(*args, **kwargs)
        for name, value in bound.arguments.items():
            kind = str(self._signature.parameters[name].annotation).removesuffix(" | None")
            plain = isinstance(value, Mapping) and not isinstance(value, Phases)
            if plain and kind.startswith("Phases"):
                bound.arguments[name] = Phases(**{str(one): value[one] for one in value})
            elif value is not None:
                texts = _texts(value) if kind in ("str", "Samples") else value
                bound.arguments[name] = _sequence(name, kind, texts)
        return bound


def _sequence(name: str, kind: str, value: Any) -> Any:
    """Give an argument whose type in `tim3d.typed` is a sequence as one; others as they are.

    Raises
    ------
    ArgumentError
        If numbers are expected, and it is a text or one number.
    """
    several = sequence_of(kind)
    if several == "texts":
        return [value] if isinstance(value, str) else value
    alone = isinstance(value, str | Number) if several == "numbers" else isinstance(value, str)
    if several and alone:
        raise ArgumentError(f"{name}={value!r}: numbers are expected, in brackets as [1, 2]")
    return value


def _texts(value: Any) -> Any:
    """Texts in place of paths, on their own, in a sequence or by name."""
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, list | tuple):
        return [_texts(one) for one in value]
    if isinstance(value, Mapping):
        return {name: _texts(one) for name, one in value.items()}
    return value
