"""Kinds of image files, one slice a file: a table, known by the first bytes of a file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from tim3d.errors import InputError
from tim3d.sources.base import Voxels, reading
from tim3d.sources.image_header import Header
from tim3d.sources.jpeg_bmp import (
    BMP_MAGICS,
    BMP_SUFFIXES,
    JPEG_MAGICS,
    JPEG_SUFFIXES,
    bmp_header,
    bmp_pixels,
    jpeg_header,
    jpeg_pixels,
)
from tim3d.sources.png_file import PNG_MAGICS, PNG_SUFFIXES, png_header, png_pixels
from tim3d.sources.tiff_file import TIFF_MAGICS, TIFF_SUFFIXES, tiff_header, tiff_pixels
from tim3d.sources.wanted import Picks


@dataclass(frozen=True)
class ImageKind:
    """A kind of image file: its name, suffixes and first bytes, and how header and pixels are read.

    `preview` marks kinds that often lie beside the data as previews: they are looked at only where
    there is no other kind.
    """

    name: str
    suffixes: tuple[str, ...]
    magics: tuple[bytes, ...]
    header: Callable[..., Header]
    pixels: Callable[[Path], Voxels]
    preview: bool = False


TIFF = ImageKind("TIFF", TIFF_SUFFIXES, TIFF_MAGICS, tiff_header, tiff_pixels)
KINDS = (
    TIFF,
    ImageKind("PNG", PNG_SUFFIXES, PNG_MAGICS, png_header, png_pixels),
    ImageKind("JPEG", JPEG_SUFFIXES, JPEG_MAGICS, jpeg_header, jpeg_pixels, preview=True),
    ImageKind("BMP", BMP_SUFFIXES, BMP_MAGICS, bmp_header, bmp_pixels, preview=True),
)
IMAGE_SUFFIXES = tuple(suffix for kind in KINDS for suffix in kind.suffixes)
_LONGEST = max(len(magic) for kind in KINDS for magic in kind.magics)


def kind_of(path: Path) -> ImageKind | None:
    """Kind of an image file by its first bytes, otherwise by its suffix; None for other files.

    Hidden files are left out.
    """
    if path.name.startswith("."):
        return None
    start = b""
    if path.is_file():
        with reading(path):
            held = path.stat()
        start = _start(path, held.st_size, held.st_mtime_ns)
    by_content = next((kind for kind in KINDS if start.startswith(kind.magics)), None)
    suffix = path.suffix.lower()
    return by_content or next((kind for kind in KINDS if suffix in kind.suffixes), None)


@lru_cache(maxsize=2**16)
def _start(path: Path, size: int, changed: int) -> bytes:
    """First bytes of a file, read once while neither its size nor its time changes."""
    with reading(path), path.open("rb") as file:
        return file.read(_LONGEST)


def kind_named(name: str) -> ImageKind:
    """Kind of a given name."""
    return next(kind for kind in KINDS if kind.name == name)


def is_image(path: Path) -> bool:
    """Return whether a file is a TIFF, PNG, JPEG or BMP that is not hidden."""
    return kind_of(path) is not None


def is_tiff(path: Path) -> bool:
    """Return whether a file is a TIFF."""
    return kind_of(path) is TIFF


def read_header(
    path: Path, *, calibrate: bool = True, colours: bool = False, picks: Picks | None = None
) -> Header:
    """Read the header of an image file, without its pixels.

    Parameters
    ----------
    path : Path
        A TIFF, PNG, JPEG or BMP.
    calibrate : bool
        Whether to read the voxel size as well.
    colours : bool
        Whether to accept red, green and blue of 8 bits.
    picks : Picks, optional
        Channel, time, scene and level of a TIFF of many pages.

    Raises
    ------
    ArgumentError
        If the file does not have what is chosen.
    InputError
        If the file cannot be read, is shorter than its header states, has channels that are not
        accepted, or pages of different sizes.
    MissingExtraError
        If its compression is not decoded by imagecodecs.
    """
    kind = _kind(path)
    if kind is TIFF:
        return tiff_header(path, calibrate=calibrate, colours=colours, picks=picks or Picks())
    (picks or Picks()).chosen({}, str(path))
    return kind.header(path, colours=colours)


def read_image(path: Path, kind: str | None = None) -> Voxels:
    """Read the pixels of a file that holds one slice, as stored: (y, x), or (y, x, 3) in colour."""
    return (kind_named(kind) if kind else _kind(path)).pixels(path)


def _kind(path: Path) -> ImageKind:
    kind = kind_of(path)
    if kind is None:
        raise InputError(f"{path} is not an image; expected {', '.join(IMAGE_SUFFIXES)}")
    return kind
