"""Pixels of one image file, their size, and the digest of the file's bytes."""

from __future__ import annotations

import hashlib
import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tim3d.errors import ArgumentError, InputError
from tim3d.sources.base import Voxels, reading, stored_dtype
from tim3d.sources.image_files import IMAGE_SUFFIXES, is_image, read_header, read_image
from tim3d.sources.image_header import PALETTE, colour_error
from tim3d.sources.units import refuse_mistyped
from tim3d.sources.volumes import mapped_npy

log = logging.getLogger(__name__)

Size = tuple[float, float]

# An image is read as a whole, so the size in its header is limited.
MOST_PIXELS = 2**31


@dataclass(frozen=True, eq=False)
class Pixels:
    """Content of an image file.

    Attributes
    ----------
    values : (y, x), or (y, x, 3) for red, green and blue
        Pixels as stored.
    pixel_nm : (dy, dx) or None
        Edges of a pixel in nm, from the metadata.
    sha256 : str
        Digest of the bytes of the file.
    palette : bool
        Whether the values are indices of a colour palette instead of grey values.
    """

    values: Voxels
    pixel_nm: Size | None
    sha256: str
    palette: bool = False


@dataclass(frozen=True, eq=False, kw_only=True)
class Image(ABC):
    """Two-dimensional image with its origin, its pixel size and its channels.

    Attributes
    ----------
    pixel_nm : (dy, dx) or None
        Edges of a pixel in nm, after scaling; None if neither given nor in the file.
    sha256 : str
        Digest of the bytes of the file.
    path : str
        Path of the file.
    scale : int
        Pixels of the file along each edge of a pixel of this image.
    """

    pixel_nm: Size | None
    sha256: str
    path: str
    scale: int = 1

    @property
    @abstractmethod
    def channels(self) -> NDArray[np.uint8]:
        """Channels (channels, y, x): phases 0, 1, ..., grey values, or red, green and blue."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int]:
        """Number of rows and columns."""


def refuse_missing(path: Path) -> None:
    """Raise `InputError` if there is no file."""
    if not path.is_file():
        raise InputError(f"no micrograph at {path}; give a TIFF, PNG or npy file")


def read_pixels(path: Path) -> Pixels:
    """Read a TIFF, PNG, JPEG or BMP of one page, or a .npy file.

    Raises
    ------
    InputError
        If the file is missing, unreadable, has several pages, or has channels other than grey, or
        red, green and blue of 8 bits.
    """
    refuse_missing(path)
    with reading(path):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if path.suffix.lower() == ".npy":
        return Pixels(_read_npy(path), None, digest)
    if not is_image(path):
        raise InputError(
            f"{path} is not a micrograph; expected {', '.join((*IMAGE_SUFFIXES, '.npy'))}"
        )
    header = read_header(path, colours=True)
    if math.prod(header.shape) > MOST_PIXELS:
        raise InputError(
            f"{path} promises {header.shape} pixels; a micrograph has at most 2**31: cut out a part of it"
        )
    if header.pages != 1:
        raise InputError(
            f"{path} holds {header.pages} pages; a micrograph is one image: save the page as a file"
        )
    for remark in header.remarks:
        if remark != PALETTE:  # that is said where the values are used
            log.warning("%s: %s", path, remark)
    _, dy, dx = header.calibration.voxel_size_nm
    pixels = header.turn.apply(read_image(path))
    return Pixels(pixels, None if dy is None or dx is None else (dy, dx), digest, header.palette)


def shape_of(path: Path) -> tuple[int, int]:
    """Rows and columns of an image file, from its header.

    Raises
    ------
    InputError
        As `read_pixels`.
    """
    if path.suffix.lower() == ".npy":
        rows, columns = mapped_npy(str(path)).shape[:2]
        return (rows, columns)
    return read_header(path, colours=True).shape


def _read_npy(path: Path) -> Voxels:
    values = mapped_npy(str(path))
    if values.ndim == 3 and (
        values.shape[-1] in (2, 4) or (values.shape[-1] == 3 and values.dtype != np.uint8)
    ):
        raise colour_error(
            path, f"{values.shape[-1]} channels of {values.dtype}, shape {values.shape}"
        )
    if values.ndim != 2 and (values.ndim != 3 or values.shape[-1] != 3):
        raise InputError(
            f"{path} has {values.ndim} axes, shape {values.shape}; a micrograph has two, (y, x)"
        )
    stored_dtype(values.dtype, str(path))
    return np.array(values)


def size_of(given: float | Sequence[float] | None) -> Size | None:
    """Edges of a pixel in nm, from one length or two.

    Raises
    ------
    ArgumentError
        If the lengths are not positive, or less than an atom.

    Examples
    --------
    >>> size_of(5), size_of([4, 2])
    ((5.0, 5.0), (4.0, 2.0))
    """
    if given is None:
        return None
    numbers = [float(v) for v in (given if isinstance(given, Sequence) else (given, given))]
    if len(numbers) != 2 or not all(math.isfinite(v) and v > 0 for v in numbers):
        raise ArgumentError(
            f"pixel size is {given}; give one positive length in nm, or two for y, x"
        )
    refuse_mistyped(dict(zip("yx", numbers, strict=True)))
    return (numbers[0], numbers[1])


def enlarged(size: Size | None, scale: int) -> Size | None:
    """Edges of a pixel that combines `scale`² pixels of a given size.

    >>> enlarged((4.0, 2.0), 3)
    (12.0, 6.0)
    """
    return size and (size[0] * scale, size[1] * scale)


def squares_of(shape: Sequence[int], scale: int) -> tuple[int, int]:
    """Number of rows and columns of whole squares of `scale`² pixels in an image.

    Parameters
    ----------
    shape : sequence of int
        Rows and columns of the image, in this order.
    scale : int
        Edge of a square in pixels.

    Raises
    ------
    ArgumentError
        If the scale is not a whole number from 1 to the shorter edge.

    Examples
    --------
    >>> squares_of((7, 9), 3)
    (2, 3)
    """
    rows, columns = (n // scale if scale >= 1 else 0 for n in shape)
    if int(scale) != scale or min(rows, columns) < 1:
        raise ArgumentError(
            f"scale is {scale}; an image of {tuple(shape)} pixels takes 1 to {min(shape)}"
        )
    return rows, columns


def number(value: float) -> str:
    """Format a grey value for a message."""
    return f"{float(value):g}"
