"""Files written for the user: reports, tables, figures, models.

Each is written to a temporary file beside its target and renamed when complete, so a full disk or a
kill leaves the earlier file intact. Only a file of the same kind is ever replaced: any other file
of that name is the user's own work.
"""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import BinaryIO

from tim3d.errors import ArgumentError
from tim3d.forecast import is_forecasting
from tim3d.storage.files import flush, is_local, refuse_unwritable, writing
from tim3d.storage.removal import remove_file

KEPT = "What was there is kept"


@dataclass(frozen=True)
class Kind:
    """A kind of file that tim3d writes, and how an existing file of this kind is recognized."""

    name: str
    is_one: Callable[[bytes], bool]


REPORT = Kind(
    "a report of tim3d",
    lambda data: data.startswith(b"<!DOCTYPE html>") and b"Written by tim3d" in data,
)
TABLE = Kind("a table of tim3d", lambda data: data.startswith(b"sample,variable,"))
SLICES = Kind("a table of slices of tim3d", lambda data: data.startswith(b"slice,"))
INSPECTION = Kind("an inspection of tim3d", lambda data: b'"tim3d": "inspect"' in data[:60])
FIGURE = Kind("a figure of tim3d", lambda data: b"atplotlib" in data)
WEIGHTS = Kind("a model of tim3d", lambda data: data[8:].startswith(b'{"__metadata__":{"sha256":"'))
# Recognized by name: the model's name with ``.state`` appended, or ``training.state`` in its own
# folder.
STATE = Kind("the state of a training", lambda data: True)
HISTORY = Kind("a history of a training", lambda data: data.startswith((b"[", b"step,")))
JOURNAL = Kind("a journal of tim3d", lambda data: data.startswith(b'{"time":'))


def check_target(path: str | Path, kind: Kind, *, makes_folder: bool = False) -> Path:
    """Refuse a target that cannot or must not be written, before anything is computed for it.

    Parameters
    ----------
    path : str or Path
        The file to be written.
    kind : Kind
        What the file will contain; an existing file must be of the same kind.
    makes_folder : bool
        Whether the folder of the file may be created. It must not be for a file that the user
        names: after a typing error, hours of work would end in a folder where no one looks for
        them.

    Returns
    -------
    Path
        The file, as a path.

    Raises
    ------
    ArgumentError
        If it is a URL or a folder, lies in a sample or in a missing folder, or exists and is of
        another kind.
    WriteError
        If its folder cannot be written.
    """
    target = check_place(path, kind.name, makes_folder=makes_folder)
    if target.is_dir():
        raise ArgumentError(f"{path} is a folder. Give the name of a file in it: {target / 'NAME'}")
    if target.exists() and not _is_replaceable(target, kind):
        raise ArgumentError(
            f"{path} exists and is not {kind.name}; it was not changed. Give another name"
        )
    return target


def check_place(path: str | Path, what: str, *, makes_folder: bool = False) -> Path:
    """Refuse a place in which a file of ours must not be written, whatever is there now.

    Parameters
    ----------
    path : str or Path
        The file to be written.
    what : str
        What it is, for messages: "a report of tim3d".
    makes_folder : bool
        Whether the folder of the file may be created.

    Raises
    ------
    ArgumentError
        If it is a URL, or lies in a sample or in a missing folder.
    WriteError
        If its folder cannot be written.
    """
    target = Path(path)
    if not is_local(str(path)):
        raise ArgumentError(f"{path} is a URL, and {what} is a file of this machine. Give a path")
    if (target / "zarr.json").is_file():
        raise ArgumentError(
            f"{path} is a sample, not {what}. The sample comes first, then the file"
        )
    # While a chain of steps is planned, an earlier step may create the folder.
    if not makes_folder and not is_forecasting() and not target.parent.is_dir():
        raise ArgumentError(
            f"no folder {target.parent} for {target.name}. Make it: mkdir -p {target.parent}"
        )
    if sample := next(
        (one for one in target.resolve().parents if (one / "zarr.json").is_file()), None
    ):
        raise ArgumentError(
            f"{path} lies in the sample {sample}, which holds nothing else. Give a path outside of it"
        )
    refuse_unwritable(target.resolve().parent, KEPT)
    return target


def _is_replaceable(target: Path, kind: Kind) -> bool:
    with writing(str(target), KEPT):
        data = target.read_bytes() if target.is_file() else b"no file"
    return not data or kind.is_one(data)


@contextlib.contextmanager
def replacing(path: str | Path, *, durable: bool = True, kept: str = KEPT) -> Iterator[BinaryIO]:
    """Open a temporary file; it replaces `path` if the ``with`` block succeeds, else is removed.

    The folder is created. If `path` is a link, the file behind it is replaced. With `durable` the
    file is flushed to disk before it is renamed. `kept` is the part of an error message that says
    what was kept.

    Raises
    ------
    WriteError
        If the file cannot be written: the disk is full or the folder is read-only.
    """
    target = Path(path).resolve()
    half = target.with_name(f".{target.name[:200]}.{uuid.uuid4().hex}.partial")
    with writing(str(path), kept):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with half.open("xb") as file:
                is_ours(file)
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


def refuse_other_files(folder: Path, what: str, own: str = "") -> None:
    """Refuse a folder for files of ours that holds others, among which ours would lie.

    Parameters
    ----------
    folder : Path
        The folder to be written, which need not be there.
    what : str
        What is written into it, for messages: "masks".
    own : str
        Pattern (`fnmatch`) of files that an earlier run may have left there, besides temporary ones.

    Raises
    ------
    ArgumentError
        If it is a file, or holds a file of another name.
    """
    if folder.is_file():
        raise ArgumentError(f"{folder} is a file, and a folder of {what} is written: name another")
    names = [one.name for one in folder.iterdir()] if folder.is_dir() else []
    if any(not fnmatch(name, own) and not name.endswith(".partial") for name in names):
        raise ArgumentError(
            f"{folder} holds other files, and {what} would lie among them; give the name of a new folder"
        )


def make_folder(folder: Path) -> None:
    """Create a folder for files of ours, with those above it, unless it is there.

    Raises
    ------
    WriteError
        If it cannot be created.
    """
    with writing(str(folder), KEPT):
        folder.mkdir(parents=True, exist_ok=True)


def write_file(path: str | Path, data: bytes, kind: Kind) -> None:
    """Write a file in one piece, new or in place of one of its kind.

    See `check_target` and `replacing`.
    """
    target = check_target(path, kind, makes_folder=True)
    remove_abandoned(target.resolve().parent, glob.escape(target.resolve().name[:200]))
    with replacing(target) as file:
        file.write(data)


def remove_abandoned(folder: Path, name: str = "*") -> None:
    """Remove temporary files in a folder whose writers were killed.

    Living writers hold a lock on theirs.
    """
    for half in folder.glob(f".{name}.*.partial"):
        with contextlib.suppress(OSError), half.open("rb+") as file:
            if is_ours(file):
                remove_file(half)


def is_ours(file: BinaryIO) -> bool:
    """Lock an open file until it is closed; return whether this process holds the lock.

    Returns False where the file system does not support locks.
    """
    with contextlib.suppress(ImportError, OSError):
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False
