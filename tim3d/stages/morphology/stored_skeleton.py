"""Skeletons that a sample has, as what follows from them reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tim3d.errors import ArgumentError
from tim3d.storage import store
from tim3d.storage.schema import Field

# Entry of the record of a skeleton: how many voxels of each phase are on it.
VOXELS = "voxels"


@dataclass(frozen=True)
class StoredSkeleton:
    """A skeleton of labels, codes of its phases, and how many voxels of each are on it.

    `voxels` is None where the skeleton is planned only.
    """

    field: Field
    phases: Mapping[str, int]
    voxels: Mapping[str, int] | None


def stored_skeleton(sample: str, field: str, name: str) -> StoredSkeleton:
    """The skeleton of this name, of some labels.

    Raises
    ------
    MissingFieldError
        If it is missing; the message names the command that makes it.
    ArgumentError
        If the field holds no skeleton of these labels.
    """
    found = store.complete_field(sample, name, "skeleton")
    record = store.node_attributes(sample, name)
    if record.get("verb") != "skeleton" or field not in record.get("inputs", {}):
        raise ArgumentError(
            f"{name!r} of {sample} holds no skeleton of {field!r}: give another field: --skeleton"
        )
    return StoredSkeleton(found, record["parameters"]["phases"], record.get(VOXELS))
