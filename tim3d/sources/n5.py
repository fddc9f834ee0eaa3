"""N5 arrays: blocks of the file system, x first, read without a library, which zarr gave up."""

from __future__ import annotations

import bz2
import itertools
import json
import lzma
import math
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tim3d.errors import InputError
from tim3d.sources.axes import (
    Layout,
    Others,
    Places,
    cut,
    layout_by_name,
    ordered_shape,
    places_in_order,
)
from tim3d.sources.base import Source, Voxels, VoxelSize, needed, reading, stored_dtype
from tim3d.sources.holes import Holes, accepted
from tim3d.sources.units import positive_nm
from tim3d.sources.volumes import choose
from tim3d.sources.wanted import Wanted

_MARK = "attributes.json"
_DEEPEST, _MOST_BLOCKS = 6, 10**7
_TYPES = (
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "int8",
    "int16",
    "int32",
    "int64",
    "float32",
    "float64",
)


def _numcodecs(name: str) -> Callable[[bytes, int], bytes]:
    def unpack(packed: bytes, most: int) -> bytes:
        decode: Callable[[bytes], bytes] = needed("numcodecs", name).get_codec({"id": name}).decode
        promised = int.from_bytes(packed[4:8], "little") if name == "blosc" else 0
        if promised > most:
            raise ValueError(f"a block promises {promised} bytes, and at most {most} belong to one")
        return bytes(decode(packed))

    return unpack


_EITHER_HEADER = 47  # of zlib: gzip, or zlib's own
# Unpackers of a block, with the most bytes that it may hold: a damaged one may promise any size.
_CODECS: dict[str, Callable[[bytes, int], bytes]] = {
    "raw": lambda packed, most: packed,
    "gzip": lambda packed, most: zlib.decompressobj(_EITHER_HEADER).decompress(packed, most),
    "bzip2": lambda packed, most: bz2.BZ2Decompressor().decompress(packed, most),
    "xz": lambda packed, most: lzma.LZMADecompressor().decompress(packed, most),
    "blosc": _numcodecs("blosc"),
    "zstd": _numcodecs("zstd"),
}


@dataclass(frozen=True, kw_only=True, repr=False)
class N5Array(Source):
    """Array in folder `path`; `stored` and `block` are lengths of its axes, x last."""

    path: str
    stored: tuple[int, ...]
    block: tuple[int, ...]
    codec: str
    places: Places
    others: Others = ()

    @property
    def label(self) -> str:
        """Name of this source in messages."""
        return self.path

    def parts(self) -> tuple[object, ...]:
        """Names and sizes that distinguish this source from others."""
        return (Path(self.path).name, self.stored, self.others)

    def load(self, z0: int, z1: int) -> Voxels:
        """Slices `z0` <= z < `z1`."""
        with reading(self.path):
            return cut(_Blocks(self), self.places, z0, z1, self.others)


