"""The lock of a sample behind a URL: an object created by a conditional put, and rewritten to renew its lease."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

from tim3d.engine.state import ledger
from tim3d.engine.state.owner import LEASE_SECONDS, held_by, process_start, this_process
from tim3d.errors import LockedError, StoreError
from tim3d.storage.files import file_system, modified_at, reaching
from tim3d.storage.removal import remove_file

log = logging.getLogger(__name__)
# A put costs money and up to a second: less often than for a local file, but several times per
# lease.
HEARTBEAT_SECONDS = 15.0
# Two clients may take over one stale lock at once: the later one holds it, the earlier one finds
# out after this time.
SETTLING_SECONDS = 2.0


@contextlib.contextmanager
def leased(url: str, sample: str, **about: Any) -> Iterator[None]:
    """Hold the lock at a URL and renew its lease; `about` is stored in it.

    Raises
    ------
    LockedError
        If another process holds it.
    """
    owner = this_process(about)
    _acquire(url, sample, owner)
    stop = threading.Event()
    renewer = threading.Thread(target=_renew, args=(url, owner, stop), daemon=True)
    renewer.start()
    try:
        yield
    finally:
        stop.set()
        renewer.join()
        with contextlib.suppress(OSError, StoreError), reaching():  # else the lease expires
            if _is_ours(url, owner):
                remove_file(url)


def _acquire(url: str, sample: str, owner: dict[str, Any]) -> None:
    taken_over = False
    for _ in range(3):
        if _create(url, owner):
            time.sleep(SETTLING_SECONDS if taken_over else 0.0)
            if _is_ours(url, owner):  # a store may not support conditional puts
                return
            break
        taken_over |= take_over(url, sample)
    raise LockedError(f"{sample} was locked by another run just now. Try again in a moment.")


def _create(url: str, owner: dict[str, Any]) -> bool:
    """Create the lock unless it exists; return whether it is ours."""
    fs, path = file_system(url)
    data = json.dumps(owner).encode()
    if hasattr(fs, "_construct_store"):
        # The refusal may be due to our own first attempt, whose reply was lost.
        return _create_object(fs, path, data) or _is_ours(url, owner)
    try:
        fs.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
        fs.pipe_file(path, data, mode="create")
    except FileExistsError:
        return False
    return True


def _create_object(fs: Any, path: str, data: bytes) -> bool:
    """Conditional put through the store itself: obstore's file system ignores the condition."""
    import obstore
    from obstore.exceptions import AlreadyExistsError

    bucket, key = fs._split_path(path)
    try:
        obstore.put(fs._construct_store(bucket), key, data, mode="create")
    except AlreadyExistsError:
        return False
    return True


def take_over(url: str, sample: str) -> bool:
    """Remove the lock of a dead owner; return whether there was one.

    Raises
    ------
    LockedError
        If its owner is alive.
    """
    owner = ledger.read(url)
    if owner is None:  # the other run ended meanwhile
        return False
    if not _is_stale(url, owner):
        raise held_by(owner, sample)
    remove_file(url)
    return True


def _is_stale(url: str, owner: dict[str, Any]) -> bool:
    if owner.get("host") == socket.gethostname() and "pid" in owner:
        return process_start(int(owner["pid"])) != owner.get("started")
    probe = f"{url}-clock-{uuid.uuid4().hex}"
    ledger.write(probe, {})  # the store's clock, not this machine's
    try:
        return written_at(probe) - written_at(url) > LEASE_SECONDS
    except FileNotFoundError:
        return False
    finally:
        remove_file(probe)


def written_at(url: str) -> float:
    """Time at which an object was written, by the clock of its store."""
    fs, path = file_system(url)
    if hasattr(fs, "_construct_store"):
        bucket, key = fs._split_path(path)
        return modified_at(fs._construct_store(bucket).head(key))
    return modified_at(fs.info(path))


def _is_ours(url: str, owner: dict[str, Any]) -> bool:
    return bool((ledger.read(url) or {}).get("token") == owner["token"])


def _renew(url: str, owner: dict[str, Any], stop: threading.Event) -> None:
    while not stop.wait(HEARTBEAT_SECONDS):
        with contextlib.suppress(OSError, StoreError), reaching():  # the next beat may get through
            if not _is_ours(url, owner):
                log.error(
                    "%s was taken over by another run: its lease was not renewed in time", url
                )
                return
            ledger.write(url, owner)
