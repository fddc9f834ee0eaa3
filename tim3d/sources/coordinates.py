"""Coordinates beside an array, as netCDF and xarray keep them: voxel edges, or positions of slices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tim3d.errors import InputError
from tim3d.grid import AXES
from tim3d.sources.base import UNKNOWN_SIZE, VoxelSize
from tim3d.sources.units import length_nm, positive_nm, unit_name

# Steps that differ by less, relative to their mean, are those of a lattice: stages report jitter.
EVEN = 0.01


@dataclass(frozen=True, slots=True)
class Coordinates:
    """Values along an axis, and their unit as it is written; empty if there is none."""

    values: NDArray[np.float64]
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Lattice:
    """Voxel edges in nm, None where unknown, and positions of the slices if they are not even."""

    voxel_size_nm: VoxelSize = UNKNOWN_SIZE
    positions_nm: tuple[float, ...] | None = None


def coordinates_of(values: NDArray[np.generic], unit: object) -> Coordinates | None:
    """Coordinates of an axis; None unless they are two or more numbers that are not all equal."""
    if values.ndim != 1 or len(values) < 2 or values.dtype.kind not in "iuf":
        return None
    found = np.asarray(values, np.float64)
    text = unit.decode(errors="replace") if isinstance(unit, bytes) else str(unit)
    return Coordinates(found, text) if (found != found[0]).any() else None


def lattice_of(along: Mapping[str, Coordinates], where: str) -> Lattice:
    """Voxel edges that coordinates along z, y and x state; their direction does not matter.

    Raises
    ------
    InputError
        If they are not finite, neither rise nor fall, or are uneven along y or x, or along z
        without a unit of length. Uneven slices with one have positions.

    Examples
    --------
    >>> lattice_of({"z": Coordinates(np.array([0.0, 2.0, 4.0]), "um")}, "a.nc")
    Lattice(voxel_size_nm=(2000.0, None, None), positions_nm=None)
    """
    edges: list[float | None] = []
    positions = None
    for axis in AXES:
        one = along.get(axis)
        step = None if one is None else _step(axis, one, where)
        if one is not None and step is None:
            positions = _positions(axis, one, where)
        edges.append(None if one is None or step is None else positive_nm(step, one.unit))
    return Lattice((edges[0], edges[1], edges[2]), positions)


def _step(axis: str, one: Coordinates, where: str) -> float | None:
    """Mean step of an axis; None if its steps are uneven."""
    steps = np.diff(one.values)
    if not np.isfinite(steps).all() or not ((steps > 0).all() or (steps < 0).all()):
        raise InputError(
            f"coordinates {axis} of {where} neither rise nor fall: their order is not that of the voxels. "
            "Write the array again in the order of its coordinates"
        )
    mean = float(steps.mean())
    return abs(mean) if (abs(steps - mean) <= EVEN * abs(mean)).all() else None


def _positions(axis: str, one: Coordinates, where: str) -> tuple[float, ...]:
    steps = abs(np.diff(one.values))
    if axis == "z" and unit_name(one.unit) is not None:
        return tuple(length_nm(float(z), one.unit) for z in one.values)
    raise InputError(
        f"coordinates {axis} of {where} have steps of {steps.min():g} to {steps.max():g}; voxels along {axis} have one "
        f"edge. {'Write their unit of length beside them' if axis == 'z' else 'Resample the array to even steps'}"
    )
