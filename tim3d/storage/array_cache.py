"""Periods in which no field of a sample is replaced, so that an opened array can be reused."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

_current: ContextVar[str] = ContextVar("tim3d_moment", default="")


@contextlib.contextmanager
def one_moment(name: str) -> Iterator[None]:
    """Let `current_moment` return `name` inside the ``with`` block.

    A run of a pass is such a period: it holds the lock of its sample. The next run has another
    name, so an array opened in this one is not reused there.

    >>> with one_moment("a"):
    ...     current_moment()
    'a'
    >>> current_moment()
    ''
    """
    token = _current.set(name)
    try:
        yield
    finally:
        _current.reset(token)


def current_moment() -> str:
    """Name of the period that this thread works in; empty outside of one."""
    return _current.get()
