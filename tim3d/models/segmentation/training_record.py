"""Slices that taught a model, as its file holds them, so that labels which it has seen can be recognised."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Learnt:
    """Slices of a sample that were learnt from, and those that judged.

    Parameters
    ----------
    grey : str
        Fingerprint of the grey field; the same for a copy of it.
    labels : tuple of str
        Fingerprints of the label field, and of all label fields that it was made of.
    learnt, judging : tuple of int
        Numbers of the slices.
    """

    grey: str
    labels: tuple[str, ...]
    learnt: tuple[int, ...]
    judging: tuple[int, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """All fields, for JSON; slices as ranges."""
        return {
            "grey": self.grey,
            "labels": list(self.labels),
            "learnt": runs(self.learnt),
            "judging": runs(self.judging),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Learnt:
        """Return what `to_json` wrote."""
        learnt, judging = (_numbers(values[name]) for name in ("learnt", "judging"))
        return cls(str(values["grey"]), tuple(values["labels"]), learnt, judging)


def learnt_from(training: Mapping[str, Any]) -> tuple[Learnt, ...]:
    """Return the slices of the record of a training; none where an earlier version made it."""
    return tuple(Learnt.from_json(one) for one in training.get("sources", ()))


def recorded(every: Iterable[Learnt]) -> dict[str, Any]:
    """Entry of the record of a training."""
    return {"sources": [one.to_json() for one in every]}


def runs(numbers: Sequence[int]) -> list[list[int]]:
    """Ascending numbers as ranges [start, stop, step].

    >>> runs([0, 1, 2, 8, 16, 24]), runs([])
    ([[0, 3, 1], [8, 25, 8]], [])
    """
    found: list[list[int]] = []
    for number in numbers:
        if found and number == found[-1][1] - 1 + found[-1][2]:
            found[-1][1] = number + 1
        elif found and found[-1][1] == found[-1][0] + 1 and number > found[-1][0]:
            found[-1][1:] = [number + 1, number - found[-1][0]]
        else:
            found.append([number, number + 1, 1])
    return found


def _numbers(ranges: Sequence[Sequence[int]]) -> tuple[int, ...]:
    return tuple(number for one in ranges for number in range(*one))
