"""Missing chunks of a volume: counted when it is opened, read as the fill value only on request."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tim3d.errors import ArgumentError, InputError

MissingChunks = Literal["refuse", "fill"]


@dataclass(frozen=True, slots=True)
class Holes:
    """Numbers of missing and of all chunks of a volume, and the name of the first missing one.

    >>> Holes(0, 12) + Holes(1, 3, "part.h5")
    Holes(missing=1, total=15, first='part.h5')
    """

    missing: int
    total: int
    first: str = ""

    def __add__(self, other: Holes) -> Holes:
        return Holes(
            self.missing + other.missing, self.total + other.total, self.first or other.first
        )


def first_absent(present: Iterable[int]) -> tuple[int, int]:
    """Count the different numbers, and find the smallest number from 0 on that is absent.

    >>> first_absent([3, 0, 1])
    (3, 2)
    """
    # Sort them: a header may declare far more chunks than a table of all of them could hold.
    found = np.unique(np.fromiter(present, np.int64))
    gaps = np.flatnonzero(found != np.arange(len(found)))
    return len(found), int(gaps[0]) if len(gaps) else len(found)


def accepted(holes: Holes, policy: MissingChunks, where: str, value: object = 0) -> int:
    """Return the number of missing chunks, or raise if there are any and they are not to be filled.

    Parameters
    ----------
    holes : Holes
        The missing chunks.
    policy : {"refuse", "fill"}
        Whether missing chunks are an error or are read as the fill value.
    where : str
        Name of the volume in messages.
    value : object
        The fill value, for the message.

    Raises
    ------
    InputError
        If chunks are missing and `policy` is ``refuse``.
    """
    if holes.missing and policy == "refuse":
        raise InputError(
            f"{where}: {holes.missing} of {holes.total} chunks are not there, the first is {holes.first}; they would "
            f"be read as {value}. Copy what is missing, or, if its writer left out what holds nothing else than that "
            "value, type --missing-chunks fill"
        )
    return holes.missing


def check_policy(policy: str) -> None:
    """Raise unless the policy is ``refuse`` or ``fill``.

    Raises
    ------
    ArgumentError
        If it is neither; the message names both.
    """
    if policy not in ("refuse", "fill"):
        raise ArgumentError(f"--missing-chunks {policy!r} is not known; write refuse or fill")
