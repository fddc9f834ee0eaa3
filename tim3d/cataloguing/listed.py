"""Table of micrographs to train on: a row for each generator of a library."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tim3d.cataloguing.entries import check_name
from tim3d.errors import ArgumentError, InputError
from tim3d.phases import Phases

NEEDED = ("file", "phases", "pixel_size", "licence")
OTHERS = ("scale", "origin", "name")


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
    where = Path(path)
    if not where.is_file():
        raise InputError(
            f"no table of micrographs at {path}. It is CSV with the columns {', '.join(NEEDED)}"
        )
    try:
        text = where.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not text in UTF-8. Save it as CSV UTF-8") from error
    rows = list(csv.DictReader(io.StringIO(text)))
    head = list(rows[0]) if rows else []
    if missing := [name for name in NEEDED if name not in head]:
        raise InputError(
            f"{path} has no column {missing[0]!r}: a table of micrographs has {', '.join(NEEDED)}, and may have "
            f"{', '.join(OTHERS)}"
        )
    if unknown := [str(name) for name in head if name not in (*NEEDED, *OTHERS)]:
        raise InputError(
            f"{path} has a column {unknown[0]!r}; known are {', '.join((*NEEDED, *OTHERS))}"
        )
    found = [_listed(where, number, row) for number, row in enumerate(rows, 2)]
    names = [one.name for one in found]
    if twice := [name for place, name in enumerate(names) if name in names[:place]]:
        raise InputError(
            f"{path} has two rows {twice[0]!r}: give one another name in a column 'name'"
        )
    return found


def _listed(table: Path, number: int, row: Mapping[str, str | None]) -> Listed:
    cells = {
        key: (value or "").strip() for key, value in row.items() if isinstance(value, str | None)
    }
    try:
        images = tuple(_image(table, one.strip()) for one in cells["file"].split(";"))
        return Listed(
            name=check_name(cells.get("name") or images[0].stem),
            images=images,
            phases=Phases.parse(cells["phases"].replace(";", ",")) if cells["phases"] else None,
            pixel_size=float(cells["pixel_size"]) if cells["pixel_size"] else None,
            scale=int(cells.get("scale") or 1),
            licence=_filled(cells["licence"]),
            origin=cells.get("origin", ""),
        )
    except (ValueError, KeyError) as error:
        raise InputError(f"{table}, row {number}: {error}") from error


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
