"""Guidance of a diffusion: gradients are differences, the least move is one, and its sign matters."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tim3d.kernels.conduction.conduction import conduct
from tim3d.kernels.conduction.warm_start import conduct_from
from tim3d.kernels.generation.guidance import (
    HALF,
    LEVELS,
    Guide,
    Move,
    Products,
    gain,
    is_guided,
    least_move,
    log_factors,
    moved_estimate,
    products_of,
    products_with_heat,
    shares,
    slopes,
    soft_codes,
    soft_conductivities,
    steepness,
    usual_factor,
)
from tim3d.kernels.generation.reverse_process import ReverseProcess, moved
from tim3d.stages.generation.guided_passes import guided_velocity

STEEP = 3.0
PHASES = (0.02, 5.0)
SHAPE = (6, 6, 6)
VOXELS = math.prod(SHAPE)
RNG = np.random.default_rng(4)
# Codes of voxels that are neither phase, and the estimates that have exactly these shares.
CODES = RNG.integers(10, LEVELS - 10, SHAPE).astype(np.uint8)
ESTIMATE = np.log(shares()[CODES] / (1 - shares()[CODES])) / (2 * STEEP)


def share(estimate: np.ndarray) -> np.ndarray:
    """Soft share without levels, in double precision."""
    return np.asarray(1 / (1 + np.exp(-2 * STEEP * estimate)))


def conductivity(estimate: np.ndarray, axis: int) -> float:
    """Effective conductivity of a soft medium in which every voxel is a label of its own."""
    low, high = np.log(PHASES)
    each = np.exp(low + share(estimate) * (high - low)).ravel()
    labels = np.arange(VOXELS, dtype=np.uint8).reshape(SHAPE)
    return conduct(
        labels, dict(enumerate(each.tolist())), axis, spacing=(3, 2, 1), tolerance=1e-10
    ).conductivity


def difference(of: object, place: tuple[int, ...], step: float = 1e-4) -> float:
    """Central difference of fourth order by the estimate of one voxel."""
    assert callable(of)
    found = 0.0
    for weight, times in ((8, 1), (-8, -1), (-1, 2), (1, -2)):
        changed = ESTIMATE.copy()
        changed[place] += times * step
        found += weight * of(changed)
    return found / (12 * step)


def heat(axis: int) -> np.ndarray:
    table = dict(enumerate(soft_conductivities(*PHASES).tolist()))
    found, _ = conduct_from(None, CODES, table, axis, spacing=(3, 2, 1), tolerance=1e-10)
    assert found.derivative is not None
    assert found.sensitivity is not None
    assert abs(found.sensitivity.certificate) < 1e-9
    return found.derivative


def test_codes_are_levels_of_the_share_and_halves_are_labels() -> None:
    assert np.array_equal(soft_codes(ESTIMATE.astype(np.float32), STEEP), CODES)
    estimate = np.linspace(-1, 1, 2001, dtype=np.float32)
    codes = soft_codes(estimate, STEEP)
    assert np.array_equal(codes >= HALF, estimate >= 0)
    assert np.abs(shares()[codes] - share(estimate)).max() <= 0.5 / (LEVELS - 1) + 1e-7


def test_the_gradient_of_the_fraction_is_a_difference() -> None:
    found = moved_estimate(CODES, None, None, Move(-1.0), STEEP)
    for place in ((0, 0, 0), (3, 1, 5), (5, 5, 5)):
        expected = VOXELS * difference(lambda x: 1 - share(x).mean(), place)
        assert found[place] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("axis", range(3))
def test_the_gradient_of_the_conductivity_is_a_difference(axis: int) -> None:
    found = moved_estimate(CODES, heat(axis), log_factors(*PHASES), Move(0.0, 1.0), STEEP)
    for place in ((0, 0, 0), (3, 1, 5), (5, 5, 5), (2, 4, 0)):
        expected = VOXELS * difference(lambda x: conductivity(x, axis), place)
        assert found[place] == pytest.approx(expected, rel=1e-5)


def test_products_are_those_of_the_gradients() -> None:
    factors, fall = log_factors(*PHASES), heat(0)
    gradients = {
        "phase_fraction": -slopes(STEEP)[CODES],
        "conductivity": slopes(STEEP)[CODES] * factors[CODES] * fall,
    }
    usual = usual_factor(CODES, fall, factors, STEEP)
    size = np.abs(factors[CODES] * fall)
    assert usual == pytest.approx(np.average(size, weights=slopes(STEEP)[CODES]), rel=1e-12)
    found = products_with_heat(CODES, fall, factors, STEEP, usual).of(list(gradients))
    eased = 1 / (1 + size / usual)
    expected = [[(a * b * eased).sum() for b in gradients.values()] for a in gradients.values()]
    assert np.allclose(found, expected, rtol=1e-10)
    plain = products_of(np.bincount(CODES.ravel(), minlength=LEVELS), STEEP)
    assert plain.of(["phase_fraction"])[0, 0] == pytest.approx((slopes(STEEP)[CODES] ** 2).sum())


def test_the_least_move_closes_every_gap_and_none_is_less() -> None:
    factors, fall = log_factors(*PHASES), heat(0)
    usual = usual_factor(CODES, fall, factors, STEEP)
    found = products_with_heat(CODES, fall, factors, STEEP, usual)
    missed = {"phase_fraction": 1e-3, "conductivity": -2e-3}
    scatter = {"phase_fraction": 0.02, "conductivity": 0.1}
    move = least_move(missed, scatter, found, VOXELS, 1e9)
    made = moved_estimate(CODES, fall, factors, move, STEEP).astype(np.float64)
    rows = np.array([
        (-slopes(STEEP)[CODES] / VOXELS).ravel(),
        (slopes(STEEP)[CODES] * factors[CODES] * fall / VOXELS).ravel(),
    ])  # fmt: skip
    assert rows @ made.ravel() == pytest.approx([-1e-3, 2e-3], rel=1e-4)
    # Least in the sum of squares over how easily a voxel yields.
    eased = 1 / (1 + np.abs(factors[CODES] * fall) / usual).ravel()
    least = eased * (rows.T @ np.linalg.solve(rows * eased @ rows.T, [-1e-3, 2e-3]))
    assert np.abs(made.ravel() - least).max() < 1e-4 * np.abs(least).max()
    assert move.cut == 1
    length = math.sqrt((made.ravel() ** 2 / eased).sum())
    half = least_move(missed, scatter, found, VOXELS, length / 2)
    assert half.cut == pytest.approx(0.5, rel=1e-4)
    assert half.plain == pytest.approx(move.plain / 2, rel=1e-4)


def test_nothing_is_moved_where_nothing_would_change() -> None:
    assert least_move({"phase_fraction": 0.1}, {"phase_fraction": 1}, Products(0.0), 9, 1) == Move(
        0
    )


def test_guided_are_all_steps_but_the_first_and_the_last() -> None:
    times = [one.at for one in ReverseProcess(16).evaluations() if is_guided(one)]
    assert times == [n / 16 for n in range(4, 15)]
    steps = [steepness(time) for time in times]
    assert 1 <= steps[0] < steps[-1] < 2
    for one in ReverseProcess(16).evaluations():
        # A move that is longer by the gain arrives in the state in one step, where the gain is not cut.
        arrives = gain(one) * (one.to - one.at) / (1 - one.at)
        assert arrives == pytest.approx(1) or gain(one) == 4
    assert Guide(0.3, 2.0, (0, 1)).targets == {"phase_fraction": 0.3, "conductivity": 2.0}


@pytest.mark.parametrize(("sign", "nearer"), [(1, True), (-1, False)])
def test_the_wrong_sign_leads_away_from_the_target(sign: int, nearer: bool) -> None:
    """The published error of a distillation term: with it, a step of descent climbs."""
    one = ReverseProcess(16).evaluations()[10]
    factors, fall = log_factors(*PHASES), heat(0)
    state = np.zeros(SHAPE, np.float32)
    velocity = (ESTIMATE / (1 - one.at)).astype(np.float32)
    before = conductivity(ESTIMATE, 0)
    wanted = 1.05 * before
    usual = usual_factor(CODES, fall, factors, STEEP)
    found = products_with_heat(CODES, fall, factors, STEEP, usual)
    move = least_move({"conductivity": before - wanted}, {"conductivity": 0.1}, found, VOXELS, 1e9)
    made = moved_estimate(CODES, fall, factors, move, STEEP)
    guided = guided_velocity(one, velocity, sign * made)
    estimate = state + (1 - one.at) * guided
    after = conductivity(estimate.astype(np.float64), 0)
    assert (abs(after - wanted) < 0.1 * abs(before - wanted)) == nearer
    assert (abs(after - wanted) < abs(before - wanted)) == nearer
    ahead, plain = (moved(one, state, v, None) for v in (guided, velocity))
    assert np.allclose(ahead - plain, sign * made * (one.to - one.at) / (1 - one.at), atol=1e-6)


def test_a_guess_changes_the_steps_and_not_the_solution() -> None:
    labels = (RNG.random((16, 12, 10)) * LEVELS).astype(np.uint8)
    table = dict(enumerate(soft_conductivities(0, 1).tolist()))
    for axis in range(3):
        cold, guess = conduct_from(None, labels, table, axis, tolerance=1e-6)
        warm, again = conduct_from(guess, labels, table, axis, tolerance=1e-6)
        assert warm.iterations < cold.iterations
        assert warm.conductivity == pytest.approx(cold.conductivity, rel=1e-6)
        plain = conduct(labels, table, axis, tolerance=1e-6, keep_sensitivity=True)
        assert plain.conductivity == cold.conductivity
        assert np.array_equal(plain.derivative, cold.derivative)  # type: ignore[arg-type]
        assert np.allclose(warm.derivative, cold.derivative, atol=1e-4)  # type: ignore[arg-type]
        assert guess.shape == again.shape == np.moveaxis(labels, axis, 0).shape
