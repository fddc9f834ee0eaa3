"""Voxels and borders of phases in every plane of a volume, additive over blocks."""

from __future__ import annotations

from collections.abc import Sequence

import numba as nb
import numpy as np
from numpy.typing import NDArray

from tim3d.grid import Box, triple


def slice_counts(
    ranks: NDArray[np.uint8],
    phases: int,
    axis: int,
    directions: Sequence[tuple[int, int]],
    core: Box | None = None,
) -> NDArray[np.int64]:
    """Count voxels, and the pairs in planes of which one voxel lies in a phase.

    A pair belongs to its first voxel; pairs that leave the volume do not count.

    Parameters
    ----------
    ranks : (z, y, x) uint8
        Rank of each voxel's phase, below `phases`. The end of the array is taken as the end of the
        volume.
    phases : int
        Number of phases.
    axis : {0, 1, 2}
        Axis across the planes.
    directions : sequence of (int, int)
        Displacements within a plane, along its two axes in the order z, y, x; of either sign.
    core : Box, optional
        First voxels (default: all).

    Returns
    -------
    (planes, phases + 1, directions + 1) int64
        Voxels of each phase, then its changes in each direction; in the last row all voxels and
        all pairs.

    Examples
    --------
    >>> slice_counts(np.array([[[0, 1, 1]]], np.uint8), 2, 0, [(0, 1)])[0].tolist()
    [[1, 1], [2, 1], [3, 2]]
    """
    core = core or Box.whole(triple(ranks.shape))
    planes = np.moveaxis(ranks, axis, 0)
    across = [a for a in range(3) if a != axis]
    start = np.array([core.start[axis], *(core.start[a] for a in across)])
    stop = np.array([core.stop[axis], *(core.stop[a] for a in across)])
    found = np.zeros((core.shape[axis], phases + 1, len(directions) + 1), np.int64)
    _count(planes, start, stop, np.array(directions, np.int64), found)
    return found


@nb.njit(nogil=True, cache=True)
def _count(
    planes: NDArray[np.uint8],
    start: NDArray[np.int64],
    stop: NDArray[np.int64],
    directions: NDArray[np.int64],
    found: NDArray[np.int64],
) -> None:
    last = found.shape[1] - 1
    for z in range(start[0], stop[0]):
        counts = found[z - start[0]]
        for y in range(start[1], stop[1]):
            for x in range(start[2], stop[2]):
                here = planes[z, y, x]
                counts[here, 0] += 1
                counts[last, 0] += 1
                for n in range(directions.shape[0]):
                    v, u = y + directions[n, 0], x + directions[n, 1]
                    if not (0 <= v < planes.shape[1] and 0 <= u < planes.shape[2]):
                        continue
                    counts[last, n + 1] += 1
                    there = planes[z, v, u]
                    if there != here:
                        counts[here, n + 1] += 1
                        counts[there, n + 1] += 1
