"""Names of a package that are imported on first use."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def lazy_names(
    what: str, places: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` of a package.

    Parameters
    ----------
    what : str
        What its names are, for the message about another name.
    places : mapping of str to str
        Module of each name.

    Examples
    --------
    >>> get, names = lazy_names("path", {"PurePath": "pathlib"})
    >>> names(), get("PurePath")
    (['PurePath'], <class 'pathlib.PurePath'>)
    """

    def get(name: str) -> Any:
        if name not in places:
            raise AttributeError(f"no {what} {name!r}; there are {', '.join(sorted(places))}")
        return getattr(importlib.import_module(places[name]), name)

    return get, lambda: sorted(places)
