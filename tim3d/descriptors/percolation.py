"""Connected components: their number, their sizes, and the share of a phase that percolates.

A component **percolates** along an axis if it touches both outer faces of the volume there, is a
**dead end** if it touches one of them, and **isolated** if it touches neither. The three shares of
a phase add up to 1 on every axis.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tim3d.grid import AXES, Triple
from tim3d.kernels.morphology.components import Components
from tim3d.lazy import xarray as xr
from tim3d.phases import Phases

SIDES = ("low", "high")
JOINED = {6: "faces", 18: "faces or edges", 26: "faces, edges or corners"}
REFERENCE = "Ohser and Schladitz 2009, doi:10.1002/9783527628308"


def percolation(table: Components, phases: Phases, shape: Triple, connectivity: int) -> xr.Dataset:
    """Results of each phase, and the table of all components.

    Parameters
    ----------
    table : Components
        Components of the whole volume.
    phases : Phases
        Phases that were labelled.
    shape : (z, y, x)
        Voxels of the volume.
    connectivity : {6, 18, 26}
        Which voxels are neighbours, for the attributes.

    Returns
    -------
    xarray.Dataset
        By phase: `component_count`, `largest_share`; by phase and axis: `percolating_fraction`,
        `dead_end_fraction`, `isolated_fraction` (NaN for a phase without voxels), `percolates`. By
        component, numbered from 1 as in the field of components: `component_phase` (code),
        `component_voxels`, `component_start` and `component_stop` (bounding box in voxels,
        half-open), `component_touches` (outer faces of the volume). All are numbers, unit 1.

    Examples
    --------
    >>> from tim3d.kernels.morphology.components import label_volume
    >>> _, table = label_volume(np.array([[[1, 1, 0, 1]]], np.uint8), [1])
    >>> found = percolation(table, Phases(solid=1), (1, 1, 4), 6)
    >>> found.component_count.item(), found.dead_end_fraction.sel(phase="solid", axis="x").item()
    (2, 1.0)
    """
    method = f"components of voxels joined by {JOINED[connectivity]} ({connectivity}), merged over blocks"
    common = {"units": "1", "method": method, "reference": REFERENCE, "connectivity": connectivity}
    variables = {
        name: (dims, values, {"long_name": long_name} | common)
        for name, (dims, values, long_name) in {
            **_by_phase(table, phases, shape),
            **_rows(table, shape),
        }.items()
    }
    flags = {"flag_values": list(phases.codes), "flag_meanings": " ".join(phases.names)}
    variables["component_phase"][2].update(flags)
    coordinates = {
        "phase": np.array(phases.names, dtype=object),
        "axis": np.array(AXES, dtype=object),
        "side": np.array(SIDES, dtype=object),
        "component": np.arange(1, len(table) + 1, dtype=np.uint32),
    }
    return xr.Dataset(
        variables, coordinates, {"connectivity": connectivity, "volume_shape": list(shape)}
    )


def _by_phase(table: Components, phases: Phases, shape: Triple) -> dict[str, tuple[Any, ...]]:
    members = [table.code == code for code in phases.codes]
    sizes = [table.voxels[m] for m in members]
    faces = [table.touches(shape)[m].sum(axis=2) for m in members]
    shares = np.array([_shares(size, reached) for size, reached in zip(sizes, faces, strict=True)])
    largest = [size.max() / size.sum() if len(size) else np.nan for size in sizes]
    both = ("phase", "axis")
    return {
        "component_count": (
            "phase",
            np.array([len(size) for size in sizes], np.int64),
            "number of components",
        ),
        "largest_share": (
            "phase",
            np.array(largest, np.float64),
            "share of the phase in its largest component",
        ),
        "percolating_fraction": (
            both,
            shares[:, 2],
            "share of the phase in components that touch both faces",
        ),
        "dead_end_fraction": (
            both,
            shares[:, 1],
            "share of the phase in components that touch one face only",
        ),
        "isolated_fraction": (
            both,
            shares[:, 0],
            "share of the phase in components that touch neither face",
        ),
        "percolates": (
            both,
            np.array([(r == 2).any(axis=0) for r in faces]),
            "whether a component touches both faces",
        ),
    }


def _shares(sizes: NDArray[np.int64], faces: NDArray[np.int64]) -> NDArray[np.float64]:
    """Share of the voxels whose component touches 0, 1 and 2 faces of each axis, (3, 3)."""
    if not len(sizes):
        return np.full((3, 3), np.nan)
    voxels = np.array([np.where(faces == n, sizes[:, None], 0).sum(axis=0) for n in range(3)])
    return np.asarray(voxels / sizes.sum())


def _rows(table: Components, shape: Triple) -> dict[str, tuple[Any, ...]]:
    box = ("component", "axis")
    return {
        "component_phase": ("component", table.code, "code of the component's phase"),
        "component_voxels": ("component", table.voxels, "voxels of the component"),
        "component_start": (box, table.start, "first voxel of the bounding box"),
        "component_stop": (box, table.stop, "voxel after the last one of the bounding box"),
        "component_touches": (
            (*box, "side"),
            table.touches(shape),
            "whether the component touches an outer face",
        ),
    }
