"""Geodesic distance equals plain references bit for bit, whatever the blocks and the order of their visits."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tim3d.kernels.geodesic.eikonal import UNIT, UNREACHED, slope, upwind
from tim3d.kernels.geodesic.geodesic import METRICS, Mask, Units, arrive, distance, refine

Place = tuple[int, int, int]
Spacing = tuple[float, float, float]
INNER = (slice(2, -2),) * 3

edges = st.sampled_from([1.0, 1.3, 0.5, 2.0, 5.0, 10.0, 0.37])
spacings = st.tuples(edges, edges, edges) | st.just((1.0, 1.0, 1.0))
metrics = pytest.mark.parametrize("metric", METRICS)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Mask, Units]:
    """A random region and the start of its arrival, both in a halo of 2."""
    shape = draw(st.tuples(*[st.integers(1, 7)] * 3))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    region = np.pad(rng.random(shape) < draw(st.sampled_from([0.5, 0.7, 0.9, 1.0])), 2).astype(
        np.uint8
    )
    start = np.full(region.shape, UNREACHED, np.uint32)
    seeds = rng.random(region.shape) < draw(st.sampled_from([0.02, 0.3]))
    if draw(st.booleans()):
        seeds[2] = True
    start[seeds & (region > 0)] = 0
    return region, start


def steps(spacing: Spacing) -> list[float]:
    return [h / min(spacing) * UNIT for h in spacing]


def beside(place: Place, axis: int, by: int) -> Place:
    moved = list(place)
    moved[axis] += by
    return (moved[0], moved[1], moved[2])


def shortest(region: Mask, start: Units, spacing: Spacing) -> Units:
    """Dijkstra's algorithm with a heap."""
    moves = [move for move in itertools.product((-1, 0, 1), repeat=3) if any(move)]
    lengths = [
        round(math.sqrt(sum((m * h) ** 2 for m, h in zip(move, steps(spacing), strict=True))))
        for move in moves
    ]
    found = start.copy()
    heap = [(0, *place) for place in np.argwhere(start == 0).tolist()]
    while heap:
        length, *place = heapq.heappop(heap)
        if length == found[tuple(place)]:
            for move, step in zip(moves, lengths, strict=True):
                near = tuple(p + m for p, m in zip(place, move, strict=True))
                if region[near] and length + step < found[near]:
                    found[near] = length + step
                    heapq.heappush(heap, (length + step, *near))
    return found


def smallest(lows: list[int], spacing: Spacing) -> int:
    """The smallest u with sum of max(u + 1/2 - a, 0)^2 / h^2 >= 1, by halving."""
    z, y, x = (1 / np.float64(h) ** 2 for h in steps(spacing))

    def enough(u: int) -> bool:
        squares = [max(u + 0.5 - a, 0.0) ** 2 for a in lows]
        return bool(z * squares[0] + y * squares[1] + x * squares[2] >= 1)

    below = min(lows) - 1
    above = min(lows) + math.ceil(max(steps(spacing))) + 1
    while above - below > 1:
        middle = (above + below) // 2
        below, above = (below, middle) if enough(middle) else (middle, above)
    return above


def swept(region: Mask, start: Units, spacing: Spacing) -> Units:
    """Every voxel in turn from its six neighbours, until nothing changes."""
    found = start.astype(np.int64)
    places = [tuple(place) for place in np.argwhere(region).tolist()]
    changed = True
    while changed:
        changed = False
        for place in places:
            lows = [min(int(found[beside(place, axis, by)]) for by in (-1, 1)) for axis in range(3)]
            u = smallest(lows, spacing) if min(lows) < UNREACHED else UNREACHED
            if u < found[place]:
                found[place], changed = u, True
    return found.astype(np.uint32)


def difference(
    exact: dict[Place, int], arrival: Units, place: Place, axis: int, by: int, h: float
) -> tuple[int, float, float]:
    """Value of a neighbour, base and step towards it."""
    near, beyond = beside(place, axis, by), beside(place, axis, 2 * by)
    u1 = exact[near]
    if arrival[near] > 0 and arrival[beyond] <= arrival[near] and exact[beyond] <= u1:
        return u1, u1 + (u1 - exact[beyond]) / 3, 2 * h / 3
    return u1, u1, h


def in_order(arrival: Units, spacing: Spacing) -> Units:
    """Second order, one voxel after the other as they arrived."""
    exact: dict[Place, int] = {}
    for place in sorted(
        map(tuple, np.argwhere(arrival < UNREACHED).tolist()), key=lambda p: int(arrival[p])
    ):
        terms = []
        for axis, h in enumerate(steps(spacing)):
            sides = [(int(arrival[beside(place, axis, by)]), by) for by in (-1, 1)]
            low = min(sides)[0]
            if low < arrival[place]:
                options = [
                    difference(exact, arrival, place, axis, by, h) for a, by in sides if a == low
                ]
                terms.append(min(options)[1:])
        exact[place] = round(root(sorted(terms))) if terms else 0
    found = np.full_like(arrival, UNREACHED)
    for place, u in exact.items():
        found[place] = u
    return found


def root(terms: list[tuple[float, float]]) -> float:
    """u with sum of max(u - base, 0)^2 / step^2 = 1, the lowest bases first."""
    u = terms[0][0] + terms[0][1]
    for count in range(2, len(terms) + 1):
        if u <= terms[count - 1][0]:
            break
        origin = terms[0][0]
        a = sum(1 / h**2 for _, h in terms[:count])
        b = sum((c - origin) / h**2 for c, h in terms[:count])
        c = sum(((c - origin) / h) ** 2 for c, h in terms[:count]) - 1
        u = origin + (b + math.sqrt(max(b * b - a * c, 0))) / a
    return u


