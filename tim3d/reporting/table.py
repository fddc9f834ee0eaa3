"""Results of samples as tidy rows, for the screen, spreadsheets and the report."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from tim3d.descriptors.uncertainty import HIGH, LEVEL, LOW, is_error, uncertainty_of
from tim3d.lazy import xarray as xr
from tim3d.storage import outputs
from tim3d.units import Shown, fitting, quotient

# Column of a number for the whole material, or for a pair of phases.
WHOLE = "whole"

# Columns of a tidy table before and after those of the dimensions, and attributes of a variable
# that the last three hold.
FIRST = ("sample", "variable", "region")
ABOUT = {"definition": "long_name", "method": "method", "reference": "reference"}
LAST = ("value", "units", "uncertainty", "uncertainty_kind", *ABOUT)

# Dimensions of a variable besides phases, named in the label of its line.
ALONG = (
    *("axis", "axis_other", "direction"),
    *("quadrant", "certificate", "principal", "triple"),
)

# Variables that are yes or no, and those that count something.
FLAGS = ("percolates", "flux_percolates", "geodesic_percolates")
COUNTS = (
    *("iterations", "geodesic_unreached_voxels", "component_count"),
    *("particle_count", "particle_count_inside", "contact_count"),
    *("flux_particle_count", "flux_contact_count", "flux_contact_count_narrow"),
    *("flux_particle_voxels_missing", "flux_coordination"),
)

Place: TypeAlias = Mapping[str, str | float]


@dataclass(frozen=True, slots=True)
class Row:
    """One number: its sample, variable, coordinate along each dimension, unit and uncertainty.

    The uncertainty is in the same unit, nan where none is known; its kind is in words. `about` has
    the definition, method and reference.
    """

    sample: str
    variable: str
    place: Place
    value: float
    units: str
    uncertainty: float = math.nan
    uncertainty_kind: str = ""
    region: str = ""
    about: tuple[str, str, str] = ("", "", "")


@dataclass(frozen=True, slots=True)
class Line:
    """One variable of one sample: its value in each phase, or one number under `WHOLE`."""

    sample: str
    variable: str
    label: str
    units: str
    values: Mapping[str, float]
    errors: Mapping[str, float] = field(default_factory=dict)
    kind: str = ""


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
        dimensions. A standard error has no row of its own: it stands beside its number.

    Examples
    --------
    >>> found = xr.Dataset({"phase_fraction": ("phase", [0.25, 0.75], {"units": "1"})}, {"phase": ["pore", "solid"]})
    >>> one = rows({"a.zarr": found})[1]
    >>> one.variable, one.place, one.value, one.units
    ('phase_fraction', {'phase': 'solid'}, 0.75, '1')
    """
    return [
        row
        for sample, dataset in results.items()
        for name in dataset.data_vars
        if not is_error(str(name), dataset)
        for row in _rows(sample, str(name), dataset)
    ]


def region_text(found: xr.Dataset) -> str:
    """Faces of the region that results are of, in nm; empty if they do not state it.

    >>> region_text(xr.Dataset(attrs={"origin_nm": [0, 0, 80], "end_nm": [640, 320, 160]}))
    'z 0:640, y 0:320, x 80:160 nm'
    """
    start, end = found.attrs.get("origin_nm"), found.attrs.get("end_nm")
    if start is None or end is None:
        return ""
    parts = zip("zyx", start, end, strict=True)
    return ", ".join(f"{axis} {low:.10g}:{high:.10g}" for axis, low, high in parts) + " nm"


def _rows(sample: str, name: str, found: xr.Dataset) -> list[Row]:
    variable, known = found[name], uncertainty_of(name, found)
    values = np.asarray(variable.values, dtype=np.float64)
    errors = np.full(values.shape, np.nan)
    if known is not None:
        errors = np.broadcast_to(known.values.transpose(*variable.dims).values, values.shape)
    ticks = {str(dim): _ticks(variable, str(dim)) for dim in variable.dims}
    units = str(variable.attrs.get("units", ""))
    region = region_text(found)
    about = definition_of(variable)
    return [
        Row(
            sample,
            name,
            {dim: t[i] for (dim, t), i in zip(ticks.items(), index, strict=True)},
            float(value),
            units,
            float(errors[index]),
            known.kind if known is not None and math.isfinite(errors[index]) else "",
            region,
            about,
        )
        for index, value in np.ndenumerate(values)
    ]


def definition_of(variable: xr.DataArray) -> tuple[str, str, str]:
    """Definition, method and reference of a variable; empty where it does not state them."""
    what, how, where = (str(variable.attrs.get(name, "")) for name in ABOUT.values())
    return what, how, where


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
    kept: dict[tuple[str, str], dict[str, Row]] = {}
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
        kept.setdefault((row.sample, _label(row, others)), {})[column] = row
    every = [_line(sample, label, by_column) for (sample, label), by_column in kept.items()]
    return [line for line in every if not _is_unsolved(line)]


def _line(sample: str, label: str, found: Mapping[str, Row]) -> Line:
    first = next(iter(found.values()))
    return Line(
        sample,
        first.variable,
        label,
        first.units,
        {column: row.value for column, row in found.items()},
        {c: row.uncertainty for c, row in found.items() if math.isfinite(row.uncertainty)},
        next((row.uncertainty_kind for row in found.values() if row.uncertainty_kind), ""),
    )


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


