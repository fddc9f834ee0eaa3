"""Labels that a model has learnt from, known by the fingerprints of fields and refused where they would judge."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tim3d.errors import ArgumentError
from tim3d.models.segmentation.training_record import Learnt
from tim3d.storage import store
from tim3d.storage.schema import Field

# Entry of the record of a segmented field.
REMARK = "learnt_from"


def made_from(sample: str, name: str) -> tuple[str, ...]:
    """Fingerprints of a label field and of all label fields of the sample that it was made of, sorted."""
    found: set[str] = set()
    there, waiting = store.nodes(sample), [name]
    while waiting:
        record = store.node_attributes(sample, waiting.pop())
        own = str(record.get("fingerprint", ""))
        if own and own not in found and record.get("labels"):
            found.add(own)
            waiting += [one for one in record.get("inputs", {}) if one in there]
    return tuple(sorted(found))


def remark(models: Iterable[Learnt]) -> dict[str, Any]:
    """Entry of the record of a segmented field; empty if its models name no slices."""
    every = [one.to_json() for one in dict.fromkeys(models)]
    return {REMARK: every} if every else {}


def refuse_learnt(sample: str, segmented: str, true: Field, slices: Sequence[int]) -> None:
    """Refuse slices of a truth from which the model of a segmentation has learnt.

    A field of labels is recognised by its fingerprint, also under another name, in a copy of the
    sample, or as a part of labels that were combined.

    Raises
    ------
    ArgumentError
        With the slices, and what to type instead.
    """
    record: Mapping[str, Any] = store.node_attributes(sample, segmented)
    own = set(made_from(sample, true.name))
    grey = {str(value) for value in record.get("inputs", {}).values()}
    for one in map(Learnt.from_json, record.get(REMARK, ())):
        if one.grey not in grey or own.isdisjoint(one.labels):
            continue
        if both := sorted(set(one.learnt) & set(slices)):
            raise ArgumentError(
                f"the model of {segmented!r} learnt from {_said(both)} of {true.name!r}: it is surer there than "
                f"anywhere else. Label other slices, or choose those that it has not seen: --slices "
                f"{_free(slices, both)}"
            )


def _said(slices: Sequence[int]) -> str:
    """Slices in words.

    >>> _said([3]), _said([3, 4, 9])
    ('slice 3', 'slices 3 to 9')
    """
    return f"slice {slices[0]}" if len(slices) == 1 else f"slices {slices[0]} to {slices[-1]}"


def _free(slices: Sequence[int], both: Sequence[int]) -> str:
    """Longest range of slices without the learnt ones, as it is typed.

    >>> _free(range(10), [0, 1, 2]), _free([1, 2], [1, 2])
    ('3:10', 'A:B')
    """
    rest, best, start = [z for z in slices if z not in set(both)], (0, 0), 0
    learnt = sorted(both)
    for place, z in enumerate(rest):
        if place and any(rest[place - 1] < one < z for one in learnt):
            start = place
        if place - start >= best[1] - best[0]:
            best = (start, place + 1)
    return f"{rest[best[0]]}:{rest[best[1] - 1] + 1}" if rest else "A:B"
