"""The verb `paint`: images to paint on, where a segmentation is least certain."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tim3d.engine import Outline
from tim3d.engine.clusters.memory import available_memory
from tim3d.engine.passes.plan import size_text
from tim3d.errors import ArgumentError, MemoryPlanError, MixedRunError
from tim3d.formats.image_tiff import image_tiff
from tim3d.grid import Box, Triple
from tim3d.stages.segmentation.painting import (
    GREY,
    KIND,
    LABELS,
    RECORD,
    Painting,
    Patch,
    digest,
    read_painting,
)
from tim3d.stages.shared.agreement import UNLABELLED
from tim3d.stages.shared.grid_agreement import refuse_unlike
from tim3d.stages.shared.verb import Task, Verb
from tim3d.storage import outputs, store
from tim3d.storage.schema import Field
from tim3d.typed import Folder, Window

log = logging.getLogger(__name__)


@Verb
def paint(
    sample: str,
    folder: Folder,
    *,
    field: str = "raw",
    by: str = "phase",
    labels: str | None = None,
    count: int = 6,
    size: Window = (256, 256),
) -> Task[Path]:
    """Write images to paint on, from where a segmentation is least certain.

    Parts of slices are ordered by the mean entropy of the class probabilities, and taken far from
    each other. Paint in the TIFFs of FOLDER/labels over those of FOLDER/grey in any program, save
    them in place, and read them back with ``tim3d take-painted``. A folder that holds images
    already is gone on with: they are kept, and others are added.

    Parameters
    ----------
    sample : str
        Path or URL of the sample.
    folder : path
        Folder for the images.
    field : str
        The grey field.
    by : str
        Field of labels that was segmented with probabilities or an entropy.
    labels : str, optional
        Field of labels that is painted on (default: none, the images begin empty).
    count : int
        Number of images to add.
    size : (y, x)
        Most pixels of an image.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    MissingFieldError
        If a field is missing.
    ArgumentError
        If the fields do not fit, the segmentation has no probabilities, or a number is out of range.
    MixedRunError
        If the folder was made from other fields.
    """
    grey, seen = store.complete_field(sample, field), store.complete_field(sample, by, "segment")
    base = None if labels is None else store.complete_field(sample, labels, "labels")
    for one in (seen, *([base] if base else [])):
        if one.phases is None:
            raise ArgumentError(f"{one.name!r} is not a field of labels with phases")
        refuse_unlike(sample, grey, one)
    if grey.labels:
        raise ArgumentError(f"{field!r} holds labels; what is painted on has grey values")
    if count < 1 or len(size) != 2 or min(size) < 8:
        raise ArgumentError(f"--count {count} and --size {size}: at least 1 image of 8,8 pixels")
    place = Path(folder)
    outputs.check_target(place / RECORD, KIND, makes_folder=place.parent.is_dir())
    edges = (min(size[0], grey.shape[1]), min(size[1], grey.shape[2]))
    painting = _painting(sample, place, grey, base, seen)
    choosing = Choosing(sample, grey, seen, base, painting, count, edges)
    return Task(choosing.plans, choosing.run)


def _painting(sample: str, folder: Path, grey: Field, base: Field | None, seen: Field) -> Painting:
    """The record of a folder, gone on with if it is there."""
    classes = [name for name in seen.phases or () if name != UNLABELLED]
    phases = dict(
        (base.phases or {})
        if base
        else {UNLABELLED: 0, **{name: n for n, name in enumerate(classes, 1)}}
    )
    new = Painting(
        folder,
        (grey.name, store.fingerprint_of(sample, grey.name)),
        (base.name, store.fingerprint_of(sample, base.name)) if base else ("", ""),
        {"shape": list(grey.shape), "spacing_nm": list(grey.spacing_nm)},
        phases,
    )
    if not (folder / RECORD).is_file():
        outputs.refuse_other_files(folder, "images")
        return new
    known = read_painting(folder)
    if known.question() != new.question():
        raise MixedRunError(
            f"{folder} holds images of other fields, or of fields that were replaced since: read them back first, and "
            "give the name of a new folder"
        )
    return known


@dataclass(frozen=True)
class Choosing:
    """The sample, the folder, and how many images of which size are added."""

    sample: str
    grey: Field
    seen: Field
    base: Field | None
    painting: Painting
    count: int
    size: tuple[int, int]

    def plans(self) -> list[Outline]:
        """One line."""
        self._refuse_beyond_memory()
        rows, columns = self.size
        text = f"writes up to {self.count} images of {rows} x {columns} pixels to paint on, into {self.painting.folder}"
        return [Outline("paint", text)]

    def run(self) -> Path:
        """Choose the images and write them."""
        self._refuse_beyond_memory()
        scores = self._scores()
        chosen = self._spread(scores)
        for z, row, column in chosen:
            self._write(z, row, column, float(scores[z, row, column]))
        folder = self.painting.folder
        log.info(
            "%d images to paint on in %s; save the labels in place, then  tim3d take-painted %s %s",
            len(chosen), folder / LABELS, self.sample, folder,
        )  # fmt: skip
        return folder

    def _sources(self) -> list[Field]:
        """The entropy of the segmentation, or the probability of each class."""
        names = store.fields(self.sample)
        if f"{self.seen.name}_entropy" in names:
            return [store.complete_field(self.sample, f"{self.seen.name}_entropy")]
        start = f"{self.seen.name}_probability_"
        found = [store.complete_field(self.sample, n) for n in names if n.startswith(start)]
        if not found:
            raise ArgumentError(
                f"{self.seen.name!r} has neither probabilities nor an entropy, so that nothing says where it is not "
                f"certain: segment with --probabilities --out {self.seen.name}_sure, and give that as --by"
            )
        return found

    def _refuse_beyond_memory(self) -> None:
        """Refuse slabs of all classes that do not fit."""
        sources, (nz, ny, nx) = self._sources(), self.grey.shape
        depth = min(nz, sources[0].shard[0])
        each = sum(one.voxel_bytes for one in sources)
        need = ny * nx * (depth * each + 32 * len(sources))
        if need > (free := available_memory()):
            raise MemoryPlanError(
                f"paint needs {size_text(need)}, and {size_text(free)} are free: segment with smaller shards, or crop "
                "the sample"
            )

    def _scores(self) -> NDArray[np.float64]:
        """Mean entropy of every part of every slice, in nat."""
        nz, ny, nx = self.grey.shape
        (rows, columns), sources = self.size, self._sources()
        found = np.zeros((nz, -(-ny // rows), -(-nx // columns)))
        for z, entropy in self._entropies(sources):
            sums = np.add.reduceat(entropy, np.arange(0, ny, rows), axis=0)
            sums = np.add.reduceat(sums, np.arange(0, nx, columns), axis=1)
            found[z] = sums
        areas = np.outer(_widths(ny, rows), _widths(nx, columns))
        return np.asarray(found / areas)

    def _entropies(self, sources: list[Field]) -> Iterator[tuple[int, NDArray[np.float64]]]:
        """Entropy of each slice; slabs of whole shards are read, of one class after the other."""
        nz, ny, nx = self.grey.shape
        depth = sources[0].shard[0]
        for first in range(0, nz, depth):
            box = Box((first, 0, 0), (min(first + depth, nz), ny, nx))
            slabs = [store.read_box(store.field_array(self.sample, s.name), box) for s in sources]
            for k in range(box.shape[0]):
                yield first + k, _entropy([one[k] for one in slabs])

    def _spread(self, scores: NDArray[np.float64]) -> list[Triple]:
        """Parts of the highest scores, each at some distance from all others, new or there."""
        dz, dy, dx = self.grey.spacing_nm
        edges = np.array([dz, self.size[0] * dy, self.size[1] * dx])
        volume = float(np.prod(np.array(self.grey.shape) * self.grey.spacing_nm))
        apart = 0.5 * (volume / (self.count + len(self.painting.patches))) ** (1 / 3)
        taken = [np.array(one.start) / (1, *self.size) * edges for one in self.painting.patches]
        chosen: list[Triple] = []
        order = np.argsort(-scores, axis=None, kind="stable")
        for place in zip(*np.unravel_index(order, scores.shape), strict=True):
            at = np.array(place) * edges
            if all(math.dist(at, other) >= apart for other in taken):
                taken.append(at)
                chosen.append((int(place[0]), int(place[1]), int(place[2])))
            if len(chosen) == self.count:
                break
        return chosen

    def _write(self, z: int, row: int, column: int, entropy: float) -> None:
        (rows, columns), (_, ny, nx) = self.size, self.grey.shape
        y, x = row * rows, column * columns
        box = Box((z, y, x), (z + 1, min(y + rows, ny), min(x + columns, nx)))
        values = store.read_box(store.field_array(self.sample, self.grey.name), box)[0]
        shown = np.zeros(values.shape, np.uint8)
        if self.base is not None:
            shown = store.read_box(store.field_array(self.sample, self.base.name), box)[0]
        pixel = (self.grey.spacing_nm[1], self.grey.spacing_nm[2])
        file = f"z{z:05d}_y{y:05d}_x{x:05d}.tif"
        for where, data in ((GREY, values), (LABELS, shown)):
            with outputs.replacing(self.painting.folder / where / file, durable=False) as target:
                target.write(image_tiff(data, pixel))
        size = (values.shape[0], values.shape[1])
        self.painting.patches.append(Patch(file, (z, y, x), size, entropy, digest(shown)))
        self.painting.save()


def _widths(length: int, step: int) -> NDArray[np.int64]:
    starts = np.arange(0, length, step)
    return np.minimum(starts + step, length) - starts


def _entropy(values: list[NDArray[np.generic]]) -> NDArray[np.float64]:
    """Entropy in nat of probabilities that were rounded to whole numbers, or as it is."""
    if len(values) == 1:
        return values[0].astype(np.float64)
    shares = np.array(values, np.float64)
    total = shares.sum(axis=0)
    shares /= np.where(total > 0, total, 1)
    return np.asarray(-(shares * np.log(np.where(shares > 0, shares, 1))).sum(axis=0))