def units_of(found: Iterable[Line]) -> dict[str, Shown]:
    """Unit in which all numbers of a stored unit are shown in one table."""
    values: dict[str, list[float]] = {}
    for line in found:
        values.setdefault(line.units, []).extend(line.values.values())
    return {units: fitting(units, each) for units, each in values.items()}


def cell(line: Line, column: str, factor: float) -> tuple[str, str]:
    """A number in the unit of its table, and its uncertainty to two digits; empty if not known.

    >>> cell(Line("", "s", "s", "nm-1", {"a": 0.0103}, {"a": 0.00021}), "a", 1e3)
    ('10.30', '0.21')
    """
    value, error = line.values.get(column), line.errors.get(column)
    shown = "" if value is None else as_text(line.variable, value * factor)
    return shown, "" if error is None or not shown else f"{error * factor:#.2g}".removesuffix(".")


def as_text(name: str, value: float) -> str:
    """A value of a variable: flags in words, counts with all digits, others with four.

    >>> as_text("percolates", 1.0), as_text("component_count", 12345.0), as_text("k", 2.0)
    ('yes', '12345', '2.000')
    """
    if math.isnan(value):
        return ""
    if name in FLAGS:
        return "yes" if value else "no"
    return f"{value:.0f}" if name in COUNTS and math.isfinite(value) else number(value)


def text(found: Iterable[Row]) -> str:
    """A plain table of the numbers per phase, in units that fit; profiles are left to the CSV.

    >>> print(text([Row("a", "specific_surface", {"phase": "pore"}, 0.025, "nm-1")]))
    variable          units  pore
    ----------------  -----  -----
    specific_surface  µm-1   25.00
    """
    both = lines(found)
    limits = _limits(both)
    every = [line for line in both if line.label not in {x.label for pair in limits for x in pair}]
    return "\n".join([*_numbers(every), *_intervals(every, limits)])


def _limits(every: Sequence[Line]) -> list[tuple[Line, Line]]:
    """Lines of the lower and the upper limit of an interval, where both are there."""
    known = {(line.sample, line.label): line for line in every}
    pairs = []
    for line in every:
        above = line.label.replace(f"{LOW}", f"{HIGH}", 1)
        of = line.label.replace(f"{LOW}", "", 1)
        there = line.variable.endswith(LOW) and (line.sample, of) in known
        if there and (line.sample, above) in known:
            pairs.append((line, known[line.sample, above]))
    return pairs


def _intervals(every: Sequence[Line], limits: Sequence[tuple[Line, Line]]) -> list[str]:
    """Table of the intervals, in the units of the numbers; nothing without any."""
    if not limits:
        return []
    names, units = columns(every), units_of(every)
    several = len({line.sample for line in every}) > 1
    header = [*(["sample"] if several else []), f"{100 * LEVEL:g} % of the draws", "units", *names]
    body = [
        [
            *([low.sample] if several else []),
            low.label.replace(LOW, "", 1),
            quotient(units[low.units].units),
            *(_interval(low, high, name, units[low.units].factor) for name in names),
        ]
        for low, high in limits
    ]
    return ["", *aligned([header, [], *body])]


def _interval(low: Line, high: Line, column: str, factor: float) -> str:
    ends = [one.values.get(column, math.nan) * factor for one in (low, high)]
    return "" if any(map(math.isnan, ends)) else " to ".join(map(number, ends))


def _numbers(every: Sequence[Line]) -> list[str]:
    """Table of the numbers with their errors."""
    names, units = columns(every), units_of(every)
    several = len({line.sample for line in every}) > 1
    kinds = [""] * any(line.kind for line in every)
    header = [*(["sample"] if several else []), "variable", "units", *names, *("±" for _ in kinds)]
    body = [
        [
            *([line.sample] if several else []),
            line.label,
            quotient(units[line.units].units),
            *(
                " ± ".join(filter(None, cell(line, name, units[line.units].factor)))
                for name in names
            ),
            *(line.kind for _ in kinds),
        ]
        for line in every
    ]
    return aligned([header, [], *body])


def aligned(cells: Sequence[Sequence[str]]) -> list[str]:
    """Lines of padded cells; an empty line becomes a rule."""
    widths = [max(len(row[i]) for row in cells if row) for i in range(len(cells[0]))]
    filled = [row or ["-" * w for w in widths] for row in cells]
    return [
        "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in filled
    ]


def write_csv(found: Sequence[Row], path: str | Path) -> None:
    """Write all rows, profiles too, in stored units.

    Columns: those of `FIRST`, one for each dimension, those of `LAST`: as `export` writes them. A number
    is written with all its digits; nan is left empty.

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
    writer.writerow([*FIRST, *dims, *LAST])
    for row in found:
        place = [row.place.get(d, "") for d in dims]
        numbers = [_digits(row.value), row.units, _digits(row.uncertainty), row.uncertainty_kind]
        first = [row.sample, row.variable, row.region or WHOLE]
        writer.writerow([*first, *place, *numbers, *row.about])
    outputs.write_file(path, text.getvalue().encode(), outputs.TABLE)


def _digits(value: float) -> str:
    return "" if math.isnan(value) else repr(value)
