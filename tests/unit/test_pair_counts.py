"""Pairs counted 64 at a time against pairs looked at one by one, and their sums over blocks."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.examples import costly
from tim3d.grid import Box, Grid, Triple, triple
from tim3d.kernels.statistics.pair_counts import pair_counts, pairs_within

REGIONS = [[1], [0, 2]]


def plain(
    labels: NDArray[np.uint8], steps: NDArray[np.int64], core: Box
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs in each region, and all pairs, by one look at each."""
    inside = [np.isin(labels, region) for region in REGIONS]
    counts, every = np.zeros((2, len(steps)), np.int64), np.zeros(len(steps), np.int64)
    for n, step in enumerate(steps):
        for first in np.ndindex(*core.shape):
            one = np.array(first) + core.start
            two = one + step
            if ((two >= 0) & (two < labels.shape)).all():
                every[n] += 1
                counts[:, n] += [m[tuple(one)] and m[tuple(two)] for m in inside]
    return counts, every


@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 140)),
    steps=st.lists(st.tuples(*[st.integers(-3, 3)] * 2, st.integers(-150, 150)), min_size=1),
    seed=st.integers(0, 99),
)
@costly
def test_counts_are_those_of_one_look_a_pair(shape: Triple, steps: list[Triple], seed: int) -> None:
    labels = np.random.default_rng(seed).integers(0, 3, shape, dtype=np.uint8)
    core = Box(triple(n // 3 for n in shape), shape)
    displacements = np.array(steps[:8])
    counts, every = plain(labels, displacements, core)
    assert np.array_equal(pair_counts(labels, REGIONS, displacements, core), counts)
    assert np.array_equal(pairs_within(shape, displacements, core), every)


@given(edge=st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 90)))
@costly
def test_blocks_of_any_size_add_up(edge: Triple) -> None:
    labels = np.random.default_rng(3).integers(0, 3, (7, 6, 131), dtype=np.uint8)
    steps = np.array([(1, -2, 67), (0, 0, 64), (-3, 1, -65), (2, 2, 0)])
    found = np.zeros((2, len(steps)), np.int64)
    for block in Grid(triple(labels.shape), edge, (3, 3, 70)):
        core = block.core.within(block.read)
        found += pair_counts(labels[block.read.slices], REGIONS, steps, core)
    assert np.array_equal(found, pair_counts(labels, REGIONS, steps))
