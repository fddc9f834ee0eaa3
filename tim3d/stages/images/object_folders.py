"""Folders of numbers of objects against true ones: by image, their mean, and pooled over all images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tim3d.engine import Outline
from tim3d.errors import ArgumentError, InputError
from tim3d.kernels.morphology.overlaps import Rows, added, overlaps
from tim3d.kernels.statistics.object_agreement import Overlaps
from tim3d.lazy import xarray as xr
from tim3d.sources.image import read_pixels
from tim3d.stages.images.listing import write_table
from tim3d.stages.images.masks import OBJECTS, read_record
from tim3d.stages.images.reading import numbers_in
from tim3d.stages.shared.agreement import about_baselines, prefixes
from tim3d.stages.shared.object_scores import (
    ALONG,
    BY_THRESHOLD,
    POOLED,
    object_scores,
    require_objects,
    variables_of,
)

# Scores that have no mean over images: counts, and what has one by threshold.
NO_MEAN = ("objects", "true_objects", BY_THRESHOLD)
CURE = "Compare labels without --objects"


def holds_objects(folder: Path, *, asked: bool) -> bool:
    """Whether the masks of a folder are numbers of objects: as its record says, or else as asked.

    Raises
    ------
    ArgumentError
        If objects are asked for and the record says that its masks are labels.
    """
    known = read_record(folder)
    if known is None:
        return asked
    recorded = bool(known["question"].get("values") == OBJECTS)
    if asked and not recorded:
        raise ArgumentError(
            f"{folder} holds labels and no numbers of objects. Make them: tim3d segment-images IMAGES OTHER-FOLDER "
            "--model sam.safetensors --prompts structure --values objects --format tif"
        )
    return recorded


@dataclass(frozen=True)
class ComparingObjects:
    """Numbers of objects that are compared with true ones.

    Parameters
    ----------
    masks : mapping of name to (masks, truth)
        Files of each image: that which is judged, those of the baselines, and the true one.
    target : Path, optional
        File for a row of each image.
    baselines : tuple of str
        Folders of the baselines.
    """

    masks: Mapping[str, tuple[tuple[Path, ...], Path]]
    target: Path | None
    baselines: tuple[str, ...] = ()

    def plans(self) -> list[Outline]:
        """One line."""
        return [
            Outline(
                "evaluate-images",
                f"compares the objects of {len(self.masks)} images with true ones",
            )
        ]

    def run(self) -> xr.Dataset:
        """Compare, and write the table."""
        each = [_tables(*paths) for paths in self.masks.values()]
        found: dict[str, Any] = {}
        for prefix, tables in zip(
            prefixes(1 + len(self.baselines)), zip(*each, strict=True), strict=True
        ):
            found |= _variables(tables, prefix)
        result = xr.Dataset(
            found,
            {"threshold": ALONG, "image": np.array(list(self.masks), object)},
            about_baselines(self.baselines),
        )
        write_table(result, self.target)
        return result


def _tables(masks: Sequence[Path], truth: Path) -> list[Rows]:
    """Overlaps of the objects of an image with the true ones, of each of its masks."""
    true = numbers_in(read_pixels(truth).values, truth, CURE)
    tables = []
    for path in masks:
        found = numbers_in(read_pixels(path).values, path, CURE)
        if found.shape != true.shape:
            raise InputError(
                f"{path} has {found.shape} pixels, {truth} {true.shape}; a mask and its truth are of one image"
            )
        tables.append(overlaps(_plane(true), _plane(found)))
    return tables


def _plane(numbers: NDArray[Any]) -> NDArray[np.uint32]:
    return numbers.astype(np.uint32)[None]


def pooled(tables: Iterable[Rows]) -> Rows:
    """Table of several images as if they lay beside each other: no two share an object.

    >>> pooled([np.array([[0, 0, 4], [1, 7, 2]]), np.array([[1, 1, 3]])]).tolist()
    [[0, 0, 4], [1, 7, 2], [2, 8, 3]]
    """
    rows, last = [], np.zeros(2, np.int64)
    for table in tables:
        moved = table.copy()
        moved[:, :2] += np.where(table[:, :2] > 0, last, 0)
        last = np.maximum(last, moved[:, :2].max(axis=0))
        rows.append(moved)
    return added(rows)


def _variables(tables: Sequence[Rows], prefix: str) -> dict[str, Any]:
    """Scores by image, their means over the images with a true object, and those of all images pooled."""
    whole = Overlaps.of(pooled(tables))
    require_objects(whole)
    together = object_scores(whole)
    each = [_of_image(Overlaps.of(table), together) for table in tables]
    by_image = {name: np.stack([one[name] for one in each]) for name in together}
    means = {
        name: np.nanmean(values, axis=0) for name, values in by_image.items() if name not in NO_MEAN
    }
    return {
        **variables_of(by_image, prefix, along=("image",)),
        **variables_of(means, prefix, "mean_"),
        **variables_of(together, prefix, POOLED),
    }


def _of_image(table: Overlaps, like: Mapping[str, Any]) -> dict[str, Any]:
    """Scores of an image; NaN where it has no true object, but for the counts."""
    true, found = table.objects()
    if true:
        return object_scores(table)
    nothing = {name: np.full(np.shape(value), np.nan) for name, value in like.items()}
    return nothing | {"objects": found, "true_objects": 0}
