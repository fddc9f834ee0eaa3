"""Fields of distances that a sample has, as what follows from them reads them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from tim3d.errors import ArgumentError
from tim3d.grid import Triple, triple
from tim3d.stages.shared.one_phase import refuse_one_phase
from tim3d.storage import store
from tim3d.storage.schema import Field, Spacing

# Entry of the record of a field of distances: the largest one in each phase, in nm.
LARGEST = "largest"


@dataclass(frozen=True)
class StoredDistances:
    """A field of distances, the label fields and phases that it is of, and the largest distance in each.

    `largest` is None where the field is planned only.
    """

    field: Field
    inputs: Mapping[str, str]
    phases: Mapping[str, int]
    largest: Mapping[str, float] | None


def stored_distances(sample: str, name: str) -> StoredDistances:
    """The field of distances of this name.

    Raises
    ------
    MissingFieldError
        If it is missing; the message names the command that makes it.
    InputError
        If it is missing because its labels are of one phase.
    ArgumentError
        If the field holds no distances.
    """
    _refuse_one_phase(sample, name)
    field = store.complete_field(sample, name, "distance")
    record = store.node_attributes(sample, name)
    if record.get("verb") != "distance":
        raise ArgumentError(
            f"{name!r} of {sample} holds no distances: make them with  tim3d distance {sample}  and name them by "
            "--distance"
        )
    phases = record["parameters"]["phases"]
    return StoredDistances(field, record["inputs"], phases, record.get(LARGEST))


def _refuse_one_phase(sample: str, name: str) -> None:
    """Refuse what needs distances that there cannot be, instead of an advice to make them."""
    labels = name.rpartition("_distance")[0]
    if labels and not store.node_attributes(sample, name):
        refuse_one_phase(sample, labels)


def name_instead(distance: str, kind: str) -> str:
    """Name of a field of another kind that is made from a field of distances.

    >>> name_instead("phase_distance_phases=solid", "skeleton"), name_instead("edt", "thickness")
    ('phase_skeleton_phases=solid', 'edt_thickness')
    """
    before, found, after = distance.rpartition("_distance")
    return f"{before}_{kind}{after}" if found else f"{distance}_{kind}"


def halo_within(reach: float, shape: Triple, spacing: Spacing) -> Triple:
    """Voxels within a distance in nm, not more than the volume has.

    >>> halo_within(25.0, (100, 100, 4), (20.0, 10.0, 5.0))
    (2, 3, 4)
    """
    return triple(min(n, math.floor(reach / s) + 1) for n, s in zip(shape, spacing, strict=True))
