"""Descriptions of samples and their metadata as one table."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tim3d.descriptors.coupled import Descriptors
from tim3d.errors import InputError
from tim3d.lazy import xarray as xr
from tim3d.relating.evaluations import scores_of
from tim3d.relating.files import read_table
from tim3d.relating.stacked import stacked
from tim3d.reporting.table import is_profile, rows
from tim3d.stages.measurement.describe import describe
from tim3d.storage.files import twice

log = logging.getLogger(__name__)
# Conditions of a measurement that change its value and not its meaning.
INPUTS = {"conductivity", "tolerance", "interface", "contact"}
TEXT = {"units", "long_name", "method", "reference"}
# Columns of texts that say how a number was measured.
SAYS_HOW = ("metric", "definition", "method")


def collected(
    samples: Sequence[str],
    descriptors: Descriptors | None,
    field: str,
    transport: str,
    metadata: str | Path | None,
    *,
    evaluation: str = "",
    axes: bool = False,
) -> xr.Dataset:
    """Every number of every sample that is not a profile, and metadata, as variables over `sample`.

    The name of a column is the variable and its place, as ``geodesic_tortuosity.copper.+z``. A
    column that was measured in different ways has the attribute `differs`. With `axes` every
    variable keeps its dimensions, and profiles and standard errors are there too.

    Raises
    ------
    InputError
        If two samples have one name, or the metadata lack a sample.
    """
    found = {}
    for name, sample in zip(names_of(samples), samples, strict=True):
        scores = scores_of(sample, field, evaluation) if evaluation else xr.Dataset()
        numbers = describe(sample, descriptors, field=field, transport=transport, plain=not axes)
        found[name] = numbers.merge(scores, join="outer")
    table = stacked(found, _described) if axes else _wide(found)
    return table if metadata is None else with_metadata(table, samples, metadata)


def names_of(samples: Sequence[str]) -> list[str]:
    """Names of the files without their ending; paths where two files are named alike.

    Raises
    ------
    InputError
        If one sample is given twice.
    """
    samples = [s.rstrip("/") for s in samples]
    if again := twice(samples):
        raise InputError(f"sample {again!r} is given twice: give it once")
    stems = [_stem(s) for s in samples]
    return [s if stems.count(n) > 1 else n for s, n in zip(samples, stems, strict=True)]


def _stem(sample: str) -> str:
    return Path(sample.rstrip("/")).name.removesuffix(".zarr")


def _wide(found: Mapping[str, xr.Dataset]) -> xr.Dataset:
    cells: dict[str, dict[str, float]] = {}
    about: dict[str, dict[str, Mapping[str, Any]]] = {}
    for row in rows(found):
        if is_profile(row) or math.isnan(row.value):
            continue
        name = ".".join([row.variable, *map(str, row.place.values())])
        if _is_mirrored(row.place, row.variable, cells):
            continue
        cells.setdefault(name, {})[row.sample] = row.value
        about.setdefault(name, {})[row.sample] = found[row.sample][row.variable].attrs
    table = xr.Dataset(coords={"sample": np.array(list(found), object)})
    for name, known in cells.items():
        values = np.array([known.get(s, math.nan) for s in found])
        table[name] = ("sample", values, _described(about[name]))
    for key, texts in _metrics(about, list(found)).items():
        table[key] = ("sample", np.array(texts, object))
    return table


def _is_mirrored(place: Mapping[str, Any], variable: str, cells: Mapping[str, Any]) -> bool:
    """Whether a number of two phases is there already in the other order."""
    if "phase_other" not in place:
        return False
    return ".".join([variable, *map(str, list(place.values())[::-1])]) in cells


def _described(about: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Attributes of a column, from those of its variable in every sample."""
    first = next(iter(about.values()))
    kept = {
        key: str(first[key]) for key in (*TEXT, "conditions", "ancillary_variables") if key in first
    }
    said = {sample: _definition(one) for sample, one in about.items()}
    differing = [
        k for k in dict.fromkeys(k for one in said.values() for k in one) if _differ(said, k)
    ]
    # The metric says more than the sentence on the method.
    for key in sorted(differing, key=lambda k: k != "metric")[:1]:
        kept["differs"] = _difference(said, key)
    return kept


