"""Edges of voxels at which three phases meet."""

from __future__ import annotations

from itertools import combinations

import numba as nb
import numpy as np
from numpy.typing import NDArray

from tim3d.errors import ArgumentError
from tim3d.grid import Box, Triple, triple

MOST_PHASES = 12
#: From the low voxel of an edge along each axis to the three others.
AROUND: tuple[tuple[Triple, Triple, Triple], ...] = (
    ((0, 1, 0), (0, 0, 1), (0, 1, 1)),
    ((1, 0, 0), (0, 0, 1), (1, 0, 1)),
    ((1, 0, 0), (0, 1, 0), (1, 1, 0)),
)


def triples_of(phases: int) -> list[Triple]:
    """Ranks of every three phases.

    >>> triples_of(3), len(triples_of(4))
    ([(0, 1, 2)], 4)
    """
    return [triple(t) for t in combinations(range(phases), 3)]


def triple_edges(
    ranks: NDArray[np.uint8],
    phases: int,
    core: Box | None = None,
    through: NDArray[np.uint8] | None = None,
) -> NDArray[np.int64]:
    """Count the voxel edges along each axis around which three phases or more lie.

    An edge belongs to the voxel at its low corner among the four around it; edges on the border of
    the volume do not count.

    Parameters
    ----------
    ranks : (z, y, x) uint8
        Rank of each voxel's phase, below `phases`. The end of the array is taken as the end of the
        volume.
    phases : int
        Number of phases, 12 at most.
    core : Box, optional
        Low voxels (default: all).
    through : (z, y, x) uint8, optional
        Bit a of a voxel: its component leads from face to face along axis a.

    Returns
    -------
    (4, 3, triples + 1) int64
        Edges, those whose four voxels are through along z, y and x, by the axis of the edge and by
        `triples_of` the phases; edges with four phases come last.

    Examples
    --------
    >>> square = np.array([[[0, 1], [2, 2]]], np.uint8)
    >>> triple_edges(square, 3)[0].tolist()
    [[1, 0], [0, 0], [0, 0]]
    """
    if phases > MOST_PHASES:
        raise ArgumentError(f"triple-phase boundaries are counted for up to {MOST_PHASES} phases")
    core = core or Box.whole(triple(ranks.shape))
    triples = triples_of(phases)
    found = np.zeros((4, 3, len(triples) + 2), np.int64)
    bits = np.zeros(ranks.shape, np.uint8) if through is None else through
    stop = np.minimum(core.stop, np.array(ranks.shape))
    _count(ranks, bits, np.array(core.start), stop, np.array(AROUND), _kinds(phases), found)
    return found[:, :, :-1]


def _kinds(phases: int) -> NDArray[np.int64]:
    """Place of every set of phases as bits: of three, of four, and of fewer."""
    places = {sum(1 << rank for rank in t): n for n, t in enumerate(triples_of(phases))}
    four = len(places)
    sets = range(1 << phases)
    kinds = [places.get(s, four if s.bit_count() == 4 else four + 1) for s in sets]
    return np.array(kinds, np.int64)


@nb.njit(nogil=True, cache=True)
def _count(
    ranks: NDArray[np.uint8],
    through: NDArray[np.uint8],
    start: NDArray[np.int64],
    stop: NDArray[np.int64],
    around: NDArray[np.int64],
    kinds: NDArray[np.int64],
    found: NDArray[np.int64],
) -> None:
    shape = ranks.shape
    none = found.shape[2] - 1
    for axis in range(3):
        far = around[axis, 2]
        for z in range(start[0], min(stop[0], shape[0] - far[0])):
            for y in range(start[1], min(stop[1], shape[1] - far[1])):
                for x in range(start[2], min(stop[2], shape[2] - far[2])):
                    phases, bits = 1 << ranks[z, y, x], through[z, y, x]
                    for n in range(3):
                        step = around[axis, n]
                        phases |= 1 << ranks[z + step[0], y + step[1], x + step[2]]
                        bits &= through[z + step[0], y + step[1], x + step[2]]
                    kind = kinds[phases]
                    if kind == none:
                        continue
                    found[0, axis, kind] += 1
                    for n in range(3):
                        found[n + 1, axis, kind] += (bits >> n) & 1
