"""Spans of time in which no field of a sample is replaced, so that what was opened once need not be opened again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

_current: ContextVar[str] = ContextVar("tim3d_moment", default="")


@contextlib.contextmanager
def one_moment(name: str) -> Iterator[None]:
    """Let `current_moment` answer `name` while this lasts.

    A run of a pass is such a moment: it holds the lock of its sample. The next run has another name, so nothing that
    was opened in this one is taken for what is there then.

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
    """Name of the moment that this thread works in; empty where there is none."""
    return _current.get()
