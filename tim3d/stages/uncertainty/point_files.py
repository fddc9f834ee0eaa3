"""Points at random places of a volume, in a table with an image of each, and the answers in it."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tim3d.errors import InputError
from tim3d.grid import Triple, triple

COLUMNS = ("point", "z", "y", "x", "image", "answer")
TABLE = "points.csv"


@dataclass(frozen=True)
class Answer:
    """A point and the phase that it was said to be of."""

    place: Triple
    phase: str


def places(shape: Triple, number: int, seed: int) -> NDArray[np.int64]:
    """Voxels of points that are independent of each other and uniform in the volume; (n, 3)."""
    random = np.random.Generator(np.random.Philox(seed))
    return np.asarray(random.integers(0, np.asarray(shape), (number, 3)), np.int64)


def table_of(points: NDArray[np.int64], images: Sequence[str]) -> str:
    """The table, with an empty column for the answers."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for number, (place, image) in enumerate(zip(points.tolist(), images, strict=True)):
        writer.writerow([number, *place, image, ""])
    return text.getvalue()


def answers_in(path: Path, shape: Triple, phases: Sequence[str]) -> list[Answer]:
    """Answers of a table; points without one are left out.

    Raises
    ------
    InputError
        If the table lacks a column, a place lies outside, or an answer is not a phase.
    """
    try:
        rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"))))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    if not rows or set(COLUMNS) - set(rows[0]):
        raise InputError(f"{path} is not a table with the columns {','.join(COLUMNS)}")
    return [
        _answer(path, line, row, shape, phases)
        for line, row in enumerate(rows, 2)
        if (row["answer"] or "").strip()
    ]


def _answer(
    path: Path, line: int, row: dict[str, str], shape: Triple, phases: Sequence[str]
) -> Answer:
    phase = row["answer"].strip()
    if phase not in phases:
        raise InputError(
            f"{path}, line {line}: {phase!r} is none of the phases {', '.join(phases)}"
        )
    try:
        place = triple(int(row[axis]) for axis in "zyx")
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}, line {line}: z, y, x are not whole numbers") from error
    if not all(0 <= n < size for n, size in zip(place, shape, strict=True)):
        raise InputError(f"{path}, line {line}: voxel {place} lies outside of {shape}")
    return Answer(place, phase)
