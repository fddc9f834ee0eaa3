"""Owner of a lock: a process on this machine, or one on another machine that renews its lease."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tim3d.errors import LockedError

# An owner that has not renewed its lease for this many seconds counts as dead.
LEASE_SECONDS = 60.0


def held_by(owner: Mapping[str, Any], sample: str) -> LockedError:
    """Error for a process that finds the sample locked."""
    return LockedError(
        f"{sample} is being written by process {owner.get('pid')} on {owner.get('host')}. "
        "Wait until it ends, or stop it; then run the same command again."
    )


def this_process(about: Mapping[str, Any]) -> dict[str, Any]:
    """This process as the owner of a lock, with a new token; `about` is kept with it."""
    pid = os.getpid()
    own = {"token": uuid.uuid4().hex, "pid": pid, "started": process_start(pid)}
    return {**about, **own, "host": socket.gethostname()}


def process_start(pid: int) -> str | None:
    """Start of a process in kernel ticks; None if it does not run. Process numbers are reused."""
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return None if state in "ZX" else rest[18]
    except (FileNotFoundError, ProcessLookupError):
        return "alive" if not Path("/proc").is_dir() and _answers(pid) else None


def _answers(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
