"""Connected components of phases, block by block: label, tabulate, pair over block borders, merge.

Each phase is labelled separately: two voxels are connected if they have the same code and are
neighbours. A block is labelled independently of the others, and represented by a table of its
components and the labels of its six outermost planes. The planes of neighbouring blocks give the
pairs of components that are one component of the volume (drawn in `border_pairs`); merging these
pairs gives the table of the whole volume. Components are numbered by their first voxel in C order,
which does not depend on the blocking.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import cc3d
import numba as nb
import numpy as np
from numpy.typing import NDArray

from tim3d.errors import ArgumentError
from tim3d.grid import Block, Grid, Triple, triple
from tim3d.kernels.morphology.phase_mask import as_codes, as_labels
from tim3d.lazy import csgraph, sparse

Labels: TypeAlias = NDArray[np.uint8]
Ids: TypeAlias = NDArray[np.uint32]
Counts: TypeAlias = NDArray[np.int64]

# Number of coordinates in which two neighbours may differ.
STEPS = {6: 1, 18: 2, 26: 3}


@dataclass(frozen=True, eq=False)
class Components:
    """Table of components, one row each.

    Parameters
    ----------
    code : (n,) uint8
        Code of the phase.
    voxels : (n,) int64
        Number of voxels.
    first : (n,) int64
        Index of the first voxel in the C order of the whole volume.
    start, stop : (n, 3) int64
        Bounding box (z, y, x) in the whole volume, half-open.
    """

    code: Labels
    voxels: Counts
    first: Counts
    start: Counts
    stop: Counts

    def __len__(self) -> int:
        return len(self.voxels)

    def touches(self, shape: Triple) -> NDArray[np.bool_]:
        """Whether each component reaches the low and high face along each axis, (n, 3, 2) bool."""
        return np.stack([self.start == 0, self.stop == np.array(shape)], axis=-1)


def check_connectivity(connectivity: int) -> int:
    """Return the connectivity, or raise `ArgumentError` if it is not 6, 18 or 26."""
    if connectivity not in STEPS:
        raise ArgumentError(
            f"connectivity is {connectivity!r}; use 6 (faces), 18 (and edges) or 26 (and corners)"
        )
    return connectivity


def label_block(labels: Labels, codes: Sequence[int], connectivity: int = 6) -> Ids:
    """Label the components of each phase in one block, independently of other blocks.

    Parameters
    ----------
    labels : (z, y, x) uint8
        Code of each voxel.
    codes : sequence of int
        Phases to label; other voxels are background.
    connectivity : {6, 18, 26}
        Neighbours share a face; or also an edge; or also a corner.

    Returns
    -------
    (z, y, x) uint32
        Labels 1, 2, ... in the order of the components' first voxels in C order; 0 is background.

    Raises
    ------
    ArgumentError
        If the labels are not 3-D uint8, no code is given, or the connectivity is not one of these.

    References
    ----------
    K. Wu, E. Otoo, K. Suzuki, Pattern Anal. Appl. 12 (2009) 117, doi:10.1007/s10044-008-0109-y;
    implementation: cc3d.

    Examples
    --------
    >>> label_block(np.array([[[7, 0, 0, 7, 2]]], np.uint8), [0, 7]).tolist()
    [[[1, 2, 2, 3, 0]]]
    """
    joined: Any = check_connectivity(connectivity)
    classes = np.zeros(256, np.uint8)
    chosen = as_codes(codes)
    # cc3d uses 0 for background; 256 phases and the background need more values than uint8 has.
    classes = classes if len(chosen) < 256 else classes.astype(np.uint16)
    classes[chosen] = np.arange(1, len(chosen) + 1)
    found = cc3d.connected_components(
        classes[as_labels(labels)], connectivity=joined, out_dtype=np.uint32
    )
    return np.asarray(found, np.uint32)


def tabulate(ids: Ids, labels: Labels, origin: Triple, shape: Triple) -> Components:
    """Compute the table of a labelled block.

    Parameters
    ----------
    ids : (z, y, x) uint32
        Components from `label_block`.
    labels : (z, y, x) uint8
        Code of each voxel.
    origin, shape : (z, y, x)
        First voxel of the block in the volume, and the shape of the volume.

    Returns
    -------
    Components
        Row k is component k + 1.
    """
    n = int(ids.max(initial=0))
    code, voxels = np.zeros(n, np.uint8), np.zeros(n, np.int64)
    begin, start, stop = (np.zeros((n, 3), np.int64) for _ in range(3))
    _tally(ids, labels, code, voxels, begin, start, stop)
    place = (begin + np.array(origin)).T
    first = np.ravel_multi_index(tuple(place), shape) if n else np.zeros(0)
    return Components(
        code, voxels, first.astype(np.int64), start + np.array(origin), stop + np.array(origin)
    )


@nb.njit(nogil=True, cache=True)
def _tally(ids, labels, code, voxels, begin, start, stop):  # type: ignore[no-untyped-def]
    nz, ny, nx = ids.shape
    for z in range(nz):
        for y in range(ny):
            row, x = ids[z, y], 0
            while x < nx:
                own, left = row[x], x
                while x < nx and row[x] == own:
                    x += 1
                if own == 0:
                    continue
                k = own - 1
                if voxels[k] == 0:
                    code[k] = labels[z, y, left]
                    begin[k, 0], begin[k, 1], begin[k, 2] = z, y, left
                    start[k] = begin[k]
                voxels[k] += x - left
                start[k, 1], start[k, 2] = min(start[k, 1], y), min(start[k, 2], left)
                stop[k, 0], stop[k, 1], stop[k, 2] = (
                    z + 1,
                    max(stop[k, 1], y + 1),
                    max(stop[k, 2], x),
                )


@dataclass(frozen=True, eq=False)
class Border:
    """Data of a block that its neighbours need to find common components.

    Parameters
    ----------
    code : (n,) uint8
        Phase of each component.
    planes : mapping of (axis, side) to (., .) uint32
        Component labels on the first (side -1) and last (side 1) plane of the block along each
        axis.
    """

    code: Labels
    planes: Mapping[tuple[int, int], Ids]


def border(ids: Ids, code: Labels) -> Border:
    """Return the border of a labelled block; `code` is the phase of each of its components."""
    sides = itertools.product(range(3), (-1, 1))
    return Border(
        code, {(axis, side): np.take(ids, 0 if side < 0 else -1, axis=axis) for axis, side in sides}
    )


def neighbours(grid: Grid, index: Triple, connectivity: int) -> Iterator[Triple]:
    """Yield offsets to the touching blocks that follow a block, so that each pair occurs once.

    Parameters
    ----------
    grid : Grid
        The blocks.
    index : (z, y, x)
        Index of the block.
    connectivity : {6, 18, 26}
        Blocks touch over a face; or also over an edge; or also over a corner.

    Examples
    --------
    >>> list(neighbours(Grid((4, 4, 4), (2, 2, 4)), (0, 1, 0), 18))
    [(1, -1, 0), (1, 0, 0)]
    """
    for offset in itertools.product((-1, 0, 1), repeat=3):
        there = triple(a + b for a, b in zip(index, offset, strict=True))
        inside = all(0 <= i < n for i, n in zip(there, grid.counts, strict=True))
        if offset > (0, 0, 0) and inside and _steps(offset) <= STEPS[connectivity]:
            yield triple(offset)


def _steps(offset: Sequence[int]) -> int:
    return sum(map(abs, offset))


def border_pairs(low: Border, high: Border, offset: Triple, connectivity: int) -> Counts:
    """Pairs of components of two touching blocks that are one component of the volume.

    Two blocks of one phase, side by side along x; digits are the component labels of each block, of
    which the last plane of `low` and the first plane of `high` are compared::

              low       high
        y   . 1 1   |   1 1 .     straight across, (1, 1): any connectivity
        |   . . 1   |   . . .
        v   2 2 .   |   2 2 .     one step aside, (1, 2) from the row above: 18 and 26 only

    Along y and z, the planes are shifted against each other by -1, 0 or 1; a shift of s coordinates
    needs a connectivity whose neighbours may differ in 1 + s coordinates. Blocks that touch at an
    edge or a corner compare only the line or the voxel there.

    Parameters
    ----------
    low, high : Border
        The two blocks.
    offset : (z, y, x)
        Offset from the first to the second on the block grid, each -1, 0 or 1.
    connectivity : {6, 18, 26}
        Connectivity with which the blocks were labelled.

    Returns
    -------
    (m, 2) int64
        Rows of the two tables (labels minus 1), each pair once.

    Examples
    --------
    >>> low = np.array([[[0, 1, 1], [0, 0, 1], [2, 2, 0]]], np.uint32)
    >>> high = np.array([[[1, 1, 0], [0, 0, 0], [2, 2, 0]]], np.uint32)
    >>> borders = [border(ids, np.ones(2, np.uint8)) for ids in (low, high)]
    >>> [border_pairs(*borders, (0, 0, 1), connectivity).tolist() for connectivity in (6, 18)]
    [[[0, 0]], [[0, 0], [0, 1]]]
    """
    axis = next(a for a in range(3) if offset[a])
    one, two = low.planes[axis, offset[axis]], high.planes[axis, -offset[axis]]
    within = [offset[a] for a in range(3) if a != axis]
    shifts = (
        shift
        for shift in itertools.product((-1, 0, 1), repeat=2)
        if 1 + _steps(shift) <= STEPS[connectivity]
    )
    found = [
        _equal_pairs(*_shifted(one, two, within, shift), low.code, high.code)
        for shift in shifts
        if all(w in (0, s) for w, s in zip(within, shift, strict=True))
    ]
    return np.unique(np.concatenate(found), axis=0)


def _shifted(one: Ids, two: Ids, offset: Sequence[int], shift: Sequence[int]) -> tuple[Ids, Ids]:
    """Voxels of two planes that are `shift` apart, for blocks `offset` apart in the plane."""
    places = [
        _overlap(n, m, o, s) for n, m, o, s in zip(one.shape, two.shape, offset, shift, strict=True)
    ]
    return one[places[0][0], places[1][0]], two[places[0][1], places[1][1]]


def _overlap(n: int, m: int, offset: int, shift: int) -> tuple[slice, slice]:
    if offset:
        return (slice(n - 1, n), slice(0, 1)) if offset > 0 else (slice(0, 1), slice(m - 1, m))
    return slice(max(0, -shift), n - max(0, shift)), slice(max(0, shift), n - max(0, -shift))


def _equal_pairs(one: Ids, two: Ids, code_one: Labels, code_two: Labels) -> Counts:
    """Pairs of rows whose voxels coincide and have the same phase."""
    both = (one > 0) & (two > 0)
    a, b = one[both].astype(np.int64) - 1, two[both].astype(np.int64) - 1
    fresh = np.ones(len(a), bool)  # most voxels repeat the preceding pair
    fresh[1:] = (a[1:] != a[:-1]) | (b[1:] != b[:-1])
    a, b = a[fresh], b[fresh]
    same = code_one[a] == code_two[b]
    pairs = np.unique(a[same] * np.int64(len(code_two) or 1) + b[same])
    return np.stack(np.divmod(pairs, np.int64(len(code_two) or 1)), axis=1)


def merge(tables: Sequence[Components], pairs: Counts) -> tuple[Components, Counts]:
    """Merge the tables of all blocks into the table of the volume.

    Parameters
    ----------
    tables : sequence of Components
        Table of every block.
    pairs : (m, 2) int64
        Rows of the concatenated tables that are one component.

    Returns
    -------
    table : Components
        Components of the volume in the order of their first voxels, in which `scipy.ndimage.label`
        also numbers one phase.
    rows : (n,) int64
        Row of `table` for each row of the concatenated tables.
    """
    every = _join(tables)
    count, group = _groups(len(every), pairs)
    first = np.full(count, np.iinfo(np.int64).max)
    np.minimum.at(first, group, every.first)
    order = np.argsort(first)
    rank = np.empty(count, np.int64)
    rank[order] = np.arange(count)
    rows = rank[group]
    code, voxels = np.zeros(count, np.uint8), np.zeros(count, np.int64)
    code[rows] = every.code
    np.add.at(voxels, rows, every.voxels)
    start, stop = np.full((count, 3), np.iinfo(np.int64).max), np.zeros((count, 3), np.int64)
    np.minimum.at(start, rows, every.start)
    np.maximum.at(stop, rows, every.stop)
    return Components(code, voxels, first[order], start, stop), rows


def _join(tables: Sequence[Components]) -> Components:
    columns = ("code", "voxels", "first", "start", "stop")
    return Components(
        *(np.concatenate([getattr(table, name) for table in tables]) for name in columns)
    )


def _groups(n: int, pairs: Counts) -> tuple[int, Counts]:
    if n == 0:
        return 0, np.zeros(0, np.int64)
    links = sparse.coo_array(
        (np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), shape=(n, n)
    )
    count, group = csgraph.connected_components(links, directed=False)
    return int(count), np.asarray(group, np.int64)


def label_volume(
    labels: Labels, codes: Sequence[int], connectivity: int = 6, block: Triple | None = None
) -> tuple[Ids, Components]:
    """Label the components of a volume in memory, block by block.

    Parameters
    ----------
    labels : (Z, Y, X) uint8
        Code of each voxel.
    codes : sequence of int
        Phases to label.
    connectivity : {6, 18, 26}
        Neighbours share a face; or also an edge; or also a corner.
    block : (z, y, x), optional
        Edges of a block in voxels (default: the whole volume). The result does not depend on it.

    Returns
    -------
    ids : (Z, Y, X) uint32
        Number of the component of each voxel, 0 outside the phases.
    table : Components
        Row k is component k + 1.

    Examples
    --------
    >>> ids, table = label_volume(np.array([[[1, 1, 0, 1]]], np.uint8), [1], block=(1, 1, 1))
    >>> ids.tolist(), table.voxels.tolist()
    ([[[1, 1, 0, 2]]], [2, 1])
    """
    grid = Grid(triple(labels.shape), block or triple(labels.shape))
    pieces = {b.index: _piece(labels, b, codes, connectivity) for b in grid}
    tables = [table for _, table in pieces.values()]
    starts = dict(zip(pieces, first_rows([len(t) for t in tables]).tolist(), strict=True))
    borders = {index: border(ids, table.code) for index, (ids, table) in pieces.items()}
    pairs = [np.zeros((0, 2), np.int64)]
    for index in pieces:
        for offset in neighbours(grid, index, connectivity):
            there = triple(a + b for a, b in zip(index, offset, strict=True))
            found = border_pairs(borders[index], borders[there], offset, connectivity)
            pairs.append(found + np.array([starts[index], starts[there]]))
    table, rows = merge(tables, np.concatenate(pairs))
    out = np.zeros(labels.shape, np.uint32)
    for index, (ids, own) in pieces.items():
        renumber = lookup(rows[starts[index] : starts[index] + len(own)])
        out[grid.block_at(index).core.slices] = renumber[ids]
    return out, table


def _piece(
    labels: Labels, block: Block, codes: Sequence[int], connectivity: int
) -> tuple[Ids, Components]:
    inside = np.ascontiguousarray(labels[block.core.slices])
    ids = label_block(inside, codes, connectivity)
    return ids, tabulate(ids, inside, block.core.start, triple(labels.shape))


def first_rows(lengths: Sequence[int]) -> Counts:
    """First row of each table when the tables are concatenated.

    >>> first_rows([3, 0, 2]).tolist()
    [0, 3, 3]
    """
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])[:-1].astype(np.int64)


def lookup(rows: Counts) -> Ids:
    """Table from the labels of a block to component numbers in the volume; background stays 0.

    >>> lookup(np.array([4, 0])).tolist()
    [0, 5, 1]
    """
    return np.concatenate([[0], rows + 1]).astype(np.uint32)


def border_voxels(core: Triple) -> int:
    """Number of voxels on the six outermost planes of a block, edges and corners repeated.

    >>> border_voxels((2, 3, 4))
    52
    """
    return 2 * sum(math.prod(core) // n for n in core)