def whole(region: Mask, start: Units, spacing: Spacing, metric: str) -> tuple[Units, Units]:
    arrival, exact = start.copy(), np.full_like(start, UNREACHED)
    arrive(arrival, region, spacing, metric=metric)
    refine(exact, arrival, region, spacing)
    return arrival, exact


@given(case=cases(), spacing=spacings)
def test_graph26_is_dijkstra(case: tuple[Mask, Units], spacing: Spacing) -> None:
    region, start = case
    arrival = start.copy()
    arrive(arrival, region, spacing, metric="graph26")
    np.testing.assert_array_equal(arrival, shortest(region, start, spacing))


@given(case=cases(), spacing=spacings)
def test_eikonal_is_what_sweeps_and_order_give(case: tuple[Mask, Units], spacing: Spacing) -> None:
    region, start = case
    arrival, exact = whole(region, start, spacing, "eikonal")
    np.testing.assert_array_equal(arrival, swept(region, start, spacing))
    np.testing.assert_array_equal(exact, in_order(arrival, spacing))
    np.testing.assert_array_equal(exact == UNREACHED, arrival == UNREACHED)


def boxes(
    shape: tuple[int, ...], rng: np.random.Generator, rim: int
) -> Iterator[tuple[slice, ...]]:
    """Cores of a random blocking, in an array that has a halo."""
    cuts = [
        sorted({rim, n - rim, *rng.integers(rim, n - rim + 1, rng.integers(0, 4))}) for n in shape
    ]
    return itertools.product(*(itertools.starmap(slice, itertools.pairwise(c)) for c in cuts))


def grow(box: tuple[slice, ...], by: int) -> tuple[slice, ...]:
    return tuple(slice(s.start - by, s.stop + by) for s in box)


@metrics
@given(case=cases(), spacing=spacings, seed=st.integers(0, 10**6), overlap=st.integers(0, 5))
def test_blocks_visited_in_any_order_give_the_same_bits(
    metric: str, case: tuple[Mask, Units], spacing: Spacing, seed: int, overlap: int
) -> None:
    """However deep in its neighbours a block works too."""
    region, start = np.pad(case[0], overlap), np.pad(case[1], overlap, constant_values=UNREACHED)
    arrival, exact = whole(region, start, spacing, metric)
    rng = np.random.default_rng(seed)
    cores = list(boxes(region.shape, rng, 2 + overlap))

    def visit(field: Units, core: tuple[slice, ...], block: Units, halo: int) -> bool:
        """Work on a block as it was read, perhaps a while ago, and write its core."""
        box = grow(core, halo + overlap)
        inside = np.ascontiguousarray(region[box])
        if halo == 1:
            arrive(block, inside, spacing, metric=metric, overlap=(overlap,) * 3)
        else:
            refine(block, np.ascontiguousarray(arrival[box]), inside, spacing)
        inner = block[(slice(halo + overlap, -halo - overlap),) * 3]
        changed = not np.array_equal(field[core], inner)
        field[core] = inner
        return changed

    for field, expected, halo in (
        (start.copy(), arrival, 1),
        (np.full_like(exact, UNREACHED), exact, 2),
    ):
        for _ in range(3):
            read = {
                n: field[grow(cores[n], halo + overlap)].copy()
                for n in rng.permutation(len(cores)).tolist()
            }
            for n, block in read.items():
                visit(field, cores[n], block, halo)
        while any(
            visit(field, core, field[grow(core, halo + overlap)].copy(), halo) for core in cores
        ):
            pass
        np.testing.assert_array_equal(field, expected)


@given(case=cases(), spacing=spacings)
def test_a_mirrored_region_has_the_mirrored_distance(
    case: tuple[Mask, Units], spacing: Spacing
) -> None:
    region, start = case
    for metric in METRICS:
        there = distance(region, start == 0, spacing, metric=metric)
        for axis in range(3):
            back = distance(
                np.flip(region, axis), np.flip(start == 0, axis), spacing, metric=metric
            )
            np.testing.assert_array_equal(np.flip(back, axis), there)


lows = st.integers(0, 3 * UNIT) | st.just(UNREACHED) | st.integers(2**31, 2**31 + 2 * UNIT)


@given(a=st.tuples(lows, lows, lows), fall=st.tuples(*[st.integers(0, UNIT)] * 3), spacing=spacings)
def test_the_update_is_rounded_and_monotone(a: Place, fall: Place, spacing: Spacing) -> None:
    weights = [1 / h**2 for h in steps(spacing)]

    def terms(values: Place) -> tuple[float, ...]:
        return tuple(float(term) for pair in zip(values, weights, strict=True) for term in pair)

    u = upwind(*terms(a))
    assert slope(u + 0.5, *terms(a)) >= 1 > slope(u - 0.5, *terms(a))
    below = tuple(max(0, x - y) for x, y in zip(a, fall, strict=True))
    assert upwind(*terms((below[0], below[1], below[2]))) <= u


def test_a_chain_longer_than_the_stack_is_taken_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    # A far end first in C order and one class of arrival for all: each voxel waits for the one
    # behind it.
    arrival = np.full((5, 5, 64), UNREACHED, np.uint32)
    arrival[2, 2, 2:-2] = np.arange(60)[::-1]
    region = (arrival < UNREACHED).astype(np.uint8)
    full, short = np.full_like(arrival, UNREACHED), np.full_like(arrival, UNREACHED)
    assert refine(full, arrival, region, (1, 1, 1)) == 60
    monkeypatch.setattr("tim3d.kernels.geodesic.geodesic.STACK", 7)
    assert refine(short, arrival, region, (1, 1, 1)) == 60
    np.testing.assert_array_equal(short, full)
