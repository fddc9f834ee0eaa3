"""Micrographs, a table of them, or a volume as examples to train a diffusion on."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tim3d.errors import ArgumentError, InputError
from tim3d.grid import Box, Triple, triple
from tim3d.kernels.generation.coarse_field import CoarseLaw
from tim3d.kernels.generation.local_means import LocalMeans, Surroundings
from tim3d.models.common.conditioned_network import Condition
from tim3d.models.diffusion.examples import Examples, Voxels
from tim3d.models.diffusion.network_file import AXES, AXIS
from tim3d.phases import Phases
from tim3d.sources.image import refuse_missing
from tim3d.sources.table_rows import read_table
from tim3d.stages.generation.training_images import HELD_OUT, Micrographs, read_micrographs, split
from tim3d.storage import store

log = logging.getLogger(__name__)
# Column of a table that names the images.
FILE = "file"
# Largest difference of the edges of a voxel for which they are the same.
SAME = 1e-3


@dataclass(frozen=True)
class Material:
    """Images or volumes of a material, with the conditions under which it is as it is.

    Attributes
    ----------
    values : sequence of array, uint8
        Labels 0, 1, ... or grey values: images, or one volume.
    phases : Phases or None
        Names and codes; None of grey values.
    spacing_nm : (z, y, x)
        Edges of a voxel.
    conditions : tuple of Condition
        Conditions of the network.
    given : tuple of mapping
        Conditions of each array, by name.
    symmetric : bool
        Whether all directions are alike.
    sources : list of dict
        Name and SHA-256 of each file, or sample, field and fingerprint.
    digest : str
        Hash of the values, if they are not in memory.
    means : tuple of LocalMeans
        Local fraction of the first phase of each array, if a network is given it.
    coarse : CoarseLaw, optional
        Its law.
    """

    values: Sequence[Voxels]
    phases: Phases | None
    spacing_nm: tuple[float, float, float]
    conditions: tuple[Condition, ...]
    given: tuple[Mapping[str, float | str], ...]
    symmetric: bool
    sources: list[dict[str, Any]]
    digest: str = ""
    means: tuple[LocalMeans, ...] = ()
    coarse: CoarseLaw | None = None

    @property
    def dimensions(self) -> int:
        """2 for images, 3 for a volume."""
        return len(self.values[0].shape)

    @property
    def voxels(self) -> int:
        """Number of voxels of all arrays."""
        return sum(math.prod(one.shape) for one in self.values)

    @property
    def labels(self) -> int:
        """Number of phases; 0 of grey values."""
        return len(self.phases or ())

    def parts(self, crop: int, share: float | None) -> tuple[Examples, Examples, str]:
        """Examples to learn from, examples to select by, and a sentence about the split."""
        if self.dimensions == 3:
            seen, judged, text = _split_volume(self.values[0], crop, share)
            first = triple((depth_before(self.values[0], judged), 0, 0))
            return self._examples([seen]), self._examples([judged], [first]), text
        groups = (
            [self.values] if self.conditions and self._is_by_axis else [[v] for v in self.values]
        )
        seen_all, judged_all, text = [], [], ""
        for group in groups:
            one, other, text = split([np.asarray(v)[None] for v in group], self.labels, crop, share)
            seen_all += [v[0] for v in one]
            judged_all += [v[0] for v in other]
        first_of = [
            triple((0, 0, whole.shape[1] - part.shape[1]))
            for whole, part in zip(self.values, judged_all, strict=True)
        ]
        return self._examples(seen_all), self._examples(judged_all, first_of), text

    @property
    def _is_by_axis(self) -> bool:
        return [one.name for one in self.conditions] == [AXIS]

    def _examples(self, values: Sequence[Voxels], starts: Sequence[Triple] = ()) -> Examples:
        """Arrays, each from a first voxel on (default: the first), with their conditions."""
        rows = [
            [v for one in self.conditions for v in one.inputs(given.get(one.name))]
            for given in self.given
        ]
        inputs = np.array(rows, np.float32).reshape(len(rows), -1)
        return Examples(values, inputs, self.symmetric, self.digest, self._around(starts))

    def _around(self, starts: Sequence[Triple]) -> tuple[Surroundings, ...]:
        if self.coarse is None:
            return ()
        return tuple(
            Surroundings(one, self.coarse, starts[n] if starts else (0, 0, 0))
            for n, one in enumerate(self.means)
        )


def of_micrographs(images: Micrographs) -> Material:
    """One image of an isotropic material, or three with the axis that each is normal to as a condition."""
    if images.output == "colour":
        raise InputError(
            f"{images.sources[0]['file']} is in colour, and a diffusion learns labels or grey values: save it as "
            "8-bit grey, or name the phases with --phases"
        )
    three = len(images.values) == 3
    given: list[Mapping[str, float | str]] = [{AXIS: axis} for axis in AXES] if three else [{}]
    return Material(
        [one[0] for one in images.values], images.phases, images.spacing_nm,
        (Condition(AXIS, AXES),) if three else (), tuple(given), not three, images.sources,
    )  # fmt: skip


def of_table(
    paths: Sequence[str],
    table: str | Path,
    phases: Phases | None,
    pixel_size: float | Sequence[float] | None,
    scale: int,
) -> Material:
    """Any number of images of isotropic materials, whose conditions stand in a table.

    The table is CSV with a row for each image and a column ``file`` with its name. Every other
    column is a condition: numbers, or else names of classes. An empty cell is not known.

    Raises
    ------
    InputError
        If an image is not there, has no row or shares its name with another, an edge of a pixel
        differs, or a column has one value only, or numbers beside other texts.
    """
    for path in paths:
        refuse_missing(Path(path))
    rows = _rows(table)
    names = [Path(path).name for path in paths]
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(
            f"two images are called {twice[0]}, and {table} knows images by the names of their files: rename one"
        )
    if missing := [name for name in names if name not in rows]:
        raise InputError(
            f"{table} has no row for {missing[0]}; its column {FILE!r}, which names files without their folder, has "
            f"{', '.join(rows)}"
        )
    if unused := [name for name in rows if name not in names]:
        log.warning("%s has rows for images that were not given: %s", table, ", ".join(unused))
    parts = [of_micrographs(read_micrographs([path], phases, pixel_size, scale)) for path in paths]
    for path, one in zip(paths, parts, strict=True):
        if not np.allclose(one.spacing_nm, parts[0].spacing_nm, rtol=SAME, atol=0):
            raise InputError(
                f"{path} has pixels of {one.spacing_nm[2]:g} nm, and {paths[0]} of {parts[0].spacing_nm[2]:g} nm: "
                "resample them to one size"
            )
    columns = [name for name in rows[names[0]] if name != FILE]
    conditions = tuple(_condition(table, c, [rows[name][c] for name in names]) for c in columns)
    given = tuple(
        {
            one.name: rows[name][one.name] if one.classes else float(rows[name][one.name])
            for one in conditions
            if rows[name][one.name]
        }
        for name in names
    )
    return replace(
        parts[0],
        values=[one.values[0] for one in parts],
        conditions=conditions,
        given=given,
        sources=[
            {**one.sources[0], "conditions": dict(known)}
            for one, known in zip(parts, given, strict=True)
        ],
    )


def _rows(table: str | Path) -> dict[str, dict[str, str]]:
    what = (
        f"a table of conditions, whose first line names {FILE!r} and at least one condition, as "
        f"{FILE},material,temperature"
    )
    head, found_rows = read_table(table, what, [FILE])
    if len(head) < 2:
        raise InputError(f"{table} names no condition; it should be {what}")
    rows = [row.cells for row in found_rows]
    found = {row[FILE]: row for row in rows}
    if len(found) < len(rows):
        twice = next(row[FILE] for row in rows if sum(r[FILE] == row[FILE] for r in rows) > 1)
        raise InputError(f"{table} has two rows for {twice}: leave one")
    return found


def _condition(table: str | Path, name: str, cells: Sequence[str]) -> Condition:
    if name == AXIS:
        raise InputError(
            f"{table} has a column {AXIS!r}, which is the name of the condition of three planes: give it another name"
        )
    known = sorted({cell for cell in cells if cell})
    numbers = {cell: number for cell in known if (number := _number(cell)) is not None}
    texts = [cell for cell in known if cell not in numbers]
    if len(set(numbers.values())) + len(texts) < 2:
        raise InputError(
            f"column {name!r} of {table} has the value {known[0] if known else 'none'!r} only: nothing can be learnt "
            "from it; leave the column out"
        )
    if numbers and texts:
        raise InputError(
            f"column {name!r} of {table} has the number {next(iter(numbers))} and the text {texts[0]!r}: write "
            "finite numbers only (an empty cell is unknown), or in every cell the name of a class"
        )
    return (
        Condition(name, tuple(known))
        if texts
        else Condition(name, (), min(numbers.values()), max(numbers.values()))
    )


def _number(cell: str) -> float | None:
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if np.isfinite(value) else None


@dataclass(frozen=True)
class FieldVoxels:
    """A field of labels as numbers of its phases; a box is read when it is asked for."""

    sample: str
    name: str
    whole: Box
    codes: tuple[int, ...]

    @property
    def shape(self) -> Triple:
        """Edges in voxels."""
        return self.whole.shape

    def __getitem__(self, box: tuple[slice, ...]) -> npt.NDArray[np.uint8]:
        """Numbers of phases, or grey values, in a box."""
        low = triple(a + s.start for a, s in zip(self.whole.start, box, strict=True))
        high = triple(a + s.stop for a, s in zip(self.whole.start, box, strict=True))
        values = store.read_box(store.field_array(self.sample, self.name), Box(low, high))
        table = np.zeros(256, np.uint8)
        table[list(self.codes)] = range(len(self.codes))
        numbered: npt.NDArray[np.uint8] = table[values]
        return numbered


def of_field(sample: str, name: str) -> Material:
    """A volume of labels; crops are read when they are asked for.

    Raises
    ------
    MissingFieldError
        If the field is missing or not finished.
    InputError
        If it holds no labels.
    """
    field = store.complete_field(sample, name, "segment")
    if not field.labels or len(field.phases or ()) < 2:
        raise InputError(
            f"{name!r} of {sample} does not hold labels of two phases or more; name a field that does: --field phase"
        )
    assert field.phases is not None
    made = store.fingerprint_of(sample, name)
    z, y, x = field.spacing_nm
    cubes = max(z, y, x) <= (1 + SAME) * min(z, y, x)
    values = FieldVoxels(sample, name, Box.whole(field.shape), tuple(field.phases.codes))
    sources = [{"sample": Path(sample).name, "field": name, "fingerprint": made}]
    return Material(
        [values], field.phases, field.spacing_nm, (), ({},), cubes, sources, digest=made
    )


def _split_volume(values: Voxels, crop: int, share: float | None) -> tuple[Voxels, Voxels, str]:
    """Slices to learn from, the last ones to select by if they are thick enough, and a sentence."""
    assert isinstance(values, FieldVoxels)
    depth = values.shape[0]
    held = round((HELD_OUT if share is None else share) * depth)
    if not held or (share is None and not crop <= held <= depth - crop):
        return values, values, "selection by the whole volume"
    if not crop <= held <= depth - crop:
        raise ArgumentError(
            f"--held-out {share:g} of {depth} slices leaves a part below {crop}; give another share, or 0"
        )
    _, rows, columns = values.shape
    seen = replace(values, whole=Box((0, 0, 0), (depth - held, rows, columns)))
    judged = replace(values, whole=Box((depth - held, 0, 0), (depth, rows, columns)))
    return (
        seen,
        judged,
        f"selection by the last {held} of {depth} slices, which training never sees",
    )


def depth_before(values: Voxels, part: Voxels) -> int:
    """Slices of a volume before a part of it."""
    assert isinstance(values, FieldVoxels)
    assert isinstance(part, FieldVoxels)
    return part.whole.start[0] - values.whole.start[0]


def check_conditions(paths: Sequence[str], table: object) -> None:
    """Refuse a number of images that needs a table, and has none."""
    if table is None and len(paths) not in (1, 3):
        raise ArgumentError(
            f"{len(paths)} micrographs; give one, or three of the planes normal to z, y and x, or a table of their "
            "conditions: --conditions table.csv"
        )
