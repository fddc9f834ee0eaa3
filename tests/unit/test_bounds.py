"""Bounds of a conductivity, and the estimate from two resolutions."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tim3d.kernels.conduction.bounds import hashin_shtrikman, richardson, wiener

PHASES = st.lists(
    st.tuples(st.floats(0.01, 1), st.just(0.0) | st.floats(1e-3, 1e5)), min_size=1, max_size=4
)


@given(PHASES)
def test_bounds_are_nested_and_between_the_phases(phases: list[tuple[float, float]]) -> None:
    total = sum(f for f, _ in phases)
    fractions, ks = [f / total for f, _ in phases], [k for _, k in phases]
    values = [
        min(ks),
        wiener(fractions, ks)[0],
        *hashin_shtrikman(fractions, ks),
        wiener(fractions, ks)[1],
        max(ks),
    ]
    slack = 1e-9 * max(ks)
    assert all(a <= b + slack for a, b in pairwise(values))


def test_bounds_of_layers_and_of_two_phases() -> None:
    assert wiener([0.5, 0.5], [1, 10]) == pytest.approx((1.818182, 5.5), abs=1e-6)
    # The usual form for two phases: k1 + f2 / (1 / (k2 - k1) + f1 / (3 k1)).
    assert hashin_shtrikman([0.7, 0.3], [1, 10]) == pytest.approx(
        (1 + 0.3 / (1 / 9 + 0.7 / 3), 10 + 0.7 / (-1 / 9 + 0.3 / 30))
    )


def test_a_phase_that_is_not_there_does_not_count() -> None:
    assert wiener([1.0, 0.0], [2.0, 0.0]) == (2.0, 2.0)
    assert hashin_shtrikman([1.0, 0.0], [2.0, 1e5]) == pytest.approx((2.0, 2.0))


def test_insulators() -> None:
    assert wiener([0.4, 0.6], [0.0, 1.0]) == (0.0, 0.6)
    low, high = hashin_shtrikman([0.4, 0.6], [0.0, 1.0])
    assert low == 0.0
    assert high == pytest.approx(2 * 0.6 / 2.4)
    assert hashin_shtrikman([0.4, 0.6], [0.0, 0.0]) == wiener([0.4, 0.6], [0.0, 0.0]) == (0.0, 0.0)


@pytest.mark.parametrize("order", np.linspace(0.8, 1.3, 6))
def test_the_limit_lies_within_its_uncertainty_for_orders_about_one(order: float) -> None:
    fine, coarse = 2.0 + 0.1 * 0.5**order, 2.0 + 0.1
    value, uncertainty = richardson(fine, coarse)
    assert abs(value - 2.0) <= uncertainty * (1 + 1e-9)
    assert uncertainty < 0.4 * abs(fine - coarse)


def test_first_order_is_exact_and_no_value_gives_none() -> None:
    assert richardson(2.05, 2.1)[0] == pytest.approx(2.0)
    assert all(math.isnan(v) for v in richardson(2.0, math.inf))
