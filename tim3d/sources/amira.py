"""Amira and Avizo meshes (.am) of one uniform lattice: plain, run-length or zlib coded."""

from __future__ import annotations

import math
import re
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tim3d.errors import InputError
from tim3d.sources.axes import Layout, ordered_shape
from tim3d.sources.base import Source, Voxels, VoxelSize, reading, stored_dtype
from tim3d.sources.forward import Places, version_of
from tim3d.sources.units import positive_nm
from tim3d.sources.volumes import FileSource, choose
from tim3d.sources.voxel_run import voxel_run
from tim3d.sources.wanted import Wanted

MAGICS = (b"# AmiraMesh", b"# Avizo")
_MOST_HEADER = 2**20
_PLACES = Places()
_TYPES = {
    "byte": "u1",
    "short": "i2",
    "ushort": "u2",
    "int32": "i4",
    "int": "i4",
    "float": "f4",
    "double": "f8",
}
_LATTICE = re.compile(r"^\s*define\s+Lattice\s+(\d+)\s+(\d+)\s+(\d+)", re.M)
_ARRAY = re.compile(
    r"^\s*Lattice\s*\{\s*(\w+)(\[\d+\])?\s+([\w-]+)\s*\}\s*=?\s*@(\d+)(?:\((\w+),(\d+)\))?", re.M
)
_BOX = re.compile(r"BoundingBox\s+([-+\d.eE\s]+?)[,\n}]")
_UNIT = re.compile(r"(?:Coordinates|SpatialUnit\w*)\s+\"([^\"]+)\"")
_COORDINATES = re.compile(r"CoordType\s+\"(\w+)\"")


@dataclass(frozen=True, kw_only=True, repr=False)
class RunLengths(FileSource):
    """Bytes in runs: a count and a value, or 128 plus a count and that many values."""

    offset: int
    packed: int

    def load(self, z0: int, z1: int) -> Voxels:
        """Slices `z0` <= z < `z1`."""
        with reading(self.path), Path(self.path).open("rb") as file:
            file.seek(self.offset)
            plane = self.shape[1] * self.shape[2]
            key = (*version_of(self.path), self.offset)
            flat = _unrolled(file.read(self.packed), z0 * plane, z1 * plane, key)
            return np.frombuffer(flat, np.uint8).reshape(z1 - z0, *self.shape[1:])


def _unrolled(packed: bytes, start: int, stop: int, key: Hashable) -> bytes:
    """Values `start` to `stop`, from the run on at which the last reading ended, if it is before."""
    at, i = _PLACES.take(key, start) or (0, 0)
    found = bytearray()
    while at < stop and i < len(packed):
        count, plain = packed[i] & 0x7F, packed[i] & 0x80
        run = packed[i + 1 : i + 1 + count] if plain else packed[i + 1 : i + 2] * count
        if not count:
            raise ValueError("a run of no length")
        found += run[max(start - at, 0) : max(stop - at, 0)]
        if at + count > stop:  # the next slices begin within this run
            break
        at, i = at + count, i + (1 + count if plain else 2)
    if len(found) != stop - start:
        raise ValueError("its runs end too early")
    _PLACES.put(key, at, i)
    return bytes(found)


