"""Pixel size and slice names from the private tags that microscopes and ImageJ leave in a TIFF."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from tifffile import TiffFile

from tim3d.sources.base import UNKNOWN_SIZE, VoxelSize
from tim3d.sources.units import positive_nm, unit_name

FIBICS_TAG = 51023
# Sine of the angle between beam and face at or below which the stage is level: no foreshortening.
_LEAST_TILT = 0.01


@dataclass(frozen=True, slots=True)
class Calibration:
    """Voxel size in nm from metadata (None for an axis they do not state), and its origin."""

    voxel_size_nm: VoxelSize = UNKNOWN_SIZE
    origin: str = "no metadata"

    @property
    def known(self) -> bool:
        """Whether the size is known along any axis."""
        return any(length is not None for length in self.voxel_size_nm)

    def agrees(self, other: Calibration, relative: float = 1e-3) -> bool:
        """Return whether both have the same axes, with lengths equal to within `relative`."""
        pairs = list(zip(self.voxel_size_nm, other.voxel_size_nm, strict=True))
        if any((a is None) != (b is None) for a, b in pairs):
            return False
        return all(
            math.isclose(a, b, rel_tol=relative)
            for a, b in pairs
            if a is not None and b is not None
        )


def tiff_calibration(tif: TiffFile) -> Calibration:
    """Voxel size of a TIFF from its metadata.

    The first of Fibics Atlas, Zeiss, FEI/Thermo, OME and ImageJ that states one is used.
    The plain resolution tags of a TIFF without ImageJ metadata are not used: most programs write
    the dots per inch of a printer there.
    """
    for read in (
        fibics_calibration,
        zeiss_calibration,
        fei_calibration,
        ome_calibration,
        imagej_calibration,
    ):
        found = read(tif)
        if found.known:
            return found
    return Calibration()


def fibics_calibration(tif: TiffFile) -> Calibration:
    """Fibics Atlas, tag 51023: lengths of the scan vectors in um, else FOV / image size.

    The scan vectors are (Ux, Uy) and (Vx, Vy).
    """
    root = _xml(tif.pages.first.tags.valueof(FIBICS_TAG))
    if root is None:
        return Calibration()
    dx = _vector_nm(root, "U") or _field_of_view_nm(root, "X", "Width")
    dy = _vector_nm(root, "V") or _field_of_view_nm(root, "Y", "Height")
    return Calibration((None, dy, dx), "Fibics Atlas metadata")


def zeiss_calibration(tif: TiffFile) -> Calibration:
    """Zeiss SmartSEM, tag CZ_SEM: `AP_IMAGE_PIXEL_SIZE`, else `AP_PIXEL_SIZE`, for both y and x."""
    tags = _tags(tif.sem_metadata)
    for name in ("ap_image_pixel_size", "ap_pixel_size"):
        entry = tags.get(name, ())
        size = positive_nm(entry[1], str(entry[2])) if len(entry) == 3 else None
        if size is not None:
            return Calibration((None, size, size), f"Zeiss CZ_SEM metadata ({name})")
    return Calibration()


def fei_calibration(tif: TiffFile) -> Calibration:
    """FEI/Thermo, tags SFEG and HELIOS: `PixelWidth` and `PixelHeight` of the scan, in metres."""
    tags = _tags(tif.fei_metadata)
    active = _section(tags, "Beam").get("Scan", "")
    for name in ("Scan", str(active), "EScan", "IScan"):
        section = _section(tags, name)
        dy, dx = (
            positive_nm(section.get("PixelHeight"), "m"),
            positive_nm(section.get("PixelWidth"), "m"),
        )
        if dy is not None and dx is not None:
            return _untilted(tags, Calibration((None, dy, dx), f"FEI/Thermo metadata ([{name}])"))
    return Calibration()


def _untilted(tags: Mapping[str, Any], found: Calibration) -> Calibration:
    """Return the calibration, without dy if the face was tilted and dy not corrected for it."""
    beam = _section(tags, "EBeam")
    angle = next(
        (a for a in (beam.get("TiltCorrectionAngle"), _section(tags, "Stage").get("StageT")) if a),
        0,
    )
    off = str(beam.get("TiltCorrectionIsOn", "")).lower() in ("no", "false")
    if not off or not isinstance(angle, int | float) or not abs(math.sin(angle)) > _LEAST_TILT:
        return found
    dz, dy, dx = found.voxel_size_nm
    on_face = (dy or 0.0) / abs(math.sin(angle))
    said = f"tilt correction is off at {math.degrees(angle):.1f} degrees: rows {dy:g} nm apart on the screen are "
    return Calibration(
        (dz, None, dx), f"{found.origin}; {said}{on_face:.4g} nm apart on the face that is cut"
    )


def ome_calibration(tif: TiffFile) -> Calibration:
    """OME: `PhysicalSizeX`, `Y` and `Z` of the first image, in their units (default: um)."""
    images = ome_images(tif.pages.first.description) if tif.is_ome else []
    return Calibration(images[0].voxel_size_nm, "OME metadata") if images else Calibration()


@dataclass(frozen=True, slots=True)
class OmeImage:
    """Numbers of slices, channels and times of an OME-TIFF image, and its voxel size in nm."""

    slices: int
    channels: int
    times: int
    voxel_size_nm: VoxelSize


def ome_images(description: str) -> list[OmeImage]:
    """Images described in the XML of an OME-TIFF; an empty list if it cannot be read."""
    root = _xml(description)
    return (
        []
        if root is None
        else [_ome_image(pixels) for pixels in root.iterfind("./{*}Image/{*}Pixels")]
    )


def _ome_image(pixels: ElementTree.Element) -> OmeImage:
    z, c, t = (whole_number(pixels.get(f"Size{axis}", "1")) for axis in "ZCT")
    dz, dy, dx = (_physical_nm(pixels, axis) for axis in "ZYX")
    return OmeImage(z, c, t, (dz, dy, dx))


def _physical_nm(pixels: ElementTree.Element, axis: str) -> float | None:
    try:
        return positive_nm(
            float(pixels.get(f"PhysicalSize{axis}", "")),
            pixels.get(f"PhysicalSize{axis}Unit", "um"),
        )
    except ValueError:
        return None


def whole_number(value: object) -> int:
    """Convert a number of planes to an int; 1 if it is damaged.

    >>> whole_number("12"), whole_number("twelve")
    (12, 1)
    """
    try:
        return max(1, int(str(value)))
    except ValueError:
        return 1


def imagej_calibration(tif: TiffFile) -> Calibration:
    """ImageJ: pixels per `unit` from the resolution tags, and `spacing` along z in this unit."""
    tags = _tags(tif.imagej_metadata)
    unit = unit_name(str(tags.get("unit", "")))
    if unit is None:
        return Calibration()
    page = tif.pages.first.tags
    dy, dx = (_pixel_nm(page.valueof(name), unit) for name in ("YResolution", "XResolution"))
    return Calibration((positive_nm(tags.get("spacing"), unit), dy, dx), "ImageJ metadata")


def imagej_labels(tif: TiffFile) -> tuple[str, ...]:
    """Labels that ImageJ stores for the slices; empty if there are none."""
    labels = _tags(tif.imagej_metadata).get("Labels", ())
    return (labels,) if isinstance(labels, str) else tuple(str(label) for label in labels)


def _pixel_nm(pixels_per_unit: tuple[int, int] | None, unit: str) -> float | None:
    pixels, lengths = pixels_per_unit or (0, 0)
    return positive_nm(lengths / pixels, unit) if pixels else None


def _tags(found: object) -> Mapping[str, Any]:
    return found if isinstance(found, Mapping) else {}


def _section(tags: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = tags.get(name, {})
    return section if isinstance(section, Mapping) else {}


def _xml(value: object) -> ElementTree.Element | None:
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    if not isinstance(text, str):
        return None
    try:
        return ElementTree.fromstring(text.strip("\0 \r\n"))
    except ElementTree.ParseError:
        return None


def _vector_nm(root: ElementTree.Element, vector: str) -> float | None:
    parts = [_number(root.find(f"./Scan/{vector}{axis}")) for axis in "xy"]
    return positive_nm(math.hypot(*(part or 0.0 for part in parts)), "um")


def _field_of_view_nm(root: ElementTree.Element, axis: str, edge: str) -> float | None:
    view = root.find(f"./Scan/FOV_{axis}")
    length, pixels = _number(view), _number(root.find(f"./Image/{edge}"))
    if view is None or length is None or not pixels:
        return None
    return positive_nm(length / pixels, view.get("units", "um"))


def _number(element: ElementTree.Element | None) -> float | None:
    try:
        return float(element.text or "") if element is not None else None
    except ValueError:
        return None
