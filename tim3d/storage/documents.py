"""Groups of a sample in a folder, read from their ``zarr.json`` alone and not through zarr.

To find its results a verb asks every node of a sample, which takes zarr some milliseconds each.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tim3d.errors import SchemaError
from tim3d.storage import digests, folder, schema
from tim3d.storage.files import is_local

_OF_A_SAMPLE = {"schema", "version"}
_AMISS = (*folder.AMISS, SchemaError)


def attributes(sample: str, name: str) -> dict[str, Any] | None:
    """Attributes of a node, {} if there is no such node; None if zarr has to look.

    It has to where anything is not what tim3d writes: it then finds out what, and says so.
    """
    found = claimed(sample, name)
    try:
        return found if not found or "tim3d" not in found or digests.is_whole(found) else None
    except _AMISS:
        return None


def claimed(sample: str, name: str) -> dict[str, Any] | None:
    """Attributes of a node as `attributes` returns them, without a look at their digest."""
    if not is_local(sample) or name in {"", ".", ".."} or {*name} & {"/", "\\"}:
        return None
    try:
        if not _is_sample(sample):
            return None
        return _group(Path(sample, name)) if Path(sample, name).exists() else {}
    except _AMISS:
        return None


def names(sample: str) -> list[str] | None:
    """Names of the nodes of a sample; None if zarr has to look."""
    if not is_local(sample):
        return None
    try:
        if not _is_sample(sample):
            return None
        with os.scandir(sample) as entries:
            found = [one for one in entries if one.is_dir() and _holds_group(Path(one.path))]
            return [one.name for one in found if _is_node(Path(one.path))]
    except _AMISS:
        return None


def _is_sample(sample: str) -> bool:
    found = _group(Path(sample))
    schema.check_version(found, sample)
    return set(found["tim3d"]) == _OF_A_SAMPLE


def _holds_group(place: Path) -> bool:
    data = folder.read(place / folder.DOCUMENT)
    return data is not None and folder.group_metadata(data) is not None


def _is_node(place: Path) -> bool:
    """Whether it is not the group of the labels that viewers read."""
    return place.name != schema.LABELS_FOLDER or "tim3d" in _group(place)


def _group(place: Path) -> dict[str, Any]:
    return dict(folder.group_metadata((place / folder.DOCUMENT).read_bytes()).attributes)
