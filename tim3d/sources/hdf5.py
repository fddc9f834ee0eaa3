"""Data sets of HDF5 files; links are followed inside the folder of the file only."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tim3d.sources.axes import IN_ORDER, Places, cut, ordered_shape, places_by_name, places_in_order
from tim3d.sources.base import Voxels, reading, stored_dtype
from tim3d.sources.hdf5_storage import outside, surveyed
from tim3d.sources.holes import MissingChunks, accepted
from tim3d.sources.volumes import FileSource, choose

HDF5_SUFFIXES = (".h5", ".hdf5", ".hdf", ".he5")


@dataclass(frozen=True, kw_only=True, repr=False)
class Hdf5Dataset(FileSource):
    """Data set inside an HDF5 file; `places` are its axes z, y and x."""

    dataset: str
    places: Places = IN_ORDER

    @property
    def label(self) -> str:
        """Name of this source in messages."""
        return f"{self.path}:{self.dataset}"

    def parts(self) -> tuple[object, ...]:
        """Names and sizes that distinguish this source from others."""
        return (*super().parts(), self.dataset)

    def load(self, z0: int, z1: int) -> Voxels:
        """Slices `z0` <= z < `z1`."""
        with reading(self.label), h5py.File(self.path, "r") as file:
            return cut(file[self.dataset], self.places, z0, z1)


def is_hdf5(path: Path) -> bool:
    """Return whether a file is HDF5, by name or content (as .nxs, .mat of MATLAB 7.3, .ims)."""
    return path.suffix.lower() in HDF5_SUFFIXES or bool(h5py.is_hdf5(path))


def open_hdf5(
    path: Path, dataset: str | None, missing_chunks: MissingChunks = "refuse"
) -> Hdf5Dataset:
    """Open a data set of an HDF5 file: the named one, or the only one that can be a volume.

    Links are followed inside the folder of the file. If the axes have names (dimension labels,
    axistags), these determine z, y and x.

    Parameters
    ----------
    path : Path
        The file.
    dataset : str or None
        Name of the data set.
    missing_chunks : {"refuse", "fill"}
        Whether missing chunks are an error or are read as the fill value.

    Raises
    ------
    InputError
        If the named data set does not exist, none is named and there is not exactly one volume, its
        voxels lie in another file or outside the folder, or chunks are missing and are not to be
        filled.
    MissingExtraError
        If a filter is not installed.
    """
    with reading(path), h5py.File(path, "r") as file:
        name, found = _found(file, dataset, path)
        where = f"{path}:{name}"
        names, kind = _axis_names(found), _dtype(found)
        places = (
            places_by_name(found.shape, names, where)
            if names
            else places_in_order(found.shape, kind, where)
        )
        shape, dtype = ordered_shape(found.shape, places, where), stored_dtype(kind, where)
        holes = surveyed(found, path.absolute().parent)
        return Hdf5Dataset(
            shape=shape,
            dtype=dtype,
            origin=f"HDF5 data set {name}, no metadata",
            filled=accepted(holes, missing_chunks, where, found.fillvalue),
            piece_bytes=math.prod(found.chunks) * found.dtype.itemsize if found.chunks else 0,
            path=str(path),
            size=path.stat().st_size,
            dataset=name,
            places=places,
        )


def _found(file: Any, wanted: str | None, path: Path) -> tuple[str, Any]:
    astray: dict[str, str] = {}
    every = dict(_datasets(file, "", {file.id}, path.absolute().parent, astray))
    if wanted is not None and wanted.strip("/") not in every:
        return wanted.strip("/"), _named(file, wanted.strip("/"), every, astray, path)
    # A data set with two names is one volume.
    once = {item.id: name for name, item in sorted(every.items(), reverse=True)}
    shown = every if wanted is not None else {name: every[name] for name in once.values()}
    name = choose(
        {name: (item.shape, _dtype(item)) for name, item in shown.items()},
        wanted,
        str(path),
        astray,
    )
    return name, every[name]


def _named(
    file: Any, wanted: str, every: dict[str, Any], astray: dict[str, str], path: Path
) -> Any:
    """Find a data set by a name that passes through a group already visited under another name."""
    item = None if wanted in astray else file.get(wanted)
    if not isinstance(item, h5py.Dataset) or outside(item.file.filename, path.absolute().parent):
        choose(
            {name: (item.shape, _dtype(item)) for name, item in every.items()},
            wanted,
            str(path),
            astray,
        )
    return item


def _datasets(
    group: Any, prefix: str, seen: set[Any], folder: Path, astray: dict[str, str]
) -> Iterator[tuple[str, Any]]:
    """Yield all data sets with their names; collect links that are not followed in `astray`."""
    for key in group:
        name = prefix + key
        item = _followed(group, key, folder, astray, name)
        if isinstance(item, h5py.Dataset) and item.shape is not None:
            yield name, item
        elif isinstance(item, h5py.Group) and item.id not in seen:
            seen.add(item.id)
            yield from _datasets(item, f"{name}/", seen, folder, astray)


def _followed(group: Any, key: str, folder: Path, astray: dict[str, str], name: str) -> Any:
    link = group.get(key, getlink=True)
    if isinstance(link, h5py.ExternalLink):
        target = Path(group.file.filename).absolute().parent / link.filename
        if target.exists() and (outside(target, folder) or not target.is_file()):
            astray[name] = f"{link.filename}, which is outside the folder {folder}"
            return None
    try:
        item = group[key]
    except (KeyError, OSError):
        astray[name] = (
            f"{getattr(link, 'filename', '')}:{getattr(link, 'path', '')}".strip(":")
            + ", which is not there"
        )
        return None
    if outside(item.file.filename, folder):
        astray[name] = (
            f"{os.path.normpath(item.file.filename)}, which is outside the folder {folder}"
        )
        return None
    return item


def _dtype(dataset: Any) -> np.dtype[Any]:
    try:
        found: np.dtype[Any] = dataset.dtype
        return found
    except TypeError:  # an HDF5 type that numpy does not have
        return np.dtype(object)


def _axis_names(dataset: Any) -> list[str]:
    """Names of the axes, if z, y or x occurs: dimension labels, or axistags (vigra, ilastik)."""
    names = [dimension.label for dimension in dataset.dims]
    if not all(names):
        tags = json.loads(dataset.attrs.get("axistags") or "{}")
        names = [str(axis["key"]) for axis in tags.get("axes", [])]
    return names if {"z", "y", "x"} & {name.lower() for name in names} else []
