"""Results of samples as tidy rows, for the screen, spreadsheets and the report."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import xarray as xr

from tim3d.storage import outputs

# Column of a number for the whole material, or for a pair of phases.
WHOLE = "whole"

# Dimensions of a variable besides phases, named in the label of its line.
ALONG = ("axis", "direction")

Place: TypeAlias = Mapping[str, str | float]


@dataclass(frozen=True, slots=True)
class Row:
    """One number: its sample, variable, coordinate along each dimension, and unit."""

    sample: str
    variable: str
    place: Place
    value: float
    units: str


@dataclass(frozen=True, slots=True)
class Line:
    """One variable of one sample: its value in each phase, or one number under `WHOLE`."""

    sample: str
    variable: str
    label: str
    units: str
    values: Mapping[str, float]


def rows(results: Mapping[str, xr.Dataset]) -> list[Row]:
    """All numbers of the results of some samples.

    Parameters
    ----------
    results : mapping of sample name to Dataset
        As from `tim3d.describe`.

    Returns
    -------
    list of Row
        One for each element of each variable; the place is the coordinate of each of its
        dimensions.

    Examples
    --------
    >>> found = xr.Dataset({"phase_fraction": ("phase", [0.25, 0.75], {"units": "1"})}, {"phase": ["pore", "solid"]})
    >>> rows({"a.zarr": found})[1]
    Row(sample='a.zarr', variable='phase_fraction', place={'phase': 'solid'}, value=0.75, units='1')
    """
    return [
        row
        for sample, dataset in results.items()
        for name, variable in dataset.data_vars.items()
        for row in _rows(sample, str(name), variable)
    ]


def _rows(sample: str, name: str, variable: xr.DataArray) -> list[Row]:
    values = np.asarray(variable.values, dtype=np.float64)
    ticks = {str(dim): _ticks(variable, str(dim)) for dim in variable.dims}
    units = str(variable.attrs.get("units", ""))
    return [
        Row(
            sample,
            name,
            {dim: t[i] for (dim, t), i in zip(ticks.items(), index, strict=True)},
            float(value),
            units,
        )
        for index, value in np.ndenumerate(values)
    ]


def _ticks(variable: xr.DataArray, dim: str) -> list[Any]:
    ticks: list[Any] = variable[dim].values.tolist()
    return ticks


def is_profile(row: Row) -> bool:
    """Whether a number belongs to a position along an axis: its coordinate is a length."""
    return any(isinstance(place, float) for place in row.place.values())


def lines(found: Iterable[Row]) -> list[Line]:
    """Lines of the numbers that are not profiles, one for each variable, axis and pair of phases.

    Interfaces appear once, in the order in which they come; nan is left out, and so is an axis
    without any number.

    >>> pair = Row("a", "interface_area", {"phase": "pore", "phase_other": "solid"}, 0.5, "nm-1")
    >>> lines([pair])[0].label, lines([pair])[0].values
    ('interface_area pore-solid', {'whole': 0.5})
    """
    kept: dict[tuple[str, str], tuple[Row, dict[str, float]]] = {}
    pairs: set[tuple[str, str, frozenset[Any] | tuple[Any, ...]]] = set()
    for row in found:
        others = [v for k, v in row.place.items() if k not in ("phase", *ALONG)]
        places = row.place.values()
        # An interface area is symmetric in its phases; a row and a column of a confusion matrix are
        # not.
        pair = (
            row.sample,
            row.variable,
            frozenset(places) if "phase_other" in row.place else tuple(places),
        )
        if is_profile(row) or (others and (pair in pairs or math.isnan(row.value))):
            continue
        pairs.add(pair)
        column = str(row.place["phase"]) if "phase" in row.place and not others else WHOLE
        kept.setdefault((row.sample, _label(row, others)), (row, {}))[1][column] = row.value
    every = [
        Line(s, row.variable, label, row.units, values)
        for (s, label), (row, values) in kept.items()
    ]
    return [line for line in every if not _is_unsolved(line)]


def _is_unsolved(line: Line) -> bool:
    """Whether a line belongs to an axis or direction without a value in any phase."""
    return line.label != line.variable and all(math.isnan(v) for v in line.values.values())


def _label(row: Row, others: Sequence[Any]) -> str:
    if others:
        return f"{row.variable} {'-'.join(map(str, row.place.values()))}"
    return " ".join([row.variable, *(str(row.place[dim]) for dim in ALONG if dim in row.place)])


def columns(found: Iterable[Line]) -> list[str]:
    """Names of the columns with entries: the phases in their order, then `WHOLE`."""
    names = dict.fromkeys(name for line in found for name in line.values)
    return [n for n in names if n != WHOLE] + [n for n in names if n == WHOLE]


def number(value: float | None) -> str:
    """A number to four significant digits; empty for nan.

    >>> number(0.35), number(12345.6), number(1.5e-7), number(float("nan"))
    ('0.3500', '1.235e+04', '1.500e-07', '')
    """
    if value is None or math.isnan(value):
        return ""
    return f"{value:#.4g}".removesuffix(".")


def text(found: Iterable[Row]) -> str:
    """A plain table of the numbers per phase; profiles are left to the CSV.

    >>> print(text([Row("a", "phase_fraction", {"phase": "pore"}, 0.25, "1")]))
    variable        units  pore
    --------------  -----  ------
    phase_fraction  1      0.2500
    """
    every = lines(found)
    names = columns(every)
    several = len({line.sample for line in every}) > 1
    header = [*(["sample"] if several else []), "variable", "units", *names]
    body = [
        [
            *([line.sample] if several else []),
            line.label,
            line.units,
            *(number(line.values.get(name)) for name in names),
        ]
        for line in every
    ]
    return "\n".join(aligned([header, [], *body]))


def aligned(cells: Sequence[Sequence[str]]) -> list[str]:
    """Lines of padded cells; an empty line becomes a rule."""
    widths = [max(len(row[i]) for row in cells if row) for i in range(len(cells[0]))]
    filled = [row or ["-" * w for w in widths] for row in cells]
    return [
        "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in filled
    ]


def write_csv(found: Sequence[Row], path: str | Path) -> None:
    """Write all rows, profiles too: sample, variable, a column for each dimension, value, units.

    A number is written with all its digits; nan is left empty.

    Raises
    ------
    ArgumentError
        If `tim3d.storage.outputs.check_target` refuses the path.
    WriteError
        If the file cannot be written.
    """
    dims = list(dict.fromkeys(dim for row in found for dim in row.place))
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["sample", "variable", *dims, "value", "units"])
    for row in found:
        value = "" if math.isnan(row.value) else repr(row.value)
        writer.writerow(
            [row.sample, row.variable, *(row.place.get(d, "") for d in dims), value, row.units]
        )
    outputs.write_file(path, text.getvalue().encode(), outputs.TABLE)
