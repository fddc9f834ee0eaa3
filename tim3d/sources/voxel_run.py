"""Voxels that lie one after the other in a file, plain or compressed as a whole, after any header."""

from __future__ import annotations

import bz2
import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from tim3d.errors import InputError
from tim3d.sources.axes import IN_ORDER, NONE, Layout, Others, Places, cut, ordered_shape
from tim3d.sources.base import Voxels, reading, stored_dtype
from tim3d.sources.forward import Places as ForwardPlaces
from tim3d.sources.forward import version_of
from tim3d.sources.volumes import FileSource

_PIECE = 2**20
_PLACES = ForwardPlaces()
# Makers of what unpacks a stream piece by piece; wbits 31 and 15 are gzip and zlib.
_MACHINES: dict[str, Callable[[], Any]] = {
    "gzip": lambda: zlib.decompressobj(31),
    "zlib": lambda: zlib.decompressobj(15),
    "bzip2": bz2.BZ2Decompressor,
}


class _Stream:
    """Forward reading of a packed stream, a megabyte at a time, without an open file."""

    def __init__(self, packing: str, offset: int) -> None:
        self.packing, self.at = packing, offset
        self.machine, self.held = _MACHINES[packing](), b""

    def read(self, file: BinaryIO, count: int) -> bytes:
        """Return at most `count` unpacked bytes; empty at the end of the file."""
        while True:
            self._next_member()
            hungry = getattr(self.machine, "needs_input", True)
            packed = self.held or (file.read(_PIECE) if hungry else b"")
            if hungry and not packed:
                return b""
            found: bytes = self.machine.decompress(packed, count)
            self.held = getattr(self.machine, "unconsumed_tail", b"")
            if found:
                return found

    def _next_member(self) -> None:
        """Go on with the next stream behind one that has ended, as gzip and bzip2 allow."""
        if self.machine.eof:
            self.held = self.machine.unused_data
            self.machine = _MACHINES[self.packing]()


@dataclass(frozen=True, kw_only=True, repr=False)
class VoxelRun(FileSource):
    """Voxels of `stored` axes, the slowest first, from byte `offset` of the file `data` on.

    `path` is the file with the header, `data` the one with the voxels, which may be the same;
    `disk_dtype` includes the byte order; `packing` is empty, gzip, bzip2 or zlib. With a packing,
    `offset` is that of the packed bytes and `skip` the number of unpacked bytes before the voxels.
    """

    data: str
    offset: int
    disk_dtype: str
    stored: tuple[int, ...]
    packing: str = ""
    skip: int = 0
    places: Places = IN_ORDER
    others: Others = ()

    def parts(self) -> tuple[object, ...]:
        """Names and sizes that distinguish this source from others."""
        return (*super().parts(), Path(self.data).name, self.offset, self.disk_dtype, self.others)

    def load(self, z0: int, z1: int) -> Voxels:
        """Slices `z0` <= z < `z1`."""
        with reading(self.data):
            if not self.packing:
                mapped = np.memmap(self.data, self.disk_dtype, "r", self.offset, self.stored)
                return np.array(cut(mapped, self.places, z0, z1, self.others))
            lead = self._lead()
            if lead is None:
                whole = self._unpacked(0, math.prod(self.stored)).reshape(self.stored)
                return np.array(cut(whole, self.places, z0, z1, self.others))
            return self._slab(lead, z0, z1)

    def _lead(self) -> int | None:
        """Slices before the volume, if its slices follow each other in the file; otherwise None."""
        z, rest = self.places[0], self.places[1:]
        if z == NONE or z > min(rest):
            return None
        numbers = dict(self.others)
        before = [numbers.get(i, 0) for i in range(z)]
        return int(np.ravel_multi_index([*before, 0], self.stored[: z + 1]))

    def _slab(self, lead: int, z0: int, z1: int) -> Voxels:
        z = self.places[0]
        per_slice = math.prod(self.stored[z + 1 :])
        flat = self._unpacked((lead + z0) * per_slice, (z1 - z0) * per_slice)
        slab = flat.reshape(z1 - z0, *self.stored[z + 1 :])
        places = (0, *(place - z for place in self.places[1:]))
        others = tuple((place - z, number) for place, number in self.others if place > z)
        return np.array(cut(slab, places, 0, z1 - z0, others))  # type: ignore[arg-type]

    def _unpacked(self, start: int, count: int) -> Voxels:
        """Voxels from the stream, which goes on where it was left or begins again."""
        item = np.dtype(self.disk_dtype).itemsize
        first = self.skip + start * item
        key = (*version_of(self.data), self.offset)
        place, stream = _PLACES.take(key, first) or (0, _Stream(self.packing, self.offset))
        with Path(self.data).open("rb") as file:
            file.seek(stream.at)
            _exactly(stream, file, first - place, keep=False)
            found = np.frombuffer(_exactly(stream, file, count * item), self.disk_dtype)
            stream.at = file.tell()
        _PLACES.put(key, first + count * item, stream)
        return found


