"""Spread, variance law, integral range and verdict: what is known of them in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tim3d.errors import ArgumentError
from tim3d.kernels.statistics.representative import (
    VERDICTS,
    Spread,
    VarianceLaw,
    fit_variance,
    integral_range,
    judge,
    relative_error,
    required_volume,
    spread,
)

P = 0.3


def even(mean: float, relative: float, count: int = 64, excluded: int = 0) -> Spread:
    """Windows whose 2 s.d. / mean is `relative`."""
    deviation = relative * abs(mean) / 2
    return Spread(count, excluded, mean, deviation, deviation / math.sqrt(count))


def noise_spreads(
    edges: tuple[int, ...], size: int = 96, correlated: int = 1
) -> tuple[list[float], list[Spread]]:
    """Phase fraction of windows of independent cubes of `correlated` voxels."""
    small = np.random.default_rng(7).random((size // correlated,) * 3) < P
    volume = np.kron(small, np.ones((correlated,) * 3, bool))
    found = []
    for edge in edges:
        n = size // edge
        blocks = volume[: n * edge, : n * edge, : n * edge].reshape(n, edge, n, edge, n, edge)
        found.append(spread(blocks.mean(axis=(1, 3, 5))))
    return [float(edge**3) for edge in edges], found


def test_what_has_no_value_is_counted_and_left_out() -> None:
    found = spread([1.0, 3.0, math.inf, math.nan])
    assert (found.count, found.excluded, found.mean) == (2, 2, 2.0)
    assert found.deviation == pytest.approx(math.sqrt(2))
    assert found.error == pytest.approx(1.0)
    assert found.relative == pytest.approx(math.sqrt(2))
    nothing = spread([math.inf])
    assert (nothing.count, nothing.excluded) == (0, 1)
    assert np.isnan([nothing.mean, nothing.deviation, nothing.error, nothing.variation]).all()
    assert math.isnan(spread([5.0]).deviation)


def test_independent_voxels_have_the_variance_of_a_coin() -> None:
    volumes, found = noise_spreads((4, 6, 8, 12, 16, 24))
    for volume, one in zip(volumes, found, strict=True):
        expected = math.sqrt(P * (1 - P) / volume)
        assert one.deviation == pytest.approx(expected, rel=4 / math.sqrt(2 * one.count))
    law = fit_variance(volumes, found)
    assert law is not None
    assert law.exponent == pytest.approx(1, abs=4 * law.exponent_error)
    assert law.exponent_error < 0.03
    assert integral_range(volumes, found, P * (1 - P)) == pytest.approx(1, rel=0.03)


def test_the_integral_range_of_coloured_cubes_is_that_of_a_cube() -> None:
    # Windows that cut no cube: n independent cubes each.
    volumes, found = noise_spreads((8, 16, 24), correlated=4)
    assert integral_range(volumes, found, P * (1 - P)) == pytest.approx(64, rel=0.06)


def test_windows_that_do_not_hold_the_structure_tell_no_range() -> None:
    volumes, found = noise_spreads((4, 8, 16), correlated=8)
    alone = integral_range(volumes[:2], found[:2], P * (1 - P))
    assert math.isnan(alone)
    assert math.isnan(integral_range(volumes, found, math.nan))
    assert math.isnan(integral_range(volumes, found, 0.0))


def test_the_fit_is_that_of_exact_variances() -> None:
    volumes = [10.0**3, 20.0**3, 40.0**3]
    exact = [Spread(10**7, 0, 2.0, 3 * v ** (-0.4), 0.0) for v in volumes]
    law = fit_variance(volumes, exact)
    assert law is not None
    assert law.exponent == pytest.approx(0.8, abs=1e-6)
    assert law.deviation(5e4) == pytest.approx(3 * 5e4 ** (-0.4), rel=1e-6)
    assert law.volume_for(law.deviation(5e4)) == pytest.approx(5e4)


def test_small_windows_do_not_bend_the_law() -> None:
    volumes = [2.0**3, 16.0**3, 32.0**3, 64.0**3]
    bent = [
        Spread(10**6, 0, 1.0, 9.9, 0.0),
        *(Spread(512, 0, 1.0, v**-0.5, 0.0) for v in volumes[1:]),
    ]
    law = fit_variance(volumes, bent)
    assert law is not None
    assert law.sizes == 3
    assert law.exponent == pytest.approx(1.0, abs=1e-6)


def test_the_required_volume_gives_the_relative_error() -> None:
    law = VarianceLaw(1e4, 0.04, 0.9, 0.02, 4)
    for n in (1, 7, 50):
        volume = required_volume(law, 3.0, 0.05, n)
        found = Spread(n, 0, 3.0, law.deviation(volume), 0.0)
        assert relative_error(found, n) == pytest.approx(0.05)
    assert required_volume(law, 3.0, 0.05, 50) < required_volume(law, 3.0, 0.05, 1)


@pytest.mark.parametrize(
    "law", [None, VarianceLaw(1e4, 0.04, 0.1, 0.2, 2), VarianceLaw(1e4, 0.04, -0.5, 0.01, 2)]
)
def test_without_a_falling_variance_there_is_no_required_volume(law: VarianceLaw | None) -> None:
    assert math.isnan(required_volume(law, 1.0, 0.1, 1))


def test_no_law_from_one_size_or_without_variance() -> None:
    assert fit_variance([1e3], [even(1, 0.1)]) is None
    assert fit_variance([1e3, 1e4], [even(1, 0.1), even(1, 0.05, count=7)]) is None
    assert fit_variance([1e3, 1e4], [even(1, 0.0), even(1, 0.0)]) is None
    assert math.isnan(required_volume(VarianceLaw(1e4, 0.04, 1, 0.02, 4), 0.0, 0.1, 1))


WHOLE = Spread(1, 0, 1.0, math.nan, math.nan)
CASES = {
    "the smallest that keeps it": (
        [even(1.3, 0.2), even(1.05, 0.09), even(1, 0.02), WHOLE],
        1,
        "representative",
    ),
    "a larger one breaks it": (
        [even(1, 0.05), even(1, 0.2), even(1, 0.02), WHOLE],
        2,
        "representative",
    ),
    "spread is small, mean is off": (
        [even(1.2, 0.01), even(1.11, 0.01), WHOLE],
        None,
        "not reached",
    ),
    "spread is small, mean is low": (
        [even(0.8, 0.01), even(0.99, 0.01), WHOLE],
        1,
        "representative",
    ),
    "the largest cannot vouch for itself": ([even(1, 0.5), even(1, 0.01)], None, "not reached"),
    "windows without a value": ([even(1, 0.01, excluded=1), WHOLE], None, "not reached"),
    "seven windows": ([even(1, 0.01, count=7), WHOLE], None, "too few windows"),
    "one size": ([even(1, 0.01)], None, "too few windows"),
    "nothing conducts": (
        [Spread(64, 0, 0.0, 0.0, 0.0), Spread(8, 0, 0.0, 0.0, 0.0)],
        None,
        "not reached",
    ),
    "all windows are equal": ([even(2, 0.0), even(2, 0.0)], 0, "representative"),
}


@pytest.mark.parametrize("case", CASES)
def test_the_verdict(case: str) -> None:
    spreads, smallest, verdict = CASES[case]
    found = judge(spreads, 0.1)
    assert (found.smallest, found.verdict) == (smallest, verdict)
    assert found.verdict in VERDICTS


@pytest.mark.parametrize("tolerance", [0, 1, -0.1, math.nan])
def test_a_tolerance_out_of_range(tolerance: float) -> None:
    with pytest.raises(ArgumentError, match="between 0 and 1"):
        judge([WHOLE], tolerance)


def test_no_size_and_unequal_lists() -> None:
    with pytest.raises(ArgumentError, match="no window size"):
        judge([], 0.1)
    with pytest.raises(ArgumentError, match="1 volumes for 2 spreads"):
        fit_variance([1.0], [WHOLE, WHOLE])


def test_few_windows_have_too_small_a_logarithm_of_their_variance():
    """By digamma(3.5) - ln 3.5 = -0.149606 for eight of them: the fitted variance is that much higher."""
    few = fit_variance([1e3, 8e3], [Spread(8, 0, 1.0, 0.08, 0.0), Spread(8, 0, 1.0, 0.02, 0.0)])
    many = fit_variance(
        [1e3, 8e3], [Spread(10**6, 0, 1.0, 0.08, 0.0), Spread(10**6, 0, 1.0, 0.02, 0.0)]
    )
    assert few.exponent == pytest.approx(many.exponent)
    assert many.variance == pytest.approx(0.08 * 0.02, rel=1e-5)
    assert few.variance == pytest.approx(0.08 * 0.02 * 1.161377, rel=1e-5)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_variation_is_that_of_the_values_with_the_other_sign(sign: int) -> None:
    """Curvatures have negative means, and no spread is negative."""
    found = spread(sign * np.array([1.0, 3.0, 5.0]))
    assert (found.mean, found.deviation) == (sign * 3, 2)
    assert found.variation == pytest.approx(2 / 3)
    assert found.relative == pytest.approx(4 / 3)
    assert math.isnan(spread([-1.0, 1.0]).variation)
