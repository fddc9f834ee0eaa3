"""Digests of what a node says of itself: shape, codes, names, units, keys of chunks, inputs. What changed is refused.

A node carries, among its own attributes, the digest of each ``zarr.json`` below it, by path, and of these attributes
under the empty path. What decides no number and differs from run to run has a digest of its own, so that two runs that
made the same differ in nothing else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from tim3d.errors import StoreError

NAME = "digests"
OWN, ASKED = "", "/"
# When and how a node was asked for.
_ASKED = ("created", "command")


def of_document(document: Mapping[str, Any]) -> str:
    """Digest of a ``zarr.json``, whatever the order of its keys.

    >>> of_document({"shape": [1], "data_type": "uint8"}) == of_document({"data_type": "uint8", "shape": [1]})
    True
    """
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:32]


def sealed(attributes: Mapping[str, Any], below: Mapping[str, str]) -> dict[str, Any]:
    """The attributes of a node with the digests of all that is `below` it, and of themselves.

    >>> own = sealed({"tim3d": {"status": "complete"}}, {"s0/raw": "0a"})
    >>> is_whole(own), is_whole(own | {"units": "nm"})
    (True, False)
    >>> is_whole({"tim3d": own["tim3d"] | {"command": "tim3d label SAMPLE --connectivity 26"}})
    False
    """
    record = {**attributes["tim3d"], NAME: dict(below)}
    record[NAME] |= {OWN: _own({**attributes, "tim3d": record}), ASKED: _asked(record)}
    return {**attributes, "tim3d": record}


def is_whole(attributes: Mapping[str, Any]) -> bool:
    """Whether the attributes of a node are what their digest was taken of."""
    told = attributes["tim3d"]
    digests = told.get(NAME) if isinstance(told, Mapping) else None
    if not isinstance(digests, Mapping) or digests.get(OWN) != _own(attributes):
        return False
    return ASKED not in digests or digests[ASKED] == _asked(attributes["tim3d"])  # older nodes have none


def _own(attributes: Mapping[str, Any]) -> str:
    record = {key: value for key, value in attributes["tim3d"].items() if key not in _ASKED}
    record[NAME] = _paths(record[NAME])
    return of_document({**attributes, "tim3d": record})


def _asked(record: Mapping[str, Any]) -> str:
    return of_document({key: record[key] for key in _ASKED if key in record})


def _paths(digests: Mapping[str, str]) -> dict[str, str]:
    return {path: digest for path, digest in digests.items() if path not in (OWN, ASKED)}


def below(attributes: Mapping[str, Any]) -> dict[str, str]:
    """Digests of what lies below a node, by path; none for a node that is not sealed."""
    record = attributes.get("tim3d")
    return _paths(record.get(NAME, {})) if isinstance(record, Mapping) else {}


def plain(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record without its digests: what a node says of its making."""
    return {key: value for key, value in record.items() if key != NAME}


def changed(sample: str, path: str) -> StoreError:
    """What is said of a file that is not what its digest was taken of."""
    seen = "it is not what was written (its digest is another)"
    return StoreError(f"{sample}/{path} is damaged: {seen}. {cure(path.partition('/')[0])}")


def lost(sample: str, path: str) -> StoreError:
    """What is said of a file of metadata that is not there."""
    return StoreError(f"{sample}/{path} is missing. {cure(path.partition('/')[0])}")


def cure(node: str) -> str:
    """What helps."""
    return f"Copy it from a backup, or make {node!r} again: the same command with --overwrite"
