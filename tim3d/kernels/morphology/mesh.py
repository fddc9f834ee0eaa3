"""Closed meshes of triangles: shared vertices, enclosed volume, and smoothing that keeps it.

All sums run in the order of vertices and faces, which does not depend on the blocks that the mesh
was made of: neither does any bit of a result.
"""

from __future__ import annotations

import numba as nb
import numpy as np
from numpy.typing import NDArray

from tim3d.errors import ArgumentError
from tim3d.grid import Triple

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
Flags = NDArray[np.bool_]
# Factors of the two steps of Taubin's filter: what is longer than some ten edges stays.
SHRINK, SWELL = 0.5, -0.53
_VOLUME_STEPS = 8
# How boldly edges are collapsed; less boldly where the surface would not stay closed.
_SPEEDS = (7.0, 5.0, 4.0)
_VOLUME_TOLERANCE = 1e-9
_kernel = nb.njit(nogil=True, cache=True)


def welded(corners: I64, cells: I64) -> tuple[I64, I64]:
    """Vertices that triangles share, and the faces between them, in an order of their own.

    Parameters
    ----------
    corners : (n, 3) int64
        Numbers of the vertices of every triangle, as from `marching_cubes.triangles`.
    cells : (n,) int64
        Cell of every triangle.

    Returns
    -------
    vertices : (m,) int64
        Numbers of the vertices, ascending.
    faces : (n, 3) int64
        Places in `vertices`, in the order of the cells.
    """
    if (cells[1:] < cells[:-1]).any():
        corners = corners[np.argsort(cells, kind="stable")]
    vertices, faces = np.unique(corners, return_inverse=True)
    return vertices, faces.reshape(-1, 3)


def positions(vertices: I64, shape: Triple) -> F64:
    """Places (z, y, x) of vertices in voxels, 0 at the outer face of the volume.

    Parameters
    ----------
    vertices : (m,) int64
        Numbers of the vertices in the volume with a voxel more on each side.
    shape : (z, y, x)
        Voxels of that larger volume.
    """
    voxels, axes = np.divmod(vertices, 3)
    places = np.stack(np.unravel_index(voxels, shape), axis=1) - 0.5
    places[np.arange(len(axes)), axes] += 0.5
    return np.asarray(places, np.float64)


def on_border(places: F64, shape: Triple) -> Flags:
    """Coordinates that lie on the outer faces of a volume of `shape` voxels, as (m, 3)."""
    return np.asarray((places == 0) | (places == np.array(shape)))


def snapped(vertices: F64, edges: F64, near: F64) -> tuple[F64, Flags]:
    """Vertices within a box, and which of their coordinates lie on its faces.

    Parameters
    ----------
    vertices : (m, 3) float64
        Vertices; those outside of the box, and closer than `near` to a face, are put on the face.
    edges : (3,) float64
        The box, from 0 to these lengths.
    near : (3,) float64
        Distance along each axis.
    """
    low, high = vertices < near, vertices > edges - near
    return np.where(low, 0, np.where(high, edges, vertices)), low | high


def volume(vertices: F64, faces: I64) -> float:
    """Volume that a closed mesh encloses; positive if its normals point outwards.

    >>> corners = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    >>> round(volume(corners, np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])), 6)
    0.166667
    """
    return float(_volume(vertices, faces)) if len(faces) else 0.0


@_kernel
def _volume(p: F64, faces: I64) -> float:
    o = p[faces[0, 0]]
    total = 0.0
    for f in range(len(faces)):
        a, b, c = p[faces[f, 0]] - o, p[faces[f, 1]] - o, p[faces[f, 2]] - o
        total += a[0] * (b[1] * c[2] - b[2] * c[1])
        total += a[1] * (b[2] * c[0] - b[0] * c[2])
        total += a[2] * (b[0] * c[1] - b[1] * c[0])
    return total / 6


def is_closed(faces: I64) -> bool:
    """Whether every edge belongs to two triangles, which pass it in opposite directions.

    >>> is_closed(np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])), is_closed(np.array([[0, 1, 2]]))
    (True, False)
    """
    if not len(faces):
        return True
    most = int(faces.max()) + 1
    there = np.concatenate([faces[:, a] * most + faces[:, b] for a, b in ((0, 1), (1, 2), (2, 0))])
    back = np.concatenate([faces[:, b] * most + faces[:, a] for a, b in ((0, 1), (1, 2), (2, 0))])
    there.sort()
    back.sort()
    return bool((there[1:] != there[:-1]).all() and np.array_equal(there, back))


def smoothed(vertices: F64, faces: I64, held: Flags, times: int, target: float) -> F64:
    """Vertices after Taubin's filter, then moved along their normals until the volume is as given.

    Parameters
    ----------
    vertices : (m, 3) float64
        Vertices of a closed mesh.
    faces : (n, 3) int64
        Its triangles.
    held : (m, 3) bool
        Coordinates that stay: faces of the volume remain plane.
    times : int
        How often the filter is applied.
    target : float
        Volume to enclose.

    References
    ----------
    G. Taubin, SIGGRAPH (1995), doi:10.1145/218380.218473.
    """
    moved = vertices.copy()
    for _ in range(times):
        for factor in (SHRINK, SWELL):
            _step(moved, faces, held, factor)
    return with_volume(moved, faces, held, target)


def _step(p: F64, faces: I64, held: Flags, factor: float) -> None:
    """Move every vertex by a share of its distance to the mean of its neighbours."""
    total, count = np.zeros_like(p), np.zeros(len(p), np.int64)
    _neighbours(p, faces, total, count)
    shift = factor * (total / count[:, None] - p)
    shift[held] = 0
    p += shift


