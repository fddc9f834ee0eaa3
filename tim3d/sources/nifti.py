"""NIfTI files (.nii, .nii.gz, and .hdr with .img): axes x, y, z, then time, lengths in their unit."""

from __future__ import annotations

import gzip
import math
from pathlib import Path
from typing import Any

import numpy as np

from tim3d.errors import InputError
from tim3d.sources.axes import layout_by_name
from tim3d.sources.base import Source, VoxelSize, needed, reading
from tim3d.sources.units import positive_nm, unit_name
from tim3d.sources.voxel_run import voxel_run
from tim3d.sources.wanted import Wanted

_GZIP = b"\x1f\x8b"
_PLACES = {344: (b"n+1\0", b"ni1\0"), 4: (b"n+2\0", b"ni2\0")}
_LONGEST = 540
# Axes of the file, the fastest first; the fifth holds vectors or channels.
_NAMES = ("x", "y", "z", "t", "c", "u", "v")
_COLOURS = (128, 2304)


def is_nifti(start: bytes, path: Path) -> bool:
    """Return whether a file, or what is packed in it, starts like NIfTI."""
    if start.startswith(_GZIP):
        try:
            with gzip.open(path) as file:
                start = file.read(_LONGEST)
        except (OSError, EOFError):
            return False
    return any(start[place:].startswith(marks) for place, marks in _PLACES.items())


def open_nifti(path: Path, wanted: Wanted) -> Source:
    """Open a NIfTI file; headers are read by `nibabel`, and voxels slice by slice.

    Raises
    ------
    ArgumentError
        If the file does not have the time or channel that is chosen.
    InputError
        If it is in colour, or its voxels are not there.
    MissingExtraError
        If `nibabel` is not installed.
    """
    nibabel = needed("nibabel", path)
    with reading(path):
        image = nibabel.load(path)
        header, proxy = image.header, image.dataobj
        data = Path(image.file_map["image"].filename)
        scale = (float(proxy.slope), float(proxy.inter))
        stored = tuple(int(n) for n in header.get_data_shape())[::-1]
    if int(header["datatype"]) in _COLOURS:
        raise InputError(f"{path} is in colour; save one grey value a voxel")
    if not data.is_file():
        raise InputError(f"{path} has its voxels in {data}, which is not there; put it there")
    names = _NAMES[: len(stored)][::-1]
    sizes, origin = _voxel_size(header, len(stored))
    return voxel_run(
        path,
        layout_by_name(stored, names, str(path), wanted.picks),
        data=data,
        stored=stored,
        disk_dtype=header.get_data_dtype().str,
        **_place(data, int(proxy.offset)),
        scale=None if scale == (1.0, 0.0) else scale,
        alone=True,
        voxel_size_nm=sizes,
        origin=origin,
    )


def _place(data: Path, offset: int) -> dict[str, Any]:
    with data.open("rb") as file:
        packed = file.read(2) == _GZIP
    if packed:
        return {"packing": "gzip", "offset": 0, "skip": offset}
    return {"offset": offset}


def _voxel_size(header: Any, count: int) -> tuple[VoxelSize, str]:
    try:
        unit = str(header.get_xyzt_units()[0])
    except KeyError:  # a code that the format does not define
        unit = f"code {int(header['xyzt_units'])}"
    zooms = [float(np.float64(str(v))) for v in header["pixdim"][1 : min(count, 3) + 1]]
    x, y, z = (*[positive_nm(v, unit) for v in zooms], None, None)[:3]
    if unit_name(unit) is None:
        shown = " ".join(f"{v:g}" for v in zooms if math.isfinite(v))
        return (None, None, None), f"NIfTI header: pixdim {shown} (x y z) without a unit of length"
    return (z, y, x), "NIfTI header"
