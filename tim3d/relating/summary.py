"""Mean and scatter of every number over samples that are repetitions of each other."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

import numpy as np

from tim3d.lazy import xarray as xr
from tim3d.relating.files import numeric
from tim3d.stages.shared.wide_table import cell
from tim3d.storage import outputs

COLUMNS = (
    "number", "unit", "samples", "mean", "standard_deviation", "standard_error", "lowest", "highest"
)  # fmt: skip
_HEAD = ",".join(COLUMNS)
SUMMARY = outputs.Kind(
    "a summary of samples of tim3d", lambda data: data.startswith(_HEAD.encode())
)


def summary_of(table: xr.Dataset) -> xr.Dataset:
    """Statistics over the samples of a table, a place of `number` for each column of numbers.

    The standard deviation has n - 1 below, and is nan of one sample; a missing value is left out.

    Examples
    --------
    >>> table = xr.Dataset({"k": ("sample", [1.0, 2.0, 3.0], {"units": "W m-1 K-1"})})
    >>> found = summary_of(table).sel(number="k")
    >>> float(found["mean"]), float(found.standard_deviation), str(found.unit.values)
    (2.0, 1.0, 'W m-1 K-1')
    """
    names = list(numeric(table))
    rows = [_row(np.asarray(table[n].values, np.float64)) for n in names]
    units = [str(table[n].attrs.get("units", "1")) for n in names]
    return xr.Dataset(
        {
            "unit": ("number", np.array(units, object)),
            **{
                name: ("number", np.array([row[place] for row in rows]))
                for place, name in enumerate(COLUMNS[2:])
            },
        },
        {"number": np.array(names, object)},
    )


def _row(values: np.ndarray) -> tuple[float, ...]:
    known = values[~np.isnan(values)]
    count = len(known)
    if not count:
        return (0, *[math.nan] * 5)
    spread = float(known.std(ddof=1)) if count > 1 else math.nan
    error = spread / math.sqrt(count)
    return (count, float(known.mean()), spread, error, float(known.min()), float(known.max()))


def write_summary(table: xr.Dataset, target: Path | None) -> None:
    """Write a row for each number of a table; nan is left empty."""
    if target is None:
        return
    found, text = summary_of(table), io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for number in found["number"].values.tolist():
        row = found.sel(number=number)
        writer.writerow([number, *(cell(row[n].values.item()) for n in COLUMNS[1:])])
    content = text.getvalue().encode()
    outputs.write_file(target, content, SUMMARY)
