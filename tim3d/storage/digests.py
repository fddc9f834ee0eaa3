"""Digests of a node's metadata: shape, codes, names, units, keys of chunks, inputs.

A node whose metadata were changed is refused.

A node carries, among its own attributes, the digest of each ``zarr.json`` below it, by path, and of
these attributes under the empty path. Attributes that decide no number and differ between runs
(time, command) have a separate digest, so that two equal results differ in nothing else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from tim3d.errors import StoreError

NAME = "digests"
OWN, ASKED = "", "/"
# Attributes that record when, and by which command, a node was requested.
_REQUEST = ("created", "command")


def of_document(document: Mapping[str, Any]) -> str:
    """Digest of a ``zarr.json``, independent of the order of its keys.

    >>> of_document({"shape": [1], "data_type": "uint8"}) == of_document({"data_type": "uint8", "shape": [1]})
    True
    """
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:32]


def sealed(attributes: Mapping[str, Any], below: Mapping[str, str]) -> dict[str, Any]:
    """The attributes of a node, with digests of everything `below` it and of themselves.

    >>> own = sealed({"tim3d": {"status": "complete"}}, {"s0/raw": "0a"})
    >>> is_whole(own), is_whole(own | {"units": "nm"})
    (True, False)
    >>> is_whole({"tim3d": own["tim3d"] | {"command": "tim3d label SAMPLE --connectivity 26"}})
    False
    """
    record = {**attributes["tim3d"], NAME: dict(below)}
    record[NAME] |= {OWN: _own({**attributes, "tim3d": record}), ASKED: _request(record)}
    return {**attributes, "tim3d": record}


def is_whole(attributes: Mapping[str, Any]) -> bool:
    """Whether the attributes of a node match their digest."""
    record = attributes["tim3d"]
    digests = record.get(NAME) if isinstance(record, Mapping) else None
    if not isinstance(digests, Mapping) or digests.get(OWN) != _own(attributes):
        return False
    return ASKED not in digests or digests[ASKED] == _request(record)  # older nodes have none


def _own(attributes: Mapping[str, Any]) -> str:
    record = {key: value for key, value in attributes["tim3d"].items() if key not in _REQUEST}
    record[NAME] = _paths(record[NAME])
    return of_document({**attributes, "tim3d": record})


def _request(record: Mapping[str, Any]) -> str:
    return of_document({key: record[key] for key in _REQUEST if key in record})


def _paths(digests: Mapping[str, str]) -> dict[str, str]:
    return {path: digest for path, digest in digests.items() if path not in (OWN, ASKED)}


def below(attributes: Mapping[str, Any]) -> dict[str, str]:
    """Digests of the groups and arrays below a node, by path; empty for a node without digests."""
    record = attributes.get("tim3d")
    return _paths(record.get(NAME, {})) if isinstance(record, Mapping) else {}


def plain(record: Mapping[str, Any]) -> dict[str, Any]:
    """Provenance record of a node without its digests."""
    return {key: value for key, value in record.items() if key != NAME}


def changed(sample: str, path: str) -> StoreError:
    """Error for a file that does not match its digest."""
    seen = "it is not what was written (its digest differs)"
    return StoreError(f"{sample}/{path} is damaged: {seen}. {cure(path.partition('/')[0])}")


def lost(sample: str, path: str) -> StoreError:
    """Error for a missing file of metadata."""
    return StoreError(f"{sample}/{path} is missing. {cure(path.partition('/')[0])}")


def cure(node: str) -> str:
    """Cure in a message: how to restore or recompute a node."""
    return f"Copy it from a backup, or make {node!r} again: the same command with --overwrite"
