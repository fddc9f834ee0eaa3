"""CSV files of tables of slices: one row a slice, one column a quantity."""

from __future__ import annotations

import csv
import hashlib
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tim3d.errors import InputError
from tim3d.lazy import xarray as xr

SLICE = "slice"


def digest_of(path: str | Path) -> str:
    """Digest of the bytes of a file.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    return f"sha256:{hashlib.sha256(_content(path)).hexdigest()}"


def _content(path: str | Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error


def read_table(path: str | Path, columns: Sequence[str], slices: int) -> xr.Dataset:
    """Columns of a table, one number for each slice, in the order of the slices.

    Other columns are ignored, as those that explain the table.

    Raises
    ------
    InputError
        If a column or a slice is missing, double or unknown, or a cell is not a finite number.
    """
    try:
        text = _content(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not text in UTF-8: save the table as CSV (UTF-8)") from error
    rows = list(csv.DictReader(text.splitlines()))
    names = list(rows[0]) if rows else []
    if any(";" in name for name in names):
        raise InputError(
            f"{path} has semicolons between its columns: save it with commas, and decimal points"
        )
    if missing := [name for name in (SLICE, *columns) if name not in names]:
        raise InputError(
            f"{path} has no column {missing[0]!r}: its first line must name {', '.join([SLICE, *columns])}"
        )
    found = {name: np.array([_number(path, row, name) for row in rows]) for name in columns}
    order = np.array([_number(path, row, SLICE) for row in rows])
    if not np.array_equal(np.sort(order), np.arange(slices)):
        wrong = sorted({*range(slices)} ^ {*order.tolist()})
        twice = sorted({z for z in order.tolist() if (order == z).sum() > 1})
        seen = f"two rows for slice {twice[0]:g}" if twice else f"{len(order)} rows"
        first = f"; the first that is missing or beyond is {wrong[0]:g}" if wrong else ""
        raise InputError(f"{path} has {seen}; expected one for each slice 0 to {slices - 1}{first}")
    place = np.argsort(order)
    return xr.Dataset({name: ("z", values[place]) for name, values in found.items()})


def _number(path: str | Path, row: dict[str, str], name: str) -> float:
    try:
        value = float(row[name])
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise InputError(
            f"{path}: slice {row.get(SLICE)!r} has {name} {row[name]!r}; expected a finite number"
        )
    return value


def csv_of(table: xr.Dataset) -> bytes:
    """All columns over z of a table as CSV, with full precision."""
    names = [str(name) for name, one in table.data_vars.items() if one.dims == ("z",)]
    columns = [table[name].values.tolist() for name in names]
    rows = [
        ",".join([str(z), *map(repr, cells)]) for z, cells in enumerate(zip(*columns, strict=True))
    ]
    return "\n".join([",".join([SLICE, *names]), *rows, ""]).encode()
