"""Tables of samples in files: CSV as spreadsheets write it, and Parquet."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tim3d.errors import InputError, MissingExtraError
from tim3d.lazy import xarray as xr
from tim3d.stages.shared.wide_table import cell, head
from tim3d.storage import outputs

# A table of ours: the first column is `sample`, the second is not `variable`.
WIDE = outputs.Kind("a table of samples of tim3d", lambda data: data.startswith(b"sample,"))
SUFFIXES = (".csv", ".tsv", ".txt", ".parquet")
EMPTY = {"", "nan", "na", "n/a", "-", "none", "null"}
NAMES = ("sample", "name", "id")
# Columns of a tidy table that are not places of a number.
_TIDY = {
    *(
        "value",
        "units",
        "unit",
        "uncertainty",
        "uncertainty_kind",
        "definition",
        "method",
        "reference",
    ),
    *("text", "variable"),
}
_HEAD = re.compile(r"^(.*?)\s*(?:\[([^\]]*)\]|\(([^)]*)\))\s*$")
_DECIMAL_COMMA = re.compile(r"^[-+]?\d+,\d+(e[-+]?\d+)?$", re.IGNORECASE)


def is_table(path: str | Path) -> bool:
    """Whether a name is that of a table and not of a sample.

    >>> is_table("samples.csv"), is_table("cu.zarr")
    (True, False)
    """
    return Path(path).suffix.lower() in SUFFIXES


def read_table(path: str | Path) -> xr.Dataset:
    """A table of samples, a row for each, as variables over `sample`.

    A unit stands in brackets behind the name of its column: ``sigma [S/m]``. A tidy table of
    `tim3d describe --csv` has a row for each number and is turned.

    Raises
    ------
    InputError
        If the file is missing or is not such a table; the column or row is named.
    MissingExtraError
        If it is Parquet and pyarrow is missing.
    """
    if not Path(path).is_file():
        raise InputError(
            f"no table at {path}. A table is CSV or Parquet, with a row for each sample"
        )
    columns = _parquet(path) if Path(path).suffix.lower() == ".parquet" else _csv(path)
    if not columns or not next(iter(columns.values())):
        raise InputError(f"{path} has no rows: expected a header and a row for each sample")
    if {"sample", "variable", "value"} <= set(columns):
        columns = _turned(columns, path)
    return _dataset(columns, path)


def _csv(path: str | Path) -> dict[str, list[Any]]:
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not text in UTF-8. Save it as CSV UTF-8") from error
    header = text.partition("\n")[0]
    mark = max(",;\t", key=header.count)
    lines = [
        row for row in csv.reader(io.StringIO(text), delimiter=mark) if any(map(str.strip, row))
    ]
    if not lines:
        return {}
    names = [name.strip() for name in lines[0]]
    if twice := [n for place, n in enumerate(names) if n in names[:place]]:
        raise InputError(f"{path} has two columns {twice[0]!r}: name each once")
    for number, row in enumerate(lines[1:], 2):
        if len(row) != len(names):
            raise InputError(
                f"{path}: row {number} has {len(row)} cells and the header has {len(names)}"
            )
    columns = zip(*lines[1:], strict=True) if len(lines) > 1 else ([] for _ in names)
    return {
        name: [_plain(cell, mark) for cell in column]
        for name, column in zip(names, columns, strict=True)
    }


def _plain(cell: str, mark: str) -> str:
    """A cell without space; a comma is a decimal point where another mark separates columns."""
    text = cell.strip()
    return text.replace(",", ".") if mark != "," and _DECIMAL_COMMA.match(text) else text


def _parquet(path: str | Path) -> dict[str, list[Any]]:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtraError(
            f"{path} is read with the package pyarrow, which is not installed. Type  pip install 'tim3d[export]'"
        ) from error
    try:
        found: dict[str, list[Any]] = parquet.read_table(path).to_pydict()
    except Exception as error:
        raise InputError(f"cannot read {path}: {str(error).splitlines()[0]}") from error
    return found


def _turned(columns: Mapping[str, list[Any]], path: str | Path) -> dict[str, list[Any]]:
    """A tidy table as one with a row for each sample; profiles are left out."""
    places = [n for n in columns if n not in _TIDY | {"sample", "region"}]
    units = columns.get("units", columns.get("unit", []))
    cells: dict[str, dict[str, Any]] = {}
    for row, sample in enumerate(columns["sample"]):
        at = [str(columns[n][row] or "") for n in places]
        if any(_number(text) is not None for text in at if text):
            continue
        name = ".".join([str(columns["variable"][row]), *filter(None, at)])
        unit = str(units[row] or "") if units else ""
        head = name if unit in ("", "1") else f"{name} [{unit}]"
        known = cells.setdefault(head, {})
        if sample in known:
            raise InputError(
                f"{path} has two values of {name} for {sample}: a table holds one region of each sample"
            )
        known[sample] = columns["value"][row]
    samples = list(dict.fromkeys(columns["sample"]))
    return {"sample": samples} | {
        head: [known.get(s) for s in samples] for head, known in cells.items()
    }


def _dataset(columns: Mapping[str, list[Any]], path: str | Path) -> xr.Dataset:
    numbers = {name: _numbers(cells) for name, cells in columns.items()}
    key = next(
        (n for n in columns if n.lower() in NAMES),
        next((n for n, found in numbers.items() if found is None), None),
    )
    rows = len(next(iter(columns.values())))
    samples = [str(n + 1) for n in range(rows)] if key is None else [str(c) for c in columns[key]]
    _refuse_names(samples, path)
    found = xr.Dataset(coords={"sample": np.array(samples, object)})
    for title, cells in columns.items():
        if title == key:
            continue
        name, unit = _name_and_unit(title)
        if name in found:
            raise InputError(f"{path} has two columns {name!r}: name each once")
        values = numbers[title]
        texts = ["" if c is None else str(c) for c in cells]
        data = np.array(texts, object) if values is None else values
        found[name] = ("sample", data, {"units": unit} if unit else {})
    return found


def _refuse_names(samples: Sequence[str], path: str | Path) -> None:
    if "" in samples:
        raise InputError(f"{path}: row {samples.index('') + 2} has no name of a sample")
    if twice := [s for place, s in enumerate(samples) if s in samples[:place]]:
        raise InputError(f"{path} has two rows {twice[0]!r}: a table has one row for each sample")


def _name_and_unit(head: str) -> tuple[str, str]:
    """Name and unit of a column; the unit is empty if it says none."""
    found = _HEAD.match(head.strip())
    if not found or not found[1]:
        return head.strip(), ""
    return found[1].strip(), (found[2] or found[3] or "").strip()


def _numbers(cells: Sequence[Any]) -> np.ndarray | None:
    """Numbers of a column, nan where a cell is empty; None if some cell is a text, or all are empty."""
    found = [_number(cell) for cell in cells]
    if None in found or all(math.isnan(v) for v in found if v is not None):
        return None
    return np.array(found, np.float64)


def _number(cell: Any) -> float | None:
    if cell is None or (isinstance(cell, str) and cell.lower() in EMPTY):
        return math.nan
    try:
        return float(cell)
    except (TypeError, ValueError):
        return None


def write_wide(found: xr.Dataset, target: Path | None) -> None:
    """Write a row for each sample, units in brackets behind the names; nan is left empty."""
    if target is None:
        return
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(["sample", *(head(str(n), v) for n, v in found.data_vars.items())])
    columns = [[cell(v) for v in one.values.tolist()] for one in found.data_vars.values()]
    for row in zip(found["sample"].values.tolist(), *columns, strict=True):
        writer.writerow(row)
    content = text.getvalue().encode()
    outputs.write_file(target, content, outputs.Kind(WIDE.name, partial(_same_columns, content)))


def _same_columns(one: bytes, other: bytes) -> bool:
    """Whether two tables have the same first line: a user's own table may begin like one of ours."""
    return one.splitlines()[:1] == other.splitlines()[:1]


def numeric(found: xr.Dataset) -> Iterator[str]:
    """Names of the columns of numbers."""
    return (str(n) for n, v in found.data_vars.items() if v.dtype.kind in "fiub")
