"""Tests that only read text: one test over all cases, whose failure lists every offender."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import pytest

T = TypeVar("T")


def each(
    cases: Sequence[T], called: Callable[[T], object] = str
) -> Callable[[Callable[[T], None]], Callable[[], None]]:
    """Make one test of a check of one case; `called` names a case in the message."""

    def made(check: Callable[[T], None]) -> Callable[[], None]:
        def test() -> None:
            assert cases
            wrong = [f"{called(case)}: {seen}" for case in cases if (seen := _error(check, case))]
            assert not wrong, "\n".join(wrong)

        # Not functools.wraps: pytest would look for a fixture of the name of the case.
        test.__name__, test.__qualname__, test.__module__ = (
            check.__name__,
            check.__qualname__,
            check.__module__,
        )
        test.__doc__ = check.__doc__
        return test

    return made


def _error(check: Callable[[T], None], case: T) -> str:
    try:
        check(case)
    # The parser of the command line ends the program; what pytest finds missing is no Exception.
    except (Exception, SystemExit, pytest.fail.Exception) as error:
        return f"{type(error).__name__}: {error}"
    return ""