def _exactly(stream: _Stream, file: BinaryIO, count: int, *, keep: bool = True) -> bytearray:
    found, left = bytearray(), count
    while left:
        piece = stream.read(file, min(left, _PIECE))
        if not piece:
            raise InputError(
                f"{file.name} is truncated: its compressed voxels end {left} bytes early; copy it again"
            )
        left -= len(piece)
        if keep:
            found += piece
    return found


def voxel_run(path: Path, layout: Layout, **facts: Any) -> VoxelRun:
    """Describe the voxels of a file, and check that the file is as long as its header states.

    Parameters
    ----------
    path : Path
        The file with the header.
    layout : Layout
        z, y and x among the stored axes, and what is chosen along the others.
    **facts
        Fields of `VoxelRun`; `data` is `path` by default. With `alone`, nothing but the voxels may
        follow in the file, so that a header that promises too little is found.

    Raises
    ------
    InputError
        If the file is too short, or too long by a slice, or the values are not real numbers.
    """
    where, data = str(path), Path(facts.pop("data", path))
    disk, stored = np.dtype(facts.pop("disk_dtype")), tuple(facts.pop("stored"))
    offset, packing = int(facts.pop("offset")), facts.pop("packing", "")
    alone = facts.pop("alone", False)
    with reading(data):
        size = data.stat().st_size
    needed = offset + math.prod(stored) * disk.itemsize
    if not packing and needed > size:
        raise InputError(
            f"{where} is truncated: its header promises {stored} of {disk.name} up to byte {needed} of {data.name}, "
            f"which has {size} bytes; copy it again"
        )
    if alone and not packing and size - needed >= math.prod(stored[1:]) * disk.itemsize:
        raise InputError(
            f"{where}: its header promises {stored} of {disk.name}, which end at byte {needed}, and {data.name} goes "
            f"on to {size}; the header does not belong to these voxels, or is damaged"
        )
    return VoxelRun(
        shape=ordered_shape(stored, layout.places, where),
        dtype=stored_dtype(disk, where),
        places=layout.places,
        others=layout.others,
        path=where,
        size=path.stat().st_size,
        data=str(data),
        offset=offset,
        disk_dtype=disk.str,
        stored=stored,
        packing=packing,
        piece_bytes=_piece_bytes(layout, stored, disk) if packing else 0,
        **facts,
    )


def _piece_bytes(layout: Layout, stored: tuple[int, ...], disk: np.dtype[Any]) -> int:
    """Memory of what is unpacked at once beside the slices that are read."""
    z, y, x = layout.places
    if z == NONE or z > min(y, x):
        return 2 * math.prod(stored) * disk.itemsize
    return 2 * _PIECE + 2 * math.prod(stored[z + 1 :]) * disk.itemsize
