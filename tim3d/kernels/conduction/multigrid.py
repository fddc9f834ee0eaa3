"""Aggregation multigrid for conduction on voxels: the preconditioner of the conduction solver.

Cells are joined in pairs along every axis with strong coupling, so that all cells stay nearly
cubic. The conductance of a coarse face is the sum over the fine faces on it, divided by the number
of cells between two coarse centres: the coarse problem is the same material in larger voxels. The
smoother is red-black Gauss-Seidel in a W-cycle, symmetric, so that it can precondition conjugate
gradients.

Large levels are distributed over the ranks in slabs that no coarse cell crosses; below them all
ranks solve the whole level redundantly. Every cell is computed from the same numbers in the same
order as without slabs, so that no bit depends on them.

References: Braess, Computing 55 (1995) 379, doi:10.1007/BF02238488 (aggregation and its
over-correction); Trottenberg, Oosterlee and Schueller, Multigrid, Academic Press 2001 (cycles,
semi-coarsening).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from tim3d.grid import Triple, triple
from tim3d.kernels.conduction.arrays import F32
from tim3d.kernels.conduction.ghost_layers import Halo, Wrap, cuts
from tim3d.kernels.conduction.relaxation import relax_ends
from tim3d.kernels.conduction.thread_pool import Workers

SWEEPS = 2
# Number of cells at which the problem is solved directly.
COARSEST = 64
# An axis is coarsened while its cells are at most this factor longer than the shortest: coupling
# falls with the square of the length.
STRONG = 1.5
# A level of at most SHARED cells is solved redundantly by all ranks: faster than communicating it.
# At 256^3 on two workers, distributing 64^3 saved 8 % of the work of a cycle, distributing 32^3
# nothing.
SHARED = 2**15
# So is a level of at most UNEVEN cells if slabs that do not cut its cells would be thicker.
UNEVEN = 2**18


def coarsenings(shape: Triple, spacing: Sequence[float]) -> list[Triple]:
    """Coarsening of each level along each axis, as binary logarithms of the cells that are joined.

    >>> coarsenings((64, 64, 64), (1, 1, 1))
    [(1, 1, 1), (1, 1, 1), (1, 1, 1), (1, 1, 1)]
    >>> coarsenings((64, 64, 64), (4, 1, 1))[:3]
    [(0, 1, 1), (0, 1, 1), (1, 1, 1)]
    """
    steps: list[Triple] = []
    edges = list(spacing)
    while math.prod(shape) > COARSEST:
        shortest = min(h for h, n in zip(edges, shape, strict=True) if n > 1)
        step = triple(n > 1 and h <= STRONG * shortest for h, n in zip(edges, shape, strict=True))
        edges = [h * 2**s for h, s in zip(edges, step, strict=True)]
        shape = _coarser(shape, step)
        steps.append(step)
    return steps


def _coarser(shape: Triple, step: Triple) -> Triple:
    return triple((n + s) >> s for n, s in zip(shape, step, strict=True))


def _shapes(shape: Triple, steps: Sequence[Triple]) -> list[Triple]:
    shapes = [shape]
    for step in steps:
        shapes.append(_coarser(shapes[-1], step))
    return shapes


def ghosted(shape: Triple) -> Triple:
    """Shape with a layer of ghosts on every side."""
    return triple(n + 2 for n in shape)


def slab_cuts(shape: Triple, spacing: Sequence[float], slabs: int) -> list[list[int]]:
    """Planes at which slabs begin and end, for each distributed level and the first that is not.

    Parameters
    ----------
    shape : (Z, Y, X)
        Unknowns of the whole volume.
    spacing : (dz, dy, dx)
        Edges of a voxel.
    slabs : int
        Number of slabs.

    Examples
    --------
    >>> slab_cuts((64, 64, 64), (1, 1, 1), 2)
    [[0, 32, 64], [0, 16, 32]]
    >>> slab_cuts((300, 300, 300), (1, 1, 1), 2)
    [[0, 152, 300], [0, 76, 150], [0, 38, 75], [0, 19, 38]]
    """
    steps = coarsenings(shape, spacing)
    shapes = _shapes(shape, steps)
    cut = partial(cuts, [s[0] for s in shapes], [s[0] for s in steps], slabs)
    # At least one level is distributed if there is more than one slab.
    best = cut(min(1, slabs - 1))
    for depth in range(2, len(shapes) if slabs > 1 else 0):
        cells, deeper = math.prod(shapes[depth - 1]), cut(depth)
        if shapes[depth][0] >= slabs and cells > SHARED:
            best = deeper if cells > UNEVEN or thickest(deeper[0]) <= thickest(best[0]) else best
    return best


def thickest(cuts: Sequence[int]) -> int:
    """Number of planes in the thickest slab.

    >>> thickest([0, 152, 300])
    152
    """
    return max(stop - start for start, stop in pairwise(cuts))


def most_slabs(shape: Triple, spacing: Sequence[float]) -> int:
    """Largest number of slabs that a volume can be cut into.

    >>> most_slabs((37, 20, 20), (1, 1, 1))
    19
    """
    return (_shapes(shape, coarsenings(shape, spacing)[:1])[1:] or [(1, 1, 1)])[0][0]


@dataclass(frozen=True)
class Level:
    """Conduction problem on cells, or on a slab of them that begins at plane `start`."""

    shape: Triple
    conductances: tuple[Any, ...]
    relax: Callable[..., None]
    restrict: Callable[..., None]
    halo: Halo
    start: int = 0

    @property
    def planes(self) -> range:
        """Planes of cells, without the ghosts."""
        return range(1, self.shape[0] + 1)

    @property
    def cells(self) -> int:
        """Number of cells."""
        return math.prod(self.shape)


def voxel_level(codes: Any, pairs: Any, team: Workers, halo: Halo, start: int = 0) -> Level:
    """Finest level: a code for each voxel, and conductances (3, codes, codes) by axis and pair.

    Parameters
    ----------
    codes : (nz+2, ny+2, nx+2)
        Code of each voxel, with ghosts.
    pairs : (3, codes, codes)
        Conductance of the face between two voxels, by axis and codes.
    team : Workers
        Executor of the kernels.
    halo : Halo
        The ring of ranks, and the periodic axes.
    start : int
        First plane of the slab.
    """
    shape = triple(n - 2 for n in codes.shape)
    return Level(
        shape, (codes, pairs), team.kernels.relax_codes, team.kernels.restrict_codes, halo, start
    )


def coarse_level(fine: Level, step: Triple, team: Workers) -> Level:
    """Next coarser level: conductance of the face below each cell along each axis.

    Parameters
    ----------
    fine : Level
        The finer level.
    step : three ints
        Binary logarithm of the cells that are joined along each axis.
    team : Workers
        Executor of the kernels.
    """
    shape = _coarser(fine.shape, step)
    faces = team.zeros((3, *ghosted(shape)), np.float32)
    for axis in range(3):
        if fine.halo.wrap[axis] and shape[axis] == 1 and (axis or fine.halo.ring.size == 1):
            continue  # a cell that is its own neighbour has no flux along this axis
        turned = (step[axis], *(step[a] for a in range(3) if a != axis))
        out, planes = _turn(faces[axis], axis), range(1, shape[axis] + 2)
        if fine.relax is team.kernels.relax_codes:
            codes, pairs = fine.conductances
            team.run(
                team.kernels.coarsen_codes,
                planes,
                fine.cells,
                out,
                _turn(codes, axis),
                pairs[axis],
                turned,
            )
        else:
            below = _turn(fine.conductances[0][axis], axis)
            team.run(team.kernels.coarsen_faces, planes, fine.cells, out, below, turned)
    start = (fine.start + step[0]) >> step[0]
    return Level(
        shape, (faces,), team.kernels.relax_faces, team.kernels.restrict_faces, fine.halo, start
    )


def _turn(array: Any, axis: int) -> Any:
    """Move an axis to the front, as `numpy.moveaxis` does, for arrays of any library."""
    for first in range(axis, 0, -1):
        array = array.swapaxes(first, first - 1)
    return array


def _whole(level: Level, team: Workers) -> Level:
    """Gather the level of all slabs on this rank."""
    ring = level.halo.ring
    mine = team.to_numpy(level.conductances[0])
    # The face above the last plane of the volume belongs to no other slab.
    parts = ring.collect(mine[:, 1 : None if ring.rank == ring.size - 1 else -1])
    faces = np.concatenate([np.zeros_like(mine[:, :1]), *parts], axis=1)
    shape = (faces.shape[1] - 2, *level.shape[1:])
    return replace(
        level, shape=shape, conductances=(team.from_numpy(faces),), halo=level.halo.alone(), start=0
    )


class Multigrid:
    """Approximate inverse of a conduction problem with electrodes at potential 0.

    Parameters
    ----------
    finest : Level
        The problem, or this rank's slab of it, cut by `slab_cuts`. Every conducting voxel must be
        connected to an electrode, or the first axis must be periodic.
    shape : (Z, Y, X)
        Unknowns of the whole volume.
    spacing : (dz, dy, dx)
        Edges of a voxel.
    team : Workers
        Executor of the kernels.

    Notes
    -----
    The levels below the finest hold 20 bytes a cell, which is 2.9 per voxel of the finest level
    when all three axes are coarsened, 6.7 when two are, 11 to 20 when one is.
    """

    def __init__(
        self, finest: Level, shape: Triple, spacing: Sequence[float], team: Workers
    ) -> None:
        self._team = team
        self._steps = coarsenings(shape, spacing)
        ring = finest.halo.ring
        self._cuts = slab_cuts(shape, spacing, ring.size)
        # Levels from this one on are solved redundantly by all ranks.
        self._depth = len(self._cuts) - 1
        self._levels = [finest]
        for number, step in enumerate(self._steps, 1):
            level = coarse_level(self._levels[-1], step, team)
            self._levels.append(_whole(level, team) if number == self._depth else level)
        shapes = [ghosted(level.shape) for level in self._levels[1:]]
        self._x = [team.zeros(shape, np.float32) for shape in shapes]
        self._b = [team.zeros(shape, np.float32) for shape in shapes]
        # If the volume is tiny, the finest level is also the last: its conductances are needed as
        # faces.
        last = self._levels[-1] if self._steps else coarse_level(finest, (0, 0, 0), team)
        self._inverse = inverse(team.to_numpy(last.conductances[0]), finest.halo.wrap)

    def apply(self, x: Any, b: Any) -> None:
        """Apply one W-cycle for A x = b from x = 0, and fill the ghosts of `x`."""
        x[...] = 0
        self._cycle(0, x, b)

    def _cycle(self, number: int, x: Any, b: Any) -> None:
        level = self._levels[number]
        if number == len(self._steps):
            source = self._team.to_numpy(b)[1:-1, 1:-1, 1:-1].ravel()
            x[1:-1, 1:-1, 1:-1] = self._team.from_numpy(
                (self._inverse @ source).reshape(level.shape)
            )
            level.halo.refresh(x)
            return
        self._sweep(level, x, b, (0, 1))
        self._correct(number, x, b)
        self._sweep(level, x, b, (1, 0))

    def _correct(self, number: int, x: Any, b: Any) -> None:
        """Correct a level by the next coarser one."""
        level, step = self._levels[number], self._steps[number]
        coarse_x, coarse_b = self._x[number], self._b[number]
        mine = self._mine(number + 1)
        planes = range(1, mine.stop - mine.start - 1)
        self._team.run(
            level.restrict, planes, level.cells, coarse_b[mine], x, b, *level.conductances, step
        )
        if number + 1 == self._depth:
            self._share(coarse_b, mine, level.halo)
        coarse_x[...] = 0
        # Halved faces may overcorrect by a factor of 2: eigenvalues up to 2, which a second visit
        # maps into 0..1, so that the cycle stays positive definite. Corrections 1.15 times larger
        # saved an iteration and failed on some volumes.
        for _ in range(1 if number + 1 == len(self._steps) else 2):
            self._cycle(number + 1, coarse_x, coarse_b)
        self._team.run(
            self._team.kernels.prolong, level.planes, level.cells, x, coarse_x[mine], step
        )
        level.halo.refresh(x)

    def _mine(self, number: int) -> slice:
        """Slice of this rank's planes, with their ghosts, in the arrays of a level."""
        if number != self._depth or self._depth == 0:
            return slice(0, self._levels[number].shape[0] + 2)
        rank = self._levels[0].halo.ring.rank
        start, stop = self._cuts[number][rank : rank + 2]
        return slice(start, stop + 2)

    def _share(self, b: Any, mine: slice, halo: Halo) -> None:
        """Distribute the planes of every rank to all ranks."""
        parts = halo.ring.collect(self._team.to_numpy(b[mine.start + 1 : mine.stop - 1]))
        b[1:-1] = self._team.from_numpy(np.concatenate(parts))

    def _sweep(self, level: Level, x: Any, b: Any, colours: tuple[int, int]) -> None:
        turned = [(colour + level.start) % 2 for colour in colours * SWEEPS]
        relax(
            self._team, level.relax, level.planes, level.cells, (x, b, *level.conductances), turned,
            partial(level.halo.refresh, x), apart=any(level.halo.wrap[1:]),
        )  # fmt: skip


