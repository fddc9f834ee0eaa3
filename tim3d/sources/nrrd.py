"""NRRD files with attached or detached voxels; axes by their kinds and labels, lengths in their units."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tim3d.errors import InputError
from tim3d.grid import AXES
from tim3d.sources.axes import CHOSEN, layout_by_name
from tim3d.sources.base import Source, VoxelSize, needed, reading
from tim3d.sources.units import positive_nm
from tim3d.sources.voxel_run import voxel_run
from tim3d.sources.wanted import Wanted

MAGIC = b"NRRD"
_PACKINGS = {"raw": "", "gzip": "gzip", "gz": "gzip", "bzip2": "bzip2", "bz2": "bzip2"}
_SPACE = ("domain", "space", "none", "???", "")
_TIMES = ("time",)
_COLOURS = ("rgb", "rgba", "hsv", "xyz", "3-color", "4-color")
# Spaces of anatomy are measured in mm.
_ANATOMY = ("left", "right", "anterior", "posterior", "superior", "inferior", "scanner")
_SHORT_ANATOMY = ("ras", "las", "lps", "rast", "last", "lpst")
_RIGHT_ANGLE = 1e-4


def open_nrrd(path: Path, wanted: Wanted) -> Source:
    """Open an NRRD file; the header is read by `pynrrd`, and raw voxels slice by slice.

    Raises
    ------
    ArgumentError
        If the file does not have the channel or time that is chosen.
    InputError
        If the encoding is not raw, gzip or bzip2, the voxels are in several files, the values are
        quantised or vectors, or the axes are not at right angles.
    MissingExtraError
        If `pynrrd` is not installed.
    """
    header, offset = _header(path)
    encoding = str(header.get("encoding", "raw")).lower()
    if encoding not in _PACKINGS:
        raise InputError(
            f"{path} has the encoding {encoding}; save it as raw or gzip in a new file"
        )
    if {"old min", "oldmin"} & {str(key).lower() for key in header}:
        raise InputError(
            f"{path} holds quantised values ('old min'); save the original values as a new file: unu unquantize"
        )
    names = _axis_names(path, header)
    stored = tuple(int(n) for n in header["sizes"])[::-1]
    layout = layout_by_name(stored, names[::-1], str(path), wanted.picks)
    sizes, origin = _voxel_size(path, header, names)
    data = _data_file(path, header)
    return voxel_run(
        path,
        layout,
        data=data,
        stored=stored,
        disk_dtype=_disk_dtype(path, header),
        offset=_start(path, data, header, offset, stored, encoding),
        packing=_PACKINGS[encoding],
        skip=max(int(header.get("byte skip", 0)), 0) if _PACKINGS[encoding] else 0,
        alone=True,
        voxel_size_nm=sizes,
        origin=origin,
    )


def _header(path: Path) -> tuple[Mapping[str, Any], int]:
    nrrd = needed("nrrd", path)
    with reading(path), path.open("rb") as file:
        header = nrrd.read_header(file)
        if "sizes" not in header or "type" not in header:
            raise ValueError("its header has no sizes or no type")
        return header, file.tell()


def _disk_dtype(path: Path, header: Mapping[str, Any]) -> str:
    nrrd = needed("nrrd", path)
    name = nrrd.reader._TYPEMAP_NRRD2NUMPY.get(str(header["type"]))
    if name in (None, "V"):
        raise InputError(f"{path} holds blocks of bytes, not numbers; save one number a voxel")
    order = ">" if str(header.get("endian", "little")).lower() == "big" else "<"
    return str(np.dtype(name).newbyteorder(order).str)


def _data_file(path: Path, header: Mapping[str, Any]) -> Path:
    name = str(header.get("data file", header.get("datafile", ""))).strip()
    if not name:
        return path
    if name.upper().startswith("LIST") or (len(name.split()) > 1 and "%" in name):
        raise InputError(
            f"{path} keeps its slices in several files; give them as raw, or save one file: unu save -f nrrd"
        )
    data = path.parent / name
    if not data.is_file():
        raise InputError(
            f"{path} names the file of voxels {data}, which is not there; put it there"
        )
    return data


def _start(
    path: Path,
    data: Path,
    header: Mapping[str, Any],
    offset: int,
    stored: Sequence[int],
    encoding: str,
) -> int:
    """Byte at which the voxels, or their packed stream, start."""
    skip = int(header.get("byte skip", header.get("byteskip", 0)))
    lines = int(header.get("line skip", header.get("lineskip", 0)))
    begin = offset if data == path else 0
    if lines:
        with data.open("rb") as file:
            file.seek(begin)
            for _ in range(lines):
                file.readline()
            begin = file.tell()
    if _PACKINGS[encoding]:
        return begin
    if skip == -1:
        voxels = math.prod(stored) * np.dtype(_disk_dtype(path, header)).itemsize
        return data.stat().st_size - voxels
    return begin + skip


def _axis_names(path: Path, header: Mapping[str, Any]) -> list[str]:
    """Names of the axes, the fastest first: by labels if these are x, y and z, otherwise by kinds."""
    count = len(header["sizes"])
    labels = [str(label).lower() for label in header.get("labels", [])]
    if len(labels) == count and {"x", "y"} <= set(labels):
        return labels
    kinds = [str(kind).lower() for kind in header.get("kinds", ["domain"] * count)]
    names: list[str] = []
    free = list(AXES[::-1])
    for kind, size in zip(kinds, header["sizes"], strict=False):
        if kind.startswith(_COLOURS):
            raise InputError(f"{path} is in colour ({kind}); save one grey value a voxel")
        if kind in _SPACE and free and not (len(names) == count - 1 and "z" not in free):
            names.append(free.pop(0))
        elif kind in _TIMES:
            names.append("t")
        else:
            names.append("c" if "c" not in names else f"{kind}{len(names)} of {size}")
    return names


def _voxel_size(
    path: Path, header: Mapping[str, Any], names: Sequence[str]
) -> tuple[VoxelSize, str]:
    lengths, units = _lengths(path, header, names)
    sizes = {
        name: positive_nm(length, unit)
        for name, length, unit in zip(names, lengths, units, strict=False)
        if name not in CHOSEN
    }
    found = (sizes.get("z"), sizes.get("y"), sizes.get("x"))
    if any(lengths) and not any(found):
        shown = ", ".join(f"{length:g}" for length in lengths)
        return found, f"NRRD header: spacings {shown} without a unit of length"
    return found, "NRRD header" if any(found) else "NRRD, no spacings"


def _lengths(
    path: Path, header: Mapping[str, Any], names: Sequence[str]
) -> tuple[list[float], list[str]]:
    """Length of a step along each axis, and its unit."""
    vectors = header.get("space directions")
    if vectors is not None:
        rows = [np.asarray(row, float) if row is not None else None for row in vectors]
        _refuse_sheared(path, [row for row in rows if row is not None and np.isfinite(row).all()])
        lengths = [
            0.0 if r is None or not np.isfinite(r).all() else float(np.linalg.norm(r)) for r in rows
        ]
        space = str(header.get("space", "")).lower()
        medical = space.startswith(_ANATOMY) or space in _SHORT_ANATOMY
        given = list(dict.fromkeys(str(unit) for unit in header.get("space units", [])))
        if len(given) > 1:
            raise InputError(
                f"{path} measures its space in {' and '.join(given)}; save it with one unit of length"
            )
        return lengths, (given or ["mm" if medical else ""]) * len(names)
    spacings = [float(v) for v in header.get("spacings", [])]
    units = [str(unit) for unit in header.get("units", [""] * len(spacings))]
    return [v if math.isfinite(v) else 0.0 for v in spacings], units


def _refuse_sheared(path: Path, rows: Sequence[np.ndarray]) -> None:
    for i, a in enumerate(rows):
        for b in rows[i + 1 :]:
            if abs(a @ b) > _RIGHT_ANGLE * np.linalg.norm(a) * np.linalg.norm(b):
                raise InputError(
                    f"{path} has axes that are not at right angles (space directions {a.tolist()} and {b.tolist()}); "
                    "resample it first"
                )
