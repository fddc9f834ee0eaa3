"""Files of a local sample: cleared of what a killed writer left beside them, and forced to the disk."""

from __future__ import annotations

import os
from pathlib import Path


def remove_partials(path: Path) -> None:
    """Remove the temporary files of writers of `path` that died before they could rename them.

    Call it only where no other writer of this file can be alive.
    """
    for partial in path.parent.glob(f"{path.name}.*.partial"):
        partial.unlink(missing_ok=True)


def flush(path: Path) -> None:
    """Force a file and its entry in the folder to the disk."""
    for target in (path, path.parent):
        descriptor = os.open(target, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
