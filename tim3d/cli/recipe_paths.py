"""Arguments of the verbs that name files, and the files that an untrusted recipe may name.

An argument is a path if it is typed as one, and so is a parameter of a step of `prepare` or `clean`.
Text in any other that could be a path is refused, unless the argument is in the list of texts that
are never opened.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tim3d.cli.parsing import parameters
from tim3d.cli.readers import STEPS, given_to_steps
from tim3d.storage.files import OBJECT_STORES
from tim3d.verbs import VERBS

# Types of arguments that name files or samples; an argument named sample is a path too.
PATHS = {
    "str | Path",
    "Sources",
    "Images",
    "Samples",
    "Folder",
    "Folders",
    "ModelFiles",
    "SampleSlices",
}
# How several paths stand in one text.
_SEVERAL: dict[str, Callable[[str], list[str]]] = {
    "Folders": lambda text: text.split(","),
    "ModelFiles": lambda text: text.split(","),
    "SampleSlices": lambda text: [one.rpartition("=")[0] or one for one in text.split(",")],
}
# Arguments that are shown, or looked up inside a file, and never opened; ``*`` is every verb.
TEXTS = {
    "*.units", "ingest.dataset", "inspect.dataset", "report.title", "*.name", "library.licence", "library.origin"
}  # fmt: skip
STORES = (*OBJECT_STORES, "memory")
KINDS = ("serial", "local", "cuda", "slurm")


def is_path(verb: str, argument: str) -> bool:
    """Whether an argument of a verb names files.

    >>> is_path("report", "out"), is_path("segment", "out"), is_path("measure", "sample")
    (True, False, True)
    """
    known = _known(verb)
    return argument == "sample" or (argument in known and known[argument].kind in PATHS)


def refusal(verb: str, argument: str, value: Any, homes: Collection[Path]) -> str:
    """Reason why a recipe may not give an argument this value, ending a sentence; empty if it may.

    Parameters
    ----------
    verb, argument : str
        The argument, as the recipe names it.
    value : object
        Its value, as read from TOML.
    homes : collection of path
        Folders in which its paths must lie.
    """
    if is_path(verb, argument):
        several = _known(verb).get(argument)
        if isinstance(value, str) and several and several.kind in _SEVERAL:
            return _refusal_of_path([value, *_SEVERAL[several.kind](value)], homes)
        return _refusal_of_path(value, homes)
    if not TEXTS.isdisjoint((f"{verb}.{argument}", f"*.{argument}")):
        return ""
    kind = parameters(verb)[argument].kind if argument in _known(verb) else ""
    if kind not in STEPS:
        return _refusal_of_text(value)
    found = (
        _refusal_of_path(one, homes) if of in PATHS else _refusal_of_text(one)
        for of, one in given_to_steps(kind, value)
    )
    return next(filter(None, found), "")


def _known(verb: str) -> Mapping[str, Any]:
    return parameters(verb) if verb in VERBS else {}


def _refusal_of_path(value: Any, homes: Collection[Path]) -> str:
    if all(_lies_within(text, homes) for text in _texts(value)):
        return ""
    return f"which leads out of {' and '.join(dict.fromkeys(map(str, homes)))}"


def _refusal_of_text(value: Any) -> str:
    found = any(map(_could_be_path, _texts(value)))
    return "which looks like a path, where none belongs" if found else ""


def refusal_of_cluster(key: str, value: Any, homes: Collection[Path]) -> str:
    """Reason why a recipe may not give a key of ``[cluster]`` this value; empty if it may."""
    if key == "site" or (key == "kind" and value not in KINDS):
        return "which decides what code runs"
    if key == "tls":
        return refusal("*", "sample", value, homes)
    return refusal("cluster", key, value, homes)


def _texts(value: Any) -> Iterator[str]:
    """Every text in a TOML value."""
    if isinstance(value, Mapping):
        value = [*value.keys(), *value.values()]
    for one in value if isinstance(value, list) else [value]:
        if isinstance(one, list | Mapping):
            yield from _texts(one)
        elif isinstance(one, str):
            yield one


def _could_be_path(text: str) -> bool:
    return "/" in text or "\\" in text or text.startswith("~") or text.strip() in (".", "..")


def _lies_within(text: str, homes: Iterable[Path]) -> bool:
    """Whether a path lies in `homes` or an object store; links inside the folders are trusted.

    >>> [_lies_within(t, [Path("/work")]) for t in ("/work/a", "/work/../etc", "~/.ssh", "s3://b/a", "file:///work/a")]
    [True, False, False, True, False]
    """
    scheme, is_url, rest = text.partition("://")
    if is_url or "::" in text:  # fsspec's chains may lead anywhere
        return scheme in STORES and "::" not in rest
    full = os.path.normpath(os.path.join(Path.cwd(), os.path.expanduser(text)))  # noqa: PTH111, PTH118
    # Two slashes at the beginning are kept by normpath.
    return any(Path("/" + full.lstrip("/")).is_relative_to(home) for home in homes)
