"""Detection of damaged ``zarr.json`` files, which carry no checksum."""

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
# Exceptions that the decoder raises for a file that is cut off or overwritten.
DAMAGED = (json.JSONDecodeError, UnicodeDecodeError, RecursionError)


@dataclass(frozen=True)
class Torn:
    """A ``zarr.json`` that does not contain a JSON object: its path, the fault and the cure."""

    path: str
    seen: str
    cure: str


def naming_torn_files(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function of a sample (its first argument) to name the damaged file.

    Without it the error would be the one that the JSON decoder or zarr raises.
    """

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except Tim3dError:
            raise
        except (ValueError, TypeError, LookupError, AttributeError, RuntimeError) as error:
            for torn in damaged(str(args[0])):
                raise StoreError(f"{torn.path} is damaged: {torn.seen}. {torn.cure}") from error
            if not _comes_from_zarr(error):
                raise
            where = "/".join(name for name in args[:2] if isinstance(name, str))
            seen = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
            raise StoreError(
                f"{where} is damaged ({seen}). Type: tim3d validate {args[0]} --deep --repair"
            ) from error

    return wrapped


def _comes_from_zarr(error: Exception) -> bool:
    """Whether zarr failed to interpret what is stored.

    A `LookupError` only means a missing node.
    """
    modules = [
        str(frame.f_globals.get("__name__")) for frame, _ in traceback.walk_tb(error.__traceback__)
    ]
    return not isinstance(error, LookupError) and any(name.startswith("zarr.") for name in modules)


def damaged(url: str) -> Iterator[Torn]:
    """Every ``zarr.json`` of a sample that is not a JSON object.

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
        return None if isinstance(json.loads(data), dict) else "it does not contain a JSON object"
    except DAMAGED as error:
        return f"it is not JSON ({error})"


def _cure(url: str, below: str) -> str:
    """Cure in a message: restore a ``zarr.json`` from a backup, or remake its node.

    The sample's own holds its schema, and what is made from the nodes; a node's is made again together with the node.
    """
    node = below.split("/")[1]
    if node == NAME:
        return (
            "Copy it from a backup, or from another sample of this version of tim3d, and then type: "
            f"tim3d validate {url} --repair"
        )
    again = "and make it again by the same command (add --overwrite if that finds nothing to do)"
    return f"Copy it from a backup, or delete {url}/{node} {again}"
