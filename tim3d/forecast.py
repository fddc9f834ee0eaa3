"""Descriptions of the future output of a recipe's steps, so that all steps can be planned first.

Planning a step records descriptions here (of a field, a stack of slices, a network); planning the
next step looks them up before it reads the sample. Outside of `forecasting` nothing is recorded and
nothing is found.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Literal, TypeAlias

Kind: TypeAlias = Literal[
    "field", "node", "stack", "network", "generator", "diffusion", "cgan", "file"
]
# Stands for the hash of a network that an earlier step has yet to train.
NOT_TRAINED = "not trained yet"
_known: ContextVar[dict[tuple[str, str], Any] | None] = ContextVar("tim3d_forecast", default=None)


@contextlib.contextmanager
def forecasting() -> Iterator[None]:
    """Collect descriptions of future output inside the ``with`` block."""
    token = _known.set({})
    try:
        yield
    finally:
        _known.reset(token)


def expect(kind: Kind, place: str, description: Any) -> None:
    """Record the description of a future field, node or file.

    >>> with forecasting():
    ...     expect("file", "a/b.tif", "a slice")
    ...     expected("file", "a/../a/b.tif")
    'a slice'
    >>> expected("file", "a/b.tif")
    """
    known = _known.get()
    if known is not None:
        known[kind, _normal(place)] = description


def expected(kind: Kind, place: str) -> Any | None:
    """Description recorded for a place; None if no earlier step writes it."""
    known = _known.get()
    return None if known is None else known.get((kind, _normal(place)))


def names_below(kind: Kind, folder: str) -> list[str]:
    """Names that earlier steps will write in a folder or sample."""
    start = _normal(folder) + "/"
    return [
        place.removeprefix(start)
        for of, place in _known.get() or {}
        if of == kind and place.startswith(start)
    ]


def is_forecasting() -> bool:
    """Whether a chain of steps is being planned."""
    return _known.get() is not None


def will_exist(path: str) -> bool:
    """Whether an earlier step writes this path, or the folder that contains it."""
    here = _normal(path)
    places = [place for _, place in _known.get() or {}]
    return any(here == place or here.startswith(place + "/") for place in places)


def _normal(place: str) -> str:
    return place.rstrip("/") if "://" in place else str(Path(place).resolve())
