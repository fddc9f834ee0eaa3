"""Real and generated images of each condition, from a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tim3d.errors import ArgumentError, InputError
from tim3d.forecast import will_exist
from tim3d.phases import Phases
from tim3d.sources.collection import images_in
from tim3d.sources.table_rows import TableRow, read_table
from tim3d.stages.images.masks import phases_of, read_record

REAL, GENERATED = "real", "generated"
WHAT = (
    f"a table of conditions, CSV with a row for each: columns {REAL!r} and {GENERATED!r} with a folder or an image, "
    f"and one or more that name the condition, as material,temperature,{REAL},{GENERATED}"
)
# Names of what is computed, which no column of a table may have.
TAKEN = frozenset({"condition", "phase", "quantity", "lag", "group", "all"})


@dataclass(frozen=True)
class Masks:
    """Images of a side of a condition, and their phases."""

    files: tuple[Path, ...]
    phases: Phases


@dataclass(frozen=True)
class ConditionRow:
    """A condition: its cells by column, and the images that are compared."""

    place: str
    cells: Mapping[str, str]
    real: Masks
    generated: Masks

    @property
    def name(self) -> str:
        """Its cells, one after the other."""
        return ", ".join(self.cells.values())

    @property
    def sides(self) -> tuple[Masks, Masks]:
        """Real images, and generated ones."""
        return self.real, self.generated


def read_conditions(table: str | Path, phases: Phases | None) -> list[ConditionRow]:
    """Conditions of a table, whose folders and images lie relative to it.

    Raises
    ------
    ArgumentError
        If phases are not known or are not the same everywhere.
    InputError
        If the table cannot be used, or images are missing.
    """
    head, rows = read_table(table, WHAT, (REAL, GENERATED))
    columns = [name for name in head if name not in (REAL, GENERATED)]
    if not columns:
        raise InputError(f"{table} names no condition; it should be {WHAT}")
    if taken := [name for name in columns if name in TAKEN]:
        raise InputError(
            f"{table} has a column {taken[0]!r}, which a result is called: give it another name"
        )
    found = [_condition(Path(table), row, columns, phases) for row in rows]
    names = [one.name for one in found]
    if twice := [name for place, name in enumerate(names) if name in names[:place]]:
        raise InputError(f"{table} has two rows for {twice[0]}: put all images into one folder")
    for one in found:
        for side in one.sides:
            if set(side.phases) != set(found[0].real.phases):
                raise ArgumentError(
                    f"{one.place}: the images have the phases {side.phases}, those of the first row "
                    f"{found[0].real.phases}; all are compared by the same names"
                )
    return found


def is_awaited(table: str | Path) -> bool:
    """Whether an earlier step of a recipe makes images that the table names."""
    rows = read_table(table, WHAT, (REAL, GENERATED))[1]
    paths = [Path(table).parent / row.cells[side] for row in rows for side in (REAL, GENERATED)]
    return any(will_exist(str(path)) and not path.exists() for path in paths)


def _condition(
    table: Path, row: TableRow, columns: list[str], phases: Phases | None
) -> ConditionRow:
    sides = {
        side: _masks(table, row, side, phases, given_first=side == REAL)
        for side in (REAL, GENERATED)
    }
    return ConditionRow(row.place, {name: row.cells[name] for name in columns}, **sides)


def _masks(
    table: Path, row: TableRow, side: str, phases: Phases | None, *, given_first: bool
) -> Masks:
    """Images of a cell; phases of generated ones are those of their record, if there is one."""
    cell = row.cells[side]
    path = table.parent / cell
    if not cell or not path.exists():
        raise InputError(f"{row.place}, column {side!r}: no folder or image {path}")
    folder = path if path.is_dir() else path.parent
    known = None if given_first and phases else read_record(folder)
    try:
        named = phases_of(folder, None if known else phases)
    except ArgumentError as error:
        raise ArgumentError(f"{row.place}, column {side!r}: {error}") from error
    files = tuple(images_in(path).values()) if path.is_dir() else (path,)
    return Masks(files, named)
