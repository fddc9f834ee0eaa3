"""Fields that a verb writes beside another, by the same blocks: they belong to it.

A sibling is outdated when its field is replaced without it, is not replaced by that of another field,
and a field whose siblings are gone is not complete.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tim3d.errors import InputError, MixedRunError
from tim3d.storage import store

# Attribute of a sibling: the field beside which it was written.
BESIDE = "beside"


@dataclass(frozen=True)
class Siblings:
    """Names of the siblings of a field.

    Attributes
    ----------
    verb : str
        Verb that writes them.
    field : str
        The field.
    fingerprint : str
        Fingerprint of the field, which is theirs too.
    naming : mapping of str to str
        Each sibling, and the option that names it.
    """

    verb: str
    field: str
    fingerprint: str
    naming: Mapping[str, str]


def record(of: Siblings, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes of a sibling beside those of its field, which counts as one of its inputs."""
    return {"inputs": {**inputs, of.field: of.fingerprint}, BESIDE: of.field}


def refuse_others(sample: str, of: Siblings, *, overwrite: bool) -> None:
    """Refuse to replace a field by a sibling, unless `overwrite` is set and it belongs to no other field.

    Raises
    ------
    MixedRunError
        If a field of another making has the name of a sibling.
    """
    for name, option in of.naming.items():
        there = record_of(sample, name)
        if not there or there.get("fingerprint") == of.fingerprint:
            continue
        first = there.get(BESIDE, of.field)
        if first == of.field and overwrite:
            continue
        seen = (
            f"{sample} has another one of that name. Replace it with --overwrite, or keep"
            if first == of.field
            else f"that of {sample} belongs to {first!r}. Keep"
        )
        raise MixedRunError(
            f"{of.verb} writes the field {name!r} too, and {seen} both: {option} another-name"
        )


def refuse_lost(sample: str, of: Siblings) -> None:
    """Refuse a complete field whose siblings are gone, or are those of another making.

    Raises
    ------
    MixedRunError
        If one is.
    """
    for name in of.naming:
        there = record_of(sample, name)
        if there.get("fingerprint") != of.fingerprint:
            seen = "another one has its place" if there else "it is not there"
            raise MixedRunError(
                f"{of.verb} made {name!r} together with {of.field!r} in {sample}, and {seen}. Make both again: "
                "--overwrite"
            )


def record_of(sample: str, name: str) -> dict[str, Any]:
    """Attributes of a field; empty if it, or the sample, is not there."""
    try:
        return store.node_attributes(sample, name)
    except InputError:  # no sample yet
        return {}