def relax(
    team: Workers,
    half: Callable[..., None],
    planes: range,
    voxels: int,
    arguments: Sequence[Any],
    colours: Sequence[int],
    refresh: Callable[[], None],
    *,
    apart: bool = False,
) -> None:
    """Make half sweeps of Gauss-Seidel, in one pass over memory where there is a kernel for it.

    Parameters
    ----------
    team : Workers
        Executor of the kernels.
    half : callable
        Kernel of half a sweep.
    planes, voxels, arguments
        As for `Workers.run`, without the colour.
    colours : sequence of int
        Colour of each half sweep; they alternate.
    refresh : callable
        Fills the ghosts; called after each half sweep.
    apart : bool
        Every half sweep has to be complete before the next begins, because ghosts along the other
        axes depend on it.
    """
    at_once = None if apart else team.kernels.AT_ONCE.get(half)
    if at_once is None:
        for colour in colours:
            team.run(half, planes, voxels, *arguments, colour)
            refresh()
        return
    team.run(at_once, planes, voxels, *arguments, colours[0], len(colours))
    refresh()
    for number, colour in enumerate(colours[1:], 1):
        team.run(relax_ends, planes, voxels, half, number, *arguments, colour)
        refresh()


def inverse(faces: F32, wrap: Wrap = (False, False, False)) -> F32:
    """Inverse matrix of a small problem from its face conductances; 0 for insulating cells.

    Where the potential is not fixed, because a periodic first axis has no electrodes, this is the
    Moore-Penrose pseudoinverse.
    """
    shape = triple(n - 2 for n in faces.shape[1:])
    matrix = np.zeros((math.prod(shape),) * 2)
    cells = np.arange(len(matrix)).reshape(shape)
    for axis in range(3):
        across = np.moveaxis(faces[axis].astype(np.float64), axis, 0)[1:, 1:-1, 1:-1]
        turned = np.moveaxis(cells, axis, 0)
        if wrap[axis]:
            _join(matrix, turned, np.roll(turned, 1, 0), across[:-1])
        else:
            _join(matrix, turned[1:], turned[:-1], across[1:-1])
            np.add.at(matrix, (turned[0], turned[0]), across[0])
            np.add.at(matrix, (turned[-1], turned[-1]), across[-1])
    conducts = np.flatnonzero(np.diag(matrix) > 0)
    inner = np.ix_(conducts, conducts)
    result = np.zeros_like(matrix)
    floats, part = wrap[0], matrix[inner]
    result[inner] = np.linalg.pinv(part, 1e-12, hermitian=True) if floats else np.linalg.inv(part)
    return np.asarray((result + result.T) / 2, np.float32)


def _join(
    matrix: np.ndarray, above: np.ndarray, below: np.ndarray, conductance: np.ndarray
) -> None:
    for first, second in ((above, below), (below, above)):
        np.add.at(matrix, (first, first), conductance)
        np.add.at(matrix, (first, second), -conductance)


def multigrid_bytes(shape: Triple, spacing: Sequence[float], slabs: int = 1) -> int:
    """Memory of all levels below the finest, for the largest slab, in bytes.

    Parameters
    ----------
    shape : (Z, Y, X)
        Unknowns of the whole volume.
    spacing : (dz, dy, dx)
        Edges of a voxel.
    slabs : int
        Number of slabs.
    """
    steps = coarsenings(shape, spacing)
    shapes, levels = _shapes(shape, steps), slab_cuts(shape, spacing, slabs)
    total = 0
    for number, (z, y, x) in list(enumerate(shapes))[1:]:
        thick = thickest(levels[number]) if number < len(levels) - 1 else z
        total += 20 * math.prod(ghosted((thick, y, x)))
    return total
