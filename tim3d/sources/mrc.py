"""MRC files: voxels in any order of axes, cell lengths in angstrom."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from tim3d.errors import InputError
from tim3d.sources.axes import Layout
from tim3d.sources.base import Source, VoxelSize, needed, reading
from tim3d.sources.voxel_run import voxel_run
from tim3d.sources.wanted import Wanted

# Bytes 208 to 211 of the header.
MAGIC_PLACE, MAGIC = 208, b"MAP"
_HEADER_BYTES = 1024
_MODES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}
_NOT_READ = {3: "complex int16", 4: "complex float32", 101: "two voxels a byte"}
# IMOD says with these numbers that bytes have a sign or not.
_IMOD_STAMP, _IMOD_SIGNED = 1146047817, 1
_VOLUME_STACK = 401
_ANGSTROM_NM = 0.1


def open_mrc(path: Path, wanted: Wanted) -> Source:
    """Open an MRC file; headers are read by `mrcfile`.

    Raises
    ------
    InputError
        If voxels are complex or packed, the cell is not rectangular, or the file holds several
        volumes.
    MissingExtraError
        If `mrcfile` is not installed.
    """
    wanted.refuse_picks(str(path))
    header = _header(path)
    mode, stored = int(header.mode), (int(header.nz), int(header.ny), int(header.nx))
    if mode not in _MODES:
        raise InputError(
            f"{path} holds {_NOT_READ.get(mode, f'voxels of mode {mode}')}; save it as bytes, int16, uint16 or float32 "
            f"under another name: newstack -mode 2 {path.name} float.mrc"
        )
    _refuse_odd_cells(path, header)
    layout = _layout(path, header)
    sizes, origin = _voxel_size(header)
    return voxel_run(
        path,
        layout,
        stored=stored,
        disk_dtype=f"{_order(header)}{_kind(header, mode)}",
        offset=_HEADER_BYTES + int(header.nsymbt),
        alone=True,
        voxel_size_nm=sizes,
        origin=origin,
    )


def _header(path: Path) -> Any:
    mrcfile = needed("mrcfile", path)
    with path.open("rb") as file:
        if not file.read(_HEADER_BYTES)[MAGIC_PLACE:].startswith(MAGIC):
            raise InputError(
                f"{path} does not start like an MRC file: it is damaged, or raw. For raw voxels type their shape "
                "and type: --shape Z,Y,X --dtype uint8"
            )
    with reading(path), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with mrcfile.open(path, header_only=True, permissive=True) as file:
            return file.header.copy()


def _order(header: Any) -> str:
    return str(header.dtype["nx"].str[0])


def _kind(header: Any, mode: int) -> str:
    """Type of a voxel; IMOD marks bytes without a sign, which the standard does not know."""
    extra = bytes(header.extra2) if "extra2" in header.dtype.names else b""
    stamp, flags = (int(v) for v in np.frombuffer(extra[40:48].ljust(8, b"\0"), "<i4"))
    unsigned = mode == 0 and stamp == _IMOD_STAMP and not flags & _IMOD_SIGNED
    return "u1" if unsigned else _MODES[mode]


def _refuse_odd_cells(path: Path, header: Any) -> None:
    angles = [float(header.cellb[name]) for name in ("alpha", "beta", "gamma")]
    if any(angle not in (0.0, 90.0) for angle in angles):
        raise InputError(
            f"{path} has cell angles {angles}; voxels of a volume are rectangular. Resample it first"
        )
    if int(header.ispg) >= _VOLUME_STACK and int(header.nz) != int(header.mz):
        raise InputError(
            f"{path} holds {int(header.nz) // max(int(header.mz), 1)} volumes; save the one you want as a file of its "
            "own"
        )


def _layout(path: Path, header: Any) -> Layout:
    """Positions of z, y and x: the header numbers the axes of columns, rows and sections."""
    held = [int(header.maps), int(header.mapr), int(header.mapc)]
    if held == [0, 0, 0]:
        held = [3, 2, 1]
    if sorted(held) != [1, 2, 3]:
        raise InputError(f"{path} numbers its axes {held}; expected 1, 2 and 3. Write it again")
    return Layout((held.index(3), held.index(2), held.index(1)))


def _voxel_size(header: Any) -> tuple[VoxelSize, str]:
    counts = {"x": int(header.mx), "y": int(header.my), "z": int(header.mz)}
    edges = {
        axis: float(header.cella[axis]) / counts[axis] if counts[axis] > 0 else 0.0
        for axis in "zyx"
    }
    if all(math.isclose(edge, 1.0) for edge in edges.values()):
        return (None, None, None), "MRC header: 1 angstrom, which stands for unknown"
    sizes = [
        round(edge * _ANGSTROM_NM, 9) if edge > 0 and math.isfinite(edge) else None
        for edge in edges.values()
    ]
    if int(header.ispg) == 0 and int(header.mz) == 1 and int(header.nz) > 1:
        sizes[0] = None  # a stack of images, not a volume
    return (sizes[0], sizes[1], sizes[2]), "MRC header"
