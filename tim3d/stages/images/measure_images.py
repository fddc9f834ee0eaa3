"""The verb `measure_images`: descriptors of each phase in each image of a folder of masks."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tim3d.engine import Outline
from tim3d.errors import ArgumentError, InputError
from tim3d.kernels.morphology import planar
from tim3d.lazy import xarray as xr
from tim3d.phases import Phases
from tim3d.sources.image import read_pixels, size_of
from tim3d.stages.images.listing import check_table, chosen_images, write_table
from tim3d.stages.images.masks import phases_of
from tim3d.stages.images.reading import labels_in
from tim3d.stages.shared.verb import Task, Verb
from tim3d.typed import Folder, PixelSize

log = logging.getLogger(__name__)

# Name, power of the length in its unit, and meaning of each number of a phase in an image.
VARIABLES: dict[str, tuple[int, str]] = {
    "area_fraction": (0, "share of the pixels"),
    "perimeter_per_area": (-1, "length of boundary per area of the image, Crofton, 4 directions"),
    "mean_chord": (1, "mean chord, pi times area fraction by perimeter per area"),
    "features": (0, "number of connected features, whole ones and those cut by the border"),
    "features_cut": (0, "number of features that the border of the image cuts"),
    "diameter_mean": (1, "mean diameter of discs of equal area, of whole features"),
    "diameter_median": (1, "median of the same"),
    "diameter_sd": (1, "standard deviation of the same"),
}
_REFERENCE = "doi:10.1002/9783527628308"


@Verb
def measure_images(
    folder: Folder,
    *,
    phases: Phases | None = None,
    pixel_size: PixelSize | None = None,
    in_pixels: bool = False,
    connectivity: Literal[4, 8] = 8,
    splits: str | Path | None = None,
    subset: str | None = None,
    csv: str | Path | None = None,
) -> Task[xr.Dataset]:
    """Measure a folder of masks: two-dimensional descriptors of each phase in each image.

    Images may differ in size and pixel size. Nothing is said about a third dimension.

    Parameters
    ----------
    folder : path
        Folder of masks: TIFF, PNG or npy of uint8, in which each value is a phase.
    phases : Phases, optional
        Names and values of the phases (default: as tim3d segment-images recorded them).
    pixel_size : float or (dy, dx), optional
        Edges of a pixel in nm, of all images (default: as the metadata say, else in pixels).
    in_pixels : bool
        Measure in pixels, whatever the metadata say.
    connectivity : {4, 8}
        Neighbours in a feature share an edge, or a corner too.
    splits : path, optional
        File of lists of images, JSON or CSV (default: all images).
    subset : str, optional
        The list that is measured, as test or Super2/test (needed with splits).
    csv : path, optional
        File to which the table is written (default: none).

    Returns
    -------
    xarray.Dataset
        Variables over image and phase with their units, and size and pixel size of each image.

    Raises
    ------
    ArgumentError
        If the phases are not known, or lengths are asked for in two ways.
    InputError
        If a file holds other values than the phases, or some images have a pixel size and others none.
    """
    if in_pixels and pixel_size is not None:
        raise ArgumentError("--pixel-size changes nothing with --in-pixels: leave one of them out")
    if connectivity not in planar.CONNECTIVITY:
        raise ArgumentError(f"connectivity is {connectivity!r}; in a plane it is 4 or 8")
    size = size_of(pixel_size)
    target = check_table(csv)
    images = chosen_images(folder, splits, subset)
    named = phases_of(Path(folder), phases)
    measuring = MeasuringImages(images, named, size, in_pixels, connectivity, target)
    return Task(measuring.plans, measuring.run)


@dataclass(frozen=True)
class MeasuringImages:
    """Masks to be measured, and where the table goes."""

    images: Mapping[str, Path]
    phases: Phases
    size: tuple[float, float] | None
    in_pixels: bool
    connectivity: int
    target: Path | None

    def plans(self) -> list[Outline]:
        """One line."""
        return [Outline("measure-images", f"measures {len(self.images)} masks")]

    def run(self) -> xr.Dataset:
        """Measure each image, and write the table."""
        sizes, shapes, values = [], [], []
        for path in self.images.values():
            pixels = read_pixels(path)
            labels = labels_in(pixels.values, self.phases, path)
            size = None if self.in_pixels else self.size or pixels.pixel_nm
            sizes.append(size)
            shapes.append(labels.shape)
            pixel = size or (1.0, 1.0)
            masks = (labels == code for code in self.phases.codes)
            values.append([described(mask, pixel, self.connectivity) for mask in masks])
        found = self._dataset(self._unit(sizes), sizes, shapes, values)
        write_table(found, self.target)
        return found

    def _unit(self, sizes: list[Any]) -> str:
        """Unit of length of all images; refuse some with and some without one."""
        unknown = [n for n, size in zip(self.images, sizes, strict=True) if size is None]
        if unknown and len(unknown) < len(sizes):
            raise InputError(
                f"{len(unknown)} of {len(sizes)} images have no pixel size (first: {unknown[0]}), and the others "
                "do. Give one for all: --pixel-size 5; or measure in pixels: --in-pixels"
            )
        if unknown and not self.in_pixels:
            log.warning(
                "no image has a pixel size: lengths are in pixels. Give it in nm: --pixel-size 5"
            )
        return "pixel" if unknown else "nm"

    def _dataset(
        self, unit: str, sizes: list[Any], shapes: list[Any], values: list[Any]
    ) -> xr.Dataset:
        edges = np.array([size or (1.0, 1.0) for size in sizes])
        table = np.array([[[one[n] for n in VARIABLES] for one in image] for image in values])
        variables: dict[str, Any] = {
            "rows": ("image", np.array([s[0] for s in shapes], np.int64), {"units": "1"}),
            "columns": ("image", np.array([s[1] for s in shapes], np.int64), {"units": "1"}),
            "pixel_y": ("image", edges[:, 0], {"units": unit, "long_name": "edge of a pixel"}),
            "pixel_x": ("image", edges[:, 1], {"units": unit, "long_name": "edge of a pixel"}),
        }
        for place, (name, (power, meaning)) in enumerate(VARIABLES.items()):
            units = "1" if power == 0 else unit if power == 1 else f"{unit}{power}"
            about = {"units": units, "long_name": meaning, "reference": _REFERENCE}
            numbers = table[:, :, place]
            counts = name.startswith("features")
            values_of = numbers.astype(np.int64) if counts else numbers
            variables[name] = (("image", "phase"), values_of, about)
        return xr.Dataset(
            variables,
            {
                "image": np.array(list(self.images), object),
                "phase": np.array(self.phases.names, object),
            },
            {"connectivity": self.connectivity, "unit": unit},
        )


def described(mask: np.ndarray, pixel: tuple[float, float], connectivity: int) -> dict[str, float]:
    """All numbers of a phase in an image, by the names of `VARIABLES`."""
    fraction = float(mask.mean())
    boundary = planar.boundary_per_area(mask, pixel)
    pixels, cut = planar.features(mask, connectivity)
    whole = planar.equivalent_diameters(pixels[~cut], pixel)
    none = not len(whole)
    return {
        "area_fraction": fraction,
        "perimeter_per_area": boundary,
        "mean_chord": planar.mean_chord(fraction, boundary),
        "features": float(len(pixels)),
        "features_cut": float(cut.sum()),
        "diameter_mean": np.nan if none else float(whole.mean()),
        "diameter_median": np.nan if none else float(np.median(whole)),
        "diameter_sd": np.nan if len(whole) < 2 else float(whole.std(ddof=1)),
    }
