"""A verb describes a task from its arguments: calling the verb runs it, `plan` says what running it would cost."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, ParamSpec, TypeVar

from tim3d.commands import command_line, recording
from tim3d.engine.passes.plan import Outline, Plan

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Task(Generic[R]):
    """Something that can be planned and run.

    Parameters
    ----------
    plans : callable
        What running it now would cost, one plan a pass, without writing a byte; empty if nothing is left to do.
    run : callable
        Does what is left and returns the verb's result.
    """

    plans: Callable[[], Sequence[Plan | Outline]]
    run: Callable[[], R]


class Verb(Generic[P, R]):
    """A verb: call it as a function, or ask for its plan.

    Made by decorating a function that checks its arguments and returns a `Task`, without doing any work.
    """

    def __init__(self, describe: Callable[P, Task[R]]) -> None:
        functools.update_wrapper(self, describe)
        self._describe, self._name = describe, describe.__name__

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the task, or what is left of it."""
        with recording(self._command(args, kwargs)):
            return self._describe(*args, **kwargs).run()

    def plan(self, *args: P.args, **kwargs: P.kwargs) -> list[Plan | Outline]:
        """What the same call would do, one plan a pass; nothing is written."""
        return list(self._describe(*args, **kwargs).plans())

    def task(self, *args: P.args, **kwargs: P.kwargs) -> Task[R]:
        """What the same call would run, for a verb that is another one with more to show."""
        return self._describe(*args, **kwargs)

    def _command(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        bound = inspect.signature(self._describe).bind(*args, **kwargs)
        return command_line(self._name, self._describe, bound.arguments)
