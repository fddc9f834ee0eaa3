"""Pieces of a volume that its files promise and do not hold: counted when it is opened, never read as zero unasked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tim3d.errors import ArgumentError, InputError

MissingChunks = Literal["refuse", "fill"]


@dataclass(frozen=True, slots=True)
class Holes:
    """How many of the pieces of a volume are not there, and the name of the first of these.

    >>> Holes(0, 12) + Holes(1, 3, "part.h5")
    Holes(missing=1, total=15, first='part.h5')
    """

    missing: int
    total: int
    first: str = ""

    def __add__(self, other: Holes) -> Holes:
        return Holes(self.missing + other.missing, self.total + other.total, self.first or other.first)


def first_absent(present: Iterable[int]) -> tuple[int, int]:
    """How many different numbers there are, and the smallest number from 0 on that is not among them.

    >>> first_absent([3, 0, 1])
    (3, 2)
    """
    # Sorted, because a header may promise far more pieces than a table of all of them could hold.
    found = np.unique(np.fromiter(present, np.int64))
    gaps = np.flatnonzero(found != np.arange(len(found)))
    return len(found), int(gaps[0]) if len(gaps) else len(found)


def accepted(holes: Holes, policy: MissingChunks, where: str, value: object = 0) -> int:
    """The number of missing pieces, if there is none or they are to be filled with `value`.

    Raises
    ------
    InputError
        If pieces are missing and nothing else was asked for.
    """
    if holes.missing and policy == "refuse":
        raise InputError(
            f"{where}: {holes.missing} of {holes.total} chunks are not there, the first is {holes.first}; they would "
            f"be read as {value}. Copy what is missing, or, if its writer left out what holds nothing else than that "
            "value, type --missing-chunks fill"
        )
    return holes.missing


def check_policy(policy: str) -> None:
    """Refuse what is neither ``refuse`` nor ``fill``.

    Raises
    ------
    ArgumentError
        With both.
    """
    if policy not in ("refuse", "fill"):
        raise ArgumentError(f"--missing-chunks {policy!r} is not known; write refuse or fill")
