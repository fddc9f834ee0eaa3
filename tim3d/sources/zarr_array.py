"""Existing zarr arrays, version 2 or 3, by path or URL; axes and voxel size come from OME-Zarr."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from tim3d.errors import InputError
from tim3d.sources.axes import (
    IN_ORDER,
    Layout,
    Others,
    Places,
    axis_name,
    cut,
    is_volume,
    layout_by_name,
    names_of_space,
    ordered_shape,
    places_in_order,
)
from tim3d.sources.base import Source, Voxels, reading, stored_dtype
from tim3d.sources.coordinates import Coordinates, Lattice, coordinates_of, lattice_of
from tim3d.sources.holes import accepted
from tim3d.sources.ome_zarr import Level, level_of, level_paths, level_size_nm, multiscale_of
from tim3d.sources.positions import natural_key
from tim3d.sources.volumes import choose
from tim3d.sources.wanted import Picks, Wanted
from tim3d.sources.zarr_chunks import complete, holes_in, piece_bytes

_MARKS = ("zarr.json", ".zarray", ".zgroup")
# Largest number of folders between a level and its image (COSEM: recon/em/s0; ours: raw/s0/raw).
_HIGHEST = 2


@dataclass(frozen=True, kw_only=True, repr=False)
class ZarrArray(Source):
    """Array `inner` of the zarr at `location`, or `location` itself.

    `places` are z, y and x, `others` what is chosen along other axes.
    """

    location: str
    inner: str = ""
    places: Places = IN_ORDER
    others: Others = ()

    @property
    def label(self) -> str:
        """Name of this source in messages."""
        return f"{self.location}:{self.inner}" if self.inner else self.location

    def parts(self) -> tuple[object, ...]:
        """Names and sizes that distinguish this source from others."""
        own = (self.location.rstrip("/").rsplit("/", 1)[-1], self.inner)
        return (*own, self.others) if self.others else own

    def load(self, z0: int, z1: int) -> Voxels:
        """Slices `z0` <= z < `z1`."""
        with reading(self.label):
            array: Any = zarr.open_array(self.location, path=self.inner, mode="r")
            held = array if self.filled else complete(array)
            return cut(held, self.places, z0, z1, self.others)


def is_zarr(path: Path) -> bool:
    """Return whether a folder is a zarr array or group."""
    return any((path / mark).is_file() for mark in _MARKS)


def open_zarr(location: str, wanted: Wanted) -> ZarrArray:
    """Open a zarr array: the one at the location, or the named one inside a group.

    In a group that is an OME-Zarr image (0.4 or 0.5), or contains nothing but one, this is the
    full-resolution level, or the one that is chosen; of several images (scenes) one is chosen. In
    any other group it is the only array that can be a volume. A level that is named gets the voxel
    size recorded in its image.

    Parameters
    ----------
    location : str
        Path or URL of an array or a group.
    wanted : Wanted
        Name of the array inside a group, scene, level, channel and time, and what becomes of
        missing chunks.

    Raises
    ------
    ArgumentError
        If it does not have what is chosen.
    InputError
        If nothing is found, the choice is ambiguous (the message lists the arrays of the group),
        the axes are not z, y and x, or chunks are missing and are not to be filled.
    MissingExtraError
        If a codec is not installed.
    """
    where = f"{location}:{wanted.dataset}" if wanted.dataset else location
    with reading(where), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about files in the folder that do not belong to zarr
        node = zarr.open(location, mode="r")
        found = _inside(node, wanted.dataset, location) if isinstance(node, zarr.Group) else node
        if isinstance(found, zarr.Array):
            _refuse_image_picks(wanted, where)
            return _source(location, found, _level_above(location, found), wanted)
        image = _image(found, wanted, where)
        if image is None:
            _refuse_image_picks(wanted, where)
            arrays = {name: (array.shape, array.dtype) for name, array in _arrays(found)}
            name = choose(arrays, None, where)
            return _source(location, found[name], _level_above(location, found[name]), wanted)
        level = _level(image, wanted, where)
        return _source(location, level.group[level.path], level, wanted)


def _refuse_image_picks(wanted: Wanted, where: str) -> None:
    Picks(scene=wanted.picks.scene, level=wanted.picks.level).chosen({}, f"{where} (an array)")


def _level(image: Any, wanted: Wanted, where: str) -> Level:
    paths = level_paths(image)
    number = Picks(level=wanted.picks.level).chosen({"level": paths or ("",)}, where)["level"]
    found = level_of(image, paths[number].strip("/") if paths else None)
    if found is None:
        raise ValueError("its image names no level")
    return found


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


def _image(group: Any, wanted: Wanted, where: str) -> Any:
    """The group if it is an image, or the image in it that is chosen; None if it holds arrays as well."""
    if multiscale_of(group) is not None:
        Picks(scene=wanted.picks.scene).chosen({}, where)
        return group
    images = {
        name: item
        for name, item in group.members(max_depth=None)
        if isinstance(item, zarr.Group) and multiscale_of(item) and "labels" not in name.split("/")
    }
    inside = tuple(f"{name}/" for name in images)
    others = [array for path, array in _arrays(group) if not path.startswith(inside)]
    if not images or any(is_volume(array.shape, array.dtype) for array in others):
        return None
    if wanted.picks.scene is None and len(images) > 1 and not _is_series(group):
        return None
    names = sorted(images, key=natural_key)
    number = Picks(scene=wanted.picks.scene).chosen({"scene": names}, where)["scene"]
    return images[names[number]]


def _is_series(group: Any) -> bool:
    held = dict(group.attrs)
    return "bioformats2raw.layout" in dict(held.get("ome", held)) or "bioformats2raw.layout" in held


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


def _source(location: str, array: Any, level: Level | None, wanted: Wanted) -> ZarrArray:
    where = f"{location}:{array.path}" if array.path else location
    names = (level.axes if level else ()) or _dimension_names(array)
    picks = Picks(time=wanted.picks.time, channel=wanted.picks.channel)
    if names:
        called = {"channel": level.channels} if level else {}
        layout = layout_by_name(array.shape, names, where, picks, called)
    else:
        picks.chosen({}, where)
        layout = Layout(places_in_order(array.shape, array.dtype, where))
    found = (
        Lattice(level_size_nm(level, where)) if level else _lattice(location, array, names, where)
    )
    beside = any(found.voxel_size_nm) or found.positions_nm
    return ZarrArray(
        shape=ordered_shape(array.shape, layout.places, where),
        dtype=stored_dtype(array.dtype, where),
        voxel_size_nm=found.voxel_size_nm,
        origin="OME-Zarr metadata"
        if level
        else f"zarr, {'coordinates' if beside else 'no metadata'}",
        positions_nm=found.positions_nm,
        filled=accepted(holes_in(array), wanted.missing_chunks, where, array.fill_value),
        piece_bytes=piece_bytes(array),
        scale=_scale_of(array),
        location=location,
        inner=array.path,
        places=layout.places,
        others=layout.others,
    )


def _lattice(location: str, array: Any, names: Sequence[str], where: str) -> Lattice:
    """Voxel edges by the coordinates that xarray keeps beside an array, named like its axes."""
    along: dict[str, Coordinates] = {}
    for group, _ in islice(_groups_above(location, array.path), 1 if names else 0):
        for name, size in zip(names, array.shape, strict=True):
            held = group.get(name)
            if isinstance(held, zarr.Array) and held.shape == (size,):
                one = coordinates_of(np.asarray(held[:]), held.attrs.get("units", ""))
                along |= {axis_name(name): one} if one else {}
    return lattice_of(along, where)


def _scale_of(array: Any) -> tuple[float, float] | None:
    """Scale factor and offset by the conventions of netCDF; None if there are none."""
    held = dict(array.attrs)
    try:
        found = (float(held.get("scale_factor", 1)), float(held.get("add_offset", 0)))
    except (TypeError, ValueError):
        return None
    return None if found == (1.0, 0.0) else found


def _dimension_names(array: Any) -> Sequence[str]:
    """Names of the axes, by zarr version 3 or by xarray, if they include z, y or x."""
    held: Mapping[str, Any] = dict(array.attrs)
    names = getattr(array.metadata, "dimension_names", None) or held.get("_ARRAY_DIMENSIONS") or ()
    return names_of_space(names)
