"""Faces that components share with the phases around them, counted voxel by voxel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numba as nb
import numpy as np
from numpy.typing import NDArray

from tim3d.grid import Box
from tim3d.kernels.morphology.phase_mask import as_codes

Ids: TypeAlias = NDArray[np.uint32]
Counts: TypeAlias = NDArray[np.int64]


def shared_faces(
    ids: Ids, labels: NDArray[np.uint8], core: Box, codes: Sequence[int]
) -> tuple[Counts, Counts]:
    """Faces between the components of a core and voxels of other phases.

    Every face counts at the component's voxel, so that the faces of blocks add up.

    Parameters
    ----------
    ids : (z, y, x) uint32
        Component of each voxel of the core, 0 outside of components.
    labels : (Z, Y, X) uint8
        Code of each voxel of the core and of its neighbours. Where there are none the volume ends.
    core : Box
        The core within `labels`.
    codes : sequence of int
        Phases whose faces are counted: not those of the components.

    Returns
    -------
    places : (n, 3) int64
        Row of the component (its number minus 1), index among the codes, and axis of each count.
    faces : (n,) int64
        Number of faces, not 0.

    Examples
    --------
    >>> labels = np.array([[[0, 1, 2, 2]]], np.uint8)
    >>> places, faces = shared_faces((labels == 1).astype(np.uint32), labels, Box.whole((1, 1, 4)), [0, 2])
    >>> places.tolist(), faces.tolist()
    ([[0, 0, 2], [0, 1, 2]], [1, 1])
    """
    rank = np.full(256, -1, np.int64)
    rank[as_codes(codes)] = np.arange(len(codes))
    counts = np.zeros((int(ids.max(initial=0)), len(codes), 3), np.int32)
    _count(ids, labels, np.array(core.start), rank, counts)
    places = np.argwhere(counts)
    return places, counts[tuple(places.T)].astype(np.int64)


@nb.njit(nogil=True, cache=True)
def _count(ids, labels, start, rank, counts):  # type: ignore[no-untyped-def]
    nz, ny, nx = ids.shape
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                own = ids[z, y, x]
                if own == 0:
                    continue
                here = (z + start[0], y + start[1], x + start[2])
                for axis in range(3):
                    for side in (-1, 1):
                        c = here[0] + side * (axis == 0)
                        b = here[1] + side * (axis == 1)
                        a = here[2] + side * (axis == 2)
                        if (
                            0 <= c < labels.shape[0]
                            and 0 <= b < labels.shape[1]
                            and 0 <= a < labels.shape[2]
                        ):
                            other = rank[labels[c, b, a]]
                            if other >= 0:
                                counts[own - 1, other, axis] += 1