def _differ(said: Mapping[str, Mapping[str, str]], key: str) -> bool:
    return len({one.get(key) for one in said.values()}) > 1


def _difference(said: Mapping[str, Mapping[str, str]], key: str) -> str:
    """Statements of samples that differ, each with its samples."""
    by: dict[str, list[str]] = {}
    for sample, one in said.items():
        by.setdefault(one.get(key, "not said"), []).append(sample)
    parts = [f"{value!r} in {', '.join(samples[:3])}" for value, samples in by.items()]
    return f"{key} is {' and '.join(parts)}"


def _definition(attributes: Mapping[str, Any]) -> dict[str, str]:
    """Unit, method and conditions, which are the same in samples that are compared."""
    parts = str(attributes.get("conditions", "")).split("; ")
    said = dict(p.split(": ", 1) for p in parts if ": " in p)
    own = {k: str(attributes[k]) for k in ("units", "method") if k in attributes}
    return {k: v for k, v in said.items() if k not in INPUTS} | own


def _metrics(
    about: Mapping[str, Mapping[str, Mapping[str, Any]]], samples: Sequence[str]
) -> dict[str, list[str]]:
    """The metric of geodesic distances by sample: a table in a file keeps it too."""
    said = {
        sample: _definition(one).get("metric", "")
        for by in about.values() for sample, one in by.items() if "metric" in _definition(one)
    }  # fmt: skip
    return {"geodesic_metric": [said.get(s, "") for s in samples]} if said else {}


def with_metadata(table: xr.Dataset, samples: Sequence[str], path: str | Path) -> xr.Dataset:
    """Columns of another table, whose rows are named as the samples or their files.

    Raises
    ------
    InputError
        If a sample has no row, or both have a column of one name.
    """
    given = read_table(path)
    known = given["sample"].values.tolist()
    names = table["sample"].values.tolist()
    order = [
        next((known.index(n) for n in (name, sample, Path(sample).name, _stem(sample)) if n in known), None)
        for name, sample in zip(names, samples, strict=True)
    ]  # fmt: skip
    if missing := [n for n, place in zip(names, order, strict=True) if place is None]:
        raise InputError(
            f"{path} has no row for {', '.join(missing)} (it has {', '.join(known[:6])}). Name its rows as the samples"
        )
    if unused := [n for n in known if known.index(n) not in order]:
        log.warning("%s has rows without a sample: %s", path, ", ".join(unused))
    if both := sorted(set(map(str, given.data_vars)) & set(map(str, table.data_vars))):
        raise InputError(
            f"{path} and the samples both have a column {both[0]!r}: rename it in {path}"
        )
    rows_of = given.isel(sample=[p for p in order if p is not None])
    return table.merge(rows_of.assign_coords(sample=table["sample"]))


def refuse_mixed(table: xr.Dataset, names: Sequence[str]) -> None:
    """Refuse columns that were measured in different ways.

    Raises
    ------
    InputError
        If a column has the attribute `differs`, or a column of texts that says how something was
        measured holds several.
    """
    for name in names:
        if differs := table[name].attrs.get("differs"):
            raise InputError(
                f"{name} was not measured alike: {differs}. Such numbers are not compared: measure "
                "them alike, or leave it out"
            )
    for key, variable in table.data_vars.items():
        if variable.dtype.kind in "fiub" or not str(key).lower().endswith(SAYS_HOW):
            continue
        said = list(dict.fromkeys(v for v in variable.values.tolist() if v))
        about = str(key).lower().rpartition("_")[0]
        if len(said) > 1 and any(about in n.lower() for n in names):
            raise InputError(
                f"{key} is {' and '.join(map(repr, said))}: such numbers are not compared. Take samples of one {key}"
            )
