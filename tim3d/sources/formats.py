"""Formats of one file or folder: a table. Each is known by its content and opened by its own module.

A format is added as a module with a function that opens it, and as a value of `FORMATS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tim3d.sources.amira import MAGICS as AMIRA_MAGICS
from tim3d.sources.amira import open_amira
from tim3d.sources.base import Source, reading
from tim3d.sources.coco import is_coco, open_coco
from tim3d.sources.dm import is_dm, open_dm
from tim3d.sources.hdf5 import is_hdf5, open_hdf5
from tim3d.sources.metaimage import is_metaimage, open_metaimage
from tim3d.sources.mrc import MAGIC as MRC_MAGIC
from tim3d.sources.mrc import MAGIC_PLACE as MRC_PLACE
from tim3d.sources.mrc import open_mrc
from tim3d.sources.n5 import is_n5, open_n5
from tim3d.sources.nifti import is_nifti, open_nifti
from tim3d.sources.nrrd import MAGIC as NRRD_MAGIC
from tim3d.sources.nrrd import open_nrrd
from tim3d.sources.volumes import open_npy
from tim3d.sources.vti import is_vti, open_vti
from tim3d.sources.wanted import Wanted
from tim3d.sources.zarr_array import is_zarr, open_zarr

_START = 4096
_NPY_MAGIC = b"\x93NUMPY"


@dataclass(frozen=True)
class Format:
    """A format: its name, whether the start of a file (or a folder) is of it, and how it is opened.

    `suffix` is believed where the content is not recognised, so that a damaged file is called so.
    `arrays` and `chunks` say whether an array can be named, and whether chunks can be missing.
    """

    name: str
    matches: Callable[[bytes, Path], bool]
    open: Callable[[Path, Wanted], Source]
    suffixes: tuple[str, ...] = ()
    arrays: bool = False
    chunks: bool = False
    folder: bool = False


FORMATS = (
    Format("npy", lambda start, _: start.startswith(_NPY_MAGIC), open_npy, (".npy",)),
    Format("HDF5", lambda _, path: is_hdf5(path), open_hdf5, arrays=True, chunks=True),
    Format(
        "MRC",
        lambda start, _: start[MRC_PLACE:].startswith(MRC_MAGIC),
        open_mrc,
        (".mrc", ".mrcs", ".rec", ".ccp4"),
    ),
    Format("NRRD", lambda start, _: start.startswith(NRRD_MAGIC), open_nrrd, (".nrrd", ".nhdr")),
    Format("MetaImage", lambda start, _: is_metaimage(start), open_metaimage, (".mha", ".mhd")),
    Format("NIfTI", is_nifti, open_nifti, (".nii",)),
    Format("VTI", lambda start, _: is_vti(start), open_vti, (".vti",), arrays=True),
    Format(
        "Amira", lambda start, _: start.startswith(AMIRA_MAGICS), open_amira, (".am",), arrays=True
    ),
    Format("COCO", is_coco, open_coco),
    Format("DM3/DM4", lambda start, _: is_dm(start), open_dm, (".dm3", ".dm4"), arrays=True),
    Format(
        "zarr",
        lambda _, path: is_zarr(path),
        lambda path, wanted: open_zarr(str(path), wanted),
        arrays=True,
        chunks=True,
        folder=True,
    ),
    Format("N5", lambda _, path: is_n5(path), open_n5, arrays=True, chunks=True, folder=True),
)


def format_of(path: Path) -> Format | None:
    """Format of a file or folder by its content, otherwise by its suffix; None if it is of no format."""
    if path.is_dir():
        return next((one for one in FORMATS if one.folder and one.matches(b"", path)), None)
    with reading(path):
        with path.open("rb") as file:
            start = file.read(_START)
        files = [one for one in FORMATS if not one.folder]
        known = next((one for one in files if one.matches(start, path)), None)
    suffix = path.suffix.lower()
    return known or next((one for one in files if suffix in one.suffixes), None)
