"""Memory of this machine, and the current and peak memory of this process."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

# dask lets workers return what is freed beyond 64 KiB, so that every array of a few MiB is mapped
# page by page each time: most of the time of short loops over slices. These are the limits at which
# glibc arrives by itself in a process without settings.
MALLOC = {"MALLOC_TRIM_THRESHOLD_": 64 * 2**20, "MALLOC_MMAP_THRESHOLD_": 32 * 2**20}


def available_memory() -> int:
    """Bytes of memory that are still available on this machine or in this container."""
    limits = [_machine_free(), _control_group_free()]
    return min(n for n in limits if n is not None)


def resident_memory() -> int:
    """Bytes that this process holds now; 0 where the system does not report it."""
    return _status("VmRSS") or 0


def forget_peak() -> None:
    """Reset the peak memory of this process where the system can; each pass has its own peak."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory() -> int:
    """Peak memory of this process in bytes, since `forget_peak`."""
    peak = _status("VmHWM")
    if peak is not None:
        return peak
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _status(key: str) -> int | None:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(key)), None)


def _machine_free() -> int:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(
            int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")
        )
    except (OSError, StopIteration):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _control_group_free() -> int | None:
    folder = Path("/sys/fs/cgroup")
    try:
        limit = (folder / "memory.max").read_text().strip()
        used = int((folder / "memory.current").read_text())
    except OSError:
        return None
    return None if limit == "max" else int(limit) - used
