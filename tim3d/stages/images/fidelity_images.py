"""The verb `fidelity_images`: generated images against real ones, over the conditions of a series."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tim3d.engine import Outline
from tim3d.errors import ArgumentError, InputError
from tim3d.kernels.statistics.copies import nearest_part
from tim3d.kernels.statistics.correlation import check_lags
from tim3d.lazy import xarray as xr
from tim3d.phases import Phases
from tim3d.sources.image import read_pixels, shape_of, size_of
from tim3d.stages.images.condition_scores import Measured, Scoring
from tim3d.stages.images.condition_table import ConditionRow, Masks, is_awaited, read_conditions
from tim3d.stages.images.conditions_dataset import check_csv, dataset, warnings_of, write_csv
from tim3d.stages.images.crop_numbers import CropNumbers, Ranks, joined, numbers, places
from tim3d.stages.images.reading import labels_in
from tim3d.stages.shared.verb import Task, Verb
from tim3d.typed import PixelSize, VoxelLags

log = logging.getLogger(__name__)

# Lags that are used by default, as far as half a crop.
LAGS = (1, 2, 4, 6, 8, 12, 16, 24, 32, 48)
# Edges of pixels may differ by this much.
SAME = 1e-3
# Crops of a condition that are looked for in the real images.
COPIES = 4


@Verb
def fidelity_images(
    conditions: str | Path,
    *,
    phases: Phases | None = None,
    pixel_size: PixelSize | None = None,
    in_pixels: bool = False,
    crop: int | None = None,
    lags: VoxelLags | None = None,
    by: str | None = None,
    draws: int = 100,
    resamples: int = 1000,
    copies: int = COPIES,
    seed: int = 0,
    csv: str | Path | None = None,
) -> Task[xr.Dataset]:
    """Compare generated images with real ones over conditions: how a series is followed.

    All images are cut into crops of one size. By condition and phase: area fraction, perimeter per
    area, shape index, S2 and lineal path; over conditions: R^2 with what real images reach against real
    ones, likeness and variety of the descriptors together, copies. See docs/images.md.

    Parameters
    ----------
    conditions : path
        CSV, a row for each condition: columns ``real`` and ``generated`` name a folder of label images or
        one image, relative to the table; all others name the condition, as material and temperature.
    phases : Phases, optional
        Names and values of the phases in the real images (default: as tim3d segment-images recorded
        them). Generated images have those of their record.
    pixel_size : float or (dy, dx), optional
        Edges of a pixel in nm, of all images (default: as the metadata say, else in pixels).
    in_pixels : bool
        Measure in pixels, whatever the metadata say.
    crop : int, optional
        Edge of a crop in pixels (default: the shortest edge of a generated image).
    lags : sequence of int, optional
        Lags of S2 and lineal path in pixels (default: 1,2,4,6,8,12,16,24,32,48). Up to half a crop.
    by : str, optional
        Column whose values form groups with an R^2 of their own, as material (default: none).
    draws : int
        How often real crops are dealt out to find what R^2 they reach against each other.
    resamples : int
        Resamples of the crops for intervals of deviations.
    copies : int
        Most crops of a condition that are looked for in the real images, 0 for none.
    seed : int
        Number from which all draws follow.
    csv : path, optional
        File to which a row for each condition and phase is written (default: none).

    Returns
    -------
    xarray.Dataset
        Means and standard deviations over crops by condition and phase with their units, deviations with
        95 % intervals, R^2 over conditions by group with its ceiling, precision, recall, density and
        coverage by group with those of real against real, distances to the nearest part of a real image.

    Raises
    ------
    ArgumentError
        If phases are not known or differ, or an argument is out of range.
    InputError
        If the table or an image cannot be used, pixels differ in size, or a condition has fewer than two
        crops of a side.
    """
    target = check_csv(csv)
    if in_pixels and pixel_size is not None:
        raise ArgumentError("--pixel-size changes nothing with --in-pixels: leave one of them out")
    _check_counts(draws=draws, resamples=resamples, copies=copies)
    size, scoring = size_of(pixel_size), Scoring(by, draws, resamples, seed)

    def comparing() -> ComparingConditions:
        rows = read_conditions(conditions, phases)
        if by is not None and by not in rows[0].cells:
            raise ArgumentError(
                f"--by {by}: {conditions} has no such column; it has {', '.join(rows[0].cells)}"
            )
        edge = _crop(rows, crop)
        return ComparingConditions(
            rows, size, in_pixels, edge, _lags(edge, lags), copies, scoring, target
        )

    def plans() -> list[Outline]:
        if is_awaited(conditions):
            return [Outline("fidelity-images", "compares images that an earlier step makes")]
        return comparing().plans()

    return Task(plans, lambda: comparing().run())


def _check_counts(**counts: int) -> None:
    for name, count in counts.items():
        fewest = 0 if name == "copies" else 20
        if count < fewest:
            raise ArgumentError(f"--{name} {count}: give {fewest} or more")


def _crop(rows: Sequence[ConditionRow], given: int | None) -> int:
    """Edge of a crop; refuse one that does not fit, or fits only once into all images of a side."""
    shapes = {path: shape_of(path) for one in rows for side in one.sides for path in side.files}
    edge = (
        min(min(shapes[path]) for one in rows for path in one.generated.files)
        if given is None
        else given
    )
    if edge < 8:
        raise ArgumentError(f"crops of {edge} pixels are too small to measure: 8 or more")
    for path, shape in shapes.items():
        if min(shape) < edge:
            raise InputError(
                f"{path} has {shape[0]} x {shape[1]} pixels, smaller than a crop of {edge}: --crop {min(shape)}"
            )
    for one in rows:
        for name, side in (("real", one.real), ("generated", one.generated)):
            count = sum(len([*places(shapes[path], edge)]) for path in side.files)
            if count < 2:
                raise InputError(
                    f"{one.place}: the {name} images have {count} crop of {edge} pixels, and a spread needs two or "
                    "more: add images, or take smaller crops with --crop"
                )
    return edge


def _lags(crop: int, given: Sequence[int] | None) -> tuple[int, ...]:
    if given is None:
        return tuple(lag for lag in LAGS if lag <= crop // 2)
    check_lags(given)
    if given[-1] > crop // 2:
        raise ArgumentError(f"lags go up to {given[-1]}, and half a crop is {crop // 2} pixels")
    return tuple(given)


@dataclass(frozen=True)
class ComparingConditions:
    """Conditions that are compared, and how."""

    rows: Sequence[ConditionRow]
    size: tuple[float, float] | None
    in_pixels: bool
    crop: int
    lags: tuple[int, ...]
    copies: int
    scoring: Scoring
    target: Path | None

    def plans(self) -> list[Outline]:
        """One line."""
        images = sum(len(side.files) for one in self.rows for side in one.sides)
        return [
            Outline(
                "fidelity-images",
                f"compares {images} images of {len(self.rows)} conditions by crops of {self.crop} pixels",
            )
        ]

    def run(self) -> xr.Dataset:
        """Measure all crops, compare them, and write the table."""
        size, unit = self._pixel()
        found = [self._measured(one, size) for one in self.rows]
        names = self.rows[0].real.phases.names
        result = dataset(found, self.scoring, self.lags, self.crop, unit, names)
        for sentence in warnings_of(result):
            log.warning(sentence)
        write_csv(result, self.target)
        return result

    def _pixel(self) -> tuple[tuple[float, float], str]:
        """Edges of a pixel and their unit; refuse images of different ones."""
        if self.in_pixels:
            return (1.0, 1.0), "pixel"
        if self.size:
            return self.size, "nm"
        files = [path for one in self.rows for side in one.sides for path in side.files]
        sizes = {path: read_pixels(path).pixel_nm for path in files}
        first = sizes[files[0]]
        for path, size in sizes.items():
            if (size is None) != (first is None) or (
                size and first and not np.allclose(size, first, rtol=SAME, atol=0)
            ):
                raise InputError(
                    f"{files[0]} has {_said(first)}, {path} {_said(size)}: generate at the pixel size of the real "
                    "images; or give one for all: --pixel-size 5; or measure in pixels: --in-pixels"
                )
        if first is None:
            log.warning(
                "no image has a pixel size: lengths are in pixels. Give it in nm: --pixel-size 5"
            )
        return (first or (1.0, 1.0)), "nm" if first else "pixel"

    def _measured(self, row: ConditionRow, size: tuple[float, float]) -> Measured:
        names = self.rows[0].real.phases.names
        real, generated = ([*_images(side, names)] for side in row.sides)
        return Measured(
            row.cells,
            self._numbers(real, len(names), size),
            self._numbers(generated, len(names), size),
            self._distances(generated, real, apart=False),
            self._distances(real, real, apart=True),
        )

    def _numbers(
        self, images: Sequence[Ranks], phases: int, size: tuple[float, float]
    ) -> CropNumbers:
        return joined(
            [numbers([*_crops(one, self.crop)], phases, self.lags, size) for one in images]
        )

    def _distances(
        self, crops_of: Sequence[Ranks], images: Sequence[Ranks], *, apart: bool
    ) -> list[float]:
        """Share of the pixels in which crops differ from the nearest part of the images.

        With `apart` parts that share a pixel with the crop are left out, and crops without another part.
        """
        every = [(n, at) for n, one in enumerate(crops_of) for at in places(one.shape, self.crop)]
        chosen = every[:: max(1, len(every) // max(1, self.copies))][: self.copies]
        found = []
        for number, (row, column) in chosen:
            crop = crops_of[number][row : row + self.crop, column : column + self.crop]
            distances = []
            for n, image in enumerate(images):
                own = (row, column) if apart and n == number else None
                if own is None or _has_other_part(image.shape, own, self.crop):
                    distances.append(nearest_part(crop, image, apart_from=own).distance)
            found += [min(distances)] if distances else []
        return found


def _said(size: tuple[float, float] | None) -> str:
    return "no pixel size" if size is None else f"pixels of {size[0]:g} x {size[1]:g} nm"


def _images(side: Masks, names: Sequence[str]) -> Iterator[Ranks]:
    """Images of a side as ranks, phases in the order of `names`."""
    table = np.zeros(256, np.uint8)
    table[[side.phases[name] for name in names]] = np.arange(len(names))
    for path in side.files:
        yield table[labels_in(read_pixels(path).values, side.phases, path)]


def _crops(image: Ranks, edge: int) -> Iterator[Ranks]:
    for row, column in places((image.shape[0], image.shape[1]), edge):
        yield image[row : row + edge, column : column + edge]


def _has_other_part(shape: tuple[int, ...], at: tuple[int, int], edge: int) -> bool:
    """Whether a part of an image shares no pixel with the crop at a place.

    >>> _has_other_part((8, 15), (0, 4), 8), _has_other_part((8, 16), (0, 0), 8)
    (False, True)
    """
    return any(first >= edge or first + 2 * edge <= n for first, n in zip(at, shape, strict=True))
