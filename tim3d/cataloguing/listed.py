"""Table of micrographs to train on: a row for each generator of a library."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tim3d.cataloguing.entries import is_name
from tim3d.errors import ArgumentError, InputError
from tim3d.phases import Phases
from tim3d.sources.grey_image import read_picture
from tim3d.sources.image import read_pixels
from tim3d.sources.labelled_image import read_micrograph
from tim3d.sources.table_rows import TableRow, read_table
from tim3d.sources.units import refuse_mistyped

NEEDED = ("file", "phases", "pixel_size", "licence")
OTHERS = ("scale", "origin", "name")
Value = TypeVar("Value")


@dataclass(frozen=True)
class Listed:
    """A row: images, the value of each phase in them, the edge of a pixel in nm, scale and terms."""

    name: str
    images: tuple[Path, ...]
    phases: Phases | None
    pixel_size: float | None
    scale: int
    licence: str
    origin: str
    place: str

    def check_images(self) -> None:
        """Raise `InputError` with row and column if the cells do not fit the images."""
        for column, check in (
            ("file", self._check_file),
            ("phases", self._check_phases),
            ("pixel_size", self._check_pixel_size),
            ("scale", self._check_scale),
        ):
            for path in self.images:
                with_column(self.place, column, check, path)

    def _check_file(self, path: Path) -> None:
        read_pixels(path)

    def _check_phases(self, path: Path) -> None:
        if self.phases:
            read_micrograph(path, self.phases)

    def _check_pixel_size(self, path: Path) -> None:
        if self.pixel_size is None and read_pixels(path).pixel_nm is None:
            raise InputError(f"{path} does not state its pixel size: write it in nm, for example 5")

    def _check_scale(self, path: Path) -> None:
        if self.phases:
            read_micrograph(path, self.phases, self.pixel_size, self.scale)
        else:
            read_picture(path, self.pixel_size, self.scale)


def with_column(place: str, column: str, convert: Callable[..., Value], given: str | Path) -> Value:
    """Value of a cell, or of what it names; an error names row and column.

    Examples
    --------
    >>> with_column("list.csv, row 3", "pixel_size", float, "ten")
    Traceback (most recent call last):
    ...
    tim3d.errors.InputError: list.csv, row 3, column 'pixel_size': could not convert string to float: 'ten'
    """
    try:
        return convert(given)
    except ValueError as error:
        raise InputError(f"{place}, column {column!r}: {error}") from error


def read_list(path: str | Path) -> list[Listed]:
    """Read a table of micrographs: CSV with the columns file, phases, pixel_size and licence.

    Files lie beside the table or below; three of one material have semicolons between them. Phases
    are written ``pore=0;solid=255``, and left empty for grey values; ``pixel_size`` is left empty
    where the file states it. Further columns are scale, origin and name.

    Raises
    ------
    InputError
        If the table or an image is missing, or a cell cannot be used; the row is named.
    """
    head, rows = read_table(
        path,
        f"a table of micrographs, CSV with {', '.join(NEEDED)}, and perhaps {', '.join(OTHERS)}",
        NEEDED,
    )
    _check_head(Path(path), head)
    found = [_listed(Path(path), row) for row in rows]
    names = [one.name for one in found]
    if twice := [name for place, name in enumerate(names) if name in names[:place]]:
        raise InputError(
            f"{path} has two rows {twice[0]!r}: give one another name in a column 'name'"
        )
    return found


def _check_head(table: Path, head: list[str]) -> None:
    """Refuse a header with other columns than are known."""
    known = (*NEEDED, *OTHERS)
    if unknown := [name for name in head if name not in known]:
        raise InputError(f"{table} has a column {unknown[0]!r}; known are {', '.join(known)}")


def _listed(table: Path, row: TableRow) -> Listed:
    place, cells = row.place, row.cells

    def read(column: str, convert: Callable[[str], Value]) -> Value:
        return with_column(place, column, convert, cells.get(column, ""))

    images = read("file", lambda cell: _images(table, cell))
    return Listed(
        name=read("name", lambda cell: _name(cell or images[0].stem)),
        images=images,
        phases=read("phases", _phases),
        pixel_size=read("pixel_size", _pixel_size),
        scale=read("scale", _scale),
        licence=read("licence", _filled),
        origin=cells.get("origin", ""),
        place=place,
    )


def _images(table: Path, cell: str) -> tuple[Path, ...]:
    return tuple(_image(table, one.strip()) for one in cell.split(";"))


def _name(name: str) -> str:
    if not is_name(name):
        raise ArgumentError(
            f"a generator cannot be called {name!r}: write a name of letters, digits, '.', '-' and '_' that begins "
            "with one of the first two, for example porous-silver"
        )
    return name


def _phases(cell: str) -> Phases | None:
    try:
        return Phases.parse(cell.replace(";", ",")) if cell else None
    except ArgumentError as error:
        raise ArgumentError(f"{error} (in a table with semicolons: pore=0;solid=255)") from error


def _pixel_size(cell: str) -> float | None:
    if not cell:
        return None
    try:
        size = float(cell)
    except ValueError:
        size = math.nan
    if not 0 < size < math.inf:
        raise ArgumentError(
            f"{cell!r} is not a length: write the edge of a pixel in nm, for example 5 or 12.5, or leave it empty if "
            "the file states it"
        )
    refuse_mistyped({"y": size, "x": size})
    return size


def _scale(cell: str) -> int:
    if cell and not (cell.isdecimal() and int(cell)):
        raise ArgumentError(
            f"{cell!r} is not a scale: write a whole number of pixels from 1 on, for example 2, or leave it empty for 1"
        )
    return int(cell or 1)


def _filled(licence: str) -> str:
    if not licence:
        raise ArgumentError(
            "the licence is missing: write under which terms the micrograph may be passed on"
        )
    return licence


def _image(table: Path, name: str) -> Path:
    """An image beside the table or below; a foreign table must not name other files."""
    path = table.parent / name
    if not name or Path(name).is_absolute() or ".." in Path(name).parts:
        raise ArgumentError(f"{name!r} does not lie beside the table or below it: copy it there")
    if not path.is_file():
        raise InputError(f"no micrograph at {path}")
    return path
