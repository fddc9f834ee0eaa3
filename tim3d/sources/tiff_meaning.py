"""Tags of a TIFF that say what its numbers mean: honoured or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from tifffile import PHOTOMETRIC, TiffFile, TiffPage

from tim3d.errors import InputError
from tim3d.sources.image_header import LOSSY

# Interpretations in which a number is a grey value or the number of a colour.
_GREY = (
    PHOTOMETRIC.MINISWHITE,
    PHOTOMETRIC.MINISBLACK,
    PHOTOMETRIC.PALETTE,
    PHOTOMETRIC.LINEAR_RAW,
)
_NO_DATA = 42113
_LOSSY = ("JPEG", "OJPEG", "ALT_JPEG")
_PERHAPS_LOSSY = ("JPEG", "APERIO", "WEBP", "LERC")
# ImageJ keeps int16 as uint16 with this line from number to value.
_SIGNED_16 = (-32768.0, 1.0)


def refuse_other_meaning(path: Path, page: TiffPage) -> None:
    """Raise unless the numbers of a page are grey values or numbers of colours.

    Raises
    ------
    InputError
        If they are logarithms, masks or one colour of a mosaic; the message names which.
    """
    if page.photometric not in _GREY:
        name = getattr(page.photometric, "name", page.photometric)
        raise InputError(
            f"{path} has pixels of the kind {name}, instead of grey values; save one grey value a pixel as a new "
            "file, for example in ImageJ: Image > Type > 8-bit"
        )


def lossy_remark(page: TiffPage) -> tuple[str, ...]:
    """Warning about a compression that loses detail, or may."""
    name = getattr(page.compression, "name", "")
    if name in _LOSSY:
        return (LOSSY,)
    if name.startswith(_PERHAPS_LOSSY):
        return (
            f"compressed with {name}, which may have changed grey values; ask how it was saved",
        )
    return ()


def missing_value(page: TiffPage) -> float | None:
    """Value that stands for missing data (GDAL_NODATA); None if there is none."""
    try:
        return float(str(page.tags.valueof(_NO_DATA)).strip("\0 "))
    except ValueError:
        return None


def palette_is_grey(page: TiffPage) -> bool:
    """Return whether the palette of a page is the plain scale from black to white."""
    colours: Any = page.colormap
    if colours is None or len(np.shape(colours)) != 2:
        return False
    levels = np.asarray(colours[0], np.int64) >> 8
    plain = np.linspace(0, 255, levels.size).round().astype(np.int64)
    return bool(
        np.array_equal(levels, plain)
        and (np.diff(np.asarray(colours, np.int64), axis=0) == 0).all()
    )


def imagej_grey_remarks(path: Path, tif: TiffFile) -> tuple[str, ...]:
    """Warnings about grey values that ImageJ shifted.

    Raises
    ------
    InputError
        If its grey values are calibrated by a function, which tim3d does not apply.
    """
    held = tif.imagej_metadata or {}
    if "cf" not in held and not ({"c0", "c1"} & set(held)):
        return ()
    line = (held.get("c0", 0.0), held.get("c1", 1.0))
    if held.get("cf", 0) == 0 and line == (0.0, 1.0):
        return ()
    if held.get("cf", 0) == 0 and line == _SIGNED_16:
        return ("values are those of int16 plus 32768, as ImageJ keeps them",)
    raise InputError(
        f"{path} says that its grey values are calibrated (cf={held.get('cf')}, c0={line[0]}, c1={line[1]}); tim3d "
        "reads numbers as they are. In ImageJ: Analyze > Calibrate > None, and save a new file"
    )
