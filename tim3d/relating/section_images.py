"""Real images of sections: grey values of a folder, with pixels of the size of the training."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tim3d.errors import InputError
from tim3d.sources.image import read_pixels
from tim3d.stages.images.chosen import as_grey
from tim3d.stages.images.listing import chosen_images

log = logging.getLogger(__name__)
# Pixels may differ by this much, relative, from those of the training.
PIXEL_TOLERANCE = 0.05


def folder_of_images(folder: Path, pixel_nm: Sequence[float]) -> dict[str, np.ndarray]:
    """Grey values of all images of a folder, by name; see `grey_image`."""
    return {
        name: grey_image(path, pixel_nm) for name, path in chosen_images(folder, None, None).items()
    }


def grey_image(
    path: Path, pixel_nm: Sequence[float], given: Sequence[float] | None = None
) -> np.ndarray:
    """Grey values (y, x) uint8 of an image whose pixels are those of the network.

    Images of 16 bits become rint(v / 257). An image that does not say its pixels is taken as it
    is, with a warning.

    Raises
    ------
    InputError
        If its pixels are of another size, or it is not grey.
    """
    pixels = read_pixels(path)
    known = given or pixels.pixel_nm
    if known is None:
        log.warning(
            "%s does not say the size of its pixels; it is taken to be %g x %g nm. Give it: --pixel-size",
            path, *pixel_nm,
        )  # fmt: skip
    elif any(abs(math.log(a / b)) > PIXEL_TOLERANCE for a, b in zip(known, pixel_nm, strict=True)):
        raise InputError(
            f"{path} has pixels of {known[0]:g} x {known[1]:g} nm, and the network was trained on {pixel_nm[0]:g} x "
            f"{pixel_nm[1]:g} nm: resample the image, or train on voxels of its size"
        )
    grey: np.ndarray = as_grey(pixels.values, path, to_8_bit=True, palette=pixels.palette)[0]
    return grey


def groups_of(names: Mapping[str, Path], sections: int, folder: str | Path) -> list[list[str]]:
    """Names of the images that make one prediction together, in the order of the names.

    Raises
    ------
    InputError
        If images are left over.

    Examples
    --------
    >>> groups_of({"a": Path(), "b": Path(), "c": Path(), "d": Path()}, 2, "sem")
    [['a', 'b'], ['c', 'd']]
    """
    every = list(names)
    if len(every) % sections or not every:
        raise InputError(
            f"{folder} has {len(every)} images, and the network takes {sections} together: give a multiple of "
            f"{sections}, named so that those of one sample follow each other"
        )
    return [every[n : n + sections] for n in range(0, len(every), sections)]
