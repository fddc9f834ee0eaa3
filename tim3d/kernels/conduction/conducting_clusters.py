"""Percolating components: the conducting voxels that carry a flux, found slab by slab.

Each slab is labelled separately. Components that touch across a border of slabs, or across a
periodic side, are merged by a union-find that also stores their offset in whole periods of the
volume. A component that touches itself at an offset other than zero winds around the volume; if all
sides are periodic, only such a component conducts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba as nb
import numpy as np
from numpy.typing import NDArray

from tim3d.kernels.conduction.arrays import U8
from tim3d.kernels.conduction.ghost_layers import Halo
from tim3d.lazy import ndimage

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Links:
    """Contacts of a slab's components, numbered in the whole volume.

    Attributes
    ----------
    pairs : (n, 5) int64
        Two components that touch, and the offset of the second from the first along z, y, x, in
        periods of the volume.
    low, high : (n,) int64
        Components on the first and on the last plane of the volume.
    """

    pairs: Ids
    low: Ids
    high: Ids


def keep_through(codes: U8, halo: Halo) -> tuple[bool, bool, bool]:
    """Set the voxels of this slab that carry no flux to 0.

    Parameters
    ----------
    codes : (Z, Y, X) uint8
        This rank's planes without ghosts, 0 for insulators; changed in place.
    halo : Halo
        The other slabs, and the periodic axes. If the first axis is not periodic, there are
        electrodes at its ends, and a component carries a flux if it touches both; otherwise, if it
        winds around the volume.

    Returns
    -------
    tuple of bool
        For each axis, whether anything conducts along it; with electrodes only the first can be
        True.

    Examples
    --------
    >>> from tim3d.kernels.conduction.ghost_layers import Alone
    >>> codes = np.array([[[1, 0, 1]], [[1, 0, 0]]], np.uint8)
    >>> keep_through(codes, Halo(Alone())), codes.tolist()
    ((True, False, False), [[[1, 0, 0]], [[1, 0, 0]]])
    """
    ring = halo.ring
    components, count = ndimage.label(codes)
    counts = ring.collect(int(count))
    first = int(sum(counts[: ring.rank]))
    parts = ring.collect(_links(components, counts, halo))
    pairs, low, high = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("pairs", "low", "high")
    )
    root, winding = _merge(sum(counts), pairs)
    if halo.wrap[0]:
        carries = winding[root] > 0
        axes = tuple(bool((winding[root] >> axis & 1).any()) for axis in range(3))
    else:
        carries = np.isin(root, np.intersect1d(root[low], root[high]))
        axes = (bool(carries.any()), False, False)
    mine = np.concatenate([[False], carries[first : first + count]])
    for plane, ids in zip(codes, components, strict=True):
        plane *= mine[ids]
    return axes  # type: ignore[return-value]


def _links(components: NDArray[np.int32], counts: list[int], halo: Halo) -> Links:
    ring = halo.ring
    starts = np.concatenate([[0], np.cumsum(counts)])
    own, following = starts[ring.rank] - 1, starts[(ring.rank + 1) % ring.size] - 1
    # The plane above the last one, if there is one.
    edge = np.zeros((4, *components.shape[1:]), np.int32)
    edge[1], edge[2] = components[0], components[-1]
    ring.swap(edge, halo.wrap[0])
    last = ring.rank == ring.size - 1
    pairs = [_touching(edge[2], edge[3], (int(last), 0, 0), own, following)]
    if halo.wrap[1]:
        pairs.append(_touching(components[:, -1], components[:, 0], (0, 1, 0), own, own))
    if halo.wrap[2]:
        pairs.append(_touching(components[:, :, -1], components[:, :, 0], (0, 0, 1), own, own))
    low = _present(components[0]) + own if ring.rank == 0 else np.zeros(0, np.int64)
    high = _present(components[-1]) + own if last else np.zeros(0, np.int64)
    return Links(np.concatenate(pairs), low, high)


def _present(ids: NDArray[np.int32]) -> Ids:
    found = np.unique(ids).astype(np.int64)
    return found[found > 0]


def _touching(
    below: NDArray[np.int32],
    above: NDArray[np.int32],
    shift: tuple[int, int, int],
    first: int,
    second: int,
) -> Ids:
    """Pairs of components that touch between two planes, each pair once."""
    both = (below > 0) & (above > 0)
    keys = np.unique(below[both].astype(np.int64) << 32 | above[both])
    found = np.empty((len(keys), 5), np.int64)
    found[:, 0], found[:, 1] = (keys >> 32) + first, (keys & 0xFFFFFFFF) + second
    found[:, 2:] = shift
    return found


@nb.njit(nogil=True, cache=True)
def _find(parent: Ids, offset: Ids, node: int) -> int:
    """Return the root of a node, and let the node point to it with the offset between them."""
    root = node
    total = np.zeros(3, np.int64)
    while parent[root] != root:
        total += offset[root]
        root = parent[root]
    while parent[node] != root and node != root:
        above, step = parent[node], offset[node].copy()
        parent[node], offset[node] = root, total
        total = total - step
        node = above
    return root


@nb.njit(nogil=True, cache=True)
def _merge(count: int, pairs: Ids) -> tuple[Ids, Ids]:
    """Root of each component, and for each root a bit mask of the axes along which it winds."""
    parent, offset, winding = (
        np.arange(count),
        np.zeros((count, 3), np.int64),
        np.zeros(count, np.int64),
    )
    for row in range(len(pairs)):
        one, other = pairs[row, 0], pairs[row, 1]
        a, b = _find(parent, offset, one), _find(parent, offset, other)
        # Offset of the second component's root from the first one's.
        apart = offset[one] + pairs[row, 2:] - offset[other]
        if a == b:
            for axis in range(3):
                if apart[axis] != 0:
                    winding[a] |= 1 << axis
        else:
            parent[b], offset[b] = a, apart
            winding[a] |= winding[b]
    for node in range(count):
        _find(parent, offset, node)
    return parent, winding
