"""Layouts of HDF5 that say more than an array: Imaris, VTK-HDF, and attributes of a data set."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tim3d.errors import InputError
from tim3d.sources.axes import axis_name, names_of_space
from tim3d.sources.base import UNKNOWN_SIZE, VoxelSize
from tim3d.sources.coordinates import Coordinates, coordinates_of, lattice_of
from tim3d.sources.units import positive_nm
from tim3d.sources.volumes import choose
from tim3d.sources.wanted import Wanted

_IMARIS_PATH = re.compile(r"DataSet/ResolutionLevel (\d+)/TimePoint (\d+)/Channel (\d+)/Data$")
_VTK = "VTKHDF"
# Axes of an image stack in MATLAB.
MATLAB_AXES = ("row", "column", "slice")
NO_VARIABLE = b"This is a netCDF dimension but not a netCDF variable"


@dataclass(frozen=True)
class Found:
    """Data set `name`, what its axes are called, its voxel size, and where that comes from.

    `limits` are the voxels along z, y and x that belong to the image, if the rest is padding.
    """

    name: str
    axes: tuple[str, ...] = ()
    voxel_size_nm: VoxelSize = UNKNOWN_SIZE
    origin: str = ""
    limits: tuple[int, int, int] | None = None
    called: Mapping[str, Sequence[str]] = field(default_factory=dict)
    positions_nm: tuple[float, ...] | None = None


def known_layout(file: Any, wanted: Wanted, path: Path) -> Found | None:
    """Image of a file of a known layout; None if it is any other HDF5.

    Raises
    ------
    ArgumentError
        If the file does not have what is chosen.
    InputError
        If something must be chosen, or it does not hold a uniform volume.
    """
    for read in LAYOUTS:
        found = read(file, wanted, path)
        if found is not None:
            return found
    return None


def _imaris(file: Any, wanted: Wanted, path: Path) -> Found | None:
    image = file.get("DataSetInfo/Image")
    if image is None or "DataSet/ResolutionLevel 0/TimePoint 0" not in file:
        return None
    named = _IMARIS_PATH.search(wanted.dataset or "")
    if wanted.dataset is not None and named is None:
        return None
    levels, times, channels = _imaris_counts(file)
    chosen = (
        dict(zip(("level", "time", "channel"), map(int, named.groups()), strict=True))
        if named
        else wanted.picks.chosen({"level": levels, "time": times, "channel": channels}, str(path))
    )
    group = f"DataSet/ResolutionLevel {chosen['level']}/TimePoint {chosen['time']}/Channel {chosen['channel']}"
    if f"{group}/Data" not in file:
        return None
    shape = file[f"{group}/Data"].shape
    limits = [
        int(_text(file[group], f"ImageSize{a}") or n) for a, n in zip("ZYX", shape, strict=True)
    ]
    sizes = [_imaris_edge(image, i, n) for i, n in zip((2, 1, 0), limits, strict=True)]
    return Found(
        f"{group}/Data",
        ("z", "y", "x"),
        (sizes[0], sizes[1], sizes[2]),
        "Imaris extents",
        (limits[0], limits[1], limits[2]),
    )


def _imaris_counts(file: Any) -> tuple[list[str], list[str], list[str]]:
    levels = _numbered(file["DataSet"], "ResolutionLevel ")
    times = _numbered(file["DataSet/ResolutionLevel 0"], "TimePoint ")
    channels = _numbered(file["DataSet/ResolutionLevel 0/TimePoint 0"], "Channel ")
    names = [_text(file.get(f"DataSetInfo/Channel {i}"), "Name") for i in range(len(channels))]
    return levels, times, names


def _numbered(group: Any, start: str) -> list[str]:
    return ["" for name in group if name.startswith(start)]


def _imaris_edge(image: Any, axis: int, count: int) -> float | None:
    try:
        low, high = (float(_text(image, f"Ext{end}{axis}")) for end in ("Min", "Max"))
    except ValueError:
        return None
    return positive_nm(round((high - low) / count, 12), _text(image, "Unit") or "um")


def _text(group: Any, name: str) -> str:
    """Attribute that Imaris writes as an array of single letters."""
    held = None if group is None else group.attrs.get(name)
    if held is None:
        return ""
    if isinstance(held, bytes | str):
        return held.decode("latin-1") if isinstance(held, bytes) else held
    return b"".join(np.asarray(held).astype("S1").ravel().tolist()).decode("latin-1")


def _vtkhdf(file: Any, wanted: Wanted, path: Path) -> Found | None:
    group = file.get(_VTK)
    if group is None or "Type" not in group.attrs:
        return None
    held = group.attrs["Type"]
    kind = held.decode() if isinstance(held, bytes) else str(held)
    if kind != "ImageData":
        raise InputError(
            f"{path} is VTK-HDF of type {kind}; save image data (a uniform grid) as a new file: in ParaView the filter "
            "Resample To Image"
        )
    arrays = {
        f"{_VTK}/{place}/{name}": (item.shape, item.dtype)
        for place in ("PointData", "CellData")
        for name, item in group.get(place, {}).items()
        if isinstance(item, h5py.Dataset)
    }
    dataset = wanted.dataset and wanted.dataset.strip("/")
    short = [name for name in arrays if dataset == name.rsplit("/", 1)[-1]]
    one = wanted.dataset is None and len(arrays) == 1
    name = (
        next(iter(arrays))
        if one
        else short[0]
        if short
        else choose(arrays, dataset, str(path), spacious=True)
    )
    spacing = " ".join(f"{v:g}" for v in np.ravel(group.attrs.get("Spacing", [])))
    axes: tuple[str, ...] = ("t", "z", "y", "x") if "Steps" in group else ("z", "y", "x")
    axes += ("c",) if len(arrays[name][0]) > len(axes) else ()
    return Found(name, axes, origin=f"VTK-HDF: Spacing {spacing} (x y z) without a unit of length")


# Layouts that are recognised, in this order; each returns None for other files.
LAYOUTS: tuple[Callable[[Any, Wanted, Path], Found | None], ...] = (_imaris, _vtkhdf)


def said_by(dataset: Any, name: str) -> Found:
    """Names of the axes and voxel size, from the attributes and scales of a data set."""
    axes = _axis_names(dataset)
    size = dataset.attrs.get("element_size_um")
    edges = [] if size is None else [float(v) for v in np.ravel(size)]
    if len(edges) != 3 or not all(math.isfinite(v) for v in edges):
        found = lattice_of(_coordinates(dataset), f"{dataset.file.filename}:{name}")
        beside = any(found.voxel_size_nm) or found.positions_nm
        origin = f"HDF5 data set {name}, {'its coordinates' if beside else 'no metadata'}"
        return Found(name, axes, found.voxel_size_nm, origin, positions_nm=found.positions_nm)
    z, y, x = (positive_nm(edge, "um") for edge in edges)
    return Found(name, axes, (z, y, x), "HDF5 attribute element_size_um")


def scale_of(dataset: Any) -> tuple[float, float] | None:
    """Scale factor and offset by the conventions of netCDF; None if there are none."""
    try:
        found = tuple(
            float(np.ravel(dataset.attrs.get(name, default))[0])
            for name, default in (("scale_factor", 1.0), ("add_offset", 0.0))
        )
    except (TypeError, ValueError):
        return None
    return None if found == (1.0, 0.0) else (found[0], found[1])


def missing_value(dataset: Any) -> float | None:
    """Value that stands for missing data by the conventions of netCDF; None if there is none."""
    for name in ("_FillValue", "missing_value"):
        try:
            return float(np.ravel(dataset.attrs[name])[0])
        except (KeyError, TypeError, ValueError, IndexError):
            continue
    return None


def _axis_names(dataset: Any) -> tuple[str, ...]:
    """Names of the axes, if z, y or x occurs: labels, scales (netCDF), axistags (ilastik), MATLAB."""
    names = [dimension.label or _scale_name(dimension) for dimension in dataset.dims]
    if not all(names):
        tags = json.loads(dataset.attrs.get("axistags") or "{}")
        names = [str(axis["key"]) for axis in tags.get("axes", [])]
    if not names and is_of_matlab(dataset):
        names = [*reversed(MATLAB_AXES[: dataset.ndim])]
    return names_of_space(names)


def _coordinates(dataset: Any) -> dict[str, Coordinates]:
    """Coordinates along the axes that have a scale with values."""
    made = {}
    for dimension in dataset.dims:
        scale = dimension[0] if len(dimension) else None
        # A dimension of netCDF without coordinates has a scale that holds nothing.
        if scale is None or bytes(scale.attrs.get("NAME", b"")).startswith(NO_VARIABLE):
            continue
        found = coordinates_of(scale[()], scale.attrs.get("units", ""))
        if found is not None:
            made[axis_name(dimension.label or _scale_name(dimension))] = found
    return made


def _scale_name(dimension: Any) -> str:
    """Name of the first scale of an axis, as netCDF names its dimensions; empty if it has none."""
    return str(dimension[0].name).rsplit("/", 1)[-1] if len(dimension) else ""


def is_of_matlab(dataset: Any) -> bool:
    """Whether MATLAB (7.3) wrote an array: its axes are stored in the reverse order, rows last."""
    return "MATLAB_class" in dataset.attrs
