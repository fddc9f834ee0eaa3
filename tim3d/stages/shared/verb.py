"""Verbs: calling one runs its task, `plan` estimates the cost of running it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, ParamSpec, TypeVar

from tim3d.commands import command_line, current_command, recording
from tim3d.engine.passes.plan import Outline, Plan
from tim3d.stages.shared.newer_fields import say_newer

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

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the task, or what is left of it."""
        arguments, is_outermost = self._arguments(args, kwargs), not current_command()
        with recording(command_line(self._name, self._describe, arguments)):
            task = self._describe(*args, **kwargs)
            if is_outermost:
                say_newer(self._name, self._describe, arguments)
            return task.run()

    def plan(self, *args: P.args, **kwargs: P.kwargs) -> list[Plan | Outline]:
        """Plans of the same call, one per pass; nothing is written."""
        task = self._describe(*args, **kwargs)
        say_newer(self._name, self._describe, self._arguments(args, kwargs))
        return list(task.plans())

    def task(self, *args: P.args, **kwargs: P.kwargs) -> Task[R]:
        """Task of the same call, for a verb that extends this one."""
        return self._describe(*args, **kwargs)

    def _arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        return inspect.signature(self._describe).bind(*args, **kwargs).arguments
