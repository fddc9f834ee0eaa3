"""Exported files and folders: written beside their place, and put there when they are complete.

Whatever is written lies in a folder ``.NAME.<number>.partial`` beside the target. A killed writer
leaves that folder, which the next export to the same target removes; under the target's own name
there is either what was there before, or all of what is new.
"""

from __future__ import annotations

import contextlib
import glob
import os
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

from tim3d.storage.files import flush, writing
from tim3d.storage.outputs import KEPT, is_ours
from tim3d.storage.removal import STAGING, remove_staging

_LOCK, _MADE, _OLD = "lock", "made", "old"
# A name may have 255 bytes, of which the number and the dots need some.
_LONGEST = 200


@contextlib.contextmanager
def staged(
    target: Path, companions: Sequence[Path] = (), *, durable: bool = False
) -> Iterator[Path]:
    """Path to write to in the ``with`` block; what lies there takes the place of `target` after it.

    Parameters
    ----------
    target : Path
        File or folder to make; what is there now is replaced.
    companions : sequence of Path
        Files beside it that are written too, by their own names beside the path. They are put in
        place before the target, which refers to them.
    durable : bool
        Force everything to the disk before it gets its name.

    Raises
    ------
    WriteError
        If the folder cannot be written or the disk is full.
    """
    place = target.resolve()
    with writing(str(target), KEPT):
        remove_abandoned(place)
        folder = place.parent / f".{place.name[:_LONGEST]}.{uuid.uuid4().hex}.partial"
        folder.mkdir()
        try:
            with (folder / _LOCK).open("xb") as lock:
                is_ours(lock)
                made = folder / _MADE
                made.mkdir()
                yield made / place.name
                for path in sorted(made.rglob("*")) if durable else ():
                    flush(path)
                _put(folder, place, [place.parent / one.name for one in companions])
                if durable:
                    flush(place)
        finally:
            remove_staging(folder)


def _put(folder: Path, place: Path, companions: Sequence[Path]) -> None:
    """Give complete files their names; an old folder, or an old pair of files, makes room first."""
    old = folder / _OLD
    if place.is_dir() or (companions and place.exists()):
        place.replace(old)
    try:
        for path in (*companions, place):
            (folder / _MADE / path.name).replace(path)
    except OSError:
        if old.exists() and not place.exists():
            old.replace(place)
        raise


def remove_abandoned(place: Path) -> None:
    """Remove the folders of exports to this place whose writers were killed; living ones hold a lock."""
    for folder in place.parent.glob(f".{glob.escape(place.name[:_LONGEST])}.*.partial"):
        if STAGING.fullmatch(folder.name) and folder.is_dir() and _is_abandoned(folder / _LOCK):
            remove_staging(folder)


def _is_abandoned(lock: Path) -> bool:
    try:
        with lock.open("rb+") as file:
            return is_ours(file)
    except FileNotFoundError:  # killed before it was made, or being removed by its writer
        return True
    except OSError:
        return False


def bytes_below(path: Path) -> int:
    """Bytes of a file, or of all files of a folder."""
    if path.is_file():
        return path.stat().st_size
    return sum(one.stat().st_size for one in path.rglob("*") if one.is_file())


def free_bytes(folder: Path) -> int:
    """Bytes that may still be written to the disk of a folder."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize
