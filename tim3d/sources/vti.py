"""VTK image data in XML (.vti): inline or appended, plain, base64 or compressed, cell or point data."""

from __future__ import annotations

import base64
import lzma
import math
import mmap
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tim3d.errors import InputError
from tim3d.sources.axes import IN_ORDER, Layout, Others, cut, layout_by_name, ordered_shape
from tim3d.sources.base import Source, Voxels, needed, reading, stored_dtype
from tim3d.sources.volumes import FileSource, choose
from tim3d.sources.voxel_run import voxel_run
from tim3d.sources.wanted import Wanted

_TAG = re.compile(
    rb"<(/?)(VTKFile|ImageData|Piece|PointData|CellData|DataArray|AppendedData)\b([^>]*)>"
)
_ATTRIBUTE = re.compile(rb"([\w:]+)\s*=\s*\"([^\"]*)\"")
_TYPES = {"Int8": "i1", "UInt8": "u1", "Int16": "i2", "UInt16": "u2", "Int32": "i4", "UInt32": "u4"}
_TYPES |= {"Int64": "i8", "UInt64": "u8", "Float32": "f4", "Float64": "f8"}


def _lz4(packed: bytes, size: int) -> bytes:
    decode: Callable[..., bytes] = needed("imagecodecs", "vtkLZ4DataCompressor").lz4_decode
    return bytes(decode(packed, header=False, out=size))


# Unpackers of a block, with the most bytes that it may hold: a damaged one may promise any size.
_COMPRESSORS: dict[str, Callable[[bytes, int], bytes]] = {
    "vtkZLibDataCompressor": lambda packed, size: zlib.decompressobj().decompress(packed, size),
    "vtkLZMADataCompressor": lambda packed, size: lzma.LZMADecompressor().decompress(packed, size),
    "vtkLZ4DataCompressor": _lz4,
}


@dataclass(frozen=True)
class _Array:
    """One array of the file: its tag, where its text or bytes begin, and whether it is in cells."""

    tag: dict[str, str]
    end: int
    cells: bool


@dataclass(frozen=True)
class _Head:
    """Tags of the file, and its arrays by name; `appended` is the byte behind the underscore."""

    tags: dict[str, dict[str, str]]
    pieces: int
    arrays: dict[str, _Array]
    appended: int


