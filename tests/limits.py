"""What a numeric parameter takes: tried at every limit that is usual, and just below and above it."""

from __future__ import annotations

import csv
import dataclasses
import math
import types
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

TABLE = Path(__file__).with_suffix(".csv")
# Numbers at which parameters have limits: each is tried, and the numbers next to it.
LIMITS = [
    *(-1, 0, 0.05, 0.1, 0.3, 0.5, 0.6, 0.9, 0.98, 0.99, 1, 1.5, 2, 3, 4, 5, 6, 8, 9, 10, 12, 16),
    *(18, 20, 24, 26, 30, 32, 40, 60, 64, 80, 99, 100, 128, 255, 256, 512, 999, 1000, 1024, 4096),
    *(10_000, 2**16, 10**6, 2**20, 2**24, 10**8, 2**31, 2**32, 2**48, 2**53, 2**63, 2**64),
]
NEAR = 1e-9


def ladder(kind: type) -> list[float]:
    """Numbers to try, rising."""
    if kind is int:
        return sorted({int(n) + d for n in LIMITS if n == int(n) for d in (-1, 0, 1)})
    return [n + d * max(abs(n), 1) * NEAR for n in LIMITS for d in (-1, 0, 1)] + [math.inf]


def taken(accepts: Callable[[Any], bool], kind: type) -> str:
    """The numbers that are accepted, as intervals between the limits.

    >>> taken(lambda v: 0 < v <= 1, float), taken(lambda v: v >= 2, int)
    ('(0, 1]', '[2, ...')
    >>> taken(lambda v: v > 2 and v % 2 == 1, int)
    'odd [3, ...'
    """
    if kind is float and accepts(2.0) and not accepts(1.75):
        return f"whole {taken(accepts, int)}"
    steps = ladder(kind)
    flags = [accepts(one) for one in steps]
    if kind is int and (regular := _regular(steps, flags)):
        return regular
    edges = [n for n in range(1, len(steps)) if flags[n] != flags[n - 1]]
    starts = ([0] if flags[0] else []) + [n for n in edges if flags[n]]
    stops = [n for n in edges if not flags[n]] + ([len(steps)] if flags[-1] else [])
    return " ".join(
        f"{_low(steps, a, kind)}, {_high(steps, b, kind)}"
        for a, b in zip(starts, stops, strict=True)
    )


def _regular(steps: list[float], flags: list[bool]) -> str:
    """Odd numbers, or multiples of 4, from the lowest that is accepted on; empty for others."""
    lowest = steps[flags.index(True)] if True in flags else 0
    for step, rest, word in ((2, 1, "odd"), (4, 0, "multiple of 4")):
        if flags == [n >= lowest and n % step == rest for n in steps]:
            return f"{word} [{lowest}, ..."
    return ""


def _low(steps: list[float], first: int, kind: type) -> str:
    if not first:
        return "..."
    if kind is int or steps[first] in LIMITS:
        return f"[{_text(steps[first])}"
    return f"({steps[first - 1]:g}"


def _high(steps: list[float], end: int, kind: type) -> str:
    if end == len(steps):
        return "inf]" if kind is float else "..."
    if kind is int or steps[end - 1] in LIMITS:
        return f"{_text(steps[end - 1])}]"
    return f"{steps[end]:g})"


def _text(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:g}"


def numeric_fields(kind: type) -> Iterator[tuple[dataclasses.Field[Any], type]]:
    """Fields of a dataclass that hold one number, and whether it is a whole one."""
    hints = typing.get_type_hints(kind)
    for one in dataclasses.fields(kind):
        hint = hints[one.name]
        is_union = typing.get_origin(hint) in (typing.Union, types.UnionType)
        named = set(typing.get_args(hint)) if is_union else {hint}
        if named & {int, float} and named <= {int, float, type(None)}:
            yield one, float if float in named else int


def listed() -> dict[tuple[str, str], tuple[str, str]]:
    with TABLE.open(newline="") as file:
        return {
            (r["class"], r["parameter"]): (r["default"], r["takes"]) for r in csv.DictReader(file)
        }
