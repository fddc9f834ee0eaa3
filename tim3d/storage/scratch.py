"""Temporary arrays in a sample while a verb runs: values shared between blocks, and checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import zarr
from zarr.codecs import ZstdCodec

from tim3d.grid import Box, Triple
from tim3d.storage import files, shards, store
from tim3d.storage.files import writing

# Level of zstd: values that are soon read again, written at nearly twice the speed of level 1
# and a third larger.
LEVEL = -5

_SUFFIX = "_scratch"


def node_of(name: str) -> str:
    """Node of the temporary arrays of what a verb makes.

    >>> node_of("phase")
    'phase_scratch'
    """
    return f"{name}{_SUFFIX}"


def owner(node: str, record: Mapping[str, Any]) -> str:
    """Return what a node of temporary arrays was made for, from its name and record; empty for other nodes.

    >>> owner("phase_scratch", {"status": "writing"}), owner("phase_scratch", {"kind": "field"}), owner("phase", {})
    ('phase', '', '')
    """
    return "" if record.get("kind") or not node.endswith(_SUFFIX) else node.removesuffix(_SUFFIX)


def create(
    url: str, path: str, shape: Triple, chunk: Triple, empty: float, dtype: str = "uint32"
) -> None:
    """Create a temporary array, one file per chunk; chunks hold `empty` until they are written.

    An earlier array at `path` is replaced.
    """
    store.delete_node(url, path)
    with writing(url):
        store.open_sample(url, "r+").create_array(
            path,
            shape=shape,
            dtype=dtype,
            chunks=chunk,
            compressors=ZstdCodec(level=LEVEL, checksum=True),
            fill_value=empty,
        )


def array(url: str, path: str, mode: str = "r+") -> zarr.Array[Any]:
    """Open an array made by `create`.

    In mode ``r`` reading a chunk that was not written is an error.
    """
    found = store.open_sample(url, mode)[path]
    assert isinstance(found, zarr.Array)
    return found.with_config(shards.ALWAYS_WRITE)


def write(array: zarr.Array[Any], box: Box, values: np.ndarray, *, durable: bool) -> None:
    """Write one chunk."""
    with writing(str(array.store)):
        array[box.slices] = values
        for file in shards.local_paths(array, shards.shard_keys(array, box)) if durable else ():
            files.flush(file)