def open_amira(path: Path, wanted: Wanted) -> Source:
    """Open the only uniform lattice of an Amira or Avizo file, or the one that is named.

    Raises
    ------
    InputError
        If it has no lattice, several, vectors, text or positions that are not uniform.
    """
    wanted.refuse_picks(str(path))
    header = _header(path)
    lattice, arrays = _LATTICE.search(header), _ARRAY.findall(header)
    kind = _COORDINATES.search(header)
    if lattice is None or not arrays or (kind and kind[1] != "uniform"):
        held = f"{kind[1]} coordinates" if kind else "no lattice"
        raise InputError(f"{path} has {held}; save a uniform lattice (a volume) as a new file")
    stored = (int(lattice[3]), int(lattice[2]), int(lattice[1]))
    types = {
        name: (stored, _dtype(path, header, item, vector)) for item, vector, name, *_ in arrays
    }
    name = (
        choose(types, wanted.dataset, str(path))
        if len(types) > 1 or wanted.dataset
        else arrays[0][2]
    )
    number, coding, packed = next(row[3:] for row in arrays if row[2] == name)
    sizes, origin = _voxel_size(header, stored)
    facts: dict[str, object] = {"voxel_size_nm": sizes, "origin": origin}
    start = _marker(path, len(header.encode("latin-1")), number)
    if coding == "HxByteRLE":
        return _runs(path, stored, start, int(packed), facts)
    if coding not in ("", "HxZip"):
        raise InputError(f"{path} is coded as {coding}; save it as raw binary in a new file")
    return voxel_run(
        path,
        Layout((0, 1, 2)),
        stored=stored,
        disk_dtype=types[name][1].str,
        offset=start,
        packing="zlib" if coding else "",
        **facts,
    )


def _runs(
    path: Path, stored: tuple[int, int, int], start: int, packed: int, facts: dict[str, object]
) -> RunLengths:
    size = path.stat().st_size
    if start + packed > size:
        raise InputError(
            f"{path} is truncated: its voxels end at byte {start + packed}, and it has {size}; copy it again"
        )
    return RunLengths(
        shape=ordered_shape(stored, (0, 1, 2), str(path)),
        dtype=stored_dtype(np.dtype("u1"), str(path)),
        path=str(path),
        size=size,
        offset=start,
        packed=packed,
        piece_bytes=packed,
        **facts,  # type: ignore[arg-type]
    )


def _header(path: Path) -> str:
    """Text up to the first data section."""
    with reading(path), path.open("rb") as file:
        text = file.read(_MOST_HEADER).decode("latin-1")
        end = text.find("\n@1\n")
        if end < 0:
            end = text.find("\n@1\r\n")
        if end < 0:
            raise ValueError("it has no data section @1")
        return text[:end]


def _dtype(path: Path, header: str, item: str, vector: str) -> np.dtype[np.generic]:
    first = header.splitlines()[0]
    if "BINARY" not in first:
        raise InputError(f"{path} is text ({first}); save it as binary in a new file")
    if vector or item not in _TYPES:
        raise InputError(
            f"{path} holds {item}{vector} a voxel; save one number a voxel as a new file"
        )
    return np.dtype(f"{'<' if 'LITTLE' in first else '>'}{_TYPES[item]}")


def _marker(path: Path, header_bytes: int, number: str) -> int:
    """First byte behind the line that marks a data section."""
    mark = f"\n@{number}".encode()
    with reading(path), path.open("rb") as file:
        file.seek(header_bytes)
        seen = file.read(_MOST_HEADER)
        at = seen.find(mark)
        if at < 0 or (number != "1"):
            raise ValueError(
                f"its data section @{number} was not found among the first; save it alone"
            )
        return header_bytes + seen.index(b"\n", at + len(mark)) + 1


def _voxel_size(header: str, stored: tuple[int, int, int]) -> tuple[VoxelSize, str]:
    """The bounding box reaches from the centre of the first voxel to that of the last."""
    box, unit = _BOX.search(header), _UNIT.search(header)
    ends = [float(v) for v in box[1].split()] if box else []
    if len(ends) != 6:
        return (None, None, None), "Amira header, no bounding box"
    steps = [
        (ends[2 * i + 1] - ends[2 * i]) / (n - 1) if n > 1 else math.nan
        for i, n in enumerate(stored[::-1])
    ]
    x, y, z = (positive_nm(float(f"{v:.9g}"), unit[1] if unit else "") for v in steps)
    if unit is None:
        shown = " ".join(f"{v:g}" for v in steps)
        return (None, None, None), f"Amira header: voxels {shown} (x y z) without a unit of length"
    return (z, y, x), "Amira header"
