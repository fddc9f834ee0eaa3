"""Where prompts come from, as values: grids, the structure of the image, the user's files and fields.

No torch here.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tim3d.errors import ArgumentError, InputError, MissingFieldError
from tim3d.grid import Box, Triple
from tim3d.kernels.masks.structure_points import (
    SQUARE,
    Crop,
    centres,
    crops,
    edge_regions,
    grid_points,
    points_in,
    threshold_regions,
)
from tim3d.models.promptable.prompts import OFF, ON, Prompt, point
from tim3d.steps import Step
from tim3d.storage import store

Grey8 = NDArray[np.uint8]
# Phase of voxels that were not painted.
UNPAINTED = "unlabelled"
# Centres of outlines of an image, at most: more are noise.
MOST_CENTRES = 4096


class Prompting(Step):
    """Where prompts come from, to be inherited by a frozen dataclass.

    Attributes
    ----------
    explicit : bool
        Whether each prompt asks for one object, and gets its best mask; else each point may give
        several masks, or none.
    names : tuple of str
        Phases that prompts may ask for.
    """

    explicit: ClassVar[bool] = False
    names: tuple[str, ...] = ()

    def ready(self, sample: str, shape: Triple) -> Prompting:
        """The same, with all that workers need; refuses what does not fit the volume."""
        return self

    def crops(self, shape: tuple[int, int]) -> list[Crop]:
        """Crops in which an image is looked at: the whole of it."""
        return crops(shape, 0)

    def prompts(self, grey: Grey8, crop: Crop, marks: Sequence[Prompt]) -> list[Prompt]:
        """Prompts of a crop, in its pixels; `marks` are those of the whole image."""
        return _within(marks, crop)

    @abstractmethod
    def marks(self, grey: Grey8, place: Box) -> list[Prompt]:
        """Prompts that follow from an image (y, x) or from its place in the volume."""

    def most(self, shape: tuple[int, int]) -> int:
        """Prompts of an image, at most."""
        return MOST_CENTRES

    @property
    def inputs(self) -> dict[str, str]:
        """Fields that they are read from, and their fingerprints."""
        return {}


def _within(marks: Sequence[Prompt], crop: Crop) -> list[Prompt]:
    y, x = crop.start
    if (y, x) == (0, 0) and crop.layer == 0:
        return list(marks)
    inside = [one for one in marks if len(points_in(one.points, crop))]
    return [one.moved(x, y) for one in inside]


@dataclass(frozen=True)
class Grid(Prompting):
    """A grid of points in the whole image, and in crops of it.

    Parameters
    ----------
    side : int
        Points along each side of the image.
    layers : int
        Layers of crops that are looked at besides; layer i has 4^i.
    scale : int
        A crop of layer i has side / scale^i points along each side.
    """

    side: int = 32
    layers: int = 0
    scale: int = 1
    kind: ClassVar[str] = "grid"

    def ready(self, sample: str, shape: Triple) -> Prompting:
        """Refuse numbers without a point."""
        if self.side < 1 or self.scale < 1 or not 0 <= self.layers <= 4:
            raise ArgumentError(
                f"{self}: side and scale are 1 or more, and layers 0 to 4; for example grid:side=32,layers=1,scale=2"
            )
        return self

    def crops(self, shape: tuple[int, int]) -> list[Crop]:
        """The whole image, and the layers."""
        return crops(shape, self.layers)

    def prompts(self, grey: Grey8, crop: Crop, marks: Sequence[Prompt]) -> list[Prompt]:
        """Points of the grid of the crop, then marks in it."""
        grid = grid_points(crop.shape, max(1, self.side // self.scale**crop.layer))
        return [*(point(x, y) for x, y in grid), *_within(marks, crop)]

    def marks(self, grey: Grey8, place: Box) -> list[Prompt]:
        """None: a grid knows nothing of the image."""
        return []

    def most(self, shape: tuple[int, int]) -> int:
        """Points of the grids of all crops."""
        sides = [max(1, self.side // self.scale**one.layer) for one in self.crops(shape)]
        return sum(side * side for side in sides)


@dataclass(frozen=True)
class Structure(Grid):
    """Centres of what stands out in the image, after a grid (MatSAM).

    Parameters
    ----------
    side, layers, scale : int
        The grid and its crops, as of `Grid`. A centre is a prompt of a crop where it lies in it.
    regions : {"edges", "threshold"}
        What stands out: pieces of edges by Canny, or what is brighter than Otsu's threshold; in
        both the holes too.
    low, high : float
        Thresholds of the gradient of edges, in grey values from 0 to 255.
    smallest : int
        Pixels below which a piece of edge is dropped.
    width : int
        Edge of the square in pixels by which edges are widened.
    """

    side: int = 32
    layers: int = 0
    scale: int = 1
    regions: str = "edges"
    low: float = 80.0
    high: float = 130.0
    smallest: int = 15
    width: int = 5
    kind: ClassVar[str] = "structure"

    def ready(self, sample: str, shape: Triple) -> Prompting:
        """Refuse regions that are not known."""
        if self.regions not in ("edges", "threshold"):
            raise ArgumentError(f"{self}: regions are edges or threshold")
        if not 0 <= self.low <= self.high:
            raise ArgumentError(f"{self}: low is 0 or more, and high not below it")
        return super().ready(sample, shape)

    def marks(self, grey: Grey8, place: Box) -> list[Prompt]:
        """Centres of the outlines."""
        if self.regions == "edges":
            found = centres(edge_regions(grey, self.low, self.high, self.smallest, self.width))
        else:
            found = centres(threshold_regions(grey))
        if len(found) > MOST_CENTRES:
            raise InputError(
                f"slice {place.start[0]} has {len(found)} outlines, which is noise: {MOST_CENTRES} at most. Denoise it "
                "first, or take regions=threshold or higher low and high"
            )
        return [point(x, y) for x, y in found]

    def most(self, shape: tuple[int, int]) -> int:
        """Points of all grids, and centres in every layer."""
        return super().most(shape) + (1 + self.layers) * MOST_CENTRES


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

    def ready(self, sample: str, shape: Triple) -> Prompting:
        """Read the file, and refuse what lies outside the volume."""
        rows, digest = read_rows(Path(self.path))
        made = Rows(tuple(rows), digest, str(self.path))
        made.check(shape)
        return made

    def marks(self, grey: Grey8, place: Box) -> list[Prompt]:
        """Prompts of a slice, of a file that was read."""
        raise InputError(f"{self.path} was not read")


@dataclass(frozen=True)
class Row:
    """A point or a box of a file."""

    z: int
    points: tuple[tuple[float, float, int], ...]
    box: tuple[float, float, float, float] | None
    name: str
    image: str = ""


@dataclass(frozen=True)
class Rows(Prompting):
    """Prompts of a file that was read."""

    rows: tuple[Row, ...]
    sha256: str
    path: str
    kind: ClassVar[str] = "file"
    explicit: ClassVar[bool] = True

    @property
    def names(self) -> tuple[str, ...]:  # type: ignore[override]
        """Phases of the rows, in the order in which they come."""
        return tuple(dict.fromkeys(one.name for one in self.rows if one.name))

    def description(self) -> dict[str, Any]:
        """Digest of the file."""
        return {"kind": self.kind, "version": self.version, "sha256": self.sha256}

    def check(self, shape: Triple) -> None:
        """Raise `InputError` if a prompt lies outside the volume."""
        if named := [row.image for row in self.rows if row.image]:
            raise InputError(
                f"{self.path} names images ({named[0]}); prompts of a stack have the number z of their slice"
            )
        self.check_inside(shape)

    def of_image(self, name: str, shape: tuple[int, int]) -> Rows:
        """Prompts of one image of a folder, by its name; refuses those outside of it."""
        rows = tuple(row for row in self.rows if row.image == name)
        found = replace(self, rows=rows)
        found.check_inside((1, *shape))
        return found

    def check_inside(self, shape: Triple) -> None:
        """Raise `InputError` if a point or a corner of a box lies outside."""
        for row in self.rows:
            ends = [*row.points, *([(*row.box[:2], 0), (*row.box[2:], 0)] if row.box else [])]
            inside = all(0 <= y < shape[1] and 0 <= x < shape[2] for x, y, _ in ends)
            if not 0 <= row.z < shape[0] or not inside:
                raise InputError(
                    f"{self.path} has a prompt outside: {row.image or f'z={row.z}'}, {row.points or row.box}; there "
                    f"are {shape} voxels (z, y, x), counted from 0"
                )

    def marks(self, grey: Grey8, place: Box) -> list[Prompt]:
        """Prompts of a slice whose first point lies in the window."""
        y, x = place.start[1:]
        found = [_prompt(row) for row in self.rows if row.z == place.start[0]]
        whole = Crop((y, x), (place.stop[1], place.stop[2]))
        inside = [one for one in found if len(points_in(_anchor(one), whole))]
        return [one.moved(x, y) for one in inside]

    def most(self, shape: tuple[int, int]) -> int:
        """Prompts of the fullest slice."""
        z = [one.z for one in self.rows]
        return max((z.count(one) for one in set(z)), default=0)


def _anchor(prompt: Prompt) -> NDArray[np.float64]:
    """The point that decides in which window a prompt lies."""
    if prompt.box is None:
        return prompt.points[:1]
    x0, y0, x1, y1 = prompt.box
    return np.array([[(x0 + x1) / 2, (y0 + y1) / 2]])


def _prompt(row: Row) -> Prompt:
    points = np.array([one[:2] for one in row.points], np.float64).reshape(-1, 2)
    return Prompt(points, np.array([one[2] for one in row.points], np.int64), row.box, row.name)


def read_rows(path: Path) -> tuple[list[Row], str]:
    """Prompts of a CSV or JSON file, and the digest of the file.

    Raises
    ------
    InputError
        If the file is missing, or a row lacks a number.
    """
    try:
        data = path.read_bytes()
        listed = _records(path, data)
    except (OSError, ValueError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the prompts {path}: {error}") from error
    if not listed:
        raise InputError(f"{path} has no prompts: rows with z, x and y, or z, x0, y0, x1 and y1")
    groups: dict[tuple[str, int, Any], list[Mapping[str, Any]]] = {}
    for number, one in enumerate(listed):
        own = one.get("object")
        key = f"object {own}" if own not in (None, "") else number
        image = str(one.get("image") or "")
        z = 0.0 if image else _number(one, "z", path, number)
        groups.setdefault((image, int(z), key), []).append(one)
    rows = [replace(_row(z, group, path), image=image) for (image, z, _), group in groups.items()]
    return rows, hashlib.sha256(data).hexdigest()


def _records(path: Path, data: bytes) -> list[dict[str, Any]]:
    if path.suffix.lower() == ".json":
        found = json.loads(data)
        if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
            raise ValueError('a list of rows is needed: [{"z": 0, "x": 10, "y": 20}]')
        return found
    return list(csv.DictReader(io.StringIO(data.decode("utf-8-sig"))))


def _row(z: int, group: Iterable[Mapping[str, Any]], path: Path) -> Row:
    points, box, name = [], None, ""
    for one in group:
        name = str(one.get("phase") or name)
        if one.get("x0") not in (None, ""):
            x0, y0, x1, y1 = (_number(one, key, path) for key in ("x0", "y0", "x1", "y1"))
            box = (min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
        if one.get("x") not in (None, ""):
            label = OFF if str(one.get("label") or "1") in ("0", "0.0") else ON
            points.append((_number(one, "x", path), _number(one, "y", path), label))
    if box is None and not any(label == ON for *_, label in points):
        raise InputError(f"{path}: a prompt in slice {z} has no box and no point on its object")
    return Row(z, tuple(points), box, name)


def _number(row: Mapping[str, Any], key: str, path: Path, number: int | None = None) -> float:
    try:
        return float(row[key])
    except (KeyError, TypeError, ValueError) as error:
        place = "" if number is None else f" {number + 1}"
        raise InputError(
            f"{path}: row{place} has no number {key!r}; a row is z, x, y (and label, object, phase), or z, x0, y0, x1, "
            "y1"
        ) from error


@dataclass(frozen=True)
class Strokes(Prompting):
    """Strokes of the user, painted into a label field in which 0 is not painted.

    A stroke is a connected piece (8 neighbours) of a phase in a slice, and a prompt of some of its
    pixels; pixels of strokes of other phases beside it are not on the object.

    Parameters
    ----------
    field : str
        The label field.
    points : int
        Pixels of a stroke, spread over it in C order.
    negatives : int
        Pixels of the nearest strokes of other phases.
    """

    field: str
    points: int = 5
    negatives: int = 1
    sample: str = ""
    fingerprint: str = ""
    phases: tuple[tuple[str, int], ...] = ()
    kind: ClassVar[str] = "strokes"
    explicit: ClassVar[bool] = True

    @property
    def names(self) -> tuple[str, ...]:  # type: ignore[override]
        """Phases that were painted."""
        return tuple(name for name, _ in self.phases)

    def ready(self, sample: str, shape: Triple) -> Prompting:
        """Look the field up."""
        if self.points < 1 or self.negatives < 0:
            raise ArgumentError(f"{self}: points are 1 or more, negatives 0 or more")
        found = _label_field(sample, self.field, shape)
        painted = tuple((n, c) for n, c in found.items() if n != UNPAINTED and c != 0)
        if not painted:
            raise InputError(
                f"field {self.field!r} has the phases {dict(found)}: one besides the code 0, which is not painted"
            )
        print_of = store.fingerprint_of(sample, self.field)
        return replace(self, sample=sample, fingerprint=print_of, phases=painted)

    def description(self) -> dict[str, Any]:
        """Field, its fingerprint and the numbers of points."""
        return {
            "kind": self.kind, "version": self.version, "field": self.field, "points": self.points,
            "negatives": self.negatives, "fingerprint": self.fingerprint,
        }  # fmt: skip

    @property
    def inputs(self) -> dict[str, str]:
        """The field."""
        return {self.field: self.fingerprint}

    def marks(self, grey: Grey8, place: Box) -> list[Prompt]:
        """A prompt of each stroke of a window."""
        labels = _plane(self.sample, self.field, place)
        strokes = [
            (name, np.argwhere(pieces == number + 1)[:, ::-1])
            for name, code in self.phases
            for pieces, count in [ndimage.label(labels == code, SQUARE)]
            for number in range(count)
        ]
        return [self._prompt(name, pixels, strokes) for name, pixels in strokes]

    def _prompt(
        self, name: str, pixels: NDArray[Any], strokes: Sequence[tuple[str, NDArray[Any]]]
    ) -> Prompt:
        on = pixels[np.linspace(0, len(pixels) - 1, self.points).round().astype(int)]
        centre = pixels.mean(axis=0)
        others = [_closest(other, centre) for given, other in strokes if given != name]
        near = sorted(others, key=lambda one: (float(np.square(one - centre).sum()), *one))
        off = np.array(near[: self.negatives], np.float64).reshape(-1, 2)
        labels = np.array([ON] * len(on) + [OFF] * len(off))
        return Prompt(np.concatenate([on, off]).astype(np.float64), labels, None, name)


def _closest(pixels: NDArray[Any], centre: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(pixels[np.square(pixels - centre).sum(axis=1).argmin()])


@dataclass(frozen=True)
class Objects(Prompting):
    """Objects of another field: of numbers, or connected pieces of the phases of labels.

    Parameters
    ----------
    field : str
        Field of numbers of objects, or of labels, in which 0 is none.
    give : {"box", "point", "both"}
        Prompt of an object in a slice: its box, its innermost pixel, or both.
    smallest : int
        Pixels below which an object of a slice is left out.
    """

    field: str
    give: str = "box"
    smallest: int = 10
    sample: str = ""
    fingerprint: str = ""
    is_numbered: bool = False
    kind: ClassVar[str] = "objects"
    explicit: ClassVar[bool] = True

    def ready(self, sample: str, shape: Triple) -> Prompting:
        """Look the field up."""
        if self.give not in ("box", "point", "both"):
            raise ArgumentError(f"{self}: give is box, point or both")
        field = store.complete_field(sample, self.field)
        if field.shape != shape or not (field.labels or field.dtype == "uint32"):
            raise InputError(
                f"field {self.field!r} ({field.dtype}, {field.shape}) is not labels or numbers of objects of {shape}"
            )
        print_of = store.fingerprint_of(sample, self.field)
        numbered = field.dtype == "uint32"
        return replace(self, sample=sample, fingerprint=print_of, is_numbered=numbered)

    def description(self) -> dict[str, Any]:
        """Field, its fingerprint and the kind of prompt."""
        return {
            "kind": self.kind, "version": self.version, "field": self.field, "give": self.give,
            "smallest": self.smallest, "fingerprint": self.fingerprint,
        }  # fmt: skip

    @property
    def inputs(self) -> dict[str, str]:
        """The field."""
        return {self.field: self.fingerprint}

    def marks(self, grey: Grey8, place: Box) -> list[Prompt]:
        """A prompt of each object of a window."""
        plane = _plane(self.sample, self.field, place)
        numbers = plane if self.is_numbered else _pieces(plane)
        names, ids = np.unique(numbers, return_inverse=True)
        ids = ids.reshape(numbers.shape) + (0 if names[0] == 0 else 1)
        found = []
        for number, box in enumerate(ndimage.find_objects(ids), 1):
            bits = ids[box] == number
            if bits.sum() >= self.smallest:
                found.append(self._prompt(bits, box))
        return found

    def _prompt(self, bits: NDArray[np.bool_], box: tuple[slice, slice]) -> Prompt:
        y, x = box[0].start, box[1].start
        bounds = (x, y, box[1].stop - 1, box[0].stop - 1)
        if self.give == "box":
            return Prompt(np.zeros((0, 2)), np.zeros(0, np.int64), bounds)
        depth = ndimage.distance_transform_edt(np.pad(bits, 1))[1:-1, 1:-1]
        row, column = np.unravel_index(int(np.argmax(depth)), depth.shape)
        inner = np.array([[column + x, row + y]], np.float64)
        return Prompt(inner, np.array([ON]), bounds if self.give == "both" else None)


def _pieces(labels: NDArray[Any]) -> NDArray[np.int64]:
    """Connected pieces of all phases but 0, numbered from 1 phase by phase."""
    numbers, last = np.zeros(labels.shape, np.int64), 0
    for code in np.unique(labels[labels > 0]):
        pieces, count = ndimage.label(labels == code)
        numbers += np.where(pieces > 0, pieces + last, 0)
        last += count
    return numbers


def _label_field(sample: str, name: str, shape: Triple) -> Mapping[str, int]:
    field = store.complete_field(sample, name)
    if not field.labels or field.phases is None or field.shape != shape:
        raise InputError(f"field {name!r} does not hold labels of {shape} voxels with phases")
    return dict(field.phases)


def _plane(sample: str, name: str, place: Box) -> NDArray[Any]:
    """A window of a field of one slice; 0 beyond the border of the volume."""
    try:
        array = store.field_array(sample, name)
    except MissingFieldError as error:
        raise InputError(f"the field of the prompts is gone: {error}") from error
    whole = Box.whole(array.shape)  # type: ignore[arg-type]
    inside = place.clip(whole)
    plane = np.zeros(place.shape, array.dtype)
    if inside.size:
        plane[inside.within(place).slices] = store.read_box(array, inside)
    return np.asarray(plane[0])
