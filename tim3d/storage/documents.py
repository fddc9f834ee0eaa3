"""Attributes of a node read from its ``zarr.json`` alone, without opening the sample through zarr.

To find its results a verb asks every node of a sample, which takes zarr some milliseconds each.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zarr.core.group import GroupMetadata

from tim3d.errors import SchemaError
from tim3d.storage import digests, schema
from tim3d.storage.files import is_local

_OF_A_SAMPLE = {"schema", "version"}
# What reading a file that is missing, torn or of another making raises.
_AMISS = (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError, SchemaError)


def attributes(sample: str, name: str) -> dict[str, Any] | None:
    """Attributes of a node, {} if there is no such node; None if zarr has to look.

    It has to where anything is not what tim3d writes: it then finds out what, and says so.
    """
    if not is_local(sample) or name in {"", ".", ".."} or {*name} & {"/", "\\"}:
        return None
    try:
        if not _is_sample(_group(Path(sample)), sample):
            return None
        found = _group(Path(sample, name)) if Path(sample, name).exists() else {}
        return found if "tim3d" not in found or digests.is_whole(found) else None
    except _AMISS:
        return None


def _is_sample(found: Mapping[str, Any], sample: str) -> bool:
    schema.check_version(found, sample)
    return set(found["tim3d"]) == _OF_A_SAMPLE


def _group(folder: Path) -> dict[str, Any]:
    document = json.loads((folder / "zarr.json").read_bytes())
    if document["node_type"] != "group":
        raise ValueError
    return dict(GroupMetadata.from_dict(document).attributes)
