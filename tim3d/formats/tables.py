"""Tables in files: CSV, JSON and Parquet, one row for each value."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tim3d.formats.base import Table, TableFormat


@dataclass(frozen=True)
class Csv(TableFormat):
    """CSV with a header; an empty cell where a row has no entry, and for nan."""

    name = "csv"
    suffixes = (".csv",)

    def write(self, table: Table, path: Path) -> None:
        """Write all rows; numbers have all their digits."""
        with path.open("x", encoding="utf-8", newline="") as file:
            lines = csv.writer(file)
            lines.writerow(table.columns)
            for row in rows(table):
                lines.writerow(["" if v is None else v for v in row.values()])


@dataclass(frozen=True)
class Json(TableFormat):
    """JSON: a list with an object for each row, one a line; null for nan and infinity."""

    name = "json"
    suffixes = (".json",)

    def write(self, table: Table, path: Path) -> None:
        """Write all rows; entries that a row does not have are left out."""
        with path.open("x", encoding="utf-8") as file:
            start = "[\n"
            for row in rows(table):
                kept = {key: v for key, v in row.items() if v is not None or key == "value"}
                file.write(start + json.dumps(kept, ensure_ascii=False, allow_nan=False))
                start = ",\n"
            file.write("[]\n" if start == "[\n" else "\n]\n")


@dataclass(frozen=True)
class Parquet(TableFormat):
    """Parquet through pyarrow; nan stays nan."""

    name = "parquet"
    suffixes = (".parquet",)
    keeps_mark = True
    needs = ("pyarrow",)

    def write(self, table: Table, path: Path) -> None:
        """Write the rows in groups as they come."""
        import pyarrow as pa
        from pyarrow import parquet

        kinds = {str: pa.string(), float: pa.float64(), int: pa.int64()}
        fields = [(name, kinds[kind]) for name, kind in table.columns.items()]
        schema = pa.schema(fields, metadata={"written_by": table.mark})
        with parquet.ParquetWriter(path, schema) as file:
            for piece in table.pieces:
                file.write_table(pa.table(dict(_filled(table.columns, piece)), schema=schema))


def rows(table: Table) -> Iterator[dict[str, Any]]:
    """Rows one by one, with None for what is not a finite number."""
    for piece in table.pieces:
        for row in zip(*(values for _, values in _filled(table.columns, piece)), strict=True):
            yield {name: _finite(v) for name, v in zip(table.columns, row, strict=True)}


def _filled(
    columns: Mapping[str, type], piece: Mapping[str, Sequence[Any]]
) -> Iterator[tuple[str, Sequence[Any]]]:
    """Yield all columns of a piece; those that it lacks hold None."""
    length = len(next(iter(piece.values())))
    for name in columns:
        yield name, piece.get(name, [None] * length)


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
