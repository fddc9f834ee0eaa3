"""The metadata of a sample's nodes, files ``zarr.json`` without a checksum: which of them cannot be read."""

from __future__ import annotations

import functools
import json
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from tim3d.errors import StoreError, Tim3dError
from tim3d.storage.files import file_system

P = ParamSpec("P")
R = TypeVar("R")

NAME = "zarr.json"
# What JSON and its characters say of a file that is cut off or overwritten.
DAMAGED = (json.JSONDecodeError, UnicodeDecodeError, RecursionError)


@dataclass(frozen=True)
class Torn:
    """A file of metadata that is no JSON object: where, what is wrong with it, and what helps."""

    path: str
    seen: str
    cure: str


def naming_torn_files(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function of a sample, its first argument, say which file is damaged in place of what JSON says of it."""

    @functools.wraps(function)
    def said(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except Tim3dError:
            raise
        except (ValueError, TypeError, LookupError, AttributeError, RuntimeError) as error:  # what zarr makes of it
            for one in damaged(str(args[0])):
                raise StoreError(f"{one.path} is damaged: {one.seen}. {one.cure}") from error
            if not _comes_from_zarr(error):
                raise
            where = "/".join(str(one) for one in args[:2] if isinstance(one, str))
            seen = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
            raise StoreError(f"{where} is damaged ({seen}). Type: tim3d validate {args[0]} --deep --repair") from error

    return said


def _comes_from_zarr(error: Exception) -> bool:
    """Whether zarr could not make sense of what is stored; that something is not there is another matter."""
    modules = [str(frame.f_globals.get("__name__")) for frame, _ in traceback.walk_tb(error.__traceback__)]
    return not isinstance(error, LookupError) and any(name.startswith("zarr.") for name in modules)


def damaged(url: str) -> Iterator[Torn]:
    """Every ``zarr.json`` of a sample that is no JSON object.

    >>> list(damaged("nowhere.zarr"))
    []
    """
    fs, root = file_system(url)
    root = root.rstrip("/")
    for path in fs.find(root):
        below = path.removeprefix(root)
        if below.rpartition("/")[2] == NAME and (seen := _fault(fs.cat_file(path))):
            yield Torn(f"{url.rstrip('/')}{below}", seen, _cure(url.rstrip("/"), below))


def _fault(data: bytes) -> str | None:
    try:
        return None if isinstance(json.loads(data), dict) else "it holds no JSON object"
    except DAMAGED as error:
        return f"it is no JSON ({error})"


def _cure(url: str, below: str) -> str:
    """The sample's own metadata say its schema and nothing else; those of a node are made with it."""
    node = below.split("/")[1]
    if node == NAME:
        return "Copy it from a backup, or from any other sample of this version of tim3d: they are all the same"
    again = "and make it again by the same command (add --overwrite if that finds nothing to do)"
    return f"Copy it from a backup, or delete {url}/{node} {again}"
