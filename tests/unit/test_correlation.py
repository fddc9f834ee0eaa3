"""Counts along lines against the definitions, spelled out voxel by voxel, and their sums over blocks."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tim3d.errors import ArgumentError, InputError
from tim3d.grid import Box, Grid, Triple, triple
from tim3d.kernels.statistics.correlation import LineCounts, line_counts, pairs_at, ranks_of

LAGS = [1, 2, 4, 7]


def plain(ranks: NDArray[np.uint8], phases: int, axis: int) -> LineCounts:
    """The definitions: one comparison a pair, one look at all voxels of each segment."""
    lines = np.moveaxis(ranks, axis, 2)
    length = lines.shape[2]
    pairs, segments = (np.zeros((phases, len(LAGS)), np.int64) for _ in range(2))
    voxels, changes = (np.zeros((length, phases), np.int64) for _ in range(2))
    for i, j, k in np.ndindex(lines.shape):
        voxels[k, lines[i, j, k]] += 1
        for n, lag in enumerate(LAGS):
            if k + lag < length:
                piece = lines[i, j, k : k + lag + 1]
                pairs[piece[0], n] += piece[0] == piece[-1]
                segments[piece[0], n] += len(set(piece.tolist())) == 1
        if k + 1 < length:
            for phase in range(phases):
                changes[k, phase] += (lines[i, j, k] == phase) != (lines[i, j, k + 1] == phase)
    return LineCounts(pairs, segments, voxels, changes, plain_chords(lines, phases))


def plain_chords(lines: NDArray[np.uint8], phases: int) -> NDArray[np.int64]:
    """Runs of each line, one after the other; those that begin or end with the line are cut."""
    chords = np.zeros((phases, 2, LAGS[-1] + 2), np.int64)
    for line in lines.reshape(-1, lines.shape[2]):
        place = 0
        for phase, voxels in itertools.groupby(line.tolist()):
            size = len(list(voxels))
            cut = size <= LAGS[-1] and (place == 0 or place + size == len(line))
            chords[phase, int(cut), min(size, LAGS[-1] + 1)] += 1
            place += size
    return chords


def random(shape: Triple, seed: int, phases: int = 3) -> NDArray[np.uint8]:
    """Ranks in runs, so that segments of several voxels occur."""
    coarse = np.random.default_rng(seed).integers(
        0, phases, [-(-n // 3) for n in shape], dtype=np.uint8
    )
    for axis in range(3):
        coarse = coarse.repeat(3, axis)
    return np.ascontiguousarray(coarse[tuple(slice(n) for n in shape)])


def same(a: LineCounts, b: LineCounts) -> bool:
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in vars(a))


@given(st.tuples(*[st.integers(1, 14)] * 3), st.integers(0, 99), st.integers(0, 2))
def test_counts_are_those_of_the_definitions(shape: Triple, seed: int, axis: int) -> None:
    ranks = random(shape, seed)
    assert same(line_counts(ranks, 3, LAGS, axis), plain(ranks, 3, axis))


@given(st.tuples(*[st.integers(1, 9)] * 3), st.integers(0, 2))
def test_blocks_of_any_size_add_up(edge: Triple, axis: int) -> None:
    ranks = random((13, 9, 11), 5)
    whole = line_counts(ranks, 3, LAGS, axis)
    pairs, segments = np.zeros_like(whole.pairs), np.zeros_like(whole.segments)
    voxels, changes = np.zeros_like(whole.voxels), np.zeros_like(whole.changes)
    chords = np.zeros_like(whole.chords)
    halo = triple(LAGS[-1] if a == axis else 0 for a in range(3))
    for block in Grid(triple(ranks.shape), edge, halo):
        part = line_counts(ranks[block.read.slices], 3, LAGS, axis, block.core.within(block.read))
        planes = block.core.slices[axis]
        pairs += part.pairs
        segments += part.segments
        chords += part.chords
        voxels[planes] += part.voxels
        changes[planes] += part.changes
    assert same(whole, LineCounts(pairs, segments, voxels, changes, chords))


def test_laws_between_the_counts() -> None:
    ranks = random((20, 30, 40), 3)
    for axis in range(3):
        found = line_counts(ranks, 3, LAGS, axis)
        every = pairs_at(triple(ranks.shape), LAGS, axis)
        assert np.array_equal(found.pairs[:, 0], found.segments[:, 0])
        assert (found.segments <= found.pairs).all()
        assert (np.diff(found.segments / every) <= 1e-3).all()
        assert (found.pairs.sum(axis=0) <= every).all()
        # At lag 1 a pair that is not of one phase is a change of two.
        assert found.pairs[:, 0].sum() + found.changes.sum() // 2 == every[0]
        assert found.voxels.sum() == ranks.size


def test_chords_are_second_differences_of_the_lineal_path() -> None:
    ranks = random((9, 11, 14), 7)
    lags = list(range(1, 13))
    for axis in range(3):
        found = line_counts(ranks, 3, lags, axis)
        windows = np.concatenate([found.voxels.sum(axis=0)[:, None], found.segments], axis=1)
        chords = windows[:, :-2] - 2 * windows[:, 1:-1] + windows[:, 2:]
        assert np.array_equal(found.chords.sum(axis=1)[:, 1:12], chords)


def test_white_noise_knows_nothing_of_its_neighbour() -> None:
    ranks = (np.random.default_rng(0).random((1, 600, 600)) < 0.3).astype(np.uint8)
    every = pairs_at((1, 600, 600), LAGS, 2)
    found = line_counts(ranks, 2, LAGS, 2)
    assert found.pairs[1] / every == pytest.approx(0.09, abs=0.003)
    assert found.segments[1] / every == pytest.approx([0.3 ** (r + 1) for r in LAGS], abs=0.003)


def test_stripes_are_seen_from_one_side_only() -> None:
    stripes = np.zeros((1, 16, 16), np.uint8)
    stripes[:, :, ::2] = 1
    across, along = line_counts(stripes, 2, [1, 2], 2), line_counts(stripes, 2, [1, 2], 1)
    assert across.pairs.tolist() == [[0, 16 * 7], [0, 16 * 7]]
    assert across.segments.tolist() == [[0, 0], [0, 0]]
    assert along.segments.tolist() == [[8 * 15, 8 * 14], [8 * 15, 8 * 14]]
    assert along.changes.sum() == 0


def test_what_lies_before_the_core_does_not_count_except_where_chords_begin() -> None:
    ranks = random((9, 9, 9), 1)
    for start, stop in itertools.combinations(range(0, 9, 2), 2):
        core = Box((0, 0, start), (9, 9, stop))
        expected = line_counts(
            np.ascontiguousarray(ranks[:, :, start:]), 3, LAGS, 2, Box((0, 0, 0), core.shape)
        )
        found = line_counts(ranks, 3, LAGS, 2, core)
        assert same(replace(found, chords=expected.chords), expected)


def test_bad_input() -> None:
    for lags in ([], [0, 1], [2, 2], [3, 1]):
        with pytest.raises(ArgumentError, match="rise from 1"):
            line_counts(np.zeros((2, 2, 2), np.uint8), 1, lags, 0)
    with pytest.raises(
        InputError, match=r"code 7, which no phase names; the phases have \[0, 255\]"
    ):
        ranks_of(np.array([0, 7, 255], np.uint8), (0, 255))
