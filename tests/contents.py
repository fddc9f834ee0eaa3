"""What a sample holds, to be compared with another's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def content(sample: Path | str) -> dict[str, Any]:
    """Every file of a sample; of its descriptions all but the times at which nodes were made."""
    files = {str(p.relative_to(sample)): p for p in Path(sample).rglob("*") if p.is_file()}
    return {name: _timeless(p.read_text()) if p.name == "zarr.json" else p.read_bytes() for name, p in files.items()}


def _timeless(text: str) -> dict[str, Any]:
    node: dict[str, Any] = json.loads(text)
    node["attributes"].get("tim3d", {}).pop("created", None)
    return node
