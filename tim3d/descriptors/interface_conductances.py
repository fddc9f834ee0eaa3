"""Interfaces and contacts of particles that a solution of the flux has met, as variables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tim3d.phases import Phases

KAPITZA = "doi:10.1103/RevModPhys.61.605"
TRUE = "faces over |nx| + |ny| + |nz| of the normal of the smoothed label"
AREAS = {
    "interface_area_faces": "area of the voxel faces of an interface with a resistance",
    "interface_area_true": "area of an interface with a resistance, on which its conductance acts",
}
# Name, key in the record, unit and meaning of the statistics of contacts.
CONTACTS = (
    ("flux_particle_count", "particles", "1", "particles of phases of which contacts resist"),
    ("flux_contact_count", "contacts", "1", "pairs of particles that touch"),
    ("flux_contact_area", "area", "nm2", "area of all contacts, by their normals"),
    ("flux_contact_count_narrow", "narrow", "1", "contacts of a radius below 2 voxels"),
    ("flux_particle_voxels_missing", "unassigned", "1", "voxels of these phases in no particle"),
)


def interface_variables(record: Mapping[str, Any], area: str) -> dict[str, Any]:
    """Areas of interfaces by `interface`, and statistics of contacts; empty without any.

    Parameters
    ----------
    record : mapping
        Record of a solution.
    area : {"faces", "normal"}
        Area on which the conductances act.
    """
    areas = record.get("interfaces", {})
    found: dict[str, Any] = {}
    if areas:
        by_faces, true = zip(*areas.values(), strict=True)
        about = [_about("nm2", text) for text in AREAS.values()]
        if area == "faces":
            about[1]["method"] = "that of the voxel faces was chosen"
        found["interface_area_faces"] = (("interface",), np.array(by_faces), about[0])
        found["interface_area_true"] = (("interface",), np.array(true), about[1])
    return found | _contacts(record.get("contacts", {}))


def interface_names(record: Mapping[str, Any], phases: Phases) -> Sequence[str]:
    """Names of the interfaces of a record, as they are typed."""
    names = {code: name for name, code in phases.items()}
    pairs = [map(int, pair.split(":")) for pair in record.get("interfaces", {})]
    return [":".join(names[code] for code in pair) for pair in pairs]


def _contacts(found: Mapping[str, Any]) -> dict[str, Any]:
    if not found:
        return {}
    single: dict[str, Any] = {
        name: ((), found[key], _about(unit, text)) for name, key, unit, text in CONTACTS
    }
    mean = 2 * found["contacts"] / found["particles"] if found["particles"] else math.nan
    text = "contacts of a particle: mean over all particles"
    single["flux_coordination_mean"] = ((), mean, _about("1", text))
    counts = np.array(found["coordination"], np.int64)
    text = "particles by their number of contacts"
    return single | {"flux_coordination": (("neighbours",), counts, _about("1", text))}


def _about(units: str, long_name: str) -> dict[str, str]:
    return {"units": units, "long_name": long_name, "method": TRUE, "reference": KAPITZA}
