"""Names of a package, and packages, that are imported on first use."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any


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


class LateModule(ModuleType):
    """Stand for a module, which is imported when one of its names is looked up.

    Threads that look one up at the same time wait for one import, as with any other.

    Examples
    --------
    >>> late = LateModule("pathlib")
    >>> late.PurePath("a", "b").name
    'b'
    """

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self.__name__), name)


# What plans, lists and most messages do without. With pandas, xarray takes longer to import than all
# else; then come these parts of SciPy.
if TYPE_CHECKING:
    import xarray
    from scipy import fft, interpolate, ndimage, optimize, sparse, spatial
    from scipy.sparse import csgraph
else:
    xarray = LateModule("xarray")
    fft = LateModule("scipy.fft")
    interpolate = LateModule("scipy.interpolate")
    ndimage = LateModule("scipy.ndimage")
    optimize = LateModule("scipy.optimize")
    sparse = LateModule("scipy.sparse")
    spatial = LateModule("scipy.spatial")
    csgraph = LateModule("scipy.sparse.csgraph")

__all__ = [
    "LateModule",
    "csgraph",
    "fft",
    "interpolate",
    "lazy_names",
    "ndimage",
    "optimize",
    "sparse",
    "spatial",
    "xarray",
]
