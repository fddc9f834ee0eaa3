"""Files that a user is given: reports, tables, figures, models. Each is written beside its place and renamed when done.

So a full disk or a kill leaves what was there before. And only a file of the same kind is ever replaced: what else has
the name that was typed is somebody's work.
"""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tim3d.errors import ArgumentError
from tim3d.forecast import is_forecasting
from tim3d.storage.files import flush, is_local, writing
from tim3d.storage.removal import remove_file

KEPT = "What was there is kept"


@dataclass(frozen=True)
class Kind:
    """A kind of file that tim3d writes, and how an earlier one is known."""

    name: str
    is_one: Callable[[bytes], bool]


REPORT = Kind("a report of tim3d", lambda data: data.startswith(b"<!DOCTYPE html>") and b"Written by tim3d" in data)
TABLE = Kind("a table of tim3d", lambda data: data.startswith(b"sample,variable,"))
FIGURE = Kind("a figure of tim3d", lambda data: b"atplotlib" in data)
WEIGHTS = Kind("a model of tim3d", lambda data: data[8:].startswith(b'{"__metadata__":{"sha256":"'))
# Known by its name: that of the model with ``.state`` behind it, or ``training.state`` in a folder of its own.
STATE = Kind("the state of a training", lambda data: True)
HISTORY = Kind("a history of a training", lambda data: data.startswith((b"[", b"step,")))
JOURNAL = Kind("a journal of tim3d", lambda data: data.startswith(b'{"time":'))


def check_target(path: str | Path, kind: Kind, *, makes_folder: bool = False) -> Path:
    """Refuse a file that cannot or must not be written, before anything is computed for it.

    Parameters
    ----------
    makes_folder : bool
        Whether the folder of the file may be made; of a file that a user names, it may not: a slip of the keyboard
        would put hours of work where nobody looks.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ArgumentError
        If it is a URL or a folder, lies in a sample or in a folder that is not there, or is there and of another kind.
    """
    target = Path(path)
    if not is_local(str(path)):
        raise ArgumentError(f"{path} is a URL, and {kind.name} is a file of this machine. Give a path")
    if (target / "zarr.json").is_file():
        raise ArgumentError(f"{path} is a sample, not {kind.name}. The sample comes first, then the file")
    if target.is_dir():
        raise ArgumentError(f"{path} is a folder. Give the name of a file in it: {target / 'NAME'}")
    # Of a chain that is being planned, an earlier step may make the folder.
    if not makes_folder and not is_forecasting() and not target.parent.is_dir():
        raise ArgumentError(f"no folder {target.parent} for {target.name}. Make it: mkdir -p {target.parent}")
    if sample := next((one for one in target.resolve().parents if (one / "zarr.json").is_file()), None):
        raise ArgumentError(f"{path} lies in the sample {sample}, which holds nothing else. Give a path outside of it")
    if target.exists() and not _is_replaceable(target, kind):
        raise ArgumentError(f"{path} is there and is not {kind.name}; it was left as it is. Give another name")
    return target


def _is_replaceable(target: Path, kind: Kind) -> bool:
    with writing(str(target), KEPT):
        data = target.read_bytes() if target.is_file() else b"no file"
    return not data or kind.is_one(data)


@contextlib.contextmanager
def replacing(path: str | Path, *, durable: bool = True, kept: str = KEPT) -> Iterator[BinaryIO]:
    """Open a file that takes the place of `path` when the ``with`` ends well; else that stays as it was.

    The folder is made. Of a link, the file behind it is replaced. With `durable` the file is on the disk before it has
    its name. `kept` is what the message of a failure says of what was there.

    Raises
    ------
    WriteError
        If the file cannot be written: the disk is full, the folder read-only.
    """
    target = Path(path).resolve()
    half = target.with_name(f".{target.name[:200]}.{uuid.uuid4().hex}.partial")
    with writing(str(path), kept):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with half.open("xb") as file:
                _is_ours(file)
                yield file
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
            if target.exists():
                shutil.copymode(target, half)
            half.replace(target)
        finally:
            remove_file(half)
        if durable:
            flush(target)


def write_file(path: str | Path, data: bytes, kind: Kind) -> None:
    """Write a file in one piece, in place of none or of one of its kind; see `check_target` and `replacing`."""
    target = check_target(path, kind, makes_folder=True)
    remove_abandoned(target.resolve().parent, glob.escape(target.resolve().name[:200]))
    with replacing(target) as file:
        file.write(data)


def remove_abandoned(folder: Path, name: str = "*") -> None:
    """Remove what writers of files in a folder left that were killed; those that live hold a lock on theirs."""
    for half in folder.glob(f".{name}.*.partial"):
        with contextlib.suppress(OSError), half.open("rb+") as file:
            if _is_ours(file):
                remove_file(half)


def _is_ours(file: BinaryIO) -> bool:
    """Lock an open file for as long as it is open; whether nobody else has it. False where a disk knows no locks."""
    with contextlib.suppress(ImportError, OSError):
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False
