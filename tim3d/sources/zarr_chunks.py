"""Missing chunks of an external zarr: their number, and a store that raises when one is read."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import zarr
from zarr.core.array import AsyncArray
from zarr.core.sync import sync
from zarr.storage import LocalStore, StorePath, WrapperStore

from tim3d.errors import InputError
from tim3d.sources.holes import Holes, first_absent

_METADATA = ("zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata")
_INDEX_ENTRY_BYTES = 16


class _NothingIsDamage(WrapperStore[Any]):
    """Store that raises for a missing chunk instead of returning the fill value."""

    async def get(self, key: str, *arguments: Any, **named: Any) -> Any:
        found = await self._store.get(key, *arguments, **named)
        if found is None and not key.endswith(_METADATA):
            raise InputError(
                f"chunk {key} of {self._store} is not there; it would be read as the fill value. Copy it again, or, if "
                "its writer left out what holds nothing else than that value, type --missing-chunks fill"
            )
        return found


def complete(array: Any) -> Any:
    """Return the array on a store that raises an error when a missing chunk is read."""
    place: Any = AsyncArray(array.metadata, StorePath(_NothingIsDamage(array.store), array.path))
    return zarr.Array(place)


def holes_in(array: Any) -> Holes:
    """Count missing files of chunks or shards, from a listing; no file is read.

    A chunk that the index of a shard marks as empty is not a hole. A store that cannot list its
    keys, such as plain HTTP, has no holes that can be found in advance.
    """
    grid = _grid(array)
    total = math.prod(grid)
    if not array.store.supports_listing:
        return Holes(0, total)
    count, first = first_absent(_numbers_there(array, grid))
    if count == total:
        return Holes(0, total)
    return Holes(total - count, total, array.metadata.encode_chunk_key(_place(first, grid)))


def piece_bytes(array: Any) -> int:
    """Memory of a decoded chunk and of the index of a shard, in bytes."""
    inner = math.prod(array.chunks)
    in_shard = math.prod(array.shards) // inner if array.shards else 0
    return int(inner * array.dtype.itemsize + _INDEX_ENTRY_BYTES * in_shard)


def _grid(array: Any) -> tuple[int, ...]:
    edges = array.shards or array.chunks
    return tuple(-(-n // edge) for n, edge in zip(array.shape, edges, strict=True))


def _place(number: int, grid: tuple[int, ...]) -> tuple[int, ...]:
    place: list[int] = []
    for n in reversed(grid):
        number, rest = divmod(number, n)
        place.append(rest)
    return tuple(reversed(place))


def _numbers_there(array: Any, grid: tuple[int, ...]) -> Iterator[int]:
    strides = [math.prod(grid[axis + 1 :]) for axis in range(len(grid))]
    for key in _keys(array):
        place = tuple(int(digits) for digits in re.findall(r"\d+", key))
        inside = len(place) == len(grid) and all(i < n for i, n in zip(place, grid, strict=True))
        if inside and array.metadata.encode_chunk_key(place) == key:
            yield sum(i * stride for i, stride in zip(place, strides, strict=True))


def _keys(array: Any) -> Iterator[str]:
    """Yield the keys below the array, relative to it."""
    if isinstance(array.store, LocalStore):
        root = str(Path(array.store.root) / array.path)
        yield from (os.path.relpath(path, root).replace(os.sep, "/") for path in _files(root))
        return
    prefix = f"{array.path}/" if array.path else ""
    yield from (key.removeprefix(prefix) for key in sync(_listed(array.store, prefix)))


async def _listed(store: Any, prefix: str) -> list[str]:
    return [key async for key in store.list_prefix(prefix)]


def _files(folder: str) -> Iterator[str]:
    # Much faster than the listing of zarr, which queries every file once more.
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                yield from _files(entry.path)
            elif entry.is_file():
                yield entry.path
