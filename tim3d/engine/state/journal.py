"""Journal of a run: one line of JSON for each block, and for the beginning and end of a pass."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from tim3d.credentials import without_secrets
from tim3d.storage.files import writing
from tim3d.storage.outputs import JOURNAL, check_target

_descriptor: ContextVar[int | None] = ContextVar("tim3d_journal", default=None)


@contextlib.contextmanager
def journal(path: str | Path | None = None) -> Iterator[None]:
    """Append the progress of runs inside the ``with`` to a file; several processes may share it.

    Every line has `time` (UTC), `event` (``begin``, ``block`` or ``end``), `sample` and `pass`. A
    line of a block has its index `block` (z, y, x), its `state` (``done``, ``again`` or ``failed``)
    and the `attempt` from 1. If the block was done, it also has the seconds of reading, of waiting
    for another block's computing, of computing and of writing, the voxels, the bytes before
    compression, the peak memory and the process; otherwise the reason. The end has the summary of
    the pass.

    Parameters
    ----------
    path : path, optional
        File to which a line of JSON is appended for every block (default: none).

    Raises
    ------
    ArgumentError
        If its folder is missing, or the file exists and is not a journal.
    WriteError
        If the file cannot be written.
    """
    if path is None:
        yield
        return
    check_target(path, JOURNAL)
    with writing(str(path)):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    token = _descriptor.set(descriptor)
    try:
        yield
    finally:
        _descriptor.reset(token)
        os.close(descriptor)


def note(event: str, content: Mapping[str, Any]) -> None:
    """Write one line, whole or not at all, if there is a journal."""
    descriptor = _descriptor.get()
    if descriptor is None:
        return
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
    line = json.dumps({"time": now, "event": event, **content}, separators=(",", ":"))
    with writing("the journal"):
        os.write(descriptor, without_secrets(line).encode() + b"\n")
