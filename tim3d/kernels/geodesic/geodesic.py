"""Geodesic distance inside a region, block by block, and the tortuosity derived from it.

Two metrics. ``"graph26"``: the shortest path over 26 neighbours, with the distance between voxel
centres as the length of a step. ``"eikonal"``: |grad d| = 1 to second order, in two steps, each
with a unique result that does not depend on the order of the updates:

1. `arrive`, first order: Godunov's upwind scheme. The update of a voxel is the smallest integer u
   with sum over axes of max(u + 1/2 - a, 0)^2 / h^2 >= 1, a being the lower neighbour on the axis,
   evaluated in correctly rounded operations; it is monotone in every a, bit for bit, so relaxation
   from above has a unique fixed point.
2. `refine`, second order. Ordinary second-order marching has no unique result over blocks: the
   choice of the difference depends on which voxels were final at the time, and a second-order
   update is not monotone. Here the arrival, which is unique, determines the predecessors of each
   voxel among its neighbours. They arrived earlier, so the dependence has no cycle, and each value
   is a function of final values: it can be computed in any order and by any block.

Distances are uint32 in units of 2^-16 of the shortest edge; `UNREACHED` marks voxels that are
outside the region or not reached.

References: J. A. Sethian, PNAS 93 (1996) 1591, doi:10.1073/pnas.93.4.1591, and SIAM Rev. 41 (1999)
199, doi:10.1137/S0036144598347059 (second order).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tim3d.errors import ArgumentError, InputError
from tim3d.grid import Triple
from tim3d.kernels.geodesic import eikonal, second_order
from tim3d.kernels.geodesic.eikonal import COUNT, FAR, HEAD, LOWEST, ROOM
from tim3d.kernels.geodesic.eikonal import UNIT as UNIT
from tim3d.kernels.geodesic.eikonal import UNREACHED as UNREACHED

Units: TypeAlias = NDArray[np.uint32]
Mask: TypeAlias = NDArray[np.uint8]
Floats: TypeAlias = NDArray[np.float64]
Counts: TypeAlias = NDArray[np.int64]

# Width of the halo that each step reads, in voxels.
HALO = {"graph26": 1, "eikonal": 1, "refine": 2}
METRICS = ("eikonal", "graph26")
# Rise of the level per round, in shortest edges: the fastest value; no step of the graph is below
# 1.
WIDTH = {"eikonal": 0.5, "graph26": 1.0}
# Longer chains of voxels that depend on each other are cut and resumed in the next pass.
STACK = 2**16
TABLES_BYTES = 2**23


def geodesic_bytes(shape: Triple, metric: str = "eikonal") -> int:
    """Upper bound of the memory of `arrive` and `refine` besides their arguments, in bytes.

    8 per voxel, in the worst case that all voxels are queued at once: 1 for the state and 4 for the
    ring, 6 while the ring grows. A plane front through a porous block needs between 1 and 2,
    `refine` 4 per voxel of the region.

    Examples
    --------
    >>> geodesic_bytes((66, 514, 514)) / 66 / 514 / 514
    8.48...
    """
    _check_metric(metric)
    return 8 * math.prod(shape) + TABLES_BYTES


def arrive(
    arrival: Units,
    region: Mask,
    spacing: Sequence[float],
    *,
    metric: str = "eikonal",
    overlap: Triple = (0, 0, 0),
) -> None:
    """Lower the arrival in place, inside the core, until it is consistent with all neighbours.

    Parameters
    ----------
    arrival : (z, y, x) uint32, C order
        Core ``[1:-1, 1:-1, 1:-1]``: seeds (0) and `UNREACHED`, or the result of an earlier call.
        The outer layer is a halo, only read, which may have been lowered since. `UNREACHED` outside
        the region.
    region : (z, y, x) uint8, C order
        Nonzero inside.
    spacing : three floats
        Voxel edges (z, y, x), any unit.
    metric : {"eikonal", "graph26"}
        First-order eikonal, or 26 neighbours.
    overlap : (z, y, x)
        Thickness, along each axis, of the outer layers of the core that come from calls on other
        blocks: at their ends, values meet that are not yet consistent with each other.

    Raises
    ------
    ArgumentError
        If the metric is not one of these, or the spacing is not positive.
    InputError
        If the shapes or types of the arrays do not match, or a distance exceeds 65 000 shortest
        edges.

    Examples
    --------
    >>> arrival = np.full((3, 3, 5), UNREACHED, np.uint32)
    >>> arrival[1, 1, 1] = 0
    >>> arrive(arrival, np.ones((3, 3, 5), np.uint8), (1, 1, 1))
    >>> (arrival[1, 1, 1:4] / UNIT).tolist()
    [0.0, 1.0, 2.0]
    """
    graph = _check_metric(metric) == "graph26"
    _check_block(arrival, region, HALO[metric])
    offsets, steps, longest = _stencil(arrival.shape, spacing, graph=graph)
    state = np.zeros(arrival.shape, np.uint8)
    inner = (slice(1, -1),) * 3
    np.not_equal(region[inner], 0, out=state[inner].view(np.bool_))
    values, flags = arrival.reshape(-1), state.reshape(-1)
    reached, unreached = eikonal.census(values, flags)
    ring, at = _first_ring(values, flags, offsets, reached, unreached)
    later = _changed_rim(values, flags, _seams(arrival.shape, overlap), graph, offsets, steps)
    width, limit = int(WIDTH[metric] * UNIT), UNREACHED - 2**22 - longest
    ways = eikonal.ways_of(*_moves(arrival.shape), steps) if graph else ()

    def march() -> bool:
        if graph:
            return eikonal.march_graph(values, flags, ways, later, width, limit, ring, at)
        return eikonal.march_eikonal(values, flags, offsets, steps, later, width, limit, ring, at)

    inside = region.reshape(-1)
    if graph:  # a step out of the region then finds a value that it does not lower
        eikonal.close(values, inside, UNREACHED, 0)
    while not march():
        ring = _grown(ring, at, reached + unreached)
    if graph:
        eikonal.close(values, inside, 0, UNREACHED)
    if at[FAR]:
        raise InputError(
            f"a geodesic distance exceeds {limit // UNIT} times the shortest voxel edge, the largest that is held; "
            "take a smaller volume or coarser voxels"
        )


def refine(
    exact: Units, arrival: Units, region: Mask, spacing: Sequence[float], *, threads: int = 1
) -> int:
    """Compute the second-order distance of voxels with known predecessors; return their number.

    Parameters
    ----------
    exact : (z, y, x) uint32, C order
        Filled in place in the core ``[2:-2, 2:-2, 2:-2]``; `UNREACHED` means not yet known. The
        halo of 2 is only read, and only along the axes. Known values are kept; seeds (arrival 0)
        are 0.
    arrival : (z, y, x) uint32, C order
        Converged result of `arrive`; `UNREACHED` outside the region.
    region, spacing
        As for `arrive`.
    threads : int
        Number of threads; the values do not depend on it.

    Raises
    ------
    ArgumentError, InputError
        As `arrive`.

    Examples
    --------
    >>> arrival = np.full((5, 5, 7), UNREACHED, np.uint32)
    >>> arrival[2, 2, 2:5] = 0, UNIT, 2 * UNIT
    >>> exact = np.full_like(arrival, UNREACHED)
    >>> refine(exact, arrival, (arrival < UNREACHED).astype(np.uint8), (1, 1, 1))
    3
    >>> (exact[2, 2, 2:5] / UNIT).tolist()
    [0.0, 1.0, 2.0]
    """
    _check_block(arrival, region, HALO["refine"])
    _check_block(exact, region, HALO["refine"])
    offsets, weights, _ = _stencil(arrival.shape, spacing, graph=False)
    values, times, shape = exact.reshape(-1), arrival.reshape(-1), np.array(arrival.shape)
    starts = np.zeros((UNREACHED >> second_order.SHIFT) + 2, np.int32)
    second_order.classes(values, times, shape, starts[1:])
    np.cumsum(starts, dtype=np.int32, out=starts)
    order = np.empty(starts[-1], np.int32)
    second_order.listed(values, times, shape, starts, order)
    stacks = np.empty((threads, STACK), np.int32)

    def fill(thread: int) -> bool:
        found: bool = second_order.fill(
            values, times, shape, offsets, weights, order, stacks[thread], thread, threads
        )
        return found

    with ThreadPoolExecutor(threads) as pool:
        each = (
            pool.map if threads > 1 else map
        )  # starting a thread takes longer than filling a small region
        while not all([*each(fill, range(threads))]):
            pass
    return int(second_order.settle(values, order))


def distance(
    region: NDArray[Any],
    seeds: NDArray[Any],
    spacing: Sequence[float] = (1, 1, 1),
    *,
    metric: str = "eikonal",
    threads: int = 1,
) -> NDArray[np.float32]:
    """Geodesic distance from the seeds to each voxel of a region, along paths inside it.

    Parameters
    ----------
    region : (z, y, x) array
        Nonzero inside. Outside the array there is no region.
    seeds : (z, y, x) array
        Nonzero where the distance is 0; only seeds inside the region count.
    spacing : three floats
        Voxel edges (z, y, x).
    metric : {"eikonal", "graph26"}
        Second-order eikonal: mean error 0.1 to 1 % in free space. Or 26 neighbours: up to 13 % too
        long, at any voxel size.
    threads : int
        Number of threads for the second order of the eikonal; the arrival uses one. The values do
        not depend on it.

    Returns
    -------
    (z, y, x) float32
        Distance in the unit of the spacing, between voxel centres; nan outside the region and where
        it is not reached. The eikonal distance propagates over faces, so it does not pass where two
        voxels share an edge or a corner only.

    Raises
    ------
    ArgumentError, InputError
        As `arrive`.

    References
    ----------
    J. A. Sethian, SIAM Rev. 41 (1999) 199, doi:10.1137/S0036144598347059.

    Examples
    --------
    >>> region = np.ones((2, 1, 3), np.uint8)
    >>> distance(region, region * [[[1, 0, 0]]], (5, 1, 0.5)).tolist()
    [[[0.0, 0.5, 1.0]], [[0.0, 0.5, 1.0]]]
    """
    if region.ndim != 3 or region.shape != seeds.shape:
        raise InputError(
            f"region is {region.shape}, seeds are {seeds.shape}; both must be of one shape (z, y, x)"
        )
    inside = np.pad((region != 0).view(np.uint8), 2)
    values = np.full(inside.shape, UNREACHED, np.uint32)
    core = (slice(2, -2),) * 3
    np.copyto(values[core], 0, where=(seeds != 0) & (region != 0))
    arrive(values, inside, spacing, metric=metric)
    if metric == "eikonal":
        exact = np.full_like(values, UNREACHED)
        refine(exact, values, inside, spacing, threads=threads)
        values = exact
    return in_length(values[core], spacing)


def in_length(units: Units, spacing: Sequence[float]) -> NDArray[np.float32]:
    """Convert distances to the unit of the spacing, float32, nan where `UNREACHED`.

    Examples
    --------
    >>> in_length(np.array([0, 2 * UNIT, UNREACHED], np.uint32), (5, 3, 4)).tolist()
    [0.0, 6.0, nan]
    """
    lengths = np.empty(units.shape, np.float32)
    np.multiply(units, _check_spacing(spacing).min() / UNIT, out=lengths, casting="unsafe")
    np.copyto(lengths, np.nan, where=units == UNREACHED)
    return lengths


@dataclass(frozen=True, eq=False)
class Tortuosity:
    """Geodesic over straight distance from plane 0, between voxel centres, dimensionless.

    Parameters
    ----------
    profile : (planes,) float64
        Mean over the reached voxels of each plane; nan for plane 0 and where none is reached.
    last_quarter, last_plane, all_planes : float
        Unweighted mean over the planes from floor(0.75 N) on, value of the last plane, mean over
        all planes but 0. nan if one of these planes is not reached at all.
    reached : float
        Fraction of the voxels of the phase that are reached.
    """

    profile: Floats
    last_quarter: float
    last_plane: float
    all_planes: float
    reached: float


def plane_sums(units: Units, region: Mask, axis: int) -> tuple[Counts, Counts, Counts]:
    """Sum of distances, voxels reached and voxels inside, for each plane across an axis.

    Distances are in `UNIT` parts; all are int64 and additive over blocks.

    Parameters
    ----------
    units : (z, y, x) uint32
        Distances; `UNREACHED` where there is none.
    region : (z, y, x) uint8
        Nonzero inside.
    axis : {0, 1, 2}
        Axis across which the planes lie.

    Examples
    --------
    >>> plane_sums(np.array([[[0, 7, UNREACHED]]], np.uint32), np.array([[[1, 1, 1]]], np.uint8), 2)
    (array([0, 7, 0]), array([1, 1, 0]), array([1, 1, 1]))
    """
    others = tuple({0, 1, 2} - {axis})
    known = units != UNREACHED
    sums: Counts = np.asarray(np.sum(units, axis=others, dtype=np.int64, where=known))
    return sums, np.count_nonzero(known, axis=others), np.count_nonzero(region, axis=others)


def tortuosity(
    sums: Counts, reached: Counts, phase: Counts, spacing: Sequence[float], axis: int
) -> Tortuosity:
    """Geodesic tortuosity along an axis, for distances from seeds in plane 0.

    tau(z) = mean of d over the reached voxels of plane z, divided by z h. For distances from the
    far side, pass the sums in reverse order, ``sums[::-1]``.

    Parameters
    ----------
    sums, reached, phase : (planes,) int64
        Results of `plane_sums`, summed over blocks.
    spacing : three floats
        Voxel edges (z, y, x).
    axis : {0, 1, 2}
        Axis across which the planes lie.

    Raises
    ------
    InputError
        If there are fewer than two planes.

    Examples
    --------
    >>> region = np.ones((4, 2, 2), np.uint8)
    >>> d = np.arange(4, dtype=np.uint32)[:, None, None] * region * np.uint32(UNIT)
    >>> tortuosity(*plane_sums(d, region, 0), (1, 1, 1), 0)
    Tortuosity(profile=array([nan,  1.,  1.,  1.]), last_quarter=1.0, last_plane=1.0, all_planes=1.0, reached=1.0)
    """
    planes = len(sums)
    if planes < 2:
        raise InputError(f"tortuosity along axis {axis} needs 2 planes or more, there are {planes}")
    h = _check_spacing(spacing)
    straight = np.arange(planes) * (h[axis] / h.min() * UNIT)
    profile = np.full(planes, np.nan)
    np.divide(sums, reached * straight, out=profile, where=reached * straight > 0)
    quarter, last, every = (
        float(profile[start:].mean()) for start in (max(1, planes * 3 // 4), planes - 1, 1)
    )
    share = float(reached.sum() / phase.sum()) if phase.any() else math.nan
    return Tortuosity(profile, quarter, last, every, share)


def _check_metric(metric: str) -> str:
    if metric not in METRICS:
        raise ArgumentError(f"metric is {metric!r}; use 'eikonal' or 'graph26'")
    return metric


def _check_spacing(spacing: Sequence[float]) -> Floats:
    h = np.asarray(spacing, np.float64)
    if h.shape != (3,) or not np.isfinite(h).all() or h.min() <= 0:
        raise ArgumentError(f"spacing is {spacing!r}; give three positive voxel edges (z, y, x)")
    return h


def _check_block(units: Units, region: Mask, halo: int) -> None:
    for name, array, dtype in (("distances", units, np.uint32), ("region", region, np.uint8)):
        if (
            array.dtype != dtype
            or not array.flags.c_contiguous
            or array.shape != region.shape
            or array.ndim != 3
        ):
            raise InputError(
                f"{name}: {array.dtype} of shape {array.shape}, where a C-ordered {np.dtype(dtype)} array of shape "
                f"{region.shape} is needed"
            )
    if min(region.shape) <= 2 * halo or region.size > 2**31 - 1:
        raise InputError(
            f"block is {region.shape}; it needs a core inside a halo of {halo} and fewer than 2^31 voxels"
        )


def _stencil(
    shape: Sequence[int], spacing: Sequence[float], *, graph: bool
) -> tuple[Counts, NDArray[Any], int]:
    """Offsets of the neighbours in the flat array, steps or axis weights, and the longest step."""
    h = _check_spacing(spacing)
    h = h / h.min() * UNIT
    moves, strides = _moves(shape)
    if not graph:
        return np.concatenate([strides, -strides[::-1]]), 1 / h**2, math.ceil(h.max())
    steps = np.rint(np.sqrt(((moves * h) ** 2).sum(axis=1))).astype(np.int64)
    return moves @ strides, steps, int(steps.max())


def _moves(shape: Sequence[int]) -> tuple[Counts, Counts]:
    """The 26 moves to neighbours, and the strides of the flat array."""
    moves = np.array([move for move in np.ndindex(3, 3, 3) if move != (1, 1, 1)], np.int64) - 1
    _, ny, nx = shape
    return moves, np.array([ny * nx, nx, 1], np.int64)


def _first_ring(
    values: Units, flags: Mask, offsets: Counts, reached: int, unreached: int
) -> tuple[Any, Counts]:
    """Ring of the voxels with neighbours without a value, and the state of the march."""
    spread = reached <= unreached
    ring = np.empty(min(reached, len(offsets) * unreached) + 2**12 + ROOM, np.int32)
    at = np.zeros(7, np.int64)
    at[COUNT] = eikonal.frontier(values, flags, offsets, spread, ring)
    at[LOWEST] = values[ring[: at[COUNT]]].min(initial=UNREACHED)
    return ring, at


def _seams(shape: Sequence[int], overlap: Triple) -> tuple[Mask, ...]:
    """For each axis, 1 for planes where values of two calls meet.

    These are the outermost planes of the core, and both sides of an overlap's end.
    """
    seams = tuple(np.zeros(n, np.uint8) for n in shape)
    for planes, thick in zip(seams, overlap, strict=True):
        for k in {1, max(thick, 1), thick + 1}:
            planes[[k, -1 - k]] = 1
    return seams


def _changed_rim(
    values: Units,
    flags: Mask,
    seams: tuple[Mask, ...],
    graph: bool,
    offsets: Counts,
    steps: NDArray[Any],
) -> NDArray[np.int32]:
    """Voxels of the seams that were lowered by a neighbour, lowest first."""
    found = np.empty(
        sum(int(planes.sum()) * (values.size // planes.size) for planes in seams), np.int32
    )
    found = found[: eikonal.rim(values, flags, seams, graph, offsets, steps, found)]
    return found[np.argsort(values[found], kind="stable")]


def _grown(ring: NDArray[np.int32], at: Counts, most: int) -> NDArray[np.int32]:
    """Copy the ring to one of twice the size, but not larger than all voxels need."""
    more = np.empty(max(min(2 * len(ring), most + ROOM), len(ring) + 1), np.int32)
    end = len(ring) - at[HEAD]
    more[:end] = ring[at[HEAD] :]
    more[end : len(ring)] = ring[: at[HEAD]]
    at[HEAD] = 0
    return more
