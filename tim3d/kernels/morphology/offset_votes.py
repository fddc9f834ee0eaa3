"""Objects by votes: every voxel points to the middle of its object, and where many point is a centre.

Each voxel of a class votes for the voxel that it points to, with its weight in whole numbers. Votes
within half a radius (a ball in nm) are added up. A centre is a voxel with the most of them within
the radius; of equally many that with the most votes of its own, then the first in C order. A voxel
belongs to the centre that is nearest to where it points, of equally near ones the first, if that lies
within the margin of the centre. Objects are numbered in the order of their centres. Votes are whole
numbers and add up in any order, so that no block changes an object.

A centre has a voxel at least: those that point to within half the radius of it are nearer to it than
to any other one, which lies farther away than the radius.

References
----------
Neven, De Brabandere, Proesmans, Van Gool, CVPR (2019) 8829 (offsets, seeds, margins).
DOI 10.1109/CVPR.2019.00904
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numba as nb
import numpy as np
from numpy.typing import NDArray

from tim3d.errors import ArgumentError
from tim3d.grid import Box, Triple, triple

Floats: TypeAlias = NDArray[np.float32]
Bits: TypeAlias = NDArray[np.bool_]
Ids: TypeAlias = NDArray[np.uint32]
Places: TypeAlias = NDArray[np.int64]

PLANES = ("z", "y", "x", "weight", "margin")
# Weights in whole numbers are shares of this; margins are rounded to 1 / FINE of the radius.
WHOLE, FINE = 255, 1024
# Where a voxel points that does not vote.
NOWHERE = -1


@dataclass(frozen=True)
class Voting:
    """How voxels vote for the centres of objects.

    Parameters
    ----------
    radius : float
        Length in nm: centres are farther apart than this, and a voxel that points farther away from
        all of them belongs to no object.
    reach : (z, y, x)
        Voxels along each axis that an offset reaches at most. A voxel that points farther belongs to
        no object.
    least : int
        Least votes of a centre, in voxels of full weight.
    planes : tuple of str
        Planes of the map: offsets z, y, x from a voxel to the middle of its object, in voxels of the
        volume; then, if the network gives them, weight, from 0 (does not vote) to 1; and margin, how
        far in nm voxels may point beside the middle: that of a centre is the mean of its voters, from
        half of the radius to the radius.
    """

    radius: float
    reach: Triple
    least: int = 1
    planes: tuple[str, ...] = PLANES[:3]

    def check(self) -> None:
        """Raise `ArgumentError` for a number out of its range."""
        if not 0 < self.radius < math.inf or len(self.reach) != 3 or min(self.reach) < 0:
            raise ArgumentError(
                f"votes with the radius {self.radius} nm and the reach {self.reach}: a length above 0, and voxels "
                "along z, y and x"
            )
        if self.least < 1 or self.planes not in (PLANES[:3], PLANES[:4], PLANES):
            raise ArgumentError(
                f"votes with least={self.least} and the planes {self.planes}: 1 vote or more, and z, y, x, with "
                "weight, or with weight and margin"
            )

    def near(self, spacing: Sequence[float]) -> Triple:
        """Voxels along each axis within half the radius."""
        return triple(int(self.radius / 2 / edge) for edge in spacing)

    def apart(self, spacing: Sequence[float]) -> Triple:
        """Voxels along each axis within the radius."""
        return triple(int(self.radius / edge) for edge in spacing)

    def halo(self, spacing: Sequence[float]) -> Triple:
        """Voxels around a box on which its centres depend."""
        three = zip(self.reach, self.near(spacing), self.apart(spacing), strict=True)
        return triple(sum(one) for one in three)


@dataclass(frozen=True, eq=False)
class Centres:
    """Centres of objects.

    Parameters
    ----------
    place : (n,) int64
        Voxel in the C order of the volume, ascending.
    margin : (n,) int64
        How far in 1 / FINE of the radius voxels may point beside it.
    """

    place: Places
    margin: Places


def targets(planes: Floats, members: Bits, start: Triple, shape: Triple, reach: Triple) -> Places:
    """Voxel of the volume to which each voxel points, rounded; NOWHERE for those that do not vote.

    Parameters
    ----------
    planes : (k, z, y, x) float32
        Offsets along z, y and x in voxels, and what else there is.
    members : (z, y, x) bool
        Voxels of the class.
    start, shape : (z, y, x)
        First voxel of the box in the volume, and the shape of the volume.
    reach : (z, y, x)
        Longest offset along each axis.

    Raises
    ------
    ValueError
        If an offset of a member is not a finite number.

    Examples
    --------
    >>> planes = np.array([0, 0, 1.6], np.float32).reshape(3, 1, 1, 1)
    >>> targets(planes, np.ones((1, 1, 1), bool), (0, 0, 2), (1, 1, 9), (0, 0, 4))
    array([[[4]]])
    """
    if not np.isfinite(planes[:, members]).all():
        raise ValueError("a voxel of the class points nowhere: its offsets are not finite numbers")
    found = np.zeros(members.shape, np.int64)
    votes = members.copy()
    for axis in range(3):
        along = np.arange(members.shape[axis], dtype=np.float64) + start[axis]
        offset = np.where(members, planes[axis], np.float32(0)).astype(np.float64)
        aim = np.rint(along.reshape([-1 if a == axis else 1 for a in range(3)]) + offset)
        votes &= (np.abs(offset) <= reach[axis]) & (aim >= 0) & (aim < shape[axis])
        found = found * shape[axis] + np.where(votes, aim, 0).astype(np.int64)
    return np.where(votes, found, NOWHERE)


def centres_in(
    core: Box,
    aims: Places,
    planes: Floats,
    shape: Triple,
    how: Voting,
    spacing: Sequence[float],
) -> Centres:
    """Centres in a core, from where the voxels in its `halo` point.

    Parameters
    ----------
    core : Box
        Box of the volume.
    aims : (z, y, x) int64
        `targets` of a box that holds the core and its halo, as far as the volume goes.
    planes : (k, z, y, x) float32
        Planes of the same box.
    shape, spacing : (z, y, x)
        Shape of the volume, and edges of a voxel in nm.
    how : Voting
        How voxels vote.
    """
    whole = Box.whole(shape)
    around = core.grow(how.apart(spacing)).clip(whole)
    voted = around.grow(how.near(spacing)).clip(whole)
    votes, margins = _votes(aims, planes, voted, shape, how)
    ball = _ball(how.near(spacing), spacing, how.radius / 2)
    sums = [_within(one, ball, voted, around) for one in (votes, margins)]
    far = _ball(how.apart(spacing), spacing, how.radius)
    own = np.ascontiguousarray(votes[around.within(voted).slices])
    start = np.array(core.within(around).start)
    rows = _peaks(sums[0], own, start, np.array(core.shape), far, how.least * WHOLE)
    places = rows + np.array(around.start)
    flat = np.ravel_multi_index(tuple(places.T), shape).astype(np.int64)
    at = tuple(rows.T)
    mean = (
        sums[1][at] // np.maximum(sums[0][at], 1)
        if "margin" in how.planes
        else np.full(len(flat), FINE)
    )
    return Centres(flat, np.clip(mean, FINE // 2, FINE).astype(np.int64))


def _votes(
    aims: Places, planes: Floats, box: Box, shape: Triple, how: Voting
) -> tuple[Places, Places]:
    """Votes for each voxel of a box in whole numbers, and votes times margins."""
    voting = aims != NOWHERE
    places = np.stack(np.unravel_index(aims[voting], shape), axis=1)
    inside = ((places >= box.start) & (places < box.stop)).all(axis=1)
    local = np.ravel_multi_index(tuple((places[inside] - box.start).T), box.shape)
    weight = np.full(len(local), WHOLE, np.int64)
    if "weight" in how.planes:
        weight = _whole(planes[3][voting][inside], 1.0, WHOLE)
    votes, margins = np.zeros((2, *box.shape), np.int64)
    np.add.at(votes.reshape(-1), local, weight)
    if "margin" in how.planes:
        far = _whole(planes[4][voting][inside], how.radius, FINE)
        np.add.at(margins.reshape(-1), local, weight * far)
    return votes, margins


def _whole(values: Floats, most: float, steps: int) -> Places:
    """Shares of the largest value in whole steps."""
    share = np.clip(values.astype(np.float64) / most, 0, 1)
    return np.asarray(np.rint(share * steps), np.int64)


def _ball(edges: Triple, spacing: Sequence[float], radius: float) -> Places:
    """Offsets (n, 3) of the voxels in a ball, in C order."""
    grid = np.indices([2 * n + 1 for n in edges]).reshape(3, -1).T - np.array(edges)
    squares = ((grid * np.array(spacing, np.float64)) ** 2).sum(axis=1)
    return np.asarray(grid[squares <= radius * radius], np.int64)


def _within(votes: Places, ball: Places, box: Box, core: Box) -> Places:
    """Sum of the votes in the ball around each voxel of a core."""
    if not votes.any():
        return np.zeros(core.shape, np.int64)
    shift = np.array(box.start) - np.array(core.start)
    return np.asarray(_scattered(votes, ball, shift, np.array(core.shape)), np.int64)


@nb.njit(nogil=True, cache=True)
def _scattered(votes, ball, shift, shape):  # type: ignore[no-untyped-def]
    """Add every vote to the voxels around it; `shift` leads from the votes to the core."""
    found = np.zeros((shape[0], shape[1], shape[2]), np.int64)
    for z in range(votes.shape[0]):
        for y in range(votes.shape[1]):
            for x in range(votes.shape[2]):
                vote = votes[z, y, x]
                if vote == 0:
                    continue
                for row in range(ball.shape[0]):
                    a = z + shift[0] + ball[row, 0]
                    b = y + shift[1] + ball[row, 1]
                    c = x + shift[2] + ball[row, 2]
                    if 0 <= a < shape[0] and 0 <= b < shape[1] and 0 <= c < shape[2]:
                        found[a, b, c] += vote
    return found


@nb.njit(nogil=True, cache=True)
def _peaks(sums, votes, start, core, ball, least):  # type: ignore[no-untyped-def]
    """Voxels of a core with the most votes around them; then of their own; then the first."""
    found = np.empty((64, 3), np.int64)
    count = 0
    for z in range(start[0], start[0] + core[0]):
        for y in range(start[1], start[1] + core[1]):
            for x in range(start[2], start[2] + core[2]):
                own = sums[z, y, x]
                if own < least:
                    continue
                best = True
                for row in range(ball.shape[0]):
                    a, b, c = z + ball[row, 0], y + ball[row, 1], x + ball[row, 2]
                    if not (
                        0 <= a < sums.shape[0] and 0 <= b < sums.shape[1] and 0 <= c < sums.shape[2]
                    ):
                        continue
                    before = a < z or (a == z and (b < y or (b == y and c < x)))
                    more = sums[a, b, c] - own
                    if more == 0:
                        more = votes[a, b, c] - votes[z, y, x]
                    if more > 0 or (more == 0 and before):
                        best = False
                        break
                if best:
                    if count == found.shape[0]:
                        larger = np.empty((2 * count, 3), np.int64)
                        larger[:count] = found
                        found = larger
                    found[count, 0], found[count, 1], found[count, 2] = z, y, x
                    count += 1
    return found[:count]


def numbered_by_votes(
    aims: Places, centres: Centres, first: int, shape: Triple, how: Voting, spacing: Sequence[float]
) -> Ids:
    """Number of the object of each voxel: that of the centre nearest to where it points, or 0.

    Parameters
    ----------
    aims : (z, y, x) int64
        Where the voxels point.
    centres : Centres
        All centres near to where they point.
    first : int
        Number of the first of them.
    shape, spacing : (z, y, x)
        Shape of the volume, and edges of a voxel in nm.
    how : Voting
        How voxels vote.
    """
    found = np.zeros(aims.shape, np.uint32)
    if len(centres.place):
        places = np.stack(np.unravel_index(centres.place, shape), axis=1).astype(np.int64)
        far = (centres.margin * (how.radius / FINE)) ** 2
        edges = np.array([max(1, n) for n in how.apart(spacing)], np.int64)
        starts, order = _cells(places, edges)
        _assign(
            aims.reshape(-1), found.reshape(-1), places, far, np.array(shape), np.array(spacing, np.float64), edges,
            places.min(axis=0) // edges, starts, order, first,
        )  # fmt: skip
    return found


def _cells(places: Places, edges: Places) -> tuple[Places, Places]:
    """First centre of each cell of a lattice around the centres, and the centres by cell."""
    cells = places // edges - places.min(axis=0) // edges
    counts = cells.max(axis=0) + 1
    flat = np.ravel_multi_index(tuple(cells.T), tuple(counts))
    order = np.argsort(flat, kind="stable")
    starts = np.searchsorted(flat[order], np.arange(int(np.prod(counts)) + 1))
    return starts.reshape(-1)[:-1].reshape(counts), np.append(order, -1)


@nb.njit(nogil=True, cache=True)
def _assign(aims, found, places, far, shape, spacing, edges, lowest, starts, order, first):  # type: ignore[no-untyped-def]
    """Nearest centre of each voxel, from the cells around where it points."""
    nz, ny, nx = starts.shape
    flat = starts.reshape(-1)
    for voxel in range(aims.size):
        aim = aims[voxel]
        if aim < 0:
            continue
        x, rest = aim % shape[2], aim // shape[2]
        y, z = rest % shape[1], rest // shape[1]
        cz, cy, cx = z // edges[0] - lowest[0], y // edges[1] - lowest[1], x // edges[2] - lowest[2]
        least, own = np.inf, -1
        for a in range(max(cz - 1, 0), min(cz + 2, nz)):
            for b in range(max(cy - 1, 0), min(cy + 2, ny)):
                for c in range(max(cx - 1, 0), min(cx + 2, nx)):
                    cell = (a * ny + b) * nx + c
                    stop = flat[cell + 1] if cell + 1 < flat.size else order.size - 1
                    for place in range(flat[cell], stop):
                        one = order[place]
                        dz = (places[one, 0] - z) * spacing[0]
                        dy = (places[one, 1] - y) * spacing[1]
                        dx = (places[one, 2] - x) * spacing[2]
                        square = dz * dz + dy * dy + dx * dx
                        if square < least or (square == least and one < own):
                            least, own = square, one
        if own >= 0 and least <= far[own]:
            found[voxel] = first + own


def objects_by_votes(
    planes: Floats, members: Bits, how: Voting, spacing: Sequence[float] = (1.0, 1.0, 1.0)
) -> Ids:
    """Objects of a volume in memory, as one block.

    Parameters
    ----------
    planes : (k, Z, Y, X) float32
        Planes of the map, see `Voting`.
    members : (Z, Y, X) bool
        Voxels of the class.
    how : Voting
        How they vote.
    spacing : (z, y, x)
        Edges of a voxel in nm.

    Examples
    --------
    >>> x = np.arange(8)
    >>> planes = np.zeros((3, 1, 1, 8), np.float32)
    >>> planes[2] = np.where(x < 4, 1, 6) - x
    >>> objects_by_votes(planes, np.ones((1, 1, 8), bool), Voting(2.0, (0, 0, 3))).tolist()
    [[[1, 1, 1, 1, 2, 2, 2, 2]]]
    """
    shape: Triple = (members.shape[0], members.shape[1], members.shape[2])
    aims = targets(planes, members, (0, 0, 0), shape, how.reach)
    centres = centres_in(Box.whole(shape), aims, planes, shape, how, spacing)
    return numbered_by_votes(aims, centres, 1, shape, how, spacing)
