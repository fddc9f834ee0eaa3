"""Reading and writing boxes of voxels in the shards of a zarr array, and the files of shards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.core.array import AsyncArray
from zarr.core.sync import sync
from zarr.storage import StorePath, WrapperStore

from tim3d.grid import Box
from tim3d.storage import files
from tim3d.storage.files import decoding, writing
from tim3d.storage.removal import remove_partials

# A shard of fill values is written too, so that a missing shard always means damage.
ALWAYS_WRITE: Any = {"write_empty_chunks": True}


def read_box(array: zarr.Array[Any], box: Box) -> np.ndarray:
    """Voxels of a box, as an array of its shape.

    Raises
    ------
    RuntimeError
        If a shard is damaged, with the command that repairs it; not a `Tim3dError`, so that a run
        sets the block aside and goes on.
    StoreError
        If a shard is missing.
    """
    return read_slices(array, box.slices)


def read_slices(array: zarr.Array[Any], slices: tuple[slice, ...]) -> np.ndarray:
    """Voxels of a box given as slices, which may have steps; raises what `read_box` does."""
    with decoding(array.path):
        return np.asarray(array[slices])


def write_box(
    array: zarr.Array[Any], box: Box, values: np.ndarray, *, durable: bool = False
) -> None:
    """Write a box of whole shards.

    A reader sees each shard either entirely old or entirely new; two writers of the same box do not
    corrupt it.

    With `durable` the shards are flushed to disk, against loss of power and not only of the
    process.

    Raises
    ------
    ValueError
        If the box does not consist of whole shards: two writers of a shard would lose voxels.
    WriteError
        If the disk is full or read-only.
    """
    shards = _whole_shards(array, box)
    with writing(str(array.store)):
        for path in local_paths(array, shards):
            remove_partials(path)
        _unread(array)[box.slices] = values
        for path in local_paths(array, shards) if durable else ():
            files.flush(path)


class _Unread(WrapperStore[Any]):
    """Store that returns nothing when it is read.

    zarr reads a shard before it overwrites it, and a torn one would stop it.
    """

    async def get(self, *_: Any, **__: Any) -> None:
        return None


def _unread(array: zarr.Array[Any]) -> zarr.Array[Any]:
    """The array for writing only.

    Deleting the shards first would lose one whose marker another run has set.
    """
    place: Any = AsyncArray(array.metadata, StorePath(_Unread(array.store), array.path))
    return zarr.Array(place).with_config(ALWAYS_WRITE)


def shard_keys(array: zarr.Array[Any], box: Box) -> list[str]:
    """Keys of the shards that a box touches, relative to the array."""
    edge = array.shards or array.chunks
    ranges = [range(a // e, -(-b // e)) for a, b, e in zip(box.start, box.stop, edge, strict=True)]
    return [f"c/{z}/{y}/{x}" for z in ranges[0] for y in ranges[1] for x in ranges[2]]


def has_shard(array: zarr.Array[Any], box: Box) -> bool:
    """Whether all shards of a box are stored."""
    return all(sync(array.store.exists(f"{array.path}/{key}")) for key in shard_keys(array, box))


def _whole_shards(array: zarr.Array[Any], box: Box) -> list[str]:
    edge = array.shards or array.chunks
    for a, b, e, n in zip(box.start, box.stop, edge, array.shape, strict=True):
        if a % e or (b % e and b != n):
            raise ValueError(
                f"box {box} is not made of whole shards of edge {edge} in an array of shape {array.shape}"
            )
    return shard_keys(array, box)


def local_paths(array: zarr.Array[Any], keys: Sequence[str]) -> list[Path]:
    """Files of these shards; empty for a store that is not a folder."""
    root = getattr(array.store, "root", None)
    return [] if root is None else [Path(root) / array.path / key for key in keys]
