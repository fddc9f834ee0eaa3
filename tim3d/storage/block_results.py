"""Results that are written block by block: one array of numbers, too large for one piece."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import zarr
from zarr.codecs import ZstdCodec

from tim3d.errors import MissingFieldError
from tim3d.grid import Box, Triple
from tim3d.storage import store
from tim3d.storage.array_cache import current_moment
from tim3d.storage.files import writing
from tim3d.storage.metadata import naming_torn_files
from tim3d.storage.samples import unchecked_sample
from tim3d.storage.shards import ALWAYS_WRITE
from tim3d.storage.strict_store import array_at, looked_at, seal


@naming_torn_files
def create_block_result(
    url: str,
    node: str,
    name: str,
    shape: Triple,
    chunk: Triple,
    attributes: Mapping[str, Any],
    record: Mapping[str, Any],
) -> None:
    """Create a result of one array of float32 without its numbers; it is not finished.

    `attributes` are those of the array, with its `dims`.
    """
    store.refuse_another_kind(url, node, "dataset")
    store.delete_node(url, node)
    with writing(url):
        root = store.open_sample(url, "r+")
        about = dict(attributes)
        root.require_group(node).create_array(
            name,
            shape=shape,
            dtype="float32",
            chunks=chunk,
            shards=chunk,
            compressors=ZstdCodec(**store.CODEC),
            fill_value=0,
            dimension_names=about.pop("dims"),
            attributes=about,
        )
        state = {"kind": "dataset", "status": "writing", "variables": [name]}
        seal(root, node, {"tim3d": dict(record) | state}, [name])


def block_result(url: str, path: str, mode: str = "r") -> zarr.Array[Any]:
    """The array of a result, by ``NODE/NAME``, opened once in a run.

    Raises
    ------
    MissingFieldError
        If it is not there.
    """
    moment = current_moment()
    return _array_of(moment, url, path, mode) if moment else _open(url, path, mode)


def write_rows(
    url: str, path: str, core: Box, values: np.ndarray[Any, Any], *, durable: bool = False
) -> None:
    """Write a box of whole chunks of a result."""
    store.write_box(block_result(url, path, "r+"), core, values, durable=durable)


@lru_cache(maxsize=8)
def _array_of(moment: str, url: str, path: str, mode: str) -> zarr.Array[Any]:
    return _open(url, path, mode)


@naming_torn_files
def _open(url: str, path: str, mode: str) -> zarr.Array[Any]:
    array = array_at(looked_at(unchecked_sample(url, mode), url), path)
    if array is None:
        raise MissingFieldError(f"no array {path!r} in {url}")
    return array.with_config(ALWAYS_WRITE)