@_kernel
def _neighbours(p: F64, faces: I64, total: F64, count: I64) -> None:
    # In a closed mesh every neighbour of a vertex follows it in one triangle.
    for f in range(len(faces)):
        for k in range(3):
            a, b = faces[f, k], faces[f, (k + 1) % 3]
            count[a] += 1
            for axis in range(3):
                total[a, axis] += p[b, axis]


def with_volume(vertices: F64, faces: I64, held: Flags, target: float) -> F64:
    """Vertices moved by one length along their normals, so that the mesh encloses `target`."""
    moved = vertices.copy()
    for _ in range(_VOLUME_STEPS):
        missing = target - volume(moved, faces)
        if abs(missing) <= _VOLUME_TOLERANCE * abs(target):
            break
        areas = np.zeros_like(moved)
        _areas(moved, faces, areas)
        normals = np.where(held, 0, areas)
        lengths = np.linalg.norm(normals, axis=1, keepdims=True)
        normals /= np.where(lengths > 0, lengths, 1)
        change = float((areas * normals).sum()) / 3
        if change <= 0:
            break
        moved += missing / change * normals
    return moved


@_kernel
def _areas(p: F64, faces: I64, areas: F64) -> None:
    """Add the area vectors of the triangles of every vertex."""
    for f in range(len(faces)):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        u, v = p[b] - p[a], p[c] - p[a]
        for k in range(3):
            i, j = (k + 1) % 3, (k + 2) % 3
            half = (u[i] * v[j] - u[j] * v[i]) / 2
            areas[a, k] += half
            areas[b, k] += half
            areas[c, k] += half


def decimated(vertices: F64, faces: I64, keep: float) -> tuple[F64, I64]:
    """Mesh with about a share `keep` of its triangles, by edges collapsed in the order of quadric errors.

    Raises
    ------
    ArgumentError
        If that many triangles cannot make a closed surface.

    References
    ----------
    M. Garland, P. S. Heckbert, SIGGRAPH (1997), doi:10.1145/258734.258849.
    """
    import fast_simplification

    low = vertices.min(axis=0)
    scale = float((vertices - low).max())
    for speed in _SPEEDS:
        points, found = fast_simplification.simplify(
            (vertices - low) / scale, faces, 1 - keep, agg=speed
        )
        triangles = without_flaps(np.asarray(found, np.int64).reshape(-1, 3))
        triangles, origins = untouching(triangles, len(points))
        if is_closed(triangles):
            return np.asarray(points, np.float64)[origins] * scale + low, triangles
    raise ArgumentError(
        f"with {keep:g} of its triangles the surface would not be closed. Keep more of them: "
        f"--keep {min(1.0, 2 * keep):g}, or smooth it first: --smoothing 10"
    )


def without_flaps(faces: I64) -> I64:
    """Faces without pairs that are one triangle seen from both sides and enclose nothing."""
    _, which, counts = np.unique(
        np.sort(faces, axis=1), axis=0, return_inverse=True, return_counts=True
    )
    return np.asarray(faces[counts[which.ravel()] == 1])


def untouching(faces: I64, count: int) -> tuple[I64, I64]:
    """Faces of a surface that touches itself along edges, with a vertex for each of its sheets there.

    Parameters
    ----------
    faces : (n, 3) int64
        Triangles; where the surface touches itself, four of them or more share an edge.
    count : int
        Number of vertices.

    Returns
    -------
    faces : (n, 3) int64
        Triangles of which two share each edge, as far as sheets can be distinguished.
    origins : (m,) int64
        Vertex of which each vertex is a copy; the first `count` are themselves.
    """
    touching = _shared_twice(faces)
    ends = {v for edge in touching for v in edge}
    origins, parted = list(range(count)), faces.copy()
    near = np.flatnonzero(np.isin(faces, list(ends)).any(axis=1)).tolist()
    for vertex in sorted(ends):
        fans = _fans(vertex, [f for f in near if vertex in faces[f]], faces, touching)
        for fan in fans[1:]:
            for f in fan:
                parted[f][faces[f] == vertex] = len(origins)
            origins.append(vertex)
    return parted, np.array(origins, np.int64)


def _shared_twice(faces: I64) -> set[tuple[int, int]]:
    """Edges that more than one triangle passes in one direction, with the lower vertex first."""
    sides = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    edges, counts = np.unique(sides, axis=0, return_counts=True)
    return {(min(a, b), max(a, b)) for a, b in edges[counts > 1].tolist()}


def _fans(
    vertex: int, around: list[int], faces: I64, touching: set[tuple[int, int]]
) -> list[list[int]]:
    """Triangles around a vertex, in groups that hang together by other edges than the touching ones."""
    left, fans = list(around), []
    while left:
        fan, reached = [left.pop(0)], 0
        while reached < len(fan):
            across = _open_sides(vertex, faces[fan[reached]].tolist(), touching)
            joined = [f for f in left if across & set(faces[f].tolist())]
            fan, left, reached = fan + joined, [f for f in left if f not in joined], reached + 1
        fans.append(fan)
    return fans


def _open_sides(vertex: int, face: list[int], touching: set[tuple[int, int]]) -> set[int]:
    """Other ends of the edges at `vertex` across which a triangle has one neighbour."""
    others = [v for v in face if v != vertex]
    return {v for v in others if (min(v, vertex), max(v, vertex)) not in touching}
