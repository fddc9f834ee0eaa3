"""The verb `points`: random points of a volume as images to be looked at."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tim3d.engine import Outline
from tim3d.errors import ArgumentError, MixedRunError
from tim3d.forecast import expected
from tim3d.grid import Box
from tim3d.stages.shared.verb import Task, Verb
from tim3d.stages.uncertainty.point_files import TABLE, places, table_of
from tim3d.storage import outputs, store
from tim3d.storage.schema import Field
from tim3d.typed import Folder

# Edge in pixels of a shown image, and length of the marks that point to its middle.
SHOWN, MARK = 384, 40
# File that says which points a folder holds.
MARK_FILE = "points.json"


@Verb
def points(
    sample: str,
    folder: Folder,
    *,
    field: str = "raw",
    count: int = 300,
    patch: int = 65,
    seed: int = 0,
    overwrite: bool = False,
) -> Task[Path]:
    """Write random points of a grey field as images, for a person to name their phases.

    ``FOLDER/points.csv`` has a row for each point with an empty column ``answer``: write the name of the
    phase of the voxel between the four marks of its image. Points that are not clear stay empty.
    `count_points` reads the table.

    Parameters
    ----------
    sample : str
        Path or URL of the sample.
    folder : path
        Folder for the table and the images. Made if it is not there.
    field : str
        The grey field.
    count : int
        Number of points.
    patch : int
        Edge in pixels of what is shown around a point; odd.
    seed : int
        Seed of the places.
    overwrite : bool
        Replace points that are there, and their answers.

    Returns
    -------
    Path
        The table.

    Raises
    ------
    MissingFieldError
        If the grey field is missing.
    ArgumentError
        If the field holds labels, or a number is out of range.
    MixedRunError
        If the folder holds other points.
    """
    grey = store.complete_field(sample, field)
    if grey.labels:
        raise ArgumentError(f"field {field!r} holds labels; points show grey values: --field raw")
    if not 1 <= count <= 10_000 or not 3 <= patch <= 999 or not 0 <= seed < 2**32:
        raise ArgumentError(
            f"--count {count} is from 1 to 10000, --patch {patch} from 3 to 999, --seed {seed} from 0 to 2^32 - 1"
        )
    outputs.check_place(
        Path(folder) / TABLE, "a table of points", makes_folder=Path(folder).parent.is_dir()
    )
    shown = Shown(sample, grey, Path(folder), count, patch | 1, seed, overwrite)
    return Task(shown.plans, shown.run)


@dataclass(frozen=True)
class Shown:
    """Points of a grey field, and the folder to write."""

    sample: str
    grey: Field
    folder: Path
    count: int
    patch: int
    seed: int
    overwrite: bool

    @property
    def table(self) -> Path:
        """The table of the points."""
        return self.folder / TABLE

    def plans(self) -> list[Outline]:
        """One line, or nothing if the points are there."""
        if self._is_there():
            return []
        return [Outline("points", f"writes {self.count} images and their table into {self.folder}")]

    def run(self) -> Path:
        """Write the images, and last the table."""
        if self._is_there():
            return self.table
        low, high = self._range()
        outputs.make_folder(self.folder)
        for name, place in zip(self._images(), self._places.tolist(), strict=True):
            file = io.BytesIO()
            self._image(place, low, high).save(file, "PNG")
            _write(self.folder / name, file.getvalue())
        _write(self.folder / MARK_FILE, self._mark.encode())
        _write(self.table, self._text().encode())
        return self.table

    def _images(self) -> Iterator[str]:
        return (f"point_{n:04d}.png" for n in range(self.count))

    def _text(self) -> str:
        return table_of(self._places, list(self._images()))

    @property
    def _places(self) -> NDArray[np.int64]:
        return places(self.grey.shape, self.count, self.seed)

    def _is_there(self) -> bool:
        """Whether these points are there, with answers or without; refuse others."""
        awaited = expected("field", f"{self.sample}/{self.grey.name}")
        mark = self.folder / MARK_FILE
        if not mark.exists():
            outputs.refuse_other_files(self.folder, "images of points", "point_*.png")
        if not self.table.exists() or self.overwrite or awaited:
            return False
        if mark.read_text() != self._mark:
            raise MixedRunError(
                f"{self.table} holds other points. Choose another folder, or replace them and their answers with "
                "--overwrite"
            )
        return True

    @property
    def _mark(self) -> str:
        """Text that tells these points from others."""
        patches = hashlib.sha256()
        for place in self._places.tolist():
            patches.update(self._patch(place).tobytes())
        known = {
            "sha256": patches.hexdigest(),
            "count": self.count,
            "patch": self.patch,
            "seed": self.seed,
        }
        return json.dumps({"tim3d": "points", **known})

    def _range(self) -> tuple[float, float]:
        """Grey values that are shown black and white, from the whole volume."""
        slices = store.open_dataset(self.sample, f"{self.grey.name}_slices")
        mean, spread = float(slices["grey_mean"].mean()), float(slices["grey_std"].mean())
        return mean - 3 * spread, mean + 3 * max(spread, 1e-9)

    def _patch(self, place: list[int]) -> NDArray[np.float64]:
        """Grey values of the slice around a point; nan beyond the volume."""
        z, y, x = place
        half = self.patch // 2
        around = Box((z, y - half, x - half), (z + 1, y + half + 1, x + half + 1))
        seen = around.clip(Box.whole(self.grey.shape))
        values = np.full((self.patch, self.patch), np.nan)
        grey = store.read_box(store.field_array(self.sample, self.grey.name), seen)[0]
        values[seen.within(around).slices[1:]] = grey
        return values

    def _image(self, place: list[int], low: float, high: float) -> Image.Image:
        """The patch, with four marks that end beside the point."""
        scaled = np.clip((self._patch(place) - low) / (high - low), 0, 1)
        shown = np.rint(255 * np.nan_to_num(scaled)).astype(np.uint8)
        _, dy, dx = self.grey.spacing_nm
        size = round(SHOWN * min(dx / dy, 1.0)), round(SHOWN * min(dy / dx, 1.0))
        image = Image.fromarray(shown).resize(size, Image.Resampling.NEAREST).convert("RGB")
        return _marked(image, self.patch)


def _write(path: Path, data: bytes) -> None:
    with outputs.replacing(path) as file:
        file.write(data)


def _marked(image: Image.Image, patch: int) -> Image.Image:
    pixels = np.array(image)
    height, width = pixels.shape[:2]
    row, column = height // 2, width // 2
    gap_y, gap_x = height // patch + 2, width // patch + 2
    colour = (255, 60, 0)
    pixels[max(row - gap_y - MARK, 0) : row - gap_y, column] = colour
    pixels[row + gap_y : row + gap_y + MARK, column] = colour
    pixels[row, max(column - gap_x - MARK, 0) : column - gap_x] = colour
    pixels[row, column + gap_x : column + gap_x + MARK] = colour
    return Image.fromarray(pixels)
