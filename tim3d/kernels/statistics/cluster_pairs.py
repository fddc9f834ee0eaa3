"""Pairs of voxels of one component at given displacements, by phase."""

from __future__ import annotations

import numba as nb
import numpy as np
from numpy.typing import NDArray

from tim3d.grid import Box, triple


def cluster_pairs(
    numbers: NDArray[np.uint32],
    ranks: NDArray[np.uint8],
    phases: int,
    displacements: NDArray[np.int64],
    core: Box | None = None,
) -> NDArray[np.int64]:
    """Count pairs of voxels at each displacement that lie in one component.

    A pair belongs to its first voxel; pairs that leave the volume do not count.

    Parameters
    ----------
    numbers : (z, y, x) uint32
        Number of each voxel's component; 0 for none. The end of the array is taken as the end of
        the volume.
    ranks : (z, y, x) uint8
        Rank of each voxel's phase, below `phases`.
    phases : int
        Number of phases.
    displacements : (n, 3) int
        From the first voxel to the second, in voxels along z, y, x; of either sign.
    core : Box, optional
        First voxels (default: all).

    Returns
    -------
    (phases, n) int64
        Pairs.

    Examples
    --------
    >>> numbers = np.array([[[7, 7, 0, 7, 9]]], np.uint32)
    >>> ranks = np.array([[[1, 1, 0, 1, 1]]], np.uint8)
    >>> cluster_pairs(numbers, ranks, 2, np.array([[0, 0, 1], [0, 0, 3]])).tolist()
    [[0, 0], [1, 1]]
    """
    core = core or Box.whole(triple(numbers.shape))
    steps = np.ascontiguousarray(displacements, np.int64).reshape(-1, 3)
    found = np.zeros((phases, len(steps)), np.int64)
    low = np.maximum(core.start, -steps)
    high = np.minimum(core.stop, np.array(numbers.shape) - steps)
    for n, (start, stop) in enumerate(zip(low, high, strict=True)):
        if (stop > start).all():
            _count(numbers, ranks, start, stop, steps[n], found[:, n])
    return found


@nb.njit(nogil=True, cache=True)
def _row(first, second, ranks, phase):  # type: ignore[no-untyped-def]
    total = 0
    for x in range(first.size):
        total += (first[x] == second[x]) & (first[x] != 0) & (ranks[x] == phase)
    return total


@nb.njit(nogil=True, cache=True)
def _count(
    numbers: NDArray[np.uint32],
    ranks: NDArray[np.uint8],
    start: NDArray[np.int64],
    stop: NDArray[np.int64],
    step: NDArray[np.int64],
    counts: NDArray[np.int64],
) -> None:
    for z in range(start[0], stop[0]):
        for y in range(start[1], stop[1]):
            first = numbers[z, y, start[2] : stop[2]]
            other = numbers[z + step[0], y + step[1]]
            second = other[start[2] + step[2] : stop[2] + step[2]]
            for phase in range(counts.size):
                counts[phase] += _row(first, second, ranks[z, y, start[2] : stop[2]], phase)
