"""Shares of single particles and of the contacts between them in what limits a flux."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tim3d.descriptors.sensitivities import about, effective

Record = Mapping[str, Any]
Found = dict[str, Any]
BOTH = ("axis", "contact")


def particle_share_variables(records: Mapping[str, Record], spacing: Sequence[float]) -> Found:
    """Share of each particle and contact along each axis, nan where a solution has not met it.

    Parameters
    ----------
    records : mapping of str to mapping
        Record of the solution along each axis; under ``single`` its tables of particles (number,
        dissipation; 0 for voxels without one) and of contacts (two numbers, area, dissipation,
        voxel along z, y, x).
    spacing : three floats
        Edges of a voxel in nm.

    Returns
    -------
    dict of str to tuple
        Variables by name; empty where no particles resist.
    """
    rows = list(records.values())
    if not any("single" in row for row in rows):
        return {}
    numbers, particles = _particles(rows)
    found = _contacts(rows, spacing)
    text = (
        "of a particle: its conductivity times the derivative by that of all its voxels, over k_eff"
    )
    named = numbers > 0
    found["particle"] = (("particle",), numbers[named], {})
    shares = particles[:, named]
    found["flux_particle_share"] = (("axis", "particle"), shares, about(f"share {text}"))
    found["flux_particle_share_largest"] = (
        ("axis",),
        _largest(shares),
        about("largest share of a particle"),
    )
    text = "share of the voxels of phases with particles that are in none, over k_eff"
    found["flux_particle_share_missing"] = (("axis",), particles[:, ~named].sum(1), about(text))
    text = "sum of the shares of particles and contacts over that of their phases and interfaces, less 1"
    found["flux_particle_certificate"] = (("axis",), _certificates(rows), about(text))
    return found


def _particles(rows: Sequence[Record]) -> tuple[Any, Any]:
    tables = [_table(row, "particles", 2) for row in rows]
    numbers = np.unique(np.concatenate([table[:, 0] for table in tables])).astype(np.int64)
    shares = np.full((len(rows), len(numbers)), np.nan)
    for n, (row, table) in enumerate(zip(rows, tables, strict=True)):
        shares[n, np.searchsorted(numbers, table[:, 0])] = table[:, 1] / effective(row)
    return numbers, shares


def _contacts(rows: Sequence[Record], spacing: Sequence[float]) -> Found:
    tables = [_table(row, "contacts", 7) for row in rows]
    every = np.concatenate([table[:, :2] for table in tables])
    pairs, place = np.unique(every, axis=0, return_inverse=True)
    area, shares = np.zeros(len(pairs)), np.full((len(rows), len(pairs)), np.nan)
    at = np.full((*shares.shape, 3), np.nan)
    ends = np.cumsum([0, *map(len, tables)])
    for n, (row, table) in reversed(list(enumerate(zip(rows, tables, strict=True)))):
        which = place.ravel()[ends[n] : ends[n + 1]]
        area[which], shares[n, which] = table[:, 2], table[:, 3] / effective(row)
        met = np.where(table[:, 4:] < 0, np.nan, table[:, 4:])
        at[n, which] = (met + 0.5) * np.array(spacing)
    text = "of a contact of two particles: its conductance times the derivative by it, over k_eff"
    where = "centre of the voxel in which a contact of two particles dissipates most"
    first, second = pairs.T.astype(np.int64)
    return {
        "flux_contact_first": (("contact",), first, about("number of the one particle")),
        "flux_contact_second": (("contact",), second, about("number of the other particle")),
        "flux_contact_area_each": (("contact",), area, about("area of a contact, by its normals", "nm2")),
        "flux_contact_share": (BOTH, shares, about(f"share {text}")),
        "flux_contact_position": ((*BOTH, "coordinate"), at, about(where, "nm")),
        "flux_contact_share_largest": (("axis",), _largest(shares), about("largest share of a contact")),
    }  # fmt: skip


def _table(row: Record, name: str, columns: int) -> Any:
    return row.get("single", {}).get(name, np.zeros((0, columns)))


def _largest(shares: Any) -> Any:
    return np.array([max(row[np.isfinite(row)], default=np.nan) for row in shares])


def _certificates(rows: Sequence[Record]) -> Any:
    return np.array([_certificate(row) if "single" in row else math.nan for row in rows])


def _certificate(row: Record) -> float:
    """Sum over particles and contacts, against the phases and interfaces of these particles."""
    parts = row["sensitivity"]
    pairs = [pair.split(":") for pair in parts["interfaces"]]
    codes = [one for one, other in pairs if one == other]
    whole = sum(parts["phases"].get(c, 0.0) + parts["interfaces"][f"{c}:{c}"] for c in codes)
    single = math.fsum(row["single"]["particles"][:, 1]) + math.fsum(
        row["single"]["contacts"][:, 3]
    )
    return float(single / whole) - 1
