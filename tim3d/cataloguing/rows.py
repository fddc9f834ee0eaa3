"""A library as a Dataset: a row for each generator."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tim3d.cataloguing.copying import DISTANCES
from tim3d.cataloguing.entries import Entry, entries, unfinished
from tim3d.cataloguing.judging import THREE_D, current_judgement, state_of
from tim3d.kernels.statistics import comparison as law
from tim3d.lazy import xarray as xr
from tim3d.storage.schema import AXES, UNIT

# Errors of the phase fraction in MicroLib: 77 generators of two phases, 50 volumes of 512^3 voxels
# each, against their images; recomputed from the figures that ImageRep publishes of it.
MICROLIB = {"mean": 0.0175, "median": 0.013, "p90": 0.035, "largest": 0.063, "generators": 77}
REFERENCE = "doi:10.1038/s41597-022-01744-1"
QUANTITIES = tuple(dict.fromkeys((*law.GOALS, *law.GREY_GOALS)))
TEXTS = {
    "micrograph": "files of the images",
    "licence": "terms under which the images may be passed on",
    "origin": "where the images come from",
    "phases": "names and values in the image; empty for grey values",
    "network": "architecture of the generator",
    "state": "evaluated, not evaluated, outdated (generator or image was replaced), or what is wrong, and the cure",
}


def dataset(library: Path) -> xr.Dataset:
    """Everything known of the generators, over ``generator``; nan where nothing was judged.

    Trainings that are unfinished have a row as well.
    """
    known = _known(library)
    judged = [current_judgement(entry) for entry in known]
    variables: dict[str, Any] = {}
    for name, meaning in TEXTS.items():
        texts = np.array([_text(name, entry) for entry in known], object)
        variables[name] = ("generator", texts, {"long_name": meaning})
    described = [None if entry.fault else entry.described() for entry in known]
    for place, axis in enumerate(AXES):
        edges = [math.nan if one is None else one.spacing_nm[place] for one in described]
        variables[f"voxel_{axis}"] = _numbers(edges, UNIT, "edge of a voxel")
    for name, meaning in (
        ("volumes", "volumes that were compared"),
        ("edge", "edge of these volumes in voxels"),
        ("seed", "seed of the first of them"),
        ("reached", "comparisons within their goals"),
        ("judged", "comparisons that have a goal"),
    ):
        counts = [math.nan if one is None else float(getattr(one, name)) for one in judged]
        variables[name] = _numbers(counts, "1", meaning)
    for name in (q for q in QUANTITIES if any(one and q in one.deviations for one in judged)):
        values = [math.nan if one is None else one.deviations.get(name, math.nan) for one in judged]
        variables[f"{name}_deviation"] = _numbers(
            values,
            "1",
            "mean of the volumes against the image, the largest over slices and phases; docs/fidelity.md",
        )
    for name in dict.fromkeys(name for one in judged if one for name in one.three_d):
        values = [math.nan if one is None else one.three_d.get(name, math.nan) for one in judged]
        about = f"3-D value, mean over the volumes: {THREE_D[name.partition('.')[0]]}"
        variables[name] = _numbers(values, "1", about)
    for name in dict.fromkeys(name for one in judged if one for name in one.copies):
        values = [math.nan if one is None else one.copies.get(name, math.nan) for one in judged]
        variables[name] = _numbers(values, "1", DISTANCES[name])
    return xr.Dataset(
        variables,
        {"generator": np.array([entry.name for entry in known], object)},
        {
            "kind": "library",
            "folder": str(library),
            "reference": REFERENCE,
            **{f"microlib_{key}": value for key, value in MICROLIB.items()},
        },
    )


def _known(library: Path) -> list[Entry]:
    return sorted([*entries(library), *unfinished(library)], key=lambda entry: entry.name)


def _numbers(
    values: Sequence[float], units: str, meaning: str
) -> tuple[str, np.ndarray, dict[str, str]]:
    return ("generator", np.array(values, np.float64), {"units": units, "long_name": meaning})


def _text(name: str, entry: Entry) -> str:
    if name == "micrograph":
        return " ".join(entry.micrographs)
    if name == "phases":
        return ",".join(f"{phase}={value}" for phase, value in entry.phases.items())
    if name in ("licence", "origin"):
        return str(getattr(entry, name))
    if name == "network":
        return "" if entry.fault else entry.described().architecture.name
    return state_of(entry)
