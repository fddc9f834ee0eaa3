"""File formats recognised by their first bytes, independent of the file's name."""

from __future__ import annotations

from pathlib import Path

_READ_BY_NAME = "rename it to end in {}"
_NOT_READ = "which tim3d does not read: convert it to TIFF slices, .npy or HDF5 first"
# First bytes, name of the format, and advice.
_KNOWN = (
    (b"II*\0", "TIFF", _READ_BY_NAME.format(".tif")),
    (b"MM\0*", "TIFF", _READ_BY_NAME.format(".tif")),
    (b"II+\0", "BigTIFF", _READ_BY_NAME.format(".tif")),
    (b"MM\0+", "BigTIFF", _READ_BY_NAME.format(".tif")),
    (b"\x89PNG", "PNG", _READ_BY_NAME.format(".png")),
    (b"\x93NUMPY", "numpy", _READ_BY_NAME.format(".npy")),
    (b"NRRD", "NRRD", _NOT_READ),
    (b"# AmiraMesh", "AmiraMesh", _NOT_READ),
    (b"# Avizo", "Avizo", _NOT_READ),
    (
        b"ObjectType",
        "MetaImage",
        "a header: give the file of voxels that it names, with --shape and --dtype",
    ),
    (b"ZISRAWFILE", "Zeiss CZI", _NOT_READ),
    (b"\xd0\xcf\x11\xe0", "OLE (TXM, OIB)", _NOT_READ),
    (b"\x1f\x8b", "gzip", "unpack it first: gunzip"),
    (b"PK\x03\x04", "zip", "unpack it first: unzip"),
    (b"\xff\xd8\xff", "JPEG", _NOT_READ),
    (b"<?xml", "XML (VTK)", _NOT_READ),
    (b"<VTKFile", "VTK XML", _NOT_READ),
    (b"# vtk", "VTK", _NOT_READ),
    (b"version https://git-lfs", "git LFS pointer", "fetch the file itself: git lfs pull"),
)
_PLACED = (
    (208, b"MAP ", "MRC", _NOT_READ),
    (128, b"DICM", "DICOM", _NOT_READ),
    (344, b"n+1", "NIfTI", _NOT_READ),
)
_START = 1024


def named_format(path: Path) -> str:
    """Message ``is NRRD, which tim3d does not read ...``; empty if the format is not recognised."""
    with path.open("rb") as file:
        start = file.read(_START)
    for magic, name, cure in _KNOWN:
        if start.startswith(magic):
            return f"is {name}, {cure}"
    for place, magic, name, cure in _PLACED:
        if start[place:].startswith(magic):
            return f"is {name}, {cure}"
    return ""
