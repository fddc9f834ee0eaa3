"""Shares of phases, interfaces and contacts in what limits a flux, and its bottlenecks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tim3d.grid import AXES
from tim3d.phases import Phases

METHOD = "squared local fall of the potential: k_eff is the least dissipation"
REFERENCE = "doi:10.1007/978-1-4757-6355-3"
ENDS = ("low", "high")
Record = Mapping[str, Any]
Found = dict[str, Any]


def sensitivity_variables(
    records: Mapping[str, Record],
    phases: Phases,
    interfaces: Sequence[str],
    spacing: Sequence[float],
) -> Found:
    """Derivatives and shares of every solution, nan where nothing flows; empty without any.

    Parameters
    ----------
    records : mapping of str to mapping
        Record of the solution along each axis.
    phases : Phases
        Names of the codes.
    interfaces : sequence of str
        Names of the interfaces, in the order of the records.
    spacing : three floats
        Edges of a voxel in nm.
    """
    if not any("sensitivity" in record for record in records.values()):
        return {}
    rows = list(records.values())
    found = {
        "conductivity_share": _phase_shares(rows, phases),
        "contact_share": (("axis", "end"), *_shares(rows, "contacts", len(ENDS), "of the outer contacts")),
        "sensitivity_certificate": (("axis",), *_certificates(rows)),
    }  # fmt: skip
    if interfaces:
        text = "of an interface: its conductance times the derivative by it"
        shares = _shares(rows, "interfaces", len(interfaces), text)
        found["interface_share"] = (("axis", "interface"), *shares)
    return found | _bottlenecks(rows, spacing)


def _phase_shares(rows: Sequence[Record], phases: Phases) -> tuple[Any, ...]:
    values = [
        [_part(row, "phases").get(str(code), 0.0) / effective(row) for code in phases.codes]
        for row in rows
    ]
    text = "share of a phase: its conductivity times the derivative by it, over k_eff"
    return ("axis", "phase"), np.array(values), about(text)


def _shares(rows: Sequence[Record], part: str, count: int, text: str) -> tuple[Any, ...]:
    values = [list(_part(row, part).values()) or [0.0] * count for row in rows]
    whole = np.array([[effective(row)] for row in rows])
    return np.array(values) / whole, about(f"share {text}, over k_eff")


def _part(row: Record, name: str) -> Mapping[str, float]:
    part: Mapping[str, float] = row.get("sensitivity", {}).get(name, {})
    return part


def effective(row: Record) -> float:
    """Effective conductivity; nan where nothing flows."""
    return float(row["conductivity"]) or math.nan


def _certificates(rows: Sequence[Record]) -> tuple[Any, ...]:
    text = "sum of all shares less 1: 0 if the derivatives are exact"
    values = [row.get("sensitivity", {}).get("certificate", math.nan) for row in rows]
    return np.array(values), about(text)


def _bottlenecks(rows: Sequence[Record], spacing: Sequence[float]) -> Found:
    """Places and shares of the worst bottlenecks; nan where there are fewer."""
    worst = [row.get("sensitivity", {}).get("worst", []) for row in rows]
    count = max(map(len, worst))
    shares = np.full((len(rows), count), math.nan)
    places = np.full((len(rows), count, 3), math.nan)
    for n, found in enumerate(worst):
        for m, (z, y, x, share) in enumerate(found):
            shares[n, m] = share
            places[n, m] = [(i + 0.5) * h for i, h in zip((z, y, x), spacing, strict=True)]
    text = "of the whole dissipation, in a cube of 8 voxels that has more than those beside it"
    at = "place of a bottleneck: centre of the voxel of the largest dissipation"
    return {
        "bottleneck_share": (("axis", "bottleneck"), shares, about(f"share {text}")),
        "bottleneck_position": (("axis", "bottleneck", "coordinate"), places, about(at, "nm")),
    }


def sensitivity_coordinates(found: Mapping[str, Any]) -> Found:
    """Coordinates of the variables that are there."""
    if "bottleneck_share" not in found:
        return {}
    return {
        "end": np.array(ENDS, dtype=object),
        "bottleneck": 1 + np.arange(found["bottleneck_share"][1].shape[1]),
        "coordinate": np.array(AXES, dtype=object),
    }


def about(long_name: str, units: str = "1") -> dict[str, str]:
    """Unit, name, method and source of a variable."""
    return {"units": units, "long_name": long_name, "method": METHOD, "reference": REFERENCE}
