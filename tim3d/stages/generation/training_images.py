"""Micrographs to train a generator on: one for all directions, or one for each plane."""

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
from tim3d.kernels.generation.architecture import Output
from tim3d.kernels.statistics.generator_score import PLANES, correlation_length, uncorrelated
from tim3d.kernels.statistics.integral_range import integral_range
from tim3d.phases import Phases
from tim3d.sources.grey_image import read_picture
from tim3d.sources.image import Image
from tim3d.sources.labelled_image import read_micrograph
from tim3d.sources.units import refuse_mistyped
from tim3d.storage.schema import AXES

Array = npt.NDArray[Any]
# Share that is held out for selection, if the phase fractions (or mean grey over 255) of that part
# have at most this standard deviation.
HELD_OUT, CERTAIN = 0.2, 0.01


@dataclass(frozen=True)
class Micrographs:
    """Images of one material.

    Attributes
    ----------
    values : tuple of array (channels, rows, columns), uint8
        One channel of labels 0, 1, ... of the phases in the order of their codes, or one of grey
        values, or red, green and blue. Rows and columns are (y, x), (z, x) and (z, y).
    phases : Phases or None
        Names and codes; None of grey values and colours.
    spacing_nm : (z, y, x)
        Edges of a voxel.
    sources : list of dict
        Name, SHA-256 and scale of each file.
    """

    values: tuple[Array, ...]
    phases: Phases | None
    spacing_nm: tuple[float, float, float]
    sources: list[dict[str, Any]]

    @cached_property
    def correlation(self) -> int:
        """Distance in pixels beyond which the correlation is zero; the longest of the images."""
        if self.phases:
            return max(correlation_length(image[0], len(self.phases)) for image in self.values)
        return max(uncorrelated(channel) for image in self.values for channel in image)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of each image."""
        _, rows, columns = self.values[0].shape
        return (rows, columns)

    @property
    def output(self) -> Output:
        """Output of a generator that is trained on these images."""
        return "phases" if self.phases else "grey" if len(self.values[0]) == 1 else "colour"

    @property
    def fractions(self) -> dict[str, float]:
        """Mean share of each phase."""
        return {
            n: float(np.mean([(v == i).mean() for v in self.values]))
            for i, n in enumerate(self.phases or ())
        }

    def described(self) -> str:
        """Phase fractions, or mean and standard deviation of the values.

        >>> image = np.array([[[0, 255]]], np.uint8)
        >>> Micrographs((image,), None, (1.0, 1.0, 1.0), []).described()
        'grey 0 to 255, mean 127.5, s.d. 127.5'
        """
        if self.phases:
            return ", ".join(f"{name} {share:.4f}" for name, share in self.fractions.items())
        every = np.stack(self.values)
        return f"{self.output} {every.min()} to {every.max()}, mean {every.mean():.1f}, s.d. {every.std():.1f}"


@dataclass(frozen=True)
class Look:
    """State of a training after some steps, for figures.

    Attributes
    ----------
    folder : path
        Folder of the training.
    history : list of dict
        A record for each evaluation: `step`, mean losses since the last one, errors.
    slices : tuple of array (rows, columns), uint8
        Middle slices of a generated volume across z, y and x: labels 0, 1, ... or grey values; for
        colours (3, rows, columns).
    images : Micrographs
        The micrographs.
    names : tuple of str
        What each slice is, besides generated.
    """

    folder: Path
    history: list[dict[str, float]]
    slices: tuple[Array, ...]
    images: Micrographs
    names: tuple[str, ...] = ("across z", "across y", "across x")


def read_micrographs(
    paths: Sequence[str | Path],
    phases: Phases | None,
    pixel_size: float | Sequence[float] | None,
    scale: int,
) -> Micrographs:
    """Read one or three images and refuse those that are unfit for training.

    Parameters
    ----------
    paths : sequence of path
        One, or three for the planes normal to z, y and x.
    phases : Phases, optional
        Names and grey values; without them the images are of grey values or colours.
    pixel_size : float or (z, y, x), optional
        Pixel size of the files in nm (default: from their metadata).
    scale : int
        Pixels of a file along the edge of one that is trained on.

    Raises
    ------
    ArgumentError
        If the number of images is neither one nor three, or the pixel size is missing or out of
        range.
    InputError
        If an image cannot be used, or the images do not fit each other.
    """
    if len(paths) not in (1, 3):
        raise ArgumentError(
            f"{len(paths)} micrographs; give one of an isotropic material, or three: of the planes normal to z, y and x"
        )
    voxel = _voxel(pixel_size, len(paths))
    planes = PLANES if len(paths) == 3 else PLANES[:1]
    images = [
        _read(path, phases, None if voxel is None else [voxel[a] for a in axes], scale)
        for path, axes in zip(paths, planes, strict=True)
    ]
    _check_alike(images)
    sources = [{"file": Path(i.path).name, "sha256": i.sha256, "scale": i.scale} for i in images]
    return Micrographs(tuple(i.channels for i in images), phases, _spacing(images), sources)


def _read(
    path: str | Path, phases: Phases | None, pixel_size: Sequence[float] | None, scale: int
) -> Image:
    return (
        read_micrograph(path, phases, pixel_size, scale)
        if phases
        else read_picture(path, pixel_size, scale)
    )


def _voxel(size: float | Sequence[float] | None, images: int) -> list[float] | None:
    if size is None:
        return None
    numbers = [float(v) for v in (size if isinstance(size, Sequence) else [size])]
    if len(numbers) not in (1, 3) or not all(0 < v < math.inf for v in numbers):
        raise ArgumentError(
            f"pixel size is {size}; give one positive length in nm, or three for z, y, x"
        )
    refuse_mistyped(dict(zip("zyx", 3 * numbers, strict=False)))
    if images == 1 and len(set(numbers)) > 1:
        raise ArgumentError(
            f"pixel size {numbers}: one micrograph stands for all directions, which needs square pixels; give one "
            "length, or three micrographs"
        )
    return numbers * 3 if len(numbers) == 1 else numbers


def _check_alike(images: Sequence[Image]) -> None:
    shapes = [image.shape for image in images]
    if len(set(shapes)) > 1:
        raise InputError(
            f"the micrographs have {', '.join(f'{y} x {x}' for y, x in shapes)} pixels; cut them to the same size"
        )
    grey = [len(image.channels) == 1 for image in images]
    if any(grey) and not all(grey):
        raise InputError(
            f"{images[grey.index(True)].path} is grey and {images[grey.index(False)].path} is in colour; three "
            "micrographs are of one kind: save all as 8-bit grey, or all as RGB"
        )


def check_crop(images: Micrographs, crop: int) -> None:
    """Refuse images that are smaller than the crop of a network.

    Parameters
    ----------
    images : Micrographs
        The micrographs.
    crop : int
        Edge of the crop in pixels.

    Raises
    ------
    InputError
        If an image is smaller; the message states the options to change.
    """
    (rows, columns), first = images.shape, images.sources[0]
    if min(rows, columns) < crop:
        at = f" at scale {first['scale']}" if first["scale"] > 1 else ""
        raise InputError(
            f"{first['file']} has {rows} x {columns} pixels{at}, and training sees {crop} x {crop} at a time; use a "
            "larger image, a smaller --scale or a preset with fewer layers"
        )


def _spacing(images: Sequence[Image]) -> tuple[float, float, float]:
    """Edges of a voxel in nm; all images must agree on them."""
    found: dict[int, float] = {}
    for image, axes in zip(images, PLANES, strict=False):
        if image.pixel_nm is None:
            raise ArgumentError(
                f"{image.path} does not say how large its pixels are; give --pixel-size in nm"
            )
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

    The last columns are held out. By default this is done only if they determine the phase
    fractions, or the mean grey value over 255, well enough to select by; otherwise both parts are
    the whole images, and only the noise used for selection is new to the training.

    Parameters
    ----------
    images : sequence of array (channels, rows, columns)
        Labels 0, 1, ... or values.
    phases : int
        Number of phases; 0 for grey values and colours.
    crop : int
        Least edge of each part, in pixels.
    share : float, optional
        Share of the columns that is held out; 0 for none.

    Raises
    ------
    ArgumentError
        If a share is given that leaves one part smaller than a crop.
    """
    whole, columns = tuple(images), images[0].shape[-1]
    held = round((HELD_OUT if share is None else share) * columns)
    fits = crop <= held <= columns - crop
    if share is None:
        spread = max(
            _deviation(part, held * image.shape[-2])
            for image in images
            for part in _parts(image, phases)
        )
        if not fits or spread > CERTAIN:
            what = "phase fractions" if phases else "mean grey value over 255"
            text = f"{held} of {columns} columns would tell the {what} to within {spread:.3f} only"
            return whole, whole, f"selection by the whole image: {text}"
    elif share == 0:
        return whole, whole, "selection by the whole image"
    elif not fits:
        raise ArgumentError(
            f"--held-out {share:g} of {columns} columns leaves a part below {crop} pixels; give another share, or 0"
        )
    text = f"selection by the last {held} of {columns} columns, which training never sees"
    return tuple(i[..., :-held] for i in whole), tuple(i[..., -held:] for i in whole), text


def _parts(image: Array, phases: int) -> list[Array]:
    """Masks of the phases, or channels, that vary."""
    every = [image[0] == phase for phase in range(phases)] if phases else list(image)
    return [one for one in every if one.min() != one.max()]


def _deviation(values: Array, area: int) -> float:
    """Expected s.d. of the mean of a mask, or of grey values over 255, in `area` pixels."""
    largest = 1.0 if values.dtype == np.bool_ else 255.0
    return float(values.std()) / largest * math.sqrt(min(1.0, integral_range(values) / area))
