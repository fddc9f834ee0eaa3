"""Formats that are recognised by their first bytes and are not read: what to type instead."""

from __future__ import annotations

from pathlib import Path

_NOT_READ = "which tim3d does not read: in Fiji open it and File > Save As > Tiff, or use OME-TIFF from the microscope"
# First bytes, name of the format, and advice.
_KNOWN = (
    (
        b"ZISRAWFILE",
        "Zeiss CZI",
        "which tim3d does not read: in ZEN export it as OME-TIFF, or type  bfconvert {name} out.ome.tif",
    ),
    (
        b"\xd0\xcf\x11\xe0",
        "OLE (TXM, OIB)",
        "which tim3d does not read: type  bfconvert {name} out.ome.tif",
    ),
    (b"\x1f\x8b", "gzip", "unpack a copy of it first: gunzip -k {name}"),
    (b"BZh", "bzip2", "unpack a copy of it first: bunzip2 -k {name}"),
    (b"PK\x03\x04", "zip", "unpack it first: unzip {name}"),
    (b"GIF8", "GIF", _NOT_READ),
    (b"\0\0\0\x0cjP  ", "JPEG 2000", _NOT_READ),
    (
        b"# vtk",
        "VTK of the old form",
        "which tim3d does not read: in ParaView File > Save Data as .vti",
    ),
    (
        b"<VTKFile",
        "VTK XML",
        "of a grid that is not uniform: in ParaView use the filter Resample To Image and save a .vti",
    ),
    (b"<?xml", "XML", "which holds no voxels: give the file or folder that it describes"),
    (b"version https://git-lfs", "git LFS pointer", "fetch the file itself: git lfs pull"),
)
_PLACED = (
    (128, b"DICM", "DICOM", "which tim3d does not read: type  dcm2niix {name}  and give the .nii"),
)
_START = 1024


def named_format(path: Path) -> str:
    """Message ``is Zeiss CZI, which tim3d does not read ...``; empty if it is not recognised."""
    with path.open("rb") as file:
        start = file.read(_START)
    for magic, name, cure in _KNOWN:
        if start.startswith(magic):
            return f"is {name}, {cure.format(name=path.name)}"
    for place, magic, name, cure in _PLACED:
        if start[place:].startswith(magic):
            return f"is {name}, {cure.format(name=path.name)}"
    return ""
