"""What `tim3d doctor` finds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One thing looked at: `state` is ok, warn or fail (then tim3d does not work as it should)."""

    state: str
    what: str
    seen: str
    cure: str = ""

    def __str__(self) -> str:
        return f"{self.state:4}  {self.what}: {self.seen}" + (f". {self.cure}" if self.cure else "")
