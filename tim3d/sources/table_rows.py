"""Rows of a table that a person wrote: CSV in UTF-8 with a header."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tim3d.errors import InputError


@dataclass(frozen=True)
class TableRow:
    """Cells of a row by column, without the blanks around them.

    Parameters
    ----------
    place : str
        Table and number of the row's last line, for messages: ``list.csv, row 3``.
    cells : dict
        Text of each cell.
    """

    place: str
    cells: dict[str, str]


def read_table(
    path: str | Path, what: str, needs: Sequence[str]
) -> tuple[list[str], list[TableRow]]:
    """Columns of a table, and its rows that are not blank.

    Parameters
    ----------
    path : path
        The file.
    what : str
        For messages: what the table is of, and its columns.
    needs : sequence of str
        Columns that it must have.

    Raises
    ------
    InputError
        If there is no such file, no row, a column is missing or there twice, a quote is not closed, or a row
        has more or fewer cells than the header.
    """
    table = Path(path)
    if not table.is_file():
        raise InputError(f"no file {path}: it should be {what}")
    try:
        text = table.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not text in UTF-8. Save it as CSV UTF-8") from error
    (_, head), *rows = [*_lines(table, text)] or [(1, [])]
    if missing := [name for name in needs if name not in head]:
        raise InputError(f"{path} has no column {missing[0]!r}: it should be {what}")
    if twice := [name for name in head if head.count(name) > 1]:
        raise InputError(f"{path} has two columns {twice[0]!r}: remove one")
    if not rows:
        raise InputError(f"{path} has no row below its header; it should be {what}")
    return head, [_row(table, number, head, cells) for number, cells in rows]


def _lines(table: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """Number of its last line and cells of each row that is not blank."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield reader.line_num, [cell.strip() for cell in cells]
    except csv.Error as error:
        raise InputError(
            f"{table}, row {reader.line_num}: {error}; close each quote, and double one within a cell"
        ) from error


def _row(table: Path, number: int, head: list[str], cells: list[str]) -> TableRow:
    place = f"{table}, row {number}"
    if len(cells) != len(head):
        cure = (
            'put a cell with a comma in quotes, as "HPA, new"'
            if len(cells) > len(head)
            else "write a comma for each cell that is left empty"
        )
        raise InputError(
            f"{place} has {len(cells)} cells, and the header names {len(head)} columns: {cure}"
        )
    return TableRow(place, dict(zip(head, cells, strict=True)))
