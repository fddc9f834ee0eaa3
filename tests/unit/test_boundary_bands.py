"""Boundaries near boundaries: from the definition, by blocks, and the chance level."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tim3d.kernels.morphology.boundary_bands import NONE, boundary_counts, half_widths, reach
from tim3d.kernels.statistics.boundary_f1 import boundary_f1, boundary_f1_chance
from tim3d.stages.shared.agreement import compared

WHOLE = slice(None), slice(None)
ranks = st.sampled_from([0, 1, 2, NONE])
planes = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9).flatmap(
    lambda shape: st.tuples(*[hnp.arrays(np.uint8, shape, elements=ranks)] * 2)
)
lengths = st.tuples(st.floats(0.0, 4.0), st.sampled_from([(1.0, 1.0), (1.0, 2.0), (2.5, 0.7)]))


def edges_of(ranks, label):
    """Pixels of a class beside another class, one by one."""
    found = np.zeros(ranks.shape, bool)
    for (y, x), rank in np.ndenumerate(ranks):
        for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0)):
            j, i = y + dy, x + dx
            if rank == label and 0 <= j < ranks.shape[0] and 0 <= i < ranks.shape[1]:
                found[y, x] |= ranks[j, i] not in (label, NONE)
    return found


def near_by_definition(mask, tolerance, spacing):
    places = np.argwhere(mask) * spacing
    every = np.argwhere(np.ones(mask.shape, bool)) * spacing
    if not len(places):
        return np.zeros(mask.shape, bool)
    apart = np.sqrt(((every[:, None] - places[None]) ** 2).sum(axis=2)).min(axis=1)
    return (apart <= tolerance * (1 + 1e-9)).reshape(mask.shape)


@given(planes, lengths)
def test_counts_follow_their_definition(pair, near):
    true, found = pair[0], np.where(pair[0] == NONE, NONE, np.where(pair[1] == NONE, 0, pair[1]))
    found = found.astype(np.uint8)
    counts = boundary_counts(found, true, 3, half_widths(*near), WHOLE)
    for label in range(3):
        one, other = edges_of(found, label), edges_of(true, label)
        by_one, by_other = (near_by_definition(m, near[0], near[1]) for m in (one, other))
        known = true != NONE
        expected = [one, one & by_other, other, other & by_one, by_one & known, by_other & known]
        assert counts[label].tolist() == [int(m.sum()) for m in expected]


@given(planes, lengths, st.integers(1, 8), st.integers(1, 8))
def test_counts_of_blocks_add_up(pair, near, rows, columns):
    """Each block sees `reach` pixels around it, cut at the border of the plane."""
    true, found = pair
    found = np.where(true == NONE, NONE, found).astype(np.uint8)
    widths = half_widths(*near)
    _, ry, rx = reach(widths)
    total = np.zeros((3, 6), np.int64)
    for y in range(0, true.shape[0], rows):
        for x in range(0, true.shape[1], columns):
            top, left = max(0, y - ry), max(0, x - rx)
            box = np.s_[top : y + rows + ry, left : x + columns + rx]
            core = np.s_[y - top : y - top + rows, x - left : x - left + columns]
            total += boundary_counts(found[box], true[box], 3, widths, core)
    assert np.array_equal(total, boundary_counts(found, true, 3, widths, WHOLE))


def test_a_shift_scores_by_the_tolerance():
    true = np.zeros((40, 40), np.uint8)
    true[:, 20:] = 1
    shifted = np.roll(true, 2, axis=1)
    shifted[:, :2] = 0
    for tolerance, score in ((1.0, 0.0), (2.0, 1.0)):
        counts = boundary_counts(shifted, true, 2, half_widths(tolerance, (1.0, 1.0)), WHOLE)
        assert boundary_f1(counts).tolist() == [score, score]


def test_the_chance_level_is_what_boundaries_in_wrong_places_reach():
    """Measured: blobs against the same blobs shifted far, on a torus, over 64 shifts."""
    random = np.random.default_rng(3)
    blobs = []
    for _ in range(2):
        waves = np.fft.fft2(random.normal(size=(128, 128)))
        k = np.hypot(*np.meshgrid(np.fft.fftfreq(128), np.fft.fftfreq(128)))
        smooth = np.fft.ifft2(waves * np.exp(-((k * 30) ** 2))).real
        blobs.append((smooth > 0).astype(np.uint8))
    widths, counted, chance = half_widths(2.0, (1.0, 1.0)), [], []
    for _ in range(64):
        moved = np.roll(blobs[1], random.integers(0, 128, 2), axis=(0, 1))
        counts = boundary_counts(moved, blobs[0], 2, widths, WHOLE)
        counted.append(boundary_f1(counts))
        chance.append(boundary_f1_chance(counts, np.array(128 * 128)))
    assert np.mean(counted) == pytest.approx(np.mean(chance), rel=0.05)


def test_nothing_against_nothing_is_right_and_against_something_wrong():
    none, some = np.zeros((4, 4), np.uint8), np.eye(4, dtype=np.uint8)
    widths = half_widths(1.0, (1.0, 1.0))
    assert boundary_f1(boundary_counts(none, none, 2, widths, WHOLE)).tolist() == [1.0, 1.0]
    assert boundary_f1(boundary_counts(none, some, 2, widths, WHOLE)).tolist() == [0.0, 0.0]


@given(planes, lengths, st.integers(0, 99))
def test_what_is_found_where_there_is_no_truth_changes_nothing(pair, near, seed):
    true, found = pair[0], np.where(pair[1] == NONE, 0, pair[1]).astype(np.uint8)
    other = np.random.default_rng(seed).integers(0, 3, true.shape).astype(np.uint8)
    widths = half_widths(*near)
    one = compared(found, true, 3, widths, WHOLE)
    two = compared(np.where(true == NONE, other, found), true, 3, widths, WHOLE)
    assert one.confusion.tolist() == two.confusion.tolist()
    assert one.boundary.tolist() == two.boundary.tolist()
    assert one.confusion.sum() == (true != NONE).sum()
