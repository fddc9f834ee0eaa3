"""Pixel size and slice names from the private tags that microscopes and ImageJ leave in a TIFF."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from xml.etree import ElementTree

from tifffile import TiffFile

from tim3d.sources.base import UNKNOWN_SIZE, VoxelSize
from tim3d.sources.ome_xml import whole_number, xml_root
from tim3d.sources.units import positive_nm
from tim3d.sources.zeiss import zeiss_sizes

FIBICS_TAG = 51023
# Sine of the angle between beam and face at or below which the stage is level: no foreshortening.
_LEAST_TILT = 0.01


@dataclass(frozen=True, slots=True)
class Calibration:
    """Voxel size in nm from metadata (None for an axis they do not state), its origin, warnings."""

    voxel_size_nm: VoxelSize = UNKNOWN_SIZE
    origin: str = "no metadata"
    remarks: tuple[str, ...] = ()

    def turned(self) -> Calibration:
        """The calibration of an image whose rows become columns."""
        dz, dy, dx = self.voxel_size_nm
        return replace(self, voxel_size_nm=(dz, dx, dy))

    def reduced(self, factors: tuple[float, float]) -> Calibration:
        """The calibration of a copy that is smaller along y and x."""
        dz, dy, dx = self.voxel_size_nm
        larger = (dy and dy * factors[0], dx and dx * factors[1])
        return replace(self, voxel_size_nm=(dz, *larger))

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


def tiff_calibration(tif: TiffFile, ome_size_nm: VoxelSize | None = None) -> Calibration:
    """Voxel size of a TIFF from its metadata.

    The first of Fibics Atlas, Zeiss, FEI/Thermo, OME and ImageJ that states one is used, or that
    says why it states none. The plain resolution tags of a TIFF without ImageJ metadata are not
    used: most programs write the dots per inch of a printer there.

    Parameters
    ----------
    tif : TiffFile
        The open file.
    ome_size_nm : (dz, dy, dx), optional
        Voxel size of the chosen image of an OME-TIFF.
    """
    for read in (fibics_calibration, zeiss_calibration, fei_calibration):
        found = read(tif)
        if found.known or found.origin != Calibration().origin:
            return found
    if ome_size_nm is not None and any(ome_size_nm):
        return Calibration(ome_size_nm, "OME metadata")
    return imagej_calibration(tif)


def fibics_calibration(tif: TiffFile) -> Calibration:
    """Fibics Atlas, tag 51023: lengths of the scan vectors in um, else FOV / image size.

    The scan vectors are (Ux, Uy) and (Vx, Vy).
    """
    root = xml_root(tif.pages.first.tags.valueof(FIBICS_TAG))
    if root is None:
        return Calibration()
    dx = _vector_nm(root, "U") or _field_of_view_nm(root, "X", "Width")
    dy = _vector_nm(root, "V") or _field_of_view_nm(root, "Y", "Height")
    return Calibration((None, dy, dx), "Fibics Atlas metadata") if dx or dy else Calibration()


def zeiss_calibration(tif: TiffFile) -> Calibration:
    """Zeiss SmartSEM, tag CZ_SEM: see `tim3d.sources.zeiss`."""
    sizes, origin, remarks = zeiss_sizes(tif)
    return Calibration(sizes, origin, remarks) if origin else Calibration()


def fei_calibration(tif: TiffFile) -> Calibration:
    """FEI/Thermo, tags SFEG and HELIOS: `PixelWidth` and `PixelHeight` of the scan, in metres."""
    tags = tags_of(tif.fei_metadata)
    active = section_of(tags, "Beam").get("Scan", "")
    for name in ("Scan", str(active), "EScan", "IScan"):
        section = section_of(tags, name)
        dy, dx = (
            positive_nm(section.get("PixelHeight"), "m"),
            positive_nm(section.get("PixelWidth"), "m"),
        )
        if dy is not None and dx is not None:
            cropped = _cropped(tif, tags)
            if cropped:
                return Calibration(origin=f"FEI/Thermo metadata are not taken: {cropped}")
            return _untilted(tags, Calibration((None, dy, dx), f"FEI/Thermo metadata ([{name}])"))
    return Calibration()


def _cropped(tif: TiffFile, tags: Mapping[str, Any]) -> str:
    """Evidence that an image was cropped or scaled after the microscope wrote it; empty if none."""
    page, image = tif.pages.first, section_of(tags, "Image")
    width, height = (whole_number(image.get(f"Resolution{axis}")) for axis in "XY")
    if min(width, height) == 1 or (page.imagewidth == width and page.imagelength >= height):
        return ""
    return (
        f"the microscope wrote {width} x {height} pixels and the image has {page.imagewidth} x {page.imagelength}: it "
        "was cropped or scaled since"
    )


def _untilted(tags: Mapping[str, Any], found: Calibration) -> Calibration:
    """Return the calibration, without dy if the face was tilted and dy not corrected for it."""
    beam = section_of(tags, "EBeam")
    angle = next(
        (
            a
            for a in (beam.get("TiltCorrectionAngle"), section_of(tags, "Stage").get("StageT"))
            if a
        ),
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


def imagej_calibration(tif: TiffFile) -> Calibration:
    """ImageJ: pixels per `unit` from the resolution tags, and `spacing` along z.

    Height and depth have units of their own, `yunit` and `zunit`, if they differ.
    """
    tags = tags_of(tif.imagej_metadata)
    units = {axis: str(tags.get(f"{axis}unit") or tags.get("unit") or "") for axis in "zy"}
    units["x"] = str(tags.get("unit") or "")
    page = tif.pages.first.tags
    dz = positive_nm(tags.get("spacing"), units["z"])
    dy = _pixel_nm(page.valueof("YResolution"), units["y"])
    dx = _pixel_nm(page.valueof("XResolution"), units["x"])
    found = Calibration((dz, dy, dx), "ImageJ metadata")
    return found if found.known else Calibration()


def imagej_labels(tif: TiffFile) -> tuple[str, ...]:
    """Labels that ImageJ stores for the slices; empty if there are none."""
    labels = tags_of(tif.imagej_metadata).get("Labels", ())
    return (labels,) if isinstance(labels, str) else tuple(str(label) for label in labels)


def _pixel_nm(pixels_per_unit: tuple[int, int] | None, unit: str) -> float | None:
    pixels, lengths = pixels_per_unit or (0, 0)
    return positive_nm(lengths / pixels, unit) if pixels else None


def tags_of(found: object) -> Mapping[str, Any]:
    """The tags, or none if they could not be read."""
    return found if isinstance(found, Mapping) else {}


def section_of(tags: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Entries of a section; empty if there is none."""
    section = tags.get(name, {})
    return section if isinstance(section, Mapping) else {}


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
