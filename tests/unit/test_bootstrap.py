"""Resamples of slices: what they add up to, how wide their intervals are, and runs of alike slices."""

from __future__ import annotations

import numpy as np
import pytest

from tim3d.kernels.statistics.bootstrap import interval, run_length, weights


@pytest.mark.parametrize("run", [1, 3])
def test_every_resample_has_as_many_slices(run):
    drawn = weights(7, 50, run, seed=1)
    assert drawn.shape == (50, 7)
    assert set(drawn.sum(axis=1).tolist()) == {7}
    assert np.array_equal(drawn, weights(7, 50, run, seed=1))
    assert not np.array_equal(drawn, weights(7, 50, run, seed=2))


def test_a_run_of_all_slices_changes_nothing():
    assert (weights(5, 20, 5, seed=0) == 1).all()


def test_the_interval_of_a_mean_is_that_of_the_normal_law():
    values = np.random.default_rng(0).normal(size=400)
    means = weights(400, 4000, 1, seed=0) @ values / 400
    low, high = interval(means, 0.95)
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.05)


def test_alike_slices_are_drawn_in_runs_and_intervals_widen():
    """A chain with correlation 0.8 from slice to slice varies together over (1 + 0.8) / (1 - 0.8) = 9."""
    random, chain = np.random.default_rng(1), [0.0]
    for noise in random.normal(size=3000):
        chain.append(0.8 * chain[-1] + noise)
    values = np.array(chain)
    run = run_length(values)
    assert 7 <= run <= 12
    apart, together = (
        np.ptp(interval(weights(len(values), 2000, one, 0) @ values, 0.95)) for one in (1, run)
    )
    assert together > 2 * apart
    assert run_length(random.permutation(values)) <= 2
    assert run_length(np.ones(50)) == 1
