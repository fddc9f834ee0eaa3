"""One writer at a time: a lock file with a lease beside the sample, or an object behind a URL.

`lease.py` holds the object.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from contextvars import ContextVar
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from tim3d.engine.state import lease
from tim3d.engine.state.ledger import read, runs_folder
from tim3d.engine.state.owner import LEASE_SECONDS, held_by, process_start, this_process
from tim3d.errors import LockedError, StoreError
from tim3d.storage.files import file_system, is_local, writing
from tim3d.storage.removal import refuse_link, remove_file

HEARTBEAT_SECONDS = 5.0
# Sample whose lock is held by a part of a job array in this process; see job_array.py.
turn_of: ContextVar[str | None] = ContextVar("tim3d_turn", default=None)


@contextlib.contextmanager
def lock_sample(sample: str) -> Iterator[None]:
    """Hold the exclusive right to write to a sample; other runs are refused meanwhile.

    The lock is a file with a lease that a thread renews, or behind a URL an object that only one
    client can create. It is taken over at once if the process that held it is gone from this
    machine, and from another machine if the lease has not been renewed for a minute by the file
    system's own clock. A part of a job array that has its turn holds the lock already, and a sample
    on which parts work is refused even between two turns.

    Raises
    ------
    LockedError
        If another run holds the lock.
    StoreError
        If the sample, or the folder of its runs, is a link: under another name it would have
        another lock.
    """
    refuse_link(sample)
    refuse_link(runs_folder(sample))
    if turn_of.get() == sample:
        yield
        return
    with hold_lock(lock_url(sample), sample):
        refuse_parts(sample)
        yield


def lock_url(sample: str, part: str = "") -> str:
    """Path of the lock of a sample, or of the lock of a part such as ``2-of-3``."""
    return f"{runs_folder(sample)}/" + (f"part-{part}.lock" if part else "lock")


def hold_lock(url: str, sample: str, **about: Any) -> AbstractContextManager[None]:
    """Hold one lock and renew its lease; `about` is stored in it.

    Raises
    ------
    LockedError
        If another process holds it.
    """
    return (
        _held_file(Path(url), sample, **about)
        if is_local(url)
        else lease.leased(url, sample, **about)
    )


@contextlib.contextmanager
def _held_file(path: Path, sample: str, **about: Any) -> Iterator[None]:
    token = _acquire(path, sample, about)
    stop = threading.Event()
    renewer = threading.Thread(target=_renew, args=(path, stop), daemon=True)
    renewer.start()
    try:
        yield
    finally:
        stop.set()
        renewer.join()
        if (read(str(path)) or {}).get("token") == token:
            remove_file(path)
        with contextlib.suppress(OSError):  # fails if there are markers, which are kept
            path.parent.rmdir()


def owner_of(url: str) -> dict[str, Any]:
    """Owner recorded in a lock; empty if the lock is missing or not yet written."""
    try:
        found: Any = read(url)
    except ValueError:  # not JSON, or not text
        return {}
    return found if isinstance(found, dict) else {}


def refuse_parts(sample: str, allowed_suffix: str | None = None) -> None:
    """Raise `LockedError` if parts of a job array work on the sample.

    Locks whose name ends with `allowed_suffix` are accepted.
    """
    for name in _names(runs_folder(sample)):
        allowed = allowed_suffix is not None and name.endswith(allowed_suffix)
        if fnmatch(name, "part-*.lock") and not allowed:
            url = f"{runs_folder(sample)}/{name}"
            _take_over(Path(url), sample) if is_local(url) else lease.take_over(url, sample)


def _names(url: str) -> list[str]:
    """Names of the entries of a folder."""
    fs, path = file_system(url)
    try:
        return [str(one).rpartition("/")[2] for one in fs.ls(path, detail=False)]
    except FileNotFoundError:
        return []


def _acquire(path: Path, sample: str, about: Mapping[str, Any]) -> str:
    owner = this_process(about)
    with writing(str(path)):
        for _ in range(3):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with path.open("x") as file:
                    json.dump(owner, file)
                return str(owner["token"])
            except FileExistsError:
                _take_over(path, sample)
            except FileNotFoundError:  # another run ended and removed the empty folder
                continue
    raise LockedError(f"{sample} was locked by another run just now. Try again in a moment.")


def _take_over(path: Path, sample: str) -> None:
    """Remove the lock of a dead owner; raise `LockedError` if the owner is alive."""
    owner = owner_of(str(path))
    _refuse_foreign(path, owner)
    with contextlib.suppress(FileNotFoundError):  # the other run ended meanwhile
        if not _is_stale(path, owner):
            raise held_by(owner, sample)
        remove_file(path.rename(path.with_name(f".lock.{uuid.uuid4().hex}")))


def _refuse_foreign(path: Path, owner: Mapping[str, Any]) -> None:
    """Raise `StoreError` if the file is not a lock: neither an owner nor the beginning of one."""
    with contextlib.suppress(FileNotFoundError), writing(str(path)):
        if not owner and path.read_bytes()[:1] not in (b"", b"{"):
            raise StoreError(
                f"{path} is not a lock of tim3d. Move it elsewhere, then run the same command again"
            )


def _is_stale(path: Path, owner: Mapping[str, Any]) -> bool:
    if owner.get("host") == socket.gethostname() and isinstance(owner.get("pid"), int):
        return process_start(owner["pid"]) != owner.get("started")
    probe = path.with_name(f".clock.{uuid.uuid4().hex}")
    probe.touch()  # the file system's clock, not this machine's
    age = probe.stat().st_mtime - path.stat().st_mtime
    remove_file(probe)
    return age > LEASE_SECONDS


def _renew(path: Path, stop: threading.Event) -> None:
    while not stop.wait(HEARTBEAT_SECONDS):
        with contextlib.suppress(OSError):
            os.utime(path)
