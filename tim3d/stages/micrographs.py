"""Micrographs that a generator learns from: one for all directions, or three for the planes normal to z, y and x."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tim3d.errors import ArgumentError, InputError
from tim3d.kernels.integral_range import integral_range
from tim3d.kernels.likeness import PLANES, correlation_length
from tim3d.phases import Phases
from tim3d.schema import AXES
from tim3d.sources.micrograph import Micrograph, read_micrograph

Array = npt.NDArray[Any]
# Held out for selection, if that part tells the phase fractions to within this standard deviation.
HELD_OUT, CERTAIN = 0.2, 0.01


@dataclass(frozen=True)
class Micrographs:
    """Images of one material.

    Attributes
    ----------
    ranks : tuple of array (rows, columns), uint8
        Labels 0, 1, ... of the phases in the order of their codes. Rows and columns are (y, x), (z, x) and (z, y).
    phases : Phases
        Names and codes.
    spacing_nm : (z, y, x)
        Edges of a voxel.
    sources : list of dict
        Name, SHA-256 and scale of each file.
    """

    ranks: tuple[Array, ...]
    phases: Phases
    spacing_nm: tuple[float, float, float]
    sources: list[dict[str, Any]]

    @cached_property
    def correlation(self) -> int:
        """Pixels at which the correlation is zero; the longest of the images."""
        return max(correlation_length(image, len(self.phases)) for image in self.ranks)

    @property
    def fractions(self) -> dict[str, float]:
        """Mean share of each phase."""
        return {n: float(np.mean([(r == i).mean() for r in self.ranks])) for i, n in enumerate(self.phases)}


def read_micrographs(
    paths: Sequence[str | Path], phases: Phases, pixel_size: float | Sequence[float] | None, scale: int, crop: int
) -> Micrographs:
    """Read one or three images and refuse what no training can use.

    Parameters
    ----------
    paths : sequence of path
        One, or three for the planes normal to z, y and x.
    phases : Phases
        Names and grey values.
    pixel_size : float or (z, y, x), optional
        In nm, of the files' pixels; from the metadata by default.
    scale : int
        Pixels of a file along the edge of one that is trained on.
    crop : int
        Edge in pixels that the network is trained on.

    Raises
    ------
    ArgumentError
        If there are neither one nor three, or the pixel size is missing or out of range.
    InputError
        If an image cannot be used, is smaller than the crop, or they do not fit each other.
    """
    if len(paths) not in (1, 3):
        raise ArgumentError(
            f"{len(paths)} micrographs; give one of an isotropic material, or three: of the planes normal to z, y and x"
        )
    voxel = _voxel(pixel_size, len(paths))
    planes = PLANES if len(paths) == 3 else PLANES[:1]
    images = [
        read_micrograph(path, phases, None if voxel is None else [voxel[a] for a in axes], scale)
        for path, axes in zip(paths, planes, strict=True)
    ]
    _check_shapes(images, crop)
    sources = [{"file": Path(i.path).name, "sha256": i.sha256, "scale": i.scale} for i in images]
    return Micrographs(tuple(i.ranks for i in images), images[0].phases, _spacing(images), sources)


def _voxel(size: float | Sequence[float] | None, images: int) -> list[float] | None:
    if size is None:
        return None
    numbers = [float(v) for v in (size if isinstance(size, Sequence) else [size])]
    if len(numbers) not in (1, 3) or not all(0 < v < math.inf for v in numbers):
        raise ArgumentError(f"pixel size is {size}; give one positive length in nm, or three for z, y, x")
    if images == 1 and len(set(numbers)) > 1:
        raise ArgumentError(
            f"pixel size {numbers}: one micrograph stands for all directions, which needs square pixels; give one "
            "length, or three micrographs"
        )
    return numbers * 3 if len(numbers) == 1 else numbers


def _check_shapes(images: Sequence[Micrograph], crop: int) -> None:
    shapes = [image.labels.shape for image in images]
    if len(set(shapes)) > 1:
        raise InputError(
            f"the micrographs have {', '.join(f'{y} x {x}' for y, x in shapes)} pixels; cut them to the same size"
        )
    (rows, columns), first = shapes[0], images[0]
    if min(rows, columns) < crop:
        at = f" at scale {first.scale}" if first.scale > 1 else ""
        raise InputError(
            f"{first.path} has {rows} x {columns} pixels{at}, and training sees {crop} x {crop} at a time; use a "
            "larger image, a smaller --scale or a preset with fewer layers"
        )


def _spacing(images: Sequence[Micrograph]) -> tuple[float, float, float]:
    """Edges of the voxels, on which all images must agree."""
    found: dict[int, float] = {}
    for image, axes in zip(images, PLANES, strict=False):
        if image.pixel_nm is None:
            raise ArgumentError(f"{image.path} does not say how large its pixels are; give --pixel-size in nm")
        for axis, edge in zip(axes, image.pixel_nm, strict=True):
            if not math.isclose(found.setdefault(axis, edge), edge, rel_tol=1e-3):
                raise InputError(
                    f"{image.path} has pixels of {edge:g} nm along {AXES[axis]}, and another micrograph of "
                    f"{found[axis]:g}; resample them, or give --pixel-size z,y,x"
                )
    if len(images) == 1 and not math.isclose(found[1], found[2], rel_tol=1e-3):
        raise InputError(
            f"{images[0].path} has pixels of {found[1]:g} x {found[2]:g} nm; one micrograph for all directions needs "
            "square pixels: resample it, or give three micrographs"
        )
    return (found.get(0, found[2]), found[1], found[2])


def split(
    images: Sequence[Array], phases: int, crop: int, share: float | None = None
) -> tuple[tuple[Array, ...], tuple[Array, ...], str]:
    """Parts of images to train on, parts to select by, and a sentence about it.

    The last columns are held out. By default they are if they tell the phase fractions well enough to select by;
    otherwise both parts are the whole images, and only the noise of selection is unknown to the training.

    Parameters
    ----------
    images : sequence of array (rows, columns)
        Labels 0, 1, ...
    phases : int
        How many.
    crop : int
        Edge that each part must have at least.
    share : float, optional
        Of the columns; 0 for none.

    Raises
    ------
    ArgumentError
        If a share is given that leaves one part smaller than a crop.
    """
    whole, columns = tuple(images), images[0].shape[1]
    held = round((HELD_OUT if share is None else share) * columns)
    fits = crop <= held <= columns - crop
    if share is None:
        spread = max(_deviation(image, phases, held * image.shape[0]) for image in images)
        if not fits or spread > CERTAIN:
            text = f"{held} of {columns} columns would tell the phase fractions to within {spread:.3f} only"
            return whole, whole, f"selection by the whole image: {text}"
    elif share == 0:
        return whole, whole, "selection by the whole image"
    elif not fits:
        raise ArgumentError(
            f"--held-out {share:g} of {columns} columns leaves a part below {crop} pixels; give another share, or 0"
        )
    text = f"selection by the last {held} of {columns} columns, which training never sees"
    return tuple(i[:, :-held] for i in whole), tuple(i[:, -held:] for i in whole), text


def _deviation(image: Array, phases: int, area: int) -> float:
    """Expected standard deviation of a phase's fraction in `area` pixels, the largest of the phases."""
    variances = []
    for phase in range(phases):
        mask = image == phase
        share = float(mask.mean())
        if 0 < share < 1:
            variances.append(share * (1 - share) * min(1.0, integral_range(mask) / area))
    return math.sqrt(max(variances))
