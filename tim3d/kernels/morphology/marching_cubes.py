"""Surface of a phase as triangles, by marching cubes whose table follows from one rule.

A cell has voxel centres as its eight corners. A vertex lies in the middle of each edge of a cell
between a voxel of the phase and another one, and has the number of that edge in the volume: blocks
that share an edge agree on the vertex without knowing of each other.

On a face of a cell with two voxels of the phase on one diagonal the two are kept apart, so that
voxels are connected through faces only, as by default in `tim3d.label`. What is drawn on a face
depends on its four voxels alone, and no triangle has an edge on a face that is not drawn there.
Neighbouring cells therefore fit, and the surface is closed and a manifold.

References
----------
W. E. Lorensen, H. E. Cline, SIGGRAPH (1987), doi:10.1145/37401.37422. Cuts of faces that depend on
the face alone: G. M. Nielson, B. Hamann, IEEE Visualization (1991),
doi:10.1109/VISUAL.1991.175782.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, lru_cache
from itertools import product

import numba as nb
import numpy as np
from numpy.typing import NDArray

from tim3d.grid import Box, Triple

I8 = NDArray[np.int8]
I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]
Offset = tuple[int, int, int]
Edge = tuple[int, int]
# Corner c of a cell has the offset (z, y, x) whose binary digits are c.
_CORNERS: list[Offset] = list(product((0, 1), (0, 1), (0, 1)))
# Edges of a cell: the lower corner and the axis.
EDGES: list[Edge] = [(c, a) for c in range(8) for a in range(3) if not _CORNERS[c][a]]
_kernel = nb.njit(nogil=True, cache=True)


def _far(edge: Edge) -> int:
    """The other corner of an edge."""
    corner, axis = edge
    return corner + (4 >> axis)


def _faces() -> Iterator[list[int]]:
    """Corners of each face of a cell, counter-clockwise seen from outside."""
    for axis, side in product(range(3), (0, 1)):
        low = side * (4 >> axis)
        first, second = (4 >> a for a in range(3) if a != axis)
        ring = [low, low + first, low + first + second, low + second]
        # With axes z, y, x a ring from the first to the second other axis turns against the axis
        # z and x, and with the axis y.
        yield ring if (axis == 1) == (side == 1) else ring[::-1]


FACES = list(_faces())


def _segments(inside: list[bool]) -> Iterator[tuple[int, int]]:
    """Cuts on the faces of a cell, each from one edge to another, around every run of the phase."""
    number = {frozenset((edge[0], _far(edge))): n for n, edge in enumerate(EDGES)}
    for ring in FACES:
        sides = [frozenset((ring[i], ring[(i + 1) % 4])) for i in range(4)]
        for i in range(4):
            if not inside[ring[i]] and inside[ring[(i + 1) % 4]]:
                j = i + 1
                while inside[ring[(j + 1) % 4]]:
                    j += 1
                yield number[sides[i]], number[sides[j % 4]]


def _loops(inside: list[bool]) -> list[list[int]]:
    """Closed polygons of edges in a cell: each cut edge is the end of one cut and the start of one."""
    following = dict(_segments(inside))
    loops = []
    while following:
        start = min(following)
        loop = [start]
        while (edge := following.pop(loop[-1])) != start:
            loop.append(edge)
        loops.append(loop)
    return loops


@cache
def _share_a_face(one: int, other: int) -> bool:
    corners = {EDGES[one][0], _far(EDGES[one]), EDGES[other][0], _far(EDGES[other])}
    return any(corners <= set(ring) for ring in FACES)


def _middle(edge: int) -> NDArray[np.float64]:
    corner, axis = EDGES[edge]
    return np.asarray(np.array(_CORNERS[corner]) + 0.5 * (np.arange(3) == axis))


@cache
def _area(a: int, b: int, c: int) -> float:
    tip, left, right = map(_middle, (a, b, c))
    return float(np.linalg.norm(np.cross(left - tip, right - tip)))


def triangulated(loop: list[int]) -> list[tuple[int, int, int]] | None:
    """The smallest triangulation of a polygon without a new edge on a face of the cell; None if there is none."""
    if len(loop) == 3:
        return [(loop[0], loop[1], loop[2])]
    found = []
    for tip in range(2, len(loop)):
        left, right = loop[1 : tip + 1], [loop[0], *loop[tip:]]
        cuts = [(a, b) for a, b, part in ((loop[1], loop[tip], left), (loop[0], loop[tip], right))
                if len(part) > 2]  # fmt: skip
        if any(_share_a_face(a, b) for a, b in cuts):
            continue
        parts = [triangulated(part) if len(part) > 2 else [] for part in (left, right)]
        if None not in parts:
            found.append([(loop[0], loop[1], loop[tip]), *(t for p in parts if p for t in p)])
    return min(found, key=lambda one: sum(_area(*t) for t in one), default=None)


@lru_cache(maxsize=1)
def table() -> tuple[I8, I8]:
    """Number of triangles, and their edges, of the 256 configurations of a cell.

    Returns
    -------
    counts : (256,) int8
        Triangles.
    corners : (256, most, 3) int8
        Indices into `EDGES`; bit c of the configuration is set if corner c is inside. Normals point
        out of the phase.
    """
    cases = [list(_triangles(code)) for code in range(256)]
    counts = np.array([len(case) for case in cases], np.int8)
    corners = np.zeros((256, int(counts.max()), 3), np.int8)
    for code, case in enumerate(cases):
        corners[code, : len(case)] = np.reshape(case, (-1, 3))
    return counts, corners


def _triangles(code: int) -> Iterator[tuple[int, int, int]]:
    for loop in _loops([bool(code >> c & 1) for c in range(8)]):
        found = triangulated(loop)
        assert found is not None, f"no triangulation of configuration {code} stays off the faces"
        yield from found


def triangles(inside: U8, first: Triple, shape: Triple) -> tuple[I64, I64]:
    """Triangles of the cells of a block.

    Parameters
    ----------
    inside : (z + 1, y + 1, x + 1) uint8
        Voxels at the corners of the cells, 1 in the phase.
    first : (z, y, x)
        Place of the first of these voxels in the whole.
    shape : (z, y, x)
        Voxels of the whole.

    Returns
    -------
    corners : (n, 3) int64
        Numbers of the vertices: 3 times the number of a voxel plus the axis along which the edge
        leaves it.
    cells : (n,) int64
        Number of the cell of every triangle, the number of its first voxel.
    """
    counts, corners = table()
    edges = np.array([(*_CORNERS[corner], axis) for corner, axis in EDGES], np.int64)
    whole, place = np.array(shape, np.int64), np.array(first, np.int64)
    total = _count(inside, counts)
    found, cells = np.empty((total, 3), np.int64), np.empty(total, np.int64)
    _fill(inside, counts, corners, edges, place, whole, found, cells)
    return found, cells


@_kernel
def _code(inside: U8, z: int, y: int, x: int) -> int:
    code = 0
    for c in range(8):
        code |= inside[z + (c >> 2), y + (c >> 1 & 1), x + (c & 1)] << c
    return code


@_kernel
def _count(inside: U8, counts: I8) -> int:
    total = 0
    for z in range(inside.shape[0] - 1):
        for y in range(inside.shape[1] - 1):
            for x in range(inside.shape[2] - 1):
                total += counts[_code(inside, z, y, x)]
    return total


@_kernel
def _fill(
    inside: U8, counts: I8, corners: I8, edges: I64, first: I64, shape: I64, found: I64, cells: I64
) -> None:
    n = 0
    for z in range(inside.shape[0] - 1):
        for y in range(inside.shape[1] - 1):
            for x in range(inside.shape[2] - 1):
                code = _code(inside, z, y, x)
                cell = ((first[0] + z) * shape[1] + first[1] + y) * shape[2] + first[2] + x
                for t in range(counts[code]):
                    for k in range(3):
                        edge = edges[corners[code, t, k]]
                        voxel = cell + (edge[0] * shape[1] + edge[1]) * shape[2] + edge[2]
                        found[n, k] = 3 * voxel + edge[3]
                    cells[n] = cell
                    n += 1


def padded(codes: U8, wanted: NDArray[np.bool_], box: Box, volume: Box) -> U8:
    """Which voxels of `box` are in the phase; those of the box outside of the volume are not.

    Parameters
    ----------
    codes : (z, y, x) uint8
        Codes of the part of the box within the volume.
    wanted : (256,) bool
        Whether a code is in the phase.
    box, volume : Box
        The box, which may reach out of the volume, and the volume.
    """
    inside = np.zeros(box.shape, np.uint8)
    inside[box.clip(volume).within(box).slices] = wanted[codes]
    return inside
