"""Removal of files that tim3d wrote, and of nothing else: the package removes files only here.

The whole tree is examined before the first file is removed. A link in it, or a file with a name
that tim3d does not write, refuses the removal as a whole. So anything else in the place of one of
our folders, by mistake or by intent, is neither followed nor lost.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from tim3d.errors import SchemaError, StoreError
from tim3d.storage import advice
from tim3d.storage.files import file_system, is_local

# Suffix of the temporary file that a killed writer leaves.
_HALF = r"(?:\.[0-9a-f]+(?:\.partial)?)?"
# Files that desktops put into every folder that they show.
_LITTER = r"(?:[^/]+/)*(?:\.DS_Store|\._[^/]+|Thumbs\.db|desktop\.ini)"
# Paths of files below a node of a sample: metadata, and chunks or shards under their keys.
NODE = re.compile(rf"(?:[^/]+/)*(?:zarr\.json|c(?:/\d+)*){_HALF}|{_LITTER}")
# Paths below a pass of ``SAMPLE.runs``: its fingerprint, then the layout, summaries, and markers of
# blocks.
MARKERS = re.compile(
    rf"(?:[^/]+/)*[^/]{{1,16}}/(?:\.?(?:layout|summary-[\w.-]+)|(?:done|failed)/\d+/\d+/\.?\d+)\.json{_HALF}"
    rf"|(?:[^/]+/)*[^/]{{1,16}}/\.?gathered\.jsonl{_HALF}|{_LITTER}"
)
# Paths below the folder of the markers of blocks that are done.
DONE = re.compile(rf"\d+/\d+/\.?\d+\.json{_HALF}|{_LITTER}")
_HALF_FILE = re.compile(r"\.[0-9a-f]+\.partial")
# Everything below a folder whose own name says that it is half an export of ours.
STAGING = re.compile(r"\..+\.[0-9a-f]{32}\.partial")
_ANYTHING = re.compile(r".*", re.DOTALL)


def refuse_link(path: str | Path) -> None:
    """Raise `StoreError` if a folder of tim3d is a link: it could lead anywhere.

    >>> refuse_link("nowhere.zarr")
    """
    if is_local(str(path)) and Path(path).is_symlink():
        behind = Path(path).resolve()
        raise StoreError(
            f"{Path(path)} is a link to {behind}, and tim3d writes and removes only in folders of its own. Name the "
            f"folder itself ({behind}), or move the link elsewhere"
        )


def refuse_foreign_folder(url: str) -> None:
    """Raise `SchemaError` if a sample is to be created in a folder of other files."""
    if seen := advice.foreign(url):
        raise SchemaError(
            f"{seen}; give the name of a new folder, for example {advice.beside(url)}"
        )


def remove_file(url: str | Path) -> None:
    """Remove a file that tim3d wrote, if it exists; for a link, remove the link only."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        if is_local(str(url)):
            Path(url).unlink()
        else:
            fs, path = file_system(str(url))
            fs.rm_file(path)


def remove_partials(url: str | Path) -> None:
    """Remove temporary files of a local file whose writers died before they could rename them.

    Call it only where no other writer of this file can be running.
    """
    path = Path(url)
    for half in path.parent.glob(f"{path.name}.*.partial") if is_local(str(url)) else ():
        if _HALF_FILE.fullmatch(half.name.removeprefix(path.name)):
            remove_file(half)


def remove_staging(folder: Path) -> None:
    """Remove the folder in which an export was written, with everything in it.

    Raises
    ------
    ValueError
        If its name is not that of such a folder.
    """
    if not STAGING.fullmatch(folder.name):
        raise ValueError(f"{folder} is not a folder of an export")
    remove_tree(str(folder.parent), folder.name, _ANYTHING)


def remove_tree(root: str, name: str, ours: re.Pattern[str]) -> None:
    """Remove a folder of a sample, or of its runs, with everything in it; or nothing at all.

    Parameters
    ----------
    root : str
        The sample or its folder of runs.
    name : str
        The folder to remove, below `root`; it need not exist.
    ours : pattern
        Pattern that every path below the folder must match: `NODE` or `MARKERS`.

    Raises
    ------
    StoreError
        If it is a link, contains one or is reached by one, or contains a file that tim3d does not
        write.
    """
    check_tree(root, name, ours)
    folder = f"{root.rstrip('/')}/{name}"
    if is_local(folder):
        if Path(folder).is_dir():
            shutil.rmtree(folder)
        return
    fs, path = file_system(folder)
    if fs.exists(path):
        fs.rm(path, recursive=True)


def check_tree(root: str, name: str, ours: re.Pattern[str]) -> None:
    """Raise `StoreError` unless `remove_tree` would remove the folder."""
    folder = root.rstrip("/")
    if not all(part.strip(".") for part in name.split("/")):
        raise SchemaError(f"{name!r} cannot be a name in {folder}")
    refuse_link(folder)
    for part in name.split("/"):
        folder = f"{folder}/{part}"
        refuse_link(folder)
    for path in _paths(folder):
        if not ours.fullmatch(path):
            raise StoreError(
                f"{folder}/{path} is not a file that tim3d writes, so nothing in {folder} was removed. Move it "
                "elsewhere, then run the same command again"
            )


def _paths(url: str) -> Iterator[str]:
    """Paths of all files below a folder, relative to it."""
    if not is_local(url):
        fs, path = file_system(url)
        yield from (found.removeprefix(path).lstrip("/") for found in fs.find(path))
    elif Path(url).is_dir():
        yield from (os.path.relpath(one.path, url) for one in _files(url))
    elif Path(url).exists():
        raise StoreError(f"{url} is a file, and a folder of tim3d belongs there. Move it elsewhere")


def _files(folder: str) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        for one in entries:
            if one.is_symlink():
                refuse_link(one.path)
            if one.is_dir():
                yield from _files(one.path)
            else:
                yield one