@dataclass(frozen=True, kw_only=True, repr=False)
class VtiArray(FileSource):
    """Array of a .vti that is base64 text, numbers as text, or compressed in blocks."""

    start: int
    base64: bool
    text: bool
    compressor: str
    header_dtype: str
    disk_dtype: str
    stored: tuple[int, ...]
    others: Others = ()

    def parts(self) -> tuple[object, ...]:
        """Names and sizes that distinguish this source from others."""
        return (*super().parts(), self.start, self.others)

    def load(self, z0: int, z1: int) -> Voxels:
        """Slices `z0` <= z < `z1`."""
        plane = math.prod(self.stored[1:])
        with reading(self.path), Path(self.path).open("rb") as file:
            flat = self._numbers(file, z0 * plane, z1 * plane)
        slab = flat.reshape(z1 - z0, *self.stored[1:])
        return np.array(cut(slab, IN_ORDER, 0, z1 - z0, self.others))

    def _numbers(self, file: Any, start: int, stop: int) -> Voxels:
        item = np.dtype(self.disk_dtype).itemsize
        if self.text:
            file.seek(self.start)
            words = file.read(self.size - self.start).split(b"<", 1)[0].split()
            if len(words) != math.prod(self.stored):
                raise ValueError(
                    f"it holds {len(words)} numbers instead of {math.prod(self.stored)}"
                )
            return np.array(words[start:stop]).astype(np.dtype(self.disk_dtype).newbyteorder("="))
        found = self._bytes(file, start * item, stop * item)
        return np.frombuffer(found, self.disk_dtype)

    def _bytes(self, file: Any, start: int, stop: int) -> bytes:
        header = np.dtype(self.header_dtype)
        if not self.compressor:
            begin, shift = self._behind(file, header.itemsize)
            return self._piece(file, begin, shift + start, shift + stop)
        blocks, size, last = self._header(file, 3)
        packed = self._header(file, 3 + blocks)[3:]
        begin, shift = self._behind(file, (3 + blocks) * header.itemsize)
        ends = np.concatenate([[0], np.cumsum(packed, dtype=np.int64)])
        first, final = start // size, -(-stop // size)
        pieces = []
        for i in range(first, min(final, blocks)):
            held = self._piece(file, begin, shift + int(ends[i]), shift + int(ends[i + 1]))
            whole = last if i == blocks - 1 and last else size
            pieces.append(_COMPRESSORS[self.compressor](held, whole))
        return b"".join(pieces)[start - first * size : stop - first * size]

    def _header(self, file: Any, count: int) -> list[int]:
        header = np.dtype(self.header_dtype)
        found = self._piece(file, self.start, 0, count * header.itemsize)
        return [int(n) for n in np.frombuffer(found, header)]

    def _behind(self, file: Any, header_bytes: int) -> tuple[int, int]:
        """Byte of the file from which the data count, and the data's place from there on.

        In base64 the header is often a stream of its own, which ends in a sign of equality.
        """
        if not self.base64:
            return self.start, header_bytes
        letters = -(-header_bytes // 3) * 4
        file.seek(self.start)
        own = header_bytes % 3 and file.read(letters).endswith(b"=")
        if own or (self.compressor and not header_bytes % 3):
            return self.start + letters, 0
        return self.start, header_bytes

    def _piece(self, file: Any, begin: int, start: int, stop: int) -> bytes:
        """Bytes `start` to `stop` of the stream that begins at a byte of the file."""
        if not self.base64:
            file.seek(begin + start)
            found = file.read(stop - start)
        else:
            first = start // 3
            file.seek(begin + 4 * first)
            letters = file.read(4 * (-(-stop // 3) - first))
            found = base64.b64decode(letters, validate=True)[start - 3 * first : stop - 3 * first]
        if len(found) != stop - start:
            raise ValueError("it ends too early")
        return bytes(found)


def is_vti(start: bytes) -> bool:
    """Return whether a file starts like VTK image data in XML."""
    return b"<VTKFile" in start and b'type="ImageData"' in start.replace(b"'", b'"')


def open_vti(path: Path, wanted: Wanted) -> Source:
    """Open the only array of a .vti, or the one that is named.

    Raises
    ------
    ArgumentError
        If the file does not have the component (channel) that is chosen.
    InputError
        If it has several pieces or arrays, or none.
    """
    with reading(path):
        head = _head(path)
        arrays = {name: _stored(head, array) for name, array in head.arrays.items()}
    if head.pieces != 1 or not arrays:
        raise InputError(
            f"{path} has {head.pieces} pieces and {len(arrays)} arrays; save one piece with the array you want, in "
            "ParaView: File > Save Data"
        )
    every = wanted.dataset is None and len(arrays) == 1
    name = next(iter(arrays)) if every else choose(arrays, wanted.dataset, str(path), spacious=True)
    array, (stored, disk) = head.arrays[name], arrays[name]
    names = "zyxc"[: len(stored)]
    layout = layout_by_name(stored, names, f"{path}:{name}", wanted.picks)
    spacing = head.tags["ImageData"].get("Spacing", "")
    origin = f"VTI: Spacing {spacing} (x y z) without a unit of length"
    return _source(path, head, array, layout, (stored, disk), origin)


def _source(
    path: Path,
    head: _Head,
    array: _Array,
    layout: Layout,
    kind: tuple[Any, np.dtype[Any]],
    origin: str,
) -> Source:
    stored, disk = kind
    form = array.tag.get("format", "ascii")
    file_tag = head.tags["VTKFile"]
    appended = form == "appended"
    start = head.appended + int(array.tag.get("offset", 0)) if appended else array.end
    encoded = form == "binary" or (appended and head.tags["AppendedData"].get("encoding") != "raw")
    compressor = "" if form == "ascii" else file_tag.get("compressor", "")
    order = ">" if file_tag.get("byte_order") == "BigEndian" else "<"
    header = f"{order}{_TYPES[file_tag.get('header_type', 'UInt32')]}"
    if compressor not in ("", *_COMPRESSORS):
        raise InputError(
            f"{path} is compressed with {compressor}; save it uncompressed in a new file"
        )
    if not compressor and not encoded and form != "ascii":
        first = start + np.dtype(header).itemsize
        return voxel_run(
            path, layout, stored=stored, disk_dtype=disk.str, offset=first, origin=origin
        )
    size = path.stat().st_size
    return VtiArray(
        shape=ordered_shape(stored, layout.places, str(path)),
        dtype=stored_dtype(disk, str(path)),
        origin=origin,
        path=str(path),
        size=size,
        start=start if not encoded or appended else _after_blanks(path, start),
        base64=encoded,
        text=form == "ascii",
        compressor=compressor,
        header_dtype=header,
        disk_dtype=disk.str,
        stored=stored,
        others=layout.others,
        piece_bytes=12 * size if form == "ascii" else 2**22,
    )


def _after_blanks(path: Path, start: int) -> int:
    with path.open("rb") as file:
        file.seek(start)
        text = file.read(4096)
        return start + len(text) - len(text.lstrip())


def _head(path: Path) -> _Head:
    tags: dict[str, dict[str, str]] = {}
    arrays: dict[str, _Array] = {}
    pieces, cells = 0, False
    for name, held, end in _tags(path):
        if name in ("PointData", "CellData"):
            cells = name == "CellData"
        elif name == "DataArray":
            arrays[held.get("Name") or f"array {len(arrays)}"] = _Array(held, end, cells)
        else:
            tags[name] = held
            pieces += name == "Piece"
    if "VTKFile" not in tags or "ImageData" not in tags:
        raise ValueError("it does not hold image data")
    return _Head(tags, pieces, arrays, _underscore(path, tags))


def _tags(path: Path) -> Iterator[tuple[str, dict[str, str], int]]:
    """Opening tags with their attributes and their ends, up to appended data, which are not text."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        for tag in _TAG.finditer(text):
            pairs = _ATTRIBUTE.findall(tag[3].replace(b"'", b'"'))
            held = {key.decode(): value.decode("utf-8", "replace") for key, value in pairs}
            if not tag[1]:
                name = tag[2].decode()
                yield name, held | {"end": str(tag.end())}, tag.end()
                if name == "AppendedData":
                    return


def _underscore(path: Path, tags: dict[str, dict[str, str]]) -> int:
    if "AppendedData" not in tags:
        return 0
    with path.open("rb") as file:
        file.seek(int(tags["AppendedData"]["end"]))
        text = file.read(4096)
        return int(tags["AppendedData"]["end"]) + text.index(b"_") + 1


def _stored(head: _Head, array: _Array) -> tuple[tuple[int, ...], np.dtype[Any]]:
    extent = [int(v) for v in head.tags["ImageData"]["WholeExtent"].split()]
    points = [extent[2 * i + 1] - extent[2 * i] + 1 for i in (2, 1, 0)]
    edges = [max(n - 1, 1) for n in points] if array.cells else points
    components = int(array.tag.get("NumberOfComponents", 1) or 1)
    order = ">" if head.tags["VTKFile"].get("byte_order") == "BigEndian" else "<"
    kind = np.dtype(f"{order}{_TYPES[array.tag['type']]}")
    return (*edges, *([components] if components > 1 else [])), kind
