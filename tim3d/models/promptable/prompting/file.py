"""Prompts of a CSV or JSON file."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tim3d.errors import ArgumentError, InputError
from tim3d.grid import Box, Triple
from tim3d.kernels.masks.structure_points import Crop, points_in
from tim3d.models.promptable.prompting.base import Grey8, Prompting
from tim3d.models.promptable.prompts import OFF, ON, Prompt

# A row of a file, and what stands in place of a value that is not given.
Record = Mapping[str, Any]
EMPTY = (None, "")
CORNERS = ("x0", "y0", "x1", "y1")


@dataclass(frozen=True)
class Listed(Prompting):
    """Prompts of the user, as rows of a CSV or JSON file.

    Parameters
    ----------
    path : path
        The file. A row has z and x, y of a point, with label 1 on the object and 0 beside it; or
        x0, y0, x1, y1 of a box. Rows of one z with the same object are one prompt; without
        object each is its own. A phase names what the object is.
    """

    path: str | Path
    kind: ClassVar[str] = "file"
    explicit: ClassVar[bool] = True

    def ready(self, sample: str, shape: Triple) -> Rows:
        """Read the file, and refuse what lies outside the volume."""
        made = read_rows(Path(self.path))
        if named := [row.image for row in made.rows if row.image]:
            raise InputError(
                f"{self.path} names images ({named[0]}); prompts of a stack have the number z of their slice"
            )
        made.check_inside(shape)
        return made

    def ready_for_images(self) -> Rows:
        """Read the file, whose rows name their images."""
        made = read_rows(Path(self.path))
        if not all(row.image for row in made.rows):
            raise ArgumentError(
                f"{self.path} has a row without an image: prompts of a folder have the columns image, x and y"
            )
        return made


@dataclass(frozen=True)
class Row:
    """Points and a box of one object of a file."""

    z: int
    points: tuple[tuple[float, float, int], ...]
    box: tuple[float, float, float, float] | None
    name: str
    image: str


@dataclass(frozen=True)
class Rows(Prompting):
    """Prompts of a file that was read."""

    rows: tuple[Row, ...]
    sha256: str
    path: str
    kind: ClassVar[str] = "file"
    explicit: ClassVar[bool] = True

    @property
    def names(self) -> tuple[str, ...]:
        """Phases of the rows, in the order in which they come."""
        return tuple(dict.fromkeys(one.name for one in self.rows if one.name))

    def description(self) -> dict[str, Any]:
        """Digest of the file."""
        return {"kind": self.kind, "version": self.version, "sha256": self.sha256}

    def of_image(self, name: str, shape: tuple[int, int]) -> Rows:
        """Prompts of one image of a folder, by its name; refuses those outside of it."""
        found = replace(self, rows=tuple(row for row in self.rows if row.image == name))
        found.check_inside((1, *shape))
        return found

    def check_inside(self, shape: Triple) -> None:
        """Raise `InputError` if a point or a corner of a box lies outside."""
        for row in self.rows:
            ends = [*row.points, *([(*row.box[:2], 0), (*row.box[2:], 0)] if row.box else [])]
            inside = all(0 <= y < shape[1] and 0 <= x < shape[2] for x, y, _ in ends)
            if not 0 <= row.z < shape[0] or not inside:
                where = ", ".join(f"x={x:g} y={y:g}" for x, y, _ in ends)
                raise InputError(
                    f"{self.path} has a prompt outside: {row.image or f'z={row.z}'}, {where}; there are "
                    f"{shape} voxels (z, y, x), counted from 0"
                )

    def marks(self, grey: Grey8, place: Box) -> list[Prompt]:
        """Prompts of a slice whose first point, or middle of the box, lies in the window."""
        y, x = place.start[1:]
        found = [_prompt(row) for row in self.rows if row.z == place.start[0]]
        whole = Crop((y, x), (place.stop[1], place.stop[2]))
        inside = [one for one in found if len(points_in(_anchor(one), whole))]
        return [one.moved(x, y) for one in inside]

    def most(self, crop: Crop) -> int:
        """Prompts of the fullest slice or image."""
        return max(Counter((one.image, one.z) for one in self.rows).values(), default=0)


def _anchor(prompt: Prompt) -> NDArray[np.float64]:
    """The point that decides in which window a prompt lies."""
    if prompt.box is None:
        return prompt.points[:1]
    x0, y0, x1, y1 = prompt.box
    return np.array([[(x0 + x1) / 2, (y0 + y1) / 2]])


def _prompt(row: Row) -> Prompt:
    points = np.array([one[:2] for one in row.points], np.float64).reshape(-1, 2)
    return Prompt(points, np.array([one[2] for one in row.points], np.int64), row.box, row.name)


def read_rows(path: Path) -> Rows:
    """Read the prompts of a CSV or JSON file.

    Raises
    ------
    InputError
        If the file is missing, a row lacks a number, or rows of one object contradict each other.
    """
    try:
        data = path.read_bytes()
        listed = _records(path, data)
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"cannot read the prompts {path}: {error}") from error
    if not listed:
        raise InputError(f"{path} has no prompts: rows with z, x and y, or z, x0, y0, x1 and y1")
    groups: dict[tuple[str, int, str], list[Record]] = {}
    for number, one in enumerate(listed, 1):
        where = f"{path}: row {number}"
        own = one.get("object")
        key = f"row {number}" if own in EMPTY else f"object {own}"
        image = str(one.get("image") or "")
        z = 0 if image else _slice(one, where)
        groups.setdefault((image, z, key), []).append(one)
    rows = [_row(z, group, image, path) for (image, z, _), group in groups.items()]
    return Rows(tuple(rows), hashlib.sha256(data).hexdigest(), str(path))


def _records(path: Path, data: bytes) -> list[dict[str, Any]]:
    if path.suffix.lower() == ".json":
        found = json.loads(data)
        if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
            raise ValueError('a list of rows is needed: [{"z": 0, "x": 10, "y": 20}]')
        return found
    return list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"))))


def _row(z: int, group: Sequence[Record], image: str, path: Path) -> Row:
    """The rows of one object as one prompt."""
    where = f"{path}: a prompt in {image or f'slice {z}'}"
    boxes = [_box(one, where) for one in group if _has(one, CORNERS)]
    points = [_point(one, where) for one in group if _has(one, ("x", "y"))]
    names = dict.fromkeys(str(one["phase"]) for one in group if one.get("phase") not in EMPTY)
    if len(boxes) > 1 or len(names) > 1:
        raise InputError(
            f"{where} has {len(boxes)} boxes and the phases {list(names)}: one at most"
        )
    if not boxes and not any(label == ON for *_, label in points):
        raise InputError(f"{where} has no box and no point on its object")
    return Row(z, tuple(points), next(iter(boxes), None), next(iter(names), ""), image)


def _has(row: Record, keys: Sequence[str]) -> bool:
    return any(row.get(key) not in EMPTY for key in keys)


def _box(row: Record, where: str) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = (_number(row, key, where) for key in CORNERS)
    return min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)


def _point(row: Record, where: str) -> tuple[float, float, int]:
    label = ON if row.get("label") in EMPTY else _number(row, "label", where)
    if label not in (ON, OFF):
        raise InputError(f"{where} has the label {row['label']}: 1 on the object or 0 beside it")
    return _number(row, "x", where), _number(row, "y", where), int(label)


def _slice(row: Record, where: str) -> int:
    z = _number(row, "z", where)
    if not z.is_integer():
        raise InputError(f"{where} has z={row['z']}: slices have whole numbers, counted from 0")
    return int(z)


def _number(row: Record, key: str, where: str) -> float:
    try:
        found = float(row[key])
    except (KeyError, TypeError, ValueError):
        found = math.nan
    if not math.isfinite(found):
        raise InputError(
            f"{where} has no number {key!r}; a row is z, x, y (and label, object, phase), or z, {', '.join(CORNERS)}"
        )
    return found
