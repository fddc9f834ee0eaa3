"""What a sample holds, to be compared with another's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tim3d.storage.files import file_system


def content(sample: Path | str) -> dict[str, Any]:
    """Every file of a sample, or object behind its URL; of its descriptions all but the times when nodes were made."""
    fs, root = file_system(str(sample))
    files = {name.removeprefix(f"{root}/"): fs.cat_file(name) for name in fs.find(root)}
    return {
        name: _timeless(data) if name.endswith("zarr.json") else data
        for name, data in files.items()
    }


def _timeless(text: bytes) -> dict[str, Any]:
    node: dict[str, Any] = json.loads(text)
    record = node["attributes"].get("tim3d", {})
    record.pop("created", None)
    record.get("digests", {}).pop("/", None)  # that of the time
    return node
