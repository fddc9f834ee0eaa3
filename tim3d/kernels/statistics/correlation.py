"""Two-point probability, lineal path and crossings along lines of labels, additive over blocks.

Along one axis of a volume or image, for one phase and a lag of r voxels:

* ``S2(r)``: fraction of the pairs of voxels at distance r with both in the phase; ``S2(0)`` is the
  phase fraction.
* ``L(r)``: fraction of the segments of r + 1 voxels that lie wholly in the phase;
  ``L(0) = S2(0)`` and ``L(1) = S2(1)``.
* ``P_L``: crossings of the phase's boundary per length of line. For lines in all directions the
  surface per volume is ``S_V = 2 P_L``, for any shape.
* Chords: maximal runs of the phase along lines. With N(l) segments of l voxels in it, there are
  ``N(l) - 2 N(l + 1) + N(l + 2)`` chords of l voxels.

No boundary is periodic: pairs and segments that leave the volume do not count, neither in the sum
nor in the divisor. A pair, segment, crossing or chord belongs to its first voxel, so the counts of blocks
that tile a volume add up to the counts of the volume, bit for bit.

References: S. Torquato, Random Heterogeneous Materials, Springer 2002,
doi:10.1007/978-1-4757-6355-3, sections 2.2.1 (S2) and 2.4 (lineal path); S. A. Saltykov's relation
S_V = 2 P_L in E. E. Underwood, Quantitative Stereology, Addison-Wesley 1970.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numba as nb
import numpy as np
from numpy.typing import NDArray

from tim3d.errors import ArgumentError, InputError
from tim3d.grid import Box, Triple, triple
from tim3d.kernels.statistics.pair_counts import pair_counts

NO_PHASE = 255
# Second index of `LineCounts.chords`.
INSIDE, CUT = 0, 1


@dataclass(frozen=True, eq=False)
class LineCounts:
    """Integer counts along one axis, additive over blocks (`voxels` and `changes` plane by plane).

    Attributes
    ----------
    pairs : (phases, lags) int64
        Pairs of voxels at each lag with both in the phase.
    segments : (phases, lags) int64
        Segments of each lag that lie wholly in the phase.
    voxels : (planes, phases) int64
        Voxels of the phase in each plane across the axis.
    changes : (planes, phases) int64
        Voxel faces between a plane and the next one at which the phase begins or ends.
    chords : (phases, 2, reach + 2) int64
        Chords by their length in voxels, up to the largest lag, `reach`; those that are inside the
        volume, and those that its border cuts. All longer ones are in the last place of `INSIDE`.
    """

    pairs: NDArray[np.int64]
    segments: NDArray[np.int64]
    voxels: NDArray[np.int64]
    changes: NDArray[np.int64]
    chords: NDArray[np.int64]


def ranks_of(labels: NDArray[np.uint8], codes: Sequence[int]) -> NDArray[np.uint8]:
    """Rank of each label: its position in the codes.

    Parameters
    ----------
    labels : array of uint8
        Label of each voxel.
    codes : sequence of int
        Codes of the phases.

    Raises
    ------
    InputError
        If a label is not one of the codes.

    Examples
    --------
    >>> ranks_of(np.array([0, 255], np.uint8), (0, 255))
    array([0, 1], dtype=uint8)
    """
    table = np.full(256, NO_PHASE, np.uint8)
    table[list(codes)] = np.arange(len(codes))
    ranks = table[labels]
    if ranks.size and ranks.max() == NO_PHASE:
        foreign = sorted(set(np.unique(labels).tolist()) - set(codes))
        raise InputError(
            f"a voxel has the code {foreign[0]}, which no phase names; the phases have {list(codes)}"
        )
    return ranks


def check_lags(lags: Sequence[int]) -> None:
    """Raise `ArgumentError` unless the lags are positive and strictly increasing."""
    if not len(lags) or lags[0] < 1 or any(b <= a for a, b in pairwise(lags)):
        raise ArgumentError(
            f"lags are {list(lags)}; give whole numbers of voxels that rise from 1 on, as 1,2,4,8"
        )


def line_counts(
    ranks: NDArray[np.uint8], phases: int, lags: Sequence[int], axis: int, core: Box | None = None
) -> LineCounts:
    """Count pairs, segments, voxels and changes along one axis that begin in the core.

    Parameters
    ----------
    ranks : (z, y, x) uint8
        Rank of each voxel's phase, below `phases`. An image is one slice.
    phases : int
        Number of phases.
    lags : sequence of int
        Distances in voxels, positive and strictly increasing.
    axis : {0, 1, 2}
        Axis of the lines.
    core : Box, optional
        Voxels at which pairs begin (default: all). Behind the core, voxels are read up to the
        largest lag or the end of the array, which is taken as the end of the volume.

    Raises
    ------
    ArgumentError
        If the lags are not positive and strictly increasing.

    Examples
    --------
    >>> found = line_counts(np.array([[[0, 1, 1, 0, 1]]], np.uint8), 2, [1, 2], axis=2)
    >>> found.pairs[1].tolist(), found.segments[1].tolist(), found.changes.sum(axis=0).tolist()
    ([1, 1], [1, 0], [3, 3])
    """
    check_lags(lags)
    steps, reach = np.asarray(lags, np.int64), lags[-1]
    core = core or Box.whole(triple(ranks.shape))
    before = min(core.start[axis], 1)  # a voxel, to see where chords begin
    lines, own = lines_from(ranks, reach, axis, core, before)
    runs = np.zeros((phases, reach + 2), np.int64)
    chords = np.zeros((phases, 2, reach + 2), np.int64)
    voxels, changes = (np.zeros((own, phases), np.int64) for _ in range(2))
    _tally(lines, before, own, runs, voxels, changes, chords)
    longer = runs[:, ::-1].cumsum(axis=1)[:, ::-1]
    pairs = pair_counts(ranks, [[n] for n in range(phases)], _along(axis, steps), core)
    return LineCounts(pairs, longer[:, steps + 1], voxels, changes, chords)


def _along(axis: int, lags: NDArray[np.int64]) -> NDArray[np.int64]:
    """Displacements along an axis, (n, 3)."""
    return np.asarray(lags[:, None] * np.eye(3, dtype=np.int64)[axis])


def lines_from(
    values: NDArray[np.uint8], reach: int, axis: int, core: Box | None = None, before: int = 0
) -> tuple[NDArray[np.uint8], int]:
    """Voxels of the core and up to `reach` behind it, `axis` last; the core's length along it.

    Parameters
    ----------
    values : (z, y, x) uint8
        Voxels.
    reach : int
        Voxels behind the core along the axis.
    axis : {0, 1, 2}
        Axis of the lines.
    core : Box, optional
        The core (default: all voxels).
    before : int
        Voxels before the core along the axis.
    """
    core = core or Box.whole(triple(values.shape))
    far = min(core.stop[axis] + reach, values.shape[axis])
    box = Box(
        triple(n - before if a == axis else n for a, n in enumerate(core.start)),
        triple(far if a == axis else n for a, n in enumerate(core.stop)),
    )
    return np.ascontiguousarray(np.moveaxis(values[box.slices], axis, 2)), core.shape[axis]


@nb.njit(nogil=True, cache=True)
def _tally(
    lines: NDArray[np.uint8],
    before: int,
    own: int,
    runs: NDArray[np.int64],
    voxels: NDArray[np.int64],
    changes: NDArray[np.int64],
    chords: NDArray[np.int64],
) -> None:
    """Count along lines; `runs` counts voxels by the length of the run that starts at them."""
    cap = runs.shape[1] - 1
    length = lines.shape[2]
    for i in range(lines.shape[0]):
        for j in range(lines.shape[1]):
            line = lines[i, j]
            run = 0
            for k in range(length - 1, before - 1, -1):
                phase = line[k]
                last = k + 1 == length
                same = not last and line[k + 1] == phase
                run = min(run + 1, cap) if same else 1
                place = k - before
                if place >= own:
                    continue
                voxels[place, phase] += 1
                runs[phase, run] += 1
                if not last and not same:
                    changes[place, phase] += 1
                    changes[place, line[k + 1]] += 1
                if k == 0 or line[k - 1] != phase:
                    cut = run < cap and (k == 0 or k + run == length)
                    chords[phase, CUT if cut else INSIDE, run] += 1


def pairs_at(shape: Triple, lags: Sequence[int], axis: int) -> NDArray[np.int64]:
    """Number of voxel pairs at each lag along an axis of a volume: the divisor of S2 and L.

    Parameters
    ----------
    shape : (z, y, x)
        Voxels of the volume.
    lags : sequence of int
        Distances in voxels.
    axis : {0, 1, 2}
        Axis of the pairs.

    Examples
    --------
    >>> pairs_at((1, 3, 5), [1, 4, 7], axis=2)
    array([12,  3,  0])
    """
    across = math.prod(shape) // shape[axis]
    return np.array([across * max(0, shape[axis] - lag) for lag in lags], np.int64)
