"""Groups of a sample in a folder, read from their ``zarr.json`` alone and not through zarr.

To find its results a verb asks every node of a sample, which takes zarr some milliseconds each.
Files are read again each time; what follows from their bytes alone is computed once.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any

from tim3d.errors import SchemaError
from tim3d.storage import digests, folder, schema
from tim3d.storage.files import is_local

_OF_A_SAMPLE = {"schema", "version"}
_AMISS = (*folder.AMISS, SchemaError)
# Contents of ``zarr.json`` of which it is known what they are: a sample has some tens of nodes.
_KNOWN = 512


def attributes(sample: str, name: str) -> dict[str, Any] | None:
    """Attributes of a node, {} if there is no such node; None if zarr has to look.

    It has to where anything is not what tim3d writes: it then finds out what, and says so.
    """
    try:
        data = _of_node(sample, name)
        if data is None:
            return {}
        found = _attributes(data)
        return found if "tim3d" not in found or _is_whole(data) else None
    except _AMISS:
        return None


def claimed(sample: str, name: str) -> dict[str, Any] | None:
    """Attributes of a node as `attributes` returns them, without a look at their digest."""
    try:
        data = _of_node(sample, name)
        return {} if data is None else _attributes(data)
    except _AMISS:
        return None


def _of_node(sample: str, name: str) -> bytes | None:
    """The ``zarr.json`` of a node, None if there is no such node; raises `_AMISS` if zarr has to look."""
    plain = is_local(sample) and name not in {"", ".", ".."} and not {*name} & {"/", "\\"}
    if not (plain and _is_sample(_read(Path(sample)), sample)):
        raise ValueError
    return _read(Path(sample, name)) if Path(sample, name).exists() else None


def names(sample: str) -> list[str] | None:
    """Names of the nodes of a sample; None if zarr has to look."""
    if not is_local(sample):
        return None
    try:
        if not _is_sample(_read(Path(sample)), sample):
            return None
        with os.scandir(sample) as entries:
            return [one.name for one in entries if one.is_dir() and _is_node(Path(one.path))]
    except _AMISS:
        return None


def _read(place: Path) -> bytes:
    return (place / folder.DOCUMENT).read_bytes()


@functools.lru_cache(_KNOWN)
def _is_sample(data: bytes, sample: str) -> bool:
    found = _attributes(data)
    schema.check_version(found, sample)
    return set(found["tim3d"]) == _OF_A_SAMPLE


def _is_node(place: Path) -> bool:
    """Whether a folder holds a group, and not that of the labels that viewers read."""
    data = folder.read(place / folder.DOCUMENT)
    return data is not None and (_is_recorded(data) or place.name != schema.LABELS_FOLDER)


@functools.lru_cache(_KNOWN)
def _is_recorded(data: bytes) -> bool:
    """Whether a group carries a record of tim3d; raises what is `_AMISS` if it is not a group."""
    return "tim3d" in _attributes(data)


@functools.lru_cache(_KNOWN)
def _is_whole(data: bytes) -> bool:
    return digests.is_whole(_attributes(data))


def _attributes(data: bytes) -> dict[str, Any]:
    """Attributes of a group, made again: a caller may change them."""
    return dict(folder.group_metadata(data).attributes)
