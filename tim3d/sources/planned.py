"""Stack that an earlier step of a recipe will write: its names are known, its voxels not yet."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import NoReturn

from tim3d.errors import InputError
from tim3d.forecast import expected, is_forecasting
from tim3d.sources.base import Source, Voxels


@dataclass(frozen=True, kw_only=True, repr=False)
class PlannedStack(Source):
    """Slices that will be written to `folder` with these `names`, in this order."""

    folder: str
    names: tuple[str, ...]

    @property
    def label(self) -> str:
        """Name of this source in messages."""
        return f"{len(self.names)} slices that will be in {self.folder}"

    def identity(self) -> str:
        """Placeholder that no existing stack has, because the voxels are not known yet."""
        return f"not written yet: {self.folder}"

    def only(self, names: Sequence[str]) -> PlannedStack | None:
        """Return the stack of some of the slices; None if one of them will not be written."""
        if not names or not set(names) <= set(self.names):
            return None
        kept = tuple(name for name in self.names if name in names)
        return replace(self, names=kept, shape=(len(kept), *self.shape[1:]))

    def parts(self) -> tuple[object, ...]:
        """Names and sizes that distinguish this source from others."""
        return (self.folder, self.names)

    def load(self, z0: int, z1: int) -> Voxels:
        """Slices `z0` <= z < `z1`."""
        return self._refuse()

    def _refuse(self) -> NoReturn:
        raise InputError(f"{self.folder} is not written yet; run the steps that come first")


def planned_stack(
    spec: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
) -> PlannedStack | None:
    """Stack that an earlier step will write at a folder, pattern or list of files, or None.

    Parameters
    ----------
    spec : path, pattern, or sequence of paths
        See `tim3d.sources.opening.open_source`.
    """
    if not is_forecasting():
        return None
    if not isinstance(spec, str | os.PathLike):
        return planned_stack(spec[0]) if len(spec) == 1 else _listed([Path(item) for item in spec])
    path = Path(spec)
    whole = _expected(path)
    if whole is not None:
        return whole
    folder = _expected(path.parent)
    return (
        None
        if folder is None
        else folder.only([n for n in folder.names if n == path.name or fnmatch(n, path.name)])
    )


def _listed(paths: Sequence[Path]) -> PlannedStack | None:
    if len({path.parent for path in paths}) != 1:
        return None
    folder = _expected(paths[0].parent)
    return None if folder is None else folder.only([path.name for path in paths])


def _expected(folder: Path) -> PlannedStack | None:
    found = expected("stack", str(folder))
    return found if isinstance(found, PlannedStack) else None
