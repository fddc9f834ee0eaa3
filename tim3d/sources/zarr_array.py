"""An existing zarr array, version 2 or 3, by path or URL; an OME-Zarr image tells its voxel size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from tim3d.errors import InputError
from tim3d.sources.base import UNKNOWN_SIZE, Source, Voxels, VoxelSize, reading, stored_dtype, volume_shape
from tim3d.sources.units import length_nm, unit_name
from tim3d.sources.volumes import choose

_MARKS = ("zarr.json", ".zarray", ".zgroup")


@dataclass(frozen=True, kw_only=True, repr=False)
class ZarrArray(Source):
    """The array `inner` of the zarr at `location`; `inner` is empty if the location is the array itself."""

    location: str
    inner: str = ""

    @property
    def label(self) -> str:
        """What messages call this source."""
        return f"{self.location}:{self.inner}" if self.inner else self.location

    def _parts(self) -> tuple[object, ...]:
        return (self.location.rstrip("/").rsplit("/", 1)[-1], self.inner)

    def _load(self, z0: int, z1: int) -> Voxels:
        with reading(self.label):
            array: Any = zarr.open_array(self.location, path=self.inner, mode="r")
            return np.asarray(array[z0:z1])


def is_zarr(path: Path) -> bool:
    """Whether a folder is a zarr array or group."""
    return any((path / mark).is_file() for mark in _MARKS)


def open_zarr(location: str, dataset: str | None) -> ZarrArray:
    """A zarr array: the one at the location, or inside a group the named one.

    A group that is an OME-Zarr image (0.4 or 0.5) gives its full-resolution level and voxel size; another group
    gives its only array with three axes.

    Raises
    ------
    InputError
        If nothing is there, or the array is not clear: the message lists what the group holds.
    """
    where = f"{location}:{dataset}" if dataset else location
    with reading(where):
        node = zarr.open(location, mode="r")
        found = _inside(node, dataset, location) if isinstance(node, zarr.Group) else node
    if isinstance(found, zarr.Array):
        return _source(location, found, found.path, UNKNOWN_SIZE, "zarr, no metadata")
    image = _multiscale(found)
    if image is not None:
        return _first_level(location, found, image)
    arrays = {name: (array.shape, array.dtype) for name, array in _arrays(found)}
    name = choose(arrays, None, where)
    return _source(location, found[name], f"{found.path}/{name}".strip("/"), UNKNOWN_SIZE, "zarr, no metadata")


def _inside(group: Any, dataset: str | None, location: str) -> Any:
    if dataset is None:
        return group
    if dataset.strip("/") not in group:
        held = ", ".join(sorted(name for name, _ in group.members())) or "nothing"
        raise InputError(f"{location} has no array {dataset!r}; it holds {held}. Name one of them with dataset=")
    return group[dataset.strip("/")]


def _arrays(group: Any) -> list[tuple[str, Any]]:
    return [(name, item) for name, item in group.members(max_depth=None) if isinstance(item, zarr.Array)]


def _source(location: str, array: Any, inner: str, size: VoxelSize, origin: str) -> ZarrArray:
    where = f"{location}:{inner}" if inner else location
    return ZarrArray(
        shape=volume_shape(array.shape, where),
        dtype=stored_dtype(array.dtype, where),
        voxel_size_nm=size,
        origin=origin,
        location=location,
        inner=inner,
    )


def _multiscale(group: Any) -> Mapping[str, Any] | None:
    attributes: Any = dict(group.attrs)
    images = attributes.get("ome", attributes).get("multiscales") or []
    return images[0] if images else None


def _first_level(location: str, group: Any, image: Mapping[str, Any]) -> ZarrArray:
    with reading(f"OME-Zarr metadata of {location}"):
        level = image["datasets"][0]
        array = group[level["path"]]
        size = _scale_nm(image.get("axes", []), level)
    inner = f"{group.path}/{level['path']}".strip("/")
    return _source(location, array, inner, size, "OME-Zarr metadata")


def _scale_nm(axes: list[Any], level: Mapping[str, Any]) -> VoxelSize:
    steps = level.get("coordinateTransformations", [])
    scale: list[float] = next((step["scale"] for step in steps if step.get("type") == "scale"), [])
    by_axis = {
        axis["name"]: length_nm(length, axis["unit"])
        for axis, length in zip(axes, scale, strict=False)
        if isinstance(axis, Mapping) and unit_name(str(axis.get("unit", ""))) is not None
    }
    return (by_axis.get("z"), by_axis.get("y"), by_axis.get("x"))
