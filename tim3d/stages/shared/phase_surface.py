"""The surface of a phase for the eye: closed and smooth, from a level of the pyramid that is small enough."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tim3d.grid import Box, Triple, triple
from tim3d.kernels.morphology import marching_cubes, mesh
from tim3d.storage import store

# Bytes of a triangle while the mesh is put together, and triangles of a voxel at most.
TRIANGLE_BYTES, TRIANGLES_A_VOXEL = 200, 2.5
_SMOOTHING = 5


@dataclass(frozen=True)
class PhaseSurface:
    """Triangles that enclose a phase.

    Attributes
    ----------
    vertices_nm : (m, 3) float64
        Places (x, y, z) from the outer face of the volume.
    faces : (n, 3) int64
        Triangles, with normals that point out of the phase.
    factor : (z, y, x)
        Voxels of the field to a voxel of the level that it was made of.
    """

    vertices_nm: NDArray[np.float64]
    faces: NDArray[np.int64]
    factor: Triple


def level_below(sample: str, field: str, most: int) -> tuple[int, Triple]:
    """The finest level of at most `most` voxels, or the coarsest, and its factor to the field."""
    ome: Any = store.open_sample(sample)[field].attrs["ome"]
    datasets = ome["multiscales"][0]["datasets"]
    scales = [d["coordinateTransformations"][0]["scale"] for d in datasets]
    fits = (
        n
        for n in range(len(datasets))
        if math.prod(store.field_array(sample, field, n).shape) <= most
    )
    number = next(fits, len(datasets) - 1)
    return number, triple(round(a / b) for a, b in zip(scales[number], scales[0], strict=True))


def phase_surface(sample: str, field: str, code: int, most: int) -> PhaseSurface:
    """The surface of a phase, from the finest level of at most `most` voxels.

    Parameters
    ----------
    sample, field : str
        The sample and its label field.
    code : int
        Code of the phase.
    most : int
        Voxels that may be read. A level of thin layers is coarser than the field: what is thinner
        than its voxels may be broken there.
    """
    number, factor = level_below(sample, field, most)
    array = store.field_array(sample, field, number)
    volume = Box.whole(triple(array.shape))
    around = Box((-1, -1, -1), triple(n + 1 for n in volume.shape))
    wanted = np.zeros(256, bool)
    wanted[code] = True
    inside = marching_cubes.padded(store.read_box(array, volume), wanted, around, volume)
    corners, cells = marching_cubes.triangles(inside, (0, 0, 0), around.shape)
    vertices, faces = mesh.welded(corners, cells)
    places = mesh.positions(vertices, around.shape)
    held = mesh.on_border(places, volume.shape)[:, ::-1]
    spacing = np.array(store.read_field(sample, field).spacing_nm) * np.array(factor)
    # Normals point outwards with axes x, y, z.
    corners_nm = np.ascontiguousarray((places * spacing)[:, ::-1])
    if len(faces):
        target = float(inside.sum()) * float(spacing.prod())
        corners_nm = mesh.smoothed(corners_nm, faces, held, _SMOOTHING, target)
    return PhaseSurface(corners_nm, faces, factor)
