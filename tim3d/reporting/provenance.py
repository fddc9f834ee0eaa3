"""Provenance of the nodes of a sample as a table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tim3d.reporting import page
from tim3d.storage import store
from tim3d.storage.schema import Field
from tim3d.units import with_typed_conductances

# Longer records of a node, such as a list of files, are cut.
_LONGEST_RECORD = 300


def provenance_table(sample: str) -> str:
    """Table of all nodes: the verb that made each, its inputs and parameters, the time."""
    records = {name: store.node_attributes(sample, name) for name in store.nodes(sample)}
    body = [
        [
            page.code(name, long=True),
            _shape(sample, name, record),
            page.code(_parameters(record), long=True),
            page.code(_pairs(record.get("inputs")), long=True),
            page.code(str(record.get("fingerprint", ""))[:10]),
            str(record.get("created", "")).replace("T", " ").removesuffix("+00:00"),
        ]
        for name, record in records.items()
    ]
    header = ["node", "kind", "parameters", "made from", "fingerprint", "created (UTC)"]
    text = (
        "Nodes of the sample. The fingerprint is the start of a SHA-256 over all that decides the numbers: inputs, "
        "parameters, shape and voxel size."
    )
    return page.table(header, body, len(header), text)


def _parameters(record: Mapping[str, Any]) -> str:
    """Parameters of a node; steps as they were typed."""
    given = record.get("parameters")
    shown = with_typed_conductances(given) if isinstance(given, Mapping) else given
    values = given.values() if isinstance(given, Mapping) else ()
    has_steps = any(isinstance(v, list) and v and isinstance(v[0], Mapping) for v in values)
    return _cut(str(record["command"])) if has_steps and record.get("command") else _pairs(shown)


def _shape(sample: str, name: str, record: Mapping[str, Any]) -> str:
    if record.get("kind") != "field":
        return "results" if record else "other"
    field: Field = store.read_field(sample, name)
    kind = "labels" if field.labels else field.dtype
    state = "" if record.get("status") == "complete" else ", not finished"
    return f"{kind}{state}"


def _pairs(record: Any) -> str:
    if not isinstance(record, Mapping):
        return ""
    return _cut(", ".join(f"{k}={short(v)}" for k, v in record.items()))


def short(value: Any) -> str:
    """A value as one line: hashes shortened, numbers to six digits."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, str):
        return value[:10] if len(value) == 64 and value.isalnum() else value
    return _cut(json.dumps(value, default=str, ensure_ascii=False))


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_RECORD else text[: _LONGEST_RECORD - 1] + "…"
