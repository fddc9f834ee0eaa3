"""Result of one check of `tim3d doctor`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """Result of one check: `state` is ok, warn or fail (then tim3d does not work properly)."""

    state: str
    what: str
    seen: str
    cure: str = ""

    def __str__(self) -> str:
        return f"{self.state:4}  {self.what}: {self.seen}" + (f". {self.cure}" if self.cure else "")
