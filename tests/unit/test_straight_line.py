"""The line through points: its numbers are those of scipy, and its intervals hold as often as they say."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tim3d.kernels.statistics.straight_line import Line

X = np.array([5.0, 7.0, 9.0, 11.0, 13.0, 15.0]) * 1e-6


def drawn(seed: int) -> Line:
    noise = np.random.default_rng(seed).normal(0, 1e-7, len(X))
    return Line(X, 1e-5 + X / 0.8 + noise)


def test_the_numbers_are_those_of_scipy() -> None:
    line = drawn(0)
    other = stats.linregress(line.x, line.y)
    assert line.slope == pytest.approx(other.slope)
    assert line.intercept == pytest.approx(other.intercept)
    assert line.slope_error == pytest.approx(other.stderr)
    assert line.intercept_error == pytest.approx(other.intercept_stderr)
    assert line.r2 == pytest.approx(other.rvalue**2)
    assert line.slope_weights @ line.y == pytest.approx(line.slope)
    assert line.intercept_weights @ line.y == pytest.approx(line.intercept)
    assert line.band(np.zeros(1), 0.95) == pytest.approx(
        line.half_widths(0.95) * line.intercept_error
    )


def test_an_interval_holds_the_truth_as_often_as_it_says() -> None:
    lines = [drawn(seed) for seed in range(1000)]
    held = [abs(e.slope - 1.25) < e.half_widths(0.9) * e.slope_error for e in lines]
    assert np.mean(held) == pytest.approx(0.9, abs=0.03)
    held = [abs(e.intercept - 1e-5) < e.half_widths(0.9) * e.intercept_error for e in lines]
    assert np.mean(held) == pytest.approx(0.9, abs=0.03)
