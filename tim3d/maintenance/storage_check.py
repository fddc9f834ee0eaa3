"""Check of a place for samples: a folder's space and speed; a bucket's rights, speed and locks."""

from __future__ import annotations

import os
import shutil
import statistics
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from tim3d.engine import lock_sample
from tim3d.errors import LockedError, Tim3dError
from tim3d.maintenance.finding import Finding
from tim3d.storage.files import file_system, is_local, reaching
from tim3d.storage.removal import remove_file

ENOUGH_SPACE = 10 * 2**30
SLOW_DISK = 50.0
PROBE_MIB = 256
OBJECT_MIB = 64
SMALL_READS = 5


def place(folder: str) -> Iterator[Finding]:
    """Check a folder or a URL; the files written for it are removed again."""
    yield from _disk(folder) if is_local(folder) else _store(folder)


def _disk(folder: str) -> Iterator[Finding]:
    """Measure free space, and speed with everything flushed to the disk."""
    try:
        free = shutil.disk_usage(folder).free
        if free < 2 * PROBE_MIB * 2**20:
            yield Finding("fail", "space", f"{free / 2**30:.1f} GiB free in {folder}", "Make room")
            return
        write, read = _speeds(Path(folder))
    except OSError as error:
        seen = os.strerror(error.errno or 0).lower()
        yield Finding("fail", "disk", f"{folder}: {seen}", "Give an existing, writable folder")
        return
    enough = free >= ENOUGH_SPACE
    cure = "" if enough else "Samples of large stacks need more: --plan shows how much"
    yield Finding(
        "ok" if enough else "warn", "space", f"{free / 2**30:.1f} GiB free in {folder}", cure
    )
    seen = f"{PROBE_MIB} MiB written and flushed at {write:.0f} MiB/s, read at {read:.0f} MiB/s in {folder}"
    slow = min(write, read) < SLOW_DISK
    yield Finding(
        "warn" if slow else "ok",
        "disk",
        seen,
        "Runs will wait for this disk: use a local one" if slow else "",
    )


def _speeds(folder: Path) -> tuple[float, float]:
    """MiB/s written and read; the page cache is dropped in between, where the system allows it."""
    path, block = folder / f".tim3d-doctor-{uuid.uuid4().hex}", os.urandom(2**20)
    try:
        start = time.perf_counter()
        with path.open("wb") as file:
            for _ in range(PROBE_MIB):
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
            write = PROBE_MIB / (time.perf_counter() - start)
        with path.open("rb", buffering=0) as file:
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            start = time.perf_counter()
            while file.read(2**20):
                pass
            return write, PROBE_MIB / (time.perf_counter() - start)
    finally:
        remove_file(path)


def _store(url: str) -> Iterator[Finding]:
    """Check rights, speed, latency and locks of an object store."""
    probe = f"{url.rstrip('/')}/.tim3d-doctor-{uuid.uuid4().hex}"
    try:
        with reaching():
            write, read, trip = _store_speeds(probe)
    except (Tim3dError, OSError) as error:
        seen = str(error).partition("\n")[0].partition(". Finished")[0]
        yield Finding(
            "fail",
            "store",
            f"{url}: {seen}",
            "Check the bucket's name, its rights, and AWS_ENDPOINT_URL",
        )
        return
    seen = f"{OBJECT_MIB} MiB written at {write:.0f} MiB/s, read at {read:.0f} MiB/s, "
    seen += f"a small object in {trip * 1e3:.0f} ms in {url}"
    slow = min(write, read) < SLOW_DISK
    yield Finding(
        "warn" if slow else "ok",
        "store",
        seen,
        "Runs will wait for it: work near the store" if slow else "",
    )
    yield _lock(url, probe)


def _store_speeds(probe: str) -> tuple[float, float, float]:
    """MiB/s written and read, and seconds to read a few bytes."""
    fs, path = file_system(probe, brief=True)
    data = os.urandom(OBJECT_MIB * 2**20)
    fs.makedirs(path.rpartition("/")[0], exist_ok=True)
    write = OBJECT_MIB / _seconds(lambda: fs.pipe_file(path, data))
    try:
        read = OBJECT_MIB / _seconds(lambda: fs.cat_file(path))
        return (
            write,
            read,
            statistics.median(
                _seconds(lambda: fs.cat_file(path, 0, 64)) for _ in range(SMALL_READS)
            ),
        )
    finally:
        remove_file(probe)


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _lock(url: str, sample: str) -> Finding:
    """Check that two clients do not both get a lock; a store may ignore conditional puts."""
    try:
        with reaching(), lock_sample(sample), lock_sample(sample):
            seen = f"{url} gave one lock to two clients: it ignores conditional puts"
            return Finding(
                "warn", "lock", seen, "Let only one run at a time write to a sample there"
            )
    except LockedError:
        return Finding("ok", "lock", "one of two clients gets it")
    except Tim3dError as error:
        return Finding(
            "fail",
            "lock",
            f"{url}: {error}",
            "The rights must allow writing, reading and deleting objects",
        )
