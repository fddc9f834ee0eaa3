"""Records with a checksum, as JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from tim3d.errors import StoreError

CHECKSUM = "sha256"


def as_json(content: Mapping[str, Any]) -> bytes:
    """The shortest JSON text of a mapping."""
    return json.dumps(content, separators=(",", ":")).encode()


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """A record with its checksum.

    >>> unsealed(sealed({"a": (1, 2)})), unsealed(sealed({"a": 1}) | {"a": 2})
    ({'a': (1, 2)}, None)
    """
    return {**content, CHECKSUM: _checksum(content)}


def unsealed(content: Mapping[str, Any]) -> dict[str, Any] | None:
    """A sealed record without its checksum; None if the checksum does not match."""
    record = {key: value for key, value in content.items() if key != CHECKSUM}
    return record if content.get(CHECKSUM) == _checksum(record) else None


def _checksum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(as_json(content)).hexdigest()[:32]


def damaged(path: str, seen: str, again: str = "its block is") -> StoreError:
    """The error for a damaged record: what was seen, and what to do."""
    return StoreError(
        f"{path} is damaged: {seen}. Delete it and run the same command again: {again} then computed again"
    )
