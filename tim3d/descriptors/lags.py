"""Lags of correlations: their names as dimensions, and their lengths as coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tim3d.descriptors.base import Material
from tim3d.errors import ArgumentError
from tim3d.grid import AXES, Triple
from tim3d.kernels.morphology.surface import DIRECTIONS

DEFAULT_LAGS = 32
# Dimension of the 13 directions of a lattice, which those of a flow are not.
ALONG = "lag_direction"
Coordinates = dict[str, Any]


def dimension(kind: str, lags: int) -> str:
    """Name of a dimension of lags, the same for all descriptors with as many lags.

    >>> dimension("lag", 32), dimension("lag", 64)
    ('lag', 'lag_64')
    """
    return kind if lags == DEFAULT_LAGS else f"{kind}_{lags}"


def direction_names(directions: Sequence[Triple] = DIRECTIONS) -> list[str]:
    """Names of directions by the axes along which a step goes.

    >>> direction_names([(1, 0, 0), (0, 1, -1), (1, 1, 1)])
    ['z', 'y-x', 'z+y+x']
    """
    return ["".join(_signed(step)).lstrip("+") for step in directions]


def _signed(step: Triple) -> list[str]:
    return [f"{'+' if n > 0 else '-'}{axis}" for n, axis in zip(step, AXES, strict=True) if n]


def displacements(lags: Sequence[int], directions: Sequence[Triple] = DIRECTIONS) -> np.ndarray:
    """Displacements of every lag in every direction in voxels, (directions x lags, 3)."""
    steps = np.array(directions)[:, None, :] * np.array(lags)[None, :, None]
    return np.asarray(steps.reshape(-1, 3))


def lag_coordinates(material: Material, lags: int) -> Coordinates:
    """Lags in steps and in nm: a step of a diagonal is longer than one along an axis."""
    dim, steps = dimension("lag", lags), np.arange(lags + 1.0)
    lengths = np.linalg.norm(np.array(DIRECTIONS) * material.spacing, axis=1)
    about = {"long_name": "length of the lag", "units": material.units}
    return {
        dim: (dim, steps, {"long_name": "steps from voxel to voxel", "units": "1"}),
        ALONG: (ALONG, np.array(direction_names(), dtype=object)),
        f"{dim}_length": ((ALONG, dim), lengths[:, None] * steps, about),
    }


def in_voxels(dim: str, lengths: Sequence[float] | np.ndarray, edge: float) -> Coordinates:
    """Coordinate of lengths along a dimension in shortest edges of a voxel, beside that in nm.

    >>> in_voxels("radius", [5.0, 7.5], 5.0)["radius_voxels"][1].tolist()
    [1.0, 1.5]
    """
    about = {"long_name": "the same in shortest edges of a voxel", "units": "1"}
    return {f"{dim}_voxels": (dim, np.asarray(lengths, np.float64) / edge, about)}


def refuse_long(name: str, lags: int, shape: Triple) -> None:
    """Raise `ArgumentError` if lags are none, or no axis of the volume is long enough for them."""
    if lags < 1:
        raise ArgumentError(f"{name}: lags={lags}; give the number of lags, from 1 on")
    if lags >= max(shape):
        edges = " x ".join(map(str, shape))
        raise ArgumentError(
            f"{name}: {lags} lags reach beyond the volume of {edges} voxels along every axis; give lags="
            f"{max(max(shape) - 1, 1)} or less"
        )
