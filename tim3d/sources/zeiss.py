"""Pixel size, slice thickness and tilt that Zeiss SmartSEM leaves in a TIFF (tag CZ_SEM)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from tifffile import TiffFile

from tim3d.sources.units import positive_nm

# AP_PIXEL_SIZE is that of an image of this width, whatever the width of the image.
REFERENCE_WIDTH = 1024
# Relative difference above which two statements about one length contradict each other.
_SAME = 0.01
# Angle in degrees below which the stage is level.
_LEVEL = 0.6


def zeiss_sizes(
    tif: TiffFile,
) -> tuple[tuple[float | None, float | None, float | None], str, tuple[str, ...]]:
    """Voxel size (dz, dy, dx) in nm, where it comes from, and warnings.

    The pixel size is `AP_IMAGE_PIXEL_SIZE`, otherwise `AP_WIDTH` over the width of the image in
    pixels, otherwise `AP_PIXEL_SIZE` times 1024 over that width. The thickness of a slice is
    `AP_FIB_SLICE_HEIGHT`. y is left out if the stage is tilted and the microscope did not correct
    the rows for it; nothing is taken if the image was cropped or scaled since, or if the tags
    contradict each other.
    """
    tags = tif.sem_metadata if isinstance(tif.sem_metadata, Mapping) else {}
    page = tif.pages.first
    rows, columns = int(page.imagelength), int(page.imagewidth)
    found = dict(_pixel_sizes(tags, columns))
    thickness = _length(tags, "ap_fib_slice_height")
    dz = thickness
    if not found:
        origin = "Zeiss CZ_SEM metadata (AP_FIB_SLICE_HEIGHT)" if dz else ""
        return (dz, None, None), origin, ()
    wrong = _contradiction(tags, found, rows, columns)
    if wrong:
        return (dz, None, None), f"Zeiss CZ_SEM metadata are not taken: {wrong}", ()
    name, size = next(iter(found.items()))
    origin = f"Zeiss CZ_SEM metadata ({name})"
    dy, said, warnings = _on_face(tags, size)
    if dz:
        origin += ", z from AP_FIB_SLICE_HEIGHT"
    return (dz, dy, size), origin + said, warnings


def _pixel_sizes(tags: Mapping[str, Any], columns: int) -> Iterator[tuple[str, float]]:
    """Every statement about the pixel size, the most direct first."""
    width, reference = _length(tags, "ap_width"), _length(tags, "ap_pixel_size")
    for name, size in (
        ("AP_IMAGE_PIXEL_SIZE", _length(tags, "ap_image_pixel_size")),
        ("AP_WIDTH", width and width / columns),
        ("AP_PIXEL_SIZE", reference and reference * REFERENCE_WIDTH / columns),
    ):
        if size:
            yield name, size


def _contradiction(
    tags: Mapping[str, Any], found: Mapping[str, float], rows: int, columns: int
) -> str:
    stored = re.match(r"(\d+)\s*\*\s*(\d+)$", str(_value(tags, "dp_image_store")).strip())
    if stored and (int(stored[2]), int(stored[1])) != (rows, columns):
        return (
            f"the microscope stored {stored[1]} x {stored[2]} pixels and the image has {columns} x {rows}: it was "
            "cropped or scaled since"
        )
    height = _length(tags, "ap_height")
    every = dict(found) | ({"AP_HEIGHT": height / rows} if height and "AP_WIDTH" in found else {})
    name, size = next(iter(every.items()))
    for other, another in every.items():
        if not math.isclose(size, another, rel_tol=_SAME):
            return f"{name} gives {size:.6g} nm a pixel, and {other} {another:.6g} nm"
    return ""


def _on_face(tags: Mapping[str, Any], size: float) -> tuple[float | None, str, tuple[str, ...]]:
    """dy on the face that is cut, the end of the origin, and warnings."""
    angle = next(
        (a for name in ("ap_tilt_angle", "ap_stage_at_t") if (a := _angle(tags, name))), 0.0
    )
    if abs(angle) < _LEVEL:
        return size, "", ()
    states = [
        _value(tags, name) for name in tags if "tilt" in name and ("corr" in name or "comp" in name)
    ]
    if any(state is True for state in states):
        return size, f", rows corrected by the microscope for a tilt of {angle:g} degrees", ()
    if not states:
        return (
            size,
            "",
            (
                f"the stage is tilted by {angle:g} degrees, and the files do not say whether rows were corrected",
            ),
        )
    on_face = size / abs(math.sin(math.radians(angle)))
    return (
        None,
        f"; tilt correction is off at {angle:g} degrees: rows {size:g} nm apart on the screen are {on_face:.4g} nm "
        "apart on the face that is cut",
        (),
    )


def _value(tags: Mapping[str, Any], name: str) -> Any:
    entry = tags.get(name, ())
    return entry[1] if isinstance(entry, tuple) and len(entry) > 1 else None


def _length(tags: Mapping[str, Any], name: str) -> float | None:
    entry = tags.get(name, ())
    return (
        positive_nm(entry[1], str(entry[2]))
        if isinstance(entry, tuple) and len(entry) == 3
        else None
    )


def _angle(tags: Mapping[str, Any], name: str) -> float:
    value = _value(tags, name)
    if isinstance(value, str):  # a degree sign of another alphabet
        digits = re.match(r"\s*(-?\d+(?:\.\d+)?)", value)
        value = float(digits[1]) if digits else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0.0
