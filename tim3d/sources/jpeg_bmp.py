"""Header and pixels of one JPEG or BMP file, through Pillow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL.BmpImagePlugin import BmpImageFile
from PIL.JpegImagePlugin import JpegImageFile

from tim3d.sources.base import Voxels, reading
from tim3d.sources.image_header import LOSSY, PALETTE, UPRIGHT, Header, Turn, colour_error
from tim3d.sources.metadata import Calibration

JPEG_SUFFIXES, JPEG_MAGICS = (".jpg", ".jpeg", ".jpe"), (b"\xff\xd8\xff",)
BMP_SUFFIXES, BMP_MAGICS = (".bmp", ".dib"), (b"BM",)
_ORIENTATION = 274
_MODES = ("1", "L", "P")


def jpeg_header(path: Path, *, colours: bool = False) -> Header:
    """Read the header of a JPEG, without its pixels.

    Raises
    ------
    InputError
        If it is damaged or in colour.
    """
    with reading(path), JpegImageFile(path) as image:
        orientation = int(image.getexif().get(_ORIENTATION, UPRIGHT))
        turn = Turn(orientation=orientation if orientation in range(1, 9) else UPRIGHT)
        return _header(path, image, colours, (LOSSY,), turn)


def bmp_header(path: Path, *, colours: bool = False) -> Header:
    """Read the header of a BMP, without its pixels.

    Raises
    ------
    InputError
        If it is damaged or in colour.
    """
    with reading(path), BmpImageFile(path) as image:
        return _header(path, image, colours, (), Turn())


def _header(path: Path, image: Any, colours: bool, said: tuple[str, ...], turn: Turn) -> Header:
    if image.mode not in _MODES and not (colours and image.mode == "RGB"):
        bands = len(image.getbands())
        raise colour_error(path, f"{bands} channels ({image.mode})")
    columns, rows = image.size
    palette = image.mode == "P"
    return Header(
        1,
        turn.shape(rows, columns),
        np.dtype(np.uint8),
        calibration=Calibration(origin=f"{image.format}, no metadata"),
        palette=palette,
        turn=turn,
        piece_bytes=2 * rows * columns,
        remarks=(*said, *((PALETTE,) if palette else ())),
    )


def jpeg_pixels(path: Path) -> Voxels:
    """Read the pixels of a JPEG: (y, x), or (y, x, 3) in colour."""
    with reading(path), JpegImageFile(path) as image:
        return np.asarray(image)


def bmp_pixels(path: Path) -> Voxels:
    """Read the pixels of a BMP: (y, x), or (y, x, 3) in colour."""
    with reading(path), BmpImageFile(path) as image:
        return np.asarray(image)
