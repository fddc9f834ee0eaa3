"""Labels that a model has learnt from, known by the fingerprints of fields and refused where they would judge."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tim3d.errors import ArgumentError
from tim3d.models.segmentation.training_record import Learnt
from tim3d.storage import store
from tim3d.storage.schema import Field

log = logging.getLogger(__name__)

# Attribute of a comparison: slices that were learnt from.
LEARNT = "learnt_slices"
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
    if both := learnt_slices(sample, segmented, true, slices):
        raise ArgumentError(
            f"the model of {segmented!r} learnt from {said(both)} of {true.name!r}: it is surer there than "
            f"anywhere else. Label other slices, or choose those that it has not seen: --slices "
            f"{_free(slices, both)}"
        )


def about_learnt(
    sample: str, segmented: str, true: Field, slices: Sequence[int]
) -> dict[str, list[int]]:
    """Attribute of a comparison, which names the slices that were learnt from; none if there are none."""
    if both := learnt_slices(sample, segmented, true, slices):
        log.warning(
            "%r was made by what learnt from %s of %r, which are judged here: they say how well it learnt, not how "
            "it does elsewhere",
            segmented, said(both), true.name,
        )  # fmt: skip
        return {LEARNT: both}
    return {}


def learnt_slices(sample: str, segmented: str, true: Field, slices: Sequence[int]) -> list[int]:
    """Slices of a truth from which the model of a segmentation has learnt, in ascending order.

    So has that of a field which the segmented one was made of.
    """
    own, found = set(made_from(sample, true.name)), set[int]()
    for record in records_of(sample, segmented):
        grey = {str(value) for value in record.get("inputs", {}).values()}
        for one in map(Learnt.from_json, record.get(REMARK, ())):
            if one.grey in grey and not own.isdisjoint(one.labels):
                found |= set(one.learnt) & set(slices)
    return sorted(found)


def records_of(sample: str, name: str) -> Iterator[Mapping[str, Any]]:
    """Yield the records of a field and of all that it was made of."""
    there, seen, waiting = set(store.nodes(sample)), set[str](), [name]
    while waiting:
        one = waiting.pop()
        if one in there and one not in seen:
            seen.add(one)
            record = store.node_attributes(sample, one)
            waiting += record.get("inputs", {})
            yield record


def said(slices: Sequence[int]) -> str:
    """Slices in words.

    >>> said([3]), said([3, 4, 9])
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
