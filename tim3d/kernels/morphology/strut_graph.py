"""Graph of a skeleton: nodes where curves meet or end, and branches between them.

All follows from the coordinates and the radii of the voxels, sorted by their place in the volume;
lengths are in nm. Voxels with another number of neighbours (of 26) than two, and that are
neighbours, are one node; it lies in the middle of its largest ball. What is left are the branches:
chains from node to node, or rings.

Three rules make it a graph of struts, over and over until nothing changes:

- Joined: two nodes are one if the centre of one lies in the ball of the other.
- Spurs: a branch that ends freely is left out if it is not longer than the diameter of the ball at
  the node where it begins; than its radius, if the border of the volume cuts the ball at its end.
- Dissolved: a node where two branches meet makes one of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numba as nb
import numpy as np
from numpy.typing import NDArray

from tim3d.grid import Triple
from tim3d.kernels.morphology.surface import Spacing
from tim3d.lazy import csgraph, sparse

Whole: TypeAlias = NDArray[np.int64]
Values: TypeAlias = NDArray[np.float64]

# Neighbours that come later in the order of the volume.
LATER = [o for o in itertools.product((-1, 0, 1), repeat=3) if o > (0, 0, 0)]
# Points on either side over which the path of a branch is averaged, to take the stairs out of it.
AVERAGED = 2
# End of a ring.
NO_NODE = -1
# Memory in bytes for each voxel of a skeleton, above what was measured for curves and for full
# lattices: while the graph is made, when it is kept, and while its tables are made.
MAKING_BYTES, KEPT_BYTES, TABLE_BYTES = 600, 130, 270


@dataclass(frozen=True, eq=False)
class Curves:
    """Voxels of a skeleton.

    Parameters
    ----------
    voxel : (n,) int64
        Places in the C order of the volume, ascending.
    radius : (n,) float64
        Distance to another phase, in nm.
    shape : (z, y, x)
        Shape of the volume.
    spacing : (sz, sy, sx)
        Edges of a voxel, in nm.
    """

    voxel: Whole
    radius: Values
    shape: Triple
    spacing: Spacing

    def __len__(self) -> int:
        return len(self.voxel)

    @property
    def places(self) -> Whole:
        """Coordinates (n, 3) of the voxels."""
        return self.places_of(np.arange(len(self)))

    def places_of(self, rows: Whole) -> Whole:
        """Coordinates (n, 3) of some voxels."""
        return np.stack(np.unravel_index(self.voxel[rows], self.shape), axis=1).astype(np.int64)

    @property
    def is_cut(self) -> NDArray[np.bool_]:
        """Whether the ball around a voxel reaches beyond the volume, along axes with several voxels."""
        shape, spacing = np.array(self.shape), np.array(self.spacing)
        places = self.places + 0.5
        near = np.minimum(places, shape - places) * spacing
        return np.asarray((near[:, shape > 1] < self.radius[:, None]).any(axis=1))


@dataclass(frozen=True, eq=False)
class Network:
    """Nodes and branches.

    Parameters
    ----------
    curves : Curves
        The voxels.
    centre : (nodes,) int64
        Row of the voxel in the middle of each node.
    ends : (branches, 2) int64
        Nodes of each branch; `NO_NODE` twice for a ring.
    paths : sequence of (k,) int64
        Rows of the voxels of each branch, with the first and the last in its nodes. A ring ends
        with its first.
    """

    curves: Curves
    centre: Whole
    ends: Whole
    paths: Sequence[Whole]

    @property
    def coordination(self) -> Whole:
        """Ends of branches at each node."""
        at = self.ends[self.ends[:, 0] != NO_NODE]
        return np.bincount(at.ravel(), minlength=len(self.centre)).astype(np.int64)

    @property
    def radius(self) -> Values:
        """Radius of the ball at each node, in nm."""
        return self.curves.radius[self.centre]

    def keep(self, branches: NDArray[np.bool_]) -> Network:
        """The network without some branches."""
        paths = [path for path, kept in zip(self.paths, branches, strict=True) if kept]
        return replace(self, ends=self.ends[branches], paths=paths)


def graph_bytes(voxels: Sequence[int]) -> int:
    """Bound on the memory of the graphs of some phases, one after the other, and of their tables.

    Parameters
    ----------
    voxels : sequence of int
        Voxels of the skeleton of each phase.

    Examples
    --------
    >>> graph_bytes([1000]), graph_bytes([1000, 1000])
    (600000, 730000)
    """
    largest, total = max(voxels, default=0), sum(voxels)
    making = largest * MAKING_BYTES + (total - largest) * KEPT_BYTES
    return max(making, total * TABLE_BYTES)


def network(curves: Curves) -> Network:
    """The graph of a skeleton as it is, before any rule.

    Examples
    --------
    >>> places = np.array([0, 1, 2, 3, 4])
    >>> line = network(Curves(places, np.ones(5), (1, 1, 9), (1.0, 1.0, 1.0)))
    >>> line.ends.tolist(), [path.tolist() for path in line.paths]
    ([[0, 1]], [[0, 1, 2, 3, 4]])
    """
    beside = _neighbours(curves)
    degree = np.diff(beside.indptr)
    nodes = np.flatnonzero(degree != 2)
    _, cluster = csgraph.connected_components(beside[nodes][:, nodes], directed=False)
    cluster = _in_order(cluster)
    owner = np.full(len(curves), NO_NODE, np.int64)
    owner[nodes] = cluster
    rows, starts = _traced(
        beside.indptr.astype(np.int64), beside.indices.astype(np.int64), degree == 2
    )
    paths = np.split(rows, starts[1:-1]) if len(starts) > 1 else []
    ends = np.array([(owner[path[0]], owner[path[-1]]) for path in paths], np.int64).reshape(-1, 2)
    return Network(curves, _centres(nodes, cluster, curves.radius), ends, paths)


def _neighbours(curves: Curves) -> sparse.csr_array:
    """Which voxels are neighbours of which, columns ascending."""
    places, pairs = curves.places, [np.zeros((2, 0), np.int64)]
    for step in LATER:
        there = places + np.array(step)
        inside = np.flatnonzero(((there >= 0) & (there < np.array(curves.shape))).all(axis=1))
        sought = np.ravel_multi_index(tuple(there[inside].T), curves.shape)
        at = np.minimum(np.searchsorted(curves.voxel, sought), len(curves) - 1)
        found = curves.voxel[at] == sought
        pairs.append(np.stack([inside[found], at[found]]))
    one, other = np.concatenate(pairs, axis=1)
    both = (np.concatenate([one, other]), np.concatenate([other, one]))
    found = sparse.csr_array(
        sparse.coo_array((np.ones(len(both[0]), np.int8), both), shape=(len(curves),) * 2)
    )
    found.sort_indices()
    return found


def _in_order(groups: NDArray[Any]) -> Whole:
    """Number groups by their first member.

    >>> _in_order(np.array([2, 0, 2, 1])).tolist()
    [0, 1, 0, 2]
    """
    _, first, inverse = np.unique(groups, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return np.asarray(rank[inverse])


def _centres(rows: Whole, group: Whole, radius: Values) -> Whole:
    """Row with the largest radius of each group, the first of several."""
    order = np.lexsort((rows, -radius[rows], group))
    first = np.flatnonzero(np.diff(group[order], prepend=-1))
    return rows[order][first]


@nb.njit(nogil=True, cache=True)
def _traced(begin, beside, inner):  # type: ignore[no-untyped-def]
    """Follow all chains of voxels with two neighbours: their rows, and where each chain starts."""
    count = inner.sum()
    rows, starts = np.empty(3 * count + 1, np.int64), np.empty(2 * count + 2, np.int64)
    used, at, chains = np.zeros(len(inner), np.bool_), 0, 0
    starts[0] = 0
    for ring in range(2):
        for first in range(len(inner)):
            if inner[first] != (ring == 1) or (ring == 1 and used[first]):
                continue
            for i in range(begin[first], begin[first + 1]):
                here, before = beside[i], first
                if not inner[here] or used[here]:
                    continue
                rows[at] = first
                at += 1
                while inner[here] and here != first:
                    rows[at], used[here] = here, True
                    at += 1
                    both = beside[begin[here]], beside[begin[here] + 1]
                    here, before = both[0] if both[0] != before else both[1], here
                rows[at], used[first] = here, ring == 1
                at += 1
                chains += 1
                starts[chains] = at
                if ring == 1:
                    break
    return rows[:at].copy(), starts[: chains + 1].copy()


def struts(found: Network, spurs: float = 1.0, joins: float = 1.0) -> Network:
    """Apply the three rules until nothing changes.

    Parameters
    ----------
    found : Network
        The graph of a skeleton.
    spurs : float
        Length of the longest spur, in diameters of the ball at the node where it begins; 0 keeps all.
    joins : float
        Distance of nodes that are one, in radii of the larger ball; 0 joins none.

    Returns
    -------
    Network
        Nodes in the order of their centres, branches in the order of their nodes.
    """
    before, now = None, dissolved(found)
    while before is None or len(now.ends) < len(before.ends):
        before = now
        now = dissolved(without_spurs(dissolved(joined(now, joins)), spurs))
    return _sorted(now)


def joined(found: Network, joins: float) -> Network:
    """Make nodes one that a branch connects, where the ball of one holds the centre of the other.

    The largest ball comes first. What it takes in takes in nothing itself, so that no node grows
    beyond a ball. Of several branches between them the shortest goes, and the others stay as rings
    at the node: each goes around a tunnel.
    """
    if not len(found.centre):
        return found
    one, other = found.ends.T
    degree, radius = found.coordination, found.radius
    near = _apart(found, one, other) <= joins * np.maximum(radius[one], radius[other])
    inner = np.flatnonzero((one != other) & (degree[one] > 2) & (degree[other] > 2) & near)
    shortest = inner[np.argsort(lengths(found)[inner], kind="stable")]
    into, spent = _taken_in(found.ends[shortest], radius)
    left = np.flatnonzero(into == np.arange(len(into)))
    ends = np.where(found.ends == NO_NODE, NO_NODE, np.searchsorted(left, into[found.ends]))
    kept = np.ones(len(ends), bool)
    kept[shortest[spent]] = False
    return replace(found, centre=found.centre[left], ends=ends).keep(kept)


def _taken_in(pairs: Whole, radius: Values) -> tuple[Whole, list[int]]:
    """Node that each node becomes, if the larger of each pair takes in the smaller, and the pairs that do."""
    into, takes, spent = np.arange(len(radius)), set(), []
    larger = [(a, b) if (radius[a], -a) > (radius[b], -b) else (b, a) for a, b in pairs.tolist()]
    order = sorted(range(len(larger)), key=lambda i: (-radius[larger[i][0]], larger[i][0], i))
    for i in order:
        large, small = larger[i]
        if into[large] == large and into[small] == small and small not in takes:
            into[small] = large
            takes.add(large)
            spent.append(i)
    return into, spent


def _apart(found: Network, one: Whole, other: Whole) -> Values:
    places = found.curves.places[found.centre] * np.array(found.curves.spacing)
    return np.asarray(np.sqrt(((places[one] - places[other]) ** 2).sum(axis=1)))


def without_spurs(found: Network, spurs: float) -> Network:
    """Leave out branches that end freely and are not longer than the ball at their node is wide."""
    if not len(found.centre):
        return found
    degree, radius, cut = found.coordination, found.radius, found.curves.is_cut[found.centre]
    length = lengths(found)
    spur = np.zeros(len(found.ends), bool)
    for tip, root in (found.ends.T, found.ends.T[::-1]):
        free = (tip != NO_NODE) & (degree[tip] == 1) & (degree[root] > 2)
        longest = np.where(cut[tip], 1, 2) * spurs * radius[root]
        spur |= free & (length <= longest)
    gone = np.zeros(len(found.centre), bool)
    gone[found.ends[spur]] = True
    gone &= degree == 1
    number = np.cumsum(~gone) - 1
    left = found.keep(~spur)
    ends = np.where(left.ends == NO_NODE, NO_NODE, number[left.ends])
    return replace(left, centre=found.centre[~gone], ends=ends)


def dissolved(found: Network) -> Network:
    """Make one branch of two that meet at a node where no other does."""
    through = found.coordination == 2
    if not through.any():
        return found
    walked = list(_walks(found, through))
    number = np.cumsum(~through) - 1
    ends = np.array([pair for pair, _ in walked], np.int64).reshape(-1, 2)
    ends = np.where(ends == NO_NODE, NO_NODE, number[ends])
    return replace(
        found, centre=found.centre[~through], ends=ends, paths=[path for _, path in walked]
    )


def _walks(found: Network, through: NDArray[np.bool_]) -> Iterator[tuple[tuple[int, int], Whole]]:
    """Ends and path of each branch when nodes are walked through; rings at last."""
    ends = [(int(a), int(b)) for a, b in found.ends]
    beyond: dict[int, list[tuple[int, int]]] = {int(node): [] for node in np.flatnonzero(through)}
    for branch, side in itertools.product(range(len(ends)), (0, 1)):
        if ends[branch][side] in beyond:
            beyond[ends[branch][side]].append((branch, side))
    used: set[int] = set()
    for ring, branch, side in itertools.product((False, True), range(len(ends)), (0, 1)):
        if branch not in used and (ring or ends[branch][side] not in beyond):
            yield _walk(found, ends, beyond, used, (branch, side))


def _walk(
    found: Network,
    ends: list[tuple[int, int]],
    beyond: dict[int, list[tuple[int, int]]],
    used: set[int],
    at: tuple[int, int],
) -> tuple[tuple[int, int], Whole]:
    """Follow a branch from one of its ends as far as it goes."""
    begin, pieces = ends[at[0]][at[1]], []
    while at[0] not in used:
        branch, side = at
        used.add(branch)
        pieces.append(found.paths[branch] if side == 0 else found.paths[branch][::-1])
        last = ends[branch][1 - side]
        if last not in beyond:
            return (begin, last), np.concatenate(pieces)
        one, other = beyond[last]
        at = other if one == (branch, 1 - side) else one
    return (NO_NODE, NO_NODE), np.concatenate([*pieces, pieces[0][:1]])


def _sorted(found: Network) -> Network:
    """Nodes by their centres; branches from the lower node to the higher, and by their nodes."""
    order = np.argsort(found.centre)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    ends = np.where(found.ends == NO_NODE, NO_NODE, rank[found.ends] if len(rank) else NO_NODE)
    turned = [
        (int(b), int(a), p[::-1]) if a > b else (int(a), int(b), p)
        for (a, b), p in zip(ends, found.paths, strict=True)
    ]
    turned.sort(key=lambda one: (one[0], one[1], int(one[2].min()), int(one[2][0])))
    pairs = np.array([one[:2] for one in turned], np.int64).reshape(-1, 2)
    return replace(found, centre=found.centre[order], ends=pairs, paths=[one[2] for one in turned])


@dataclass(frozen=True, eq=False)
class Branches:
    """Measures of the branches of a network, in nm.

    Parameters
    ----------
    length : (n,) float64
        Along the branch, from the centre of one node to that of the other.
    chord : (n,) float64
        In a straight line between these; 0 of a ring.
    mean, middle, least : (n,) float64
        Radius over its voxels, at the voxel half way, and of the narrowest.
    """

    length: Values
    chord: Values
    mean: Values
    middle: Values
    least: Values


def branches(found: Network) -> Branches:
    """Measure all branches."""
    rows, starts = whole_paths(found)
    steps = _steps(found.curves, rows, starts)
    along = np.cumsum(steps)
    length = np.add.reduceat(steps, starts[:-1]) if len(found.ends) else np.zeros(0)
    half = np.searchsorted(along, along[starts[:-1]] + length / 2)
    first, last = rows[starts[:-1]], rows[starts[1:] - 1]
    places = found.curves.places * np.array(found.curves.spacing)
    own, own_starts = _joined(found.paths)
    radius = found.curves.radius[own]
    count = np.diff(own_starts)
    empty = len(count) == 0
    return Branches(
        length,
        np.sqrt(((places[first] - places[last]) ** 2).sum(axis=1)),
        np.zeros(0) if empty else np.add.reduceat(radius, own_starts[:-1]) / count,
        found.curves.radius[rows[np.clip(half, starts[:-1], starts[1:] - 1)]],
        np.zeros(0) if empty else np.minimum.reduceat(radius, own_starts[:-1]),
    )


def lengths(found: Network) -> Values:
    """Length of each branch, in nm, from centre to centre of its nodes."""
    rows, starts = whole_paths(found)
    if not len(found.ends):
        return np.zeros(0)
    return np.asarray(np.add.reduceat(_steps(found.curves, rows, starts), starts[:-1]))


def _joined(paths: Sequence[Whole]) -> tuple[Whole, Whole]:
    starts = np.cumsum([0, *map(len, paths)]).astype(np.int64)
    return np.concatenate([np.zeros(0, np.int64), *paths]), starts


def whole_paths(found: Network) -> tuple[Whole, Whole]:
    """Rows of all branches with the centres of their nodes, and where each branch starts.

    A path that begins or ends with the centre of its node has it once.
    """
    paths = [
        path if one == NO_NODE else _between(found.centre[one], path, found.centre[other])
        for (one, other), path in zip(found.ends, found.paths, strict=True)
    ]
    return _joined(paths)


def _between(begin: int, path: Whole, end: int) -> Whole:
    """A path from one row to another; rows that it begins or ends with are not repeated."""
    before = [begin] if path[0] != begin else []
    after = [end] if path[-1] != end else []
    return np.concatenate([np.array(before, np.int64), path, np.array(after, np.int64)])


def _steps(curves: Curves, rows: Whole, starts: Whole) -> Values:
    """Distance in nm of each point of a path from the one before; 0 for the first.

    Points are means over voxels on both sides, of fewer near the ends, which stay where they are.
    Sums of coordinates are whole numbers, so that no other path changes them.
    """
    if not len(rows):
        return np.zeros(0)
    size = np.repeat(np.diff(starts), np.diff(starts))
    at = np.arange(len(rows)) - np.repeat(starts[:-1], np.diff(starts))
    wide = np.minimum(AVERAGED, np.minimum(at, size - 1 - at))
    sums = np.zeros((len(rows) + 1, 3), np.int64)
    np.cumsum(curves.places[rows], axis=0, out=sums[1:])
    here = np.arange(len(rows))
    mean = (sums[here + wide + 1] - sums[here - wide]) / (2 * wide + 1)[:, None]
    moved = np.diff(mean * np.array(curves.spacing), axis=0, prepend=0)
    return np.asarray(np.where(at == 0, 0.0, np.sqrt((moved**2).sum(axis=1))))
