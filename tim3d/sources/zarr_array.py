"""Existing zarr arrays, version 2 or 3, by path or URL; axes and voxel size come from OME-Zarr."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zarr

from tim3d.errors import InputError
from tim3d.grid import AXES
from tim3d.sources.axes import (
    IN_ORDER,
    Places,
    cut,
    is_volume,
    ordered_shape,
    places_by_name,
    places_in_order,
)
from tim3d.sources.base import Source, Voxels, reading, stored_dtype
from tim3d.sources.holes import MissingChunks, accepted
from tim3d.sources.ome_zarr import Level, level_of, level_size_nm, multiscale_of
from tim3d.sources.volumes import choose
from tim3d.sources.zarr_chunks import complete, holes_in, piece_bytes

_MARKS = ("zarr.json", ".zarray", ".zgroup")
# Largest number of folders between a level and its image (COSEM: recon/em/s0; ours: raw/s0/raw).
_HIGHEST = 2


@dataclass(frozen=True, kw_only=True, repr=False)
class ZarrArray(Source):
    """Array `inner` of the zarr at `location`, or `location` itself; `places` are z, y and x."""

    location: str
    inner: str = ""
    places: Places = IN_ORDER

    @property
    def label(self) -> str:
        """Name of this source in messages."""
        return f"{self.location}:{self.inner}" if self.inner else self.location

    def parts(self) -> tuple[object, ...]:
        """Names and sizes that distinguish this source from others."""
        return (self.location.rstrip("/").rsplit("/", 1)[-1], self.inner)

    def load(self, z0: int, z1: int) -> Voxels:
        """Slices `z0` <= z < `z1`."""
        with reading(self.label):
            array: Any = zarr.open_array(self.location, path=self.inner, mode="r")
            return cut(array if self.filled else complete(array), self.places, z0, z1)


def is_zarr(path: Path) -> bool:
    """Return whether a folder is a zarr array or group."""
    return any((path / mark).is_file() for mark in _MARKS)


def open_zarr(
    location: str, dataset: str | None, missing_chunks: MissingChunks = "refuse"
) -> ZarrArray:
    """Open a zarr array: the one at the location, or the named one inside a group.

    In a group that is an OME-Zarr image (0.4 or 0.5), or contains nothing but one, this is the
    full-resolution level by default; in any other group it is the only array that can be a volume.
    A level that is named gets the voxel size recorded in its image.

    Parameters
    ----------
    location : str
        Path or URL of an array or a group.
    dataset : str or None
        Name of the array inside a group.
    missing_chunks : {"refuse", "fill"}
        Whether missing chunks are an error or are read as the fill value.

    Raises
    ------
    InputError
        If nothing is found, the choice is ambiguous (the message lists the arrays of the group),
        the axes are not z, y and x, or chunks are missing and are not to be filled.
    MissingExtraError
        If a codec is not installed.
    """
    where = f"{location}:{dataset}" if dataset else location
    with reading(where), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about files in the folder that do not belong to zarr
        node = zarr.open(location, mode="r")
        found = _inside(node, dataset, location) if isinstance(node, zarr.Group) else node
        if isinstance(found, zarr.Array):
            return _source(location, found, _level_above(location, found), missing_chunks)
        level = _only_image(found)
        if level is None:
            arrays = {name: (array.shape, array.dtype) for name, array in _arrays(found)}
            name = choose(arrays, None, where)
            return _source(
                location, found[name], _level_above(location, found[name]), missing_chunks
            )
        return _source(location, level.group[level.path], level, missing_chunks)


def _inside(group: Any, dataset: str | None, location: str) -> Any:
    if dataset is None:
        return group
    if dataset.strip("/") not in group:
        held = ", ".join(sorted(name for name, _ in group.members())) or "nothing"
        raise InputError(
            f"{location} has no array {dataset!r}; it holds {held}. Name one of them: --dataset NAME"
        )
    return group[dataset.strip("/")]


def _arrays(group: Any) -> list[tuple[str, Any]]:
    return [
        (name, item) for name, item in group.members(max_depth=None) if isinstance(item, zarr.Array)
    ]


def _only_image(group: Any) -> Level | None:
    """Full-resolution level of the group if it is an image, or of the only image it contains."""
    if multiscale_of(group) is not None:
        return level_of(group)
    every = group.members(max_depth=None)
    images = [
        (name, item) for name, item in every if isinstance(item, zarr.Group) and multiscale_of(item)
    ]
    if len(images) != 1:
        return None
    name, image = images[0]
    others = [array for path, array in _arrays(group) if not path.startswith(f"{name}/")]
    return None if any(is_volume(array.shape, array.dtype) for array in others) else level_of(image)


def _level_above(location: str, array: Any) -> Level | None:
    """Level that an array is, if there is an image at most `_HIGHEST` folders above it."""
    for group, path in _groups_above(location, array.path):
        level = level_of(group, path)
        if level is not None:
            return level
    return None


def _groups_above(location: str, inner: str) -> Iterator[tuple[Any, str]]:
    parts = inner.split("/") if inner else []
    for n in reversed(range(len(parts))):
        # A folder above need not be a zarr group, and may be unreadable.
        with contextlib.suppress(Exception):
            yield zarr.open_group(location, path="/".join(parts[:n]), mode="r"), "/".join(parts[n:])
    head = location.rstrip("/")
    for _ in range(_HIGHEST - min(_HIGHEST, len(parts))):
        head, _, tail = head.rpartition("/")
        if not head or head.endswith(("/", ":")):
            return
        parts = [tail, *parts]
        with contextlib.suppress(Exception):
            yield zarr.open_group(head, mode="r"), "/".join(parts)


def _source(
    location: str, array: Any, level: Level | None, missing_chunks: MissingChunks
) -> ZarrArray:
    where = f"{location}:{array.path}" if array.path else location
    names = (level.axes if level else ()) or _dimension_names(array)
    places = (
        places_by_name(array.shape, names, where)
        if names
        else places_in_order(array.shape, array.dtype, where)
    )
    return ZarrArray(
        shape=ordered_shape(array.shape, places, where),
        dtype=stored_dtype(array.dtype, where),
        voxel_size_nm=level_size_nm(level) if level else (None, None, None),
        origin="OME-Zarr metadata" if level else "zarr, no metadata",
        filled=accepted(holes_in(array), missing_chunks, where, array.fill_value),
        piece_bytes=piece_bytes(array),
        location=location,
        inner=array.path,
        places=places,
    )


def _dimension_names(array: Any) -> Sequence[str]:
    """Names of the axes, by zarr version 3 or by xarray, if they include z, y or x."""
    held: Mapping[str, Any] = dict(array.attrs)
    names = getattr(array.metadata, "dimension_names", None) or held.get("_ARRAY_DIMENSIONS") or ()
    return names if {*AXES} & {str(name).lower() for name in names} else ()