@dataclass(frozen=True)
class _Blocks:
    """Array that is indexed like numpy's, by numbers and ranges, and reads the blocks it needs."""

    array: N5Array

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.stored

    def __getitem__(self, index: tuple[Any, ...]) -> Voxels:
        pairs = zip(index, self.shape, strict=True)
        ranges = [i.indices(n)[:2] if isinstance(i, slice) else (i, i + 1) for i, n in pairs]
        found = np.zeros([b - a for a, b in ranges], self.array.dtype)
        touched = [
            range(a // e, -(-b // e)) for (a, b), e in zip(ranges, self.array.block, strict=True)
        ]
        for place in itertools.product(*touched):
            self._copy(place, ranges, found)
        return found[tuple(slice(None) if isinstance(i, slice) else 0 for i in index)]

    def _copy(self, place: Sequence[int], ranges: Sequence[tuple[int, ...]], found: Voxels) -> None:
        piece = _block(self.array, place)
        if piece is None:
            return
        into, out = [], []
        for i, e, n, (a, b) in zip(place, self.array.block, piece.shape, ranges, strict=True):
            low, high = max(a, i * e), min(b, i * e + n)
            into.append(slice(low - a, max(high, low) - a))
            out.append(slice(low - i * e, max(high, low) - i * e))
        found[tuple(into)] = piece[tuple(out)]


def _block(array: N5Array, place: Sequence[int]) -> Voxels | None:
    """A block, or None if it was never written and that is accepted."""
    path = Path(array.path, *(str(i) for i in reversed(place)))
    if not path.is_file():
        if array.filled:
            return None
        raise InputError(
            f"block {path} is not there; it would be read as 0. Copy it again, or, if its writer left out what holds "
            "nothing else than 0, type --missing-chunks fill"
        )
    data = path.read_bytes()
    mode, count = struct.unpack(">HH", data[:4])
    start = 4 + 4 * count + (4 if mode else 0)
    shape = struct.unpack(f">{count}I", data[4 : 4 + 4 * count])[::-1]
    if count != len(array.stored) or any(n > e for n, e in zip(shape, array.block, strict=True)):
        raise ValueError(f"block {path} has the shape {shape}")
    most = math.prod(array.block) * array.dtype.itemsize
    unpacked = _CODECS[array.codec](data[start:], most)
    voxels = np.frombuffer(unpacked, array.dtype.newbyteorder(">"))
    return voxels[: math.prod(shape)].reshape(shape)


def is_n5(path: Path) -> bool:
    """Return whether a folder is an N5 array or group."""
    return (path / _MARK).is_file()


def open_n5(path: Path, wanted: Wanted) -> N5Array:
    """Open an array of an N5 container: the named one, or the only one that can be a volume.

    Raises
    ------
    ArgumentError
        If it does not have what is chosen.
    InputError
        If there is no such array, the choice is ambiguous, or blocks are missing and are not to be filled.
    """
    with reading(path):
        every = {name: _described(path / name) for name in _arrays(path, "", 0)}
    kinds = {name: (held[0], held[1]) for name, held in every.items()}
    name = "" if "" in every else choose(kinds, wanted.dataset, str(path))
    where, (stored, dtype, held) = str(path / name), every[name]
    codec = str((held.get("compression") or {}).get("type", held.get("compressionType", "raw")))
    if codec not in _CODECS:
        raise InputError(
            f"{where} is compressed with {codec}, which tim3d does not read from N5; in Fiji: File > Export > "
            "HDF5/N5/Zarr, and save it as OME-Zarr"
        )
    axes, size, origin = _said(held)
    if axes:
        layout = layout_by_name(stored, axes, where, wanted.picks)
    else:
        wanted.refuse_picks(where)
        layout = Layout(places_in_order(stored, dtype, where))
    block = tuple(int(n) for n in held["blockSize"])[::-1]
    return N5Array(
        shape=ordered_shape(stored, layout.places, where),
        dtype=stored_dtype(dtype, where),
        voxel_size_nm=size,
        origin=origin,
        filled=accepted(_holes(path / name, stored, block), wanted.missing_chunks, where),
        piece_bytes=2 * math.prod(block) * dtype.itemsize,
        path=where,
        stored=stored,
        block=block,
        codec=codec,
        places=layout.places,
        others=layout.others,
    )


def _arrays(path: Path, name: str, depth: int) -> Iterator[str]:
    if (path / name / _MARK).is_file() and "dimensions" in _attributes(path / name):
        yield name
    elif depth < _DEEPEST:
        for inner in sorted(item for item in (path / name).iterdir() if item.is_dir()):
            yield from _arrays(path, f"{name}/{inner.name}".strip("/"), depth + 1)


def _attributes(path: Path) -> Mapping[str, Any]:
    held: Any = json.loads((path / _MARK).read_text())
    return held if isinstance(held, Mapping) else {}


def _described(path: Path) -> tuple[tuple[int, ...], np.dtype[Any], Mapping[str, Any]]:
    held = _attributes(path)
    kind = str(held.get("dataType"))
    stored = tuple(int(n) for n in held["dimensions"])[::-1]
    return stored, np.dtype(kind) if kind in _TYPES else np.dtype(object), held


def _holes(path: Path, stored: Sequence[int], block: Sequence[int]) -> Holes:
    grid = [-(-n // e) for n, e in zip(stored, block, strict=True)]
    if math.prod(grid) > _MOST_BLOCKS:
        raise InputError(
            f"{path} promises {math.prod(grid)} blocks; its attributes.json is damaged"
        )
    first, missing = "", 0
    for place in itertools.product(*(range(n) for n in grid)):
        own = "/".join(str(i) for i in reversed(place))
        if not (path / own).is_file():
            missing, first = missing + 1, first or own
    return Holes(missing, math.prod(grid), first)


def _said(held: Mapping[str, Any]) -> tuple[tuple[str, ...], VoxelSize, str]:
    """Names of the axes, the slowest first, the voxel size, and where it comes from."""
    turn = held.get("transform")
    if isinstance(turn, Mapping) and {"axes", "scale", "units"} <= set(turn):
        names = tuple(str(axis).lower() for axis in turn["axes"])
        return names, _sizes(names, turn["scale"], turn["units"]), "N5 attribute transform"
    pixel = held.get("pixelResolution")
    if isinstance(pixel, Mapping) and "dimensions" in pixel:
        lengths = list(pixel["dimensions"])[::-1]
        size = _sizes("zyx"[-len(lengths) :], lengths, [pixel.get("unit", "")] * len(lengths))
        return (), size, "N5 attribute pixelResolution"
    if "resolution" in held and "units" in held:
        lengths, units = list(held["resolution"])[::-1], list(held["units"])[::-1]
        return (), _sizes("zyx"[-len(lengths) :], lengths, units), "N5 attribute resolution"
    return (), (None, None, None), "N5, no metadata"


def _sizes(names: Sequence[str], lengths: Sequence[Any], units: Sequence[Any]) -> VoxelSize:
    found = {
        name: positive_nm(length, str(unit))
        for name, length, unit in zip(names, lengths, units, strict=False)
    }
    return (found.get("z"), found.get("y"), found.get("x"))
