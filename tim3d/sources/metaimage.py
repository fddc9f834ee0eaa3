"""MetaImage files (.mha, .mhd): a header of lines ``Key = value``, and voxels behind it or beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tim3d.errors import InputError
from tim3d.sources.axes import Layout, layout_by_name
from tim3d.sources.base import Source, VoxelSize, reading
from tim3d.sources.units import positive_nm
from tim3d.sources.voxel_run import voxel_run
from tim3d.sources.wanted import Wanted

MAGICS = (b"ObjectType", b"NDims", b"Comment")
_MOST_HEADER = 2**16
_LAST_KEY = "elementdatafile"
_TYPES = {
    "MET_UCHAR": "u1",
    "MET_CHAR": "i1",
    "MET_USHORT": "u2",
    "MET_SHORT": "i2",
    "MET_UINT": "u4",
    "MET_INT": "i4",
    "MET_ULONG_LONG": "u8",
    "MET_LONG_LONG": "i8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
_RIGHT_ANGLE = 1e-4


def is_metaimage(start: bytes) -> bool:
    """Return whether a file starts like a MetaImage."""
    return start.startswith(MAGICS) and b"DimSize" in start and b"ElementType" in start


def open_metaimage(path: Path, wanted: Wanted) -> Source:
    """Open a MetaImage, with its voxels in the same file or in one beside it.

    Raises
    ------
    ArgumentError
        If the file does not have the channel that is chosen.
    InputError
        If the voxels are ASCII or in several files, or the header is not complete.
    """
    with reading(path):
        header, end = _header(path)
        stored = [int(n) for n in header["dimsize"].split()][::-1]
        channels = int(header.get("elementnumberofchannels", 1))
    if (
        header["elementtype"].upper() not in _TYPES
        or "ascii" in header.get("binarydata", "").lower()
    ):
        raise InputError(f"{path} holds {header['elementtype']}; save binary numbers in a new file")
    if header.get("binarydata", "true").lower() == "false":
        raise InputError(
            f"{path} holds text instead of binary numbers; save it as binary in a new file"
        )
    names = [*("t" if len(stored) == 4 else ""), *"zyx"[-min(len(stored), 3) :], "c"]
    stored = [*stored, channels]
    _refuse_sheared(path, header)
    layout = layout_by_name(stored, names, str(path), wanted.picks)
    sizes, origin = _voxel_size(header, names)
    disk = f"{_byteorder(header)}{_TYPES[header['elementtype'].upper()]}"
    packed = header.get("compresseddata", "false").lower() == "true"
    data = _data_file(path, header)
    return voxel_run(
        path,
        Layout(layout.places, layout.others),
        data=data,
        stored=stored,
        disk_dtype=disk,
        offset=_start(path, data, header, end, math.prod(stored) * np.dtype(disk).itemsize),
        packing="zlib" if packed else "",
        alone=True,
        voxel_size_nm=sizes,
        origin=origin,
    )


def _header(path: Path) -> tuple[Mapping[str, str], int]:
    """Lines of the header with keys in small letters, and the byte at which it ends."""
    found: dict[str, str] = {}
    with path.open("rb") as file:
        while _LAST_KEY not in found:
            line = file.readline(_MOST_HEADER)
            if not line or file.tell() > _MOST_HEADER:
                raise ValueError("its header does not name ElementDataFile")
            key, _, value = line.decode("utf-8", "replace").partition("=")
            found[key.strip().lower()] = value.strip()
        missing = [key for key in ("dimsize", "elementtype") if key not in found]
        if missing:
            raise ValueError(f"its header has no {missing[0]}")
        return found, file.tell()


def _data_file(path: Path, header: Mapping[str, str]) -> Path:
    name = header[_LAST_KEY]
    if name.upper() in ("LOCAL", ""):
        return path
    if name.upper().startswith("LIST") or "%" in name:
        raise InputError(
            f"{path} keeps its slices in several files ({name}); give these files themselves, or save one .mha"
        )
    data = path.parent / name
    if not data.is_file():
        raise InputError(
            f"{path} names the file of voxels {data}, which is not there; put it there"
        )
    return data


def _start(path: Path, data: Path, header: Mapping[str, str], end: int, voxel_bytes: int) -> int:
    given = int(header.get("headersize", 0))
    if given == -1:  # the voxels are the last bytes of the file
        return data.stat().st_size - voxel_bytes
    return (end if data == path else 0) + max(given, 0)


def _byteorder(header: Mapping[str, str]) -> str:
    said = header.get("binarydatabyteordermsb", header.get("elementbyteordermsb", "false"))
    return ">" if said.lower() == "true" else "<"


def _voxel_size(header: Mapping[str, str], names: list[str]) -> tuple[VoxelSize, str]:
    text = header.get("elementspacing", header.get("elementsize", ""))
    unit = header.get("distanceunits", "").strip("?")
    lengths = [float(v) for v in text.split()][::-1]
    named = dict(zip([n for n in names if n != "c"], lengths, strict=False))
    sizes = (
        positive_nm(named.get("z"), unit),
        positive_nm(named.get("y"), unit),
        positive_nm(named.get("x"), unit),
    )
    if any(sizes):
        return sizes, "MetaImage header"
    said = f"ElementSpacing {text} (x y z) without a unit of length" if text else "no spacing"
    return sizes, f"MetaImage header: {said}"


def _refuse_sheared(path: Path, header: Mapping[str, str]) -> None:
    text = header.get("transformmatrix", header.get("rotation", header.get("orientation", "")))
    numbers = [float(v) for v in text.split()]
    edge = math.isqrt(len(numbers))
    if edge * edge != len(numbers) or edge < 2:
        return
    rows = np.array(numbers).reshape(edge, edge)
    product = rows @ rows.T
    if np.abs(product - np.diag(np.diag(product))).max() > _RIGHT_ANGLE * np.abs(product).max():
        raise InputError(
            f"{path} has axes that are not at right angles (TransformMatrix {text}); resample it first"
        )
