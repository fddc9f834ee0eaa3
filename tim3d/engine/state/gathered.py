"""Markers of a finished pass in one file, instead of one for each block.

The first line says which blocks there are and how long their records are, with a checksum; then
follows a line for each block, its sealed record, in the order of the blocks.
"""

from __future__ import annotations

import base64
import functools
import itertools
import json
import sys
import zlib
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tim3d.engine.state.sealing import as_json, damaged, sealed, unsealed
from tim3d.grid import Triple
from tim3d.storage.outputs import replacing

GATHERED = "gathered.jsonl"
# A block is one number of 64 bits: 21 for each axis. Their order is that of the places.
BITS = 21
MASK = 2**BITS - 1


@dataclass(frozen=True, eq=False)
class Gathered:
    """The blocks of such a file, in ascending order, and where their records begin.

    Parameters
    ----------
    path : str
        Path of the file.
    keys : array of uint64
        Blocks, one number each.
    starts : array of uint64
        Byte of the file at which the record of each block begins, and the end of the last.
    """

    path: str
    keys: array[int]
    starts: array[int]

    def places(self) -> set[Triple]:
        """Indices of the blocks."""
        return {(key >> 2 * BITS, key >> BITS & MASK, key & MASK) for key in self.keys}

    def record(self, index: Triple) -> dict[str, Any] | None:
        """Record of a block; None if the file does not have it.

        Raises
        ------
        StoreError
            If it is damaged.
        """
        key = _key(index)
        row = bisect_left(self.keys, key)
        if row == len(self.keys) or self.keys[row] != key:
            return None
        with Path(self.path).open("rb") as file:
            file.seek(self.starts[row])
            text = file.read(self.starts[row + 1] - self.starts[row])
        return _opened(text, self.path)


def _key(index: Triple) -> int:
    z, y, x = index
    return z << 2 * BITS | y << BITS | x


def write_gathered(path: str, indices: Sequence[Triple], records: Iterable[bytes]) -> None:
    """Write the records of blocks, given in ascending order, into a file, replaced in one piece."""
    lines = [one.replace(b"\n", b" ") + b"\n" for one in records]
    keys, lengths = array("Q", map(_key, indices)), array("Q", map(len, lines))
    head = {"blocks": _packed(keys), "lengths": _packed(lengths)}
    with replacing(path) as file:
        file.write(as_json(sealed(head)) + b"\n")
        file.writelines(lines)


def gathered_at(path: str) -> Gathered | None:
    """The blocks of a file, read once for as long as it is the same; None if there is none.

    Raises
    ------
    StoreError
        If its first line is damaged.
    """
    try:
        found = Path(path).stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return _read(path, found.st_mtime_ns, found.st_size, found.st_ino)


@functools.lru_cache(maxsize=4)
def _read(path: str, *_: int) -> Gathered:
    with Path(path).open("rb") as file:
        first = file.readline()
    head = _opened(first, path)
    lengths = _unpacked(head["lengths"])
    starts = array("Q", itertools.accumulate(lengths, initial=len(first)))
    return Gathered(path, _unpacked(head["blocks"]), starts)


def _opened(text: bytes, path: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except ValueError:  # not JSON, or not text
        content = None
    record = unsealed(content) if isinstance(content, dict) else None
    if record is None:
        raise damaged(path, "a line of it does not match its checksum", "its blocks are")
    return record


def _packed(values: array[int]) -> str:
    return base64.b64encode(zlib.compress(_little(values).tobytes(), 1)).decode()


def _unpacked(text: str) -> array[int]:
    return _little(array("Q", zlib.decompress(base64.b64decode(text))))


def _little(values: array[int]) -> array[int]:
    """The numbers with the lowest byte first on any machine, or back."""
    if sys.byteorder == "big":
        values.byteswap()
    return values
