"""Data sets of HDF5 files; links are followed inside the folder of the file only."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tim3d.sources.axes import (
    IN_ORDER,
    Layout,
    Others,
    Places,
    cut,
    layout_by_name,
    ordered_shape,
    places_in_order,
)
from tim3d.sources.base import MATLAB_ORDER, WHITE_IS_ZERO, Voxels, reading, stored_dtype
from tim3d.sources.hdf5_layouts import (
    Found,
    is_of_matlab,
    known_layout,
    missing_value,
    said_by,
    scale_of,
)
from tim3d.sources.hdf5_storage import outside, surveyed
from tim3d.sources.holes import accepted
from tim3d.sources.volumes import FileSource, choose
from tim3d.sources.wanted import Wanted

HDF5_SUFFIXES = (".h5", ".hdf5", ".hdf", ".he5")


@dataclass(frozen=True, kw_only=True, repr=False)
class Hdf5Dataset(FileSource):
    """Data set inside an HDF5 file; `places` are its axes z, y and x, `others` what is chosen."""

    dataset: str
    places: Places = IN_ORDER
    others: Others = ()

    @property
    def label(self) -> str:
        """Name of this source in messages."""
        return f"{self.path}:{self.dataset}"

    def parts(self) -> tuple[object, ...]:
        """Names and sizes that distinguish this source from others."""
        return (*super().parts(), self.dataset, *([self.others] if self.others else []))

    def load(self, z0: int, z1: int) -> Voxels:
        """Slices `z0` <= z < `z1`."""
        with reading(self.label), h5py.File(self.path, "r") as file:
            found = cut(file[self.dataset], self.places, z0, z1, self.others)
            return found[:, : self.shape[1], : self.shape[2]]


def is_hdf5(path: Path) -> bool:
    """Return whether a file is HDF5, by name or content (as .nxs, .mat of MATLAB 7.3, .ims)."""
    return path.suffix.lower() in HDF5_SUFFIXES or bool(h5py.is_hdf5(path))


def open_hdf5(path: Path, wanted: Wanted) -> Hdf5Dataset:
    """Open a data set of an HDF5 file: the named one, or the only one that can be a volume.

    Links are followed inside the folder of the file. If the axes have names (dimension labels,
    axistags), these determine z, y and x. Of Imaris and VTK-HDF the image is found.

    Parameters
    ----------
    path : Path
        The file.
    wanted : Wanted
        Name of the data set, channel, time and level, and what becomes of missing chunks.

    Raises
    ------
    ArgumentError
        If the file does not have the channel, time or level that is chosen.
    InputError
        If the named data set does not exist, none is named and there is not exactly one volume, its
        voxels lie in another file or outside the folder, or chunks are missing and are not to be
        filled.
    MissingExtraError
        If a filter is not installed.
    """
    with reading(path), h5py.File(path, "r") as file:
        known = known_layout(file, wanted, path)
        name, dataset = _found(file, known.name if known else wanted.dataset, path)
        said = known or said_by(dataset, name)
        layout = _layout(dataset, said, wanted, f"{path}:{name}")
        return _source(path, dataset, said, layout, wanted)


def _layout(dataset: Any, said: Found, wanted: Wanted, where: str) -> Layout:
    if said.limits is not None:
        return Layout(IN_ORDER)
    if said.axes:
        return layout_by_name(dataset.shape, said.axes, where, wanted.picks, said.called)
    wanted.refuse_picks(where)
    return Layout(places_in_order(dataset.shape, _dtype(dataset), where))


def _source(path: Path, dataset: Any, said: Found, layout: Layout, wanted: Wanted) -> Hdf5Dataset:
    where = f"{path}:{said.name}"
    shape = ordered_shape(dataset.shape, layout.places, where)
    holes = surveyed(dataset, path.absolute().parent)
    white = bool(np.ravel(dataset.attrs.get("IMAGE_WHITE_IS_ZERO", 0))[0])
    return Hdf5Dataset(
        shape=said.limits or shape,
        dtype=stored_dtype(_dtype(dataset), where),
        voxel_size_nm=said.voxel_size_nm,
        origin=said.origin,
        positions_nm=said.positions_nm,
        filled=accepted(holes, wanted.missing_chunks, where, dataset.fillvalue),
        piece_bytes=math.prod(dataset.chunks) * dataset.dtype.itemsize if dataset.chunks else 0,
        remarks=(
            *((WHITE_IS_ZERO,) if white else ()),
            *((MATLAB_ORDER,) if is_of_matlab(dataset) else ()),
        ),
        scale=scale_of(dataset),
        missing=missing_value(dataset),
        path=str(path),
        size=path.stat().st_size,
        dataset=said.name,
        places=layout.places,
        others=layout.others,
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
