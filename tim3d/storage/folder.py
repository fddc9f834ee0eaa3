"""A sample in a folder: small files are read and written at once, and not by a thread each.

zarr hands every file to a thread of its own, which costs a small one more than to read it. Bytes,
errors and the order of writes are those of zarr.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numcodecs.zstd import Zstd
from zarr.core.buffer import default_buffer_prototype
from zarr.core.group import AsyncGroup, GroupMetadata
from zarr.core.metadata.v3 import ArrayV3Metadata
from zarr.storage import LocalStore, StorePath

DOCUMENT = "zarr.json"
# Larger files are left to a thread, so that several are read at the same time.
SMALL_BYTES = 2**16
# What reading a ``zarr.json`` or a chunk raises that is torn, or of another making.
AMISS = (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError, RuntimeError)
# Types of small arrays that are decoded here.
_NUMBERS = {"float64": "<f8", "int64": "<i8"}


class Folder(LocalStore):
    """A folder as a store of zarr."""

    async def get(self, key: str, prototype: Any = None, byte_range: Any = None) -> Any:
        """Bytes stored under a key, or a part of them; None if there are none."""
        if byte_range is None and self._is_small(key):
            data = read(self.root / key)
            buffers = (prototype or default_buffer_prototype()).buffer
            return None if data is None else buffers.from_bytes(data)
        return await super().get(key, prototype, byte_range)

    async def set(self, key: str, value: Any) -> None:
        """Store bytes under a key; a reader sees all of them, or what was there before."""
        if len(value) > SMALL_BYTES:
            await super().set(key, value)
        else:
            self._check_writable()
            write(self.root / key, value.as_buffer_like())

    def _is_small(self, key: str) -> bool:
        if key.endswith(DOCUMENT):
            return True
        try:
            return (self.root / key).stat().st_size <= SMALL_BYTES
        except OSError:
            return False


def read(path: Path) -> bytes | None:
    """Content of a file; None if there is none."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return None


def write(path: Path, data: Any) -> None:
    """Write a file in one piece; the temporary one has the name that zarr would give it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_suffix(f".{uuid.uuid4().hex}.partial")
    try:
        half.write_bytes(data)
        half.replace(path)
    except BaseException:
        half.unlink(missing_ok=True)
        raise


def at_once(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Result of a coroutine that waits for nothing, such as to read the ``zarr.json`` of a folder.

    >>> async def two():
    ...     return 2
    >>> at_once(two())
    2
    """
    try:
        coroutine.send(None)
    except StopIteration as ended:
        return ended.value
    coroutine.close()
    raise RuntimeError("a coroutine that should wait for nothing waits")


def group_metadata(data: bytes) -> GroupMetadata:
    """Content of the ``zarr.json`` of a group.

    Raises
    ------
    ValueError, TypeError, LookupError, AttributeError, RecursionError
        If it is torn, or of an array; and if zarr would read its members from it as well.
    """
    document = json.loads(data)
    if document["node_type"] != "group" or document.get("consolidated_metadata"):
        raise ValueError
    return GroupMetadata.from_dict(document)


def open_group(place: str, *, read_only: bool) -> zarr.Group | None:
    """The group of zarr in a folder; None if there is none.

    Raises what `group_metadata` does.
    """
    data = read(Path(place, DOCUMENT))
    if data is None:
        return None
    at: Any = AsyncGroup(group_metadata(data), StorePath(Folder(place, read_only=read_only)))
    return zarr.Group(at)


def group_document(attributes: Mapping[str, Any]) -> Any:
    """The ``zarr.json`` of a group with these attributes, as zarr writes it."""
    made = GroupMetadata(attributes=dict(attributes))
    return made.to_buffer_dict(default_buffer_prototype())[DOCUMENT]


def array_metadata(data: bytes) -> ArrayV3Metadata:
    """Content of the ``zarr.json`` of an array; raises what `group_metadata` does."""
    document = json.loads(data)
    if document["node_type"] != "array" or document.get("storage_transformers"):
        raise ValueError
    return ArrayV3Metadata.from_dict(document)


def decoded(metadata: ArrayV3Metadata, data: bytes) -> np.ndarray | None:
    """Numbers of an array of one chunk as tim3d writes coordinates; None of any other."""
    spec: Any = metadata.to_dict()
    inner, *outer = spec["codecs"]
    numbers = _NUMBERS.get(spec["data_type"])
    chunk = spec["chunk_grid"]["configuration"]["chunk_shape"]
    little = inner == {"name": "bytes", "configuration": {"endian": "little"}}
    if not (numbers and little and [one["name"] for one in outer] == ["zstd"]):
        return None
    if tuple(chunk) != tuple(metadata.shape):
        return None
    return np.frombuffer(Zstd().decode(data), numbers).reshape(metadata.shape)
