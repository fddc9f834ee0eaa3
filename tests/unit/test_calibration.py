"""Calibration of probabilities: what it recovers, and what it leaves alone."""

from __future__ import annotations

import numpy as np
import pytest

from tim3d.kernels.statistics.bootstrap import weights
from tim3d.kernels.statistics.calibration import Calibration, Known, Reliability, fitted, resampled

LEAST = 1 / 131070


def voxels(count: int, classes: int = 2, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities, and classes drawn from them: calibrated by construction."""
    random = np.random.default_rng(seed)
    logits = 2 * random.normal(size=(classes, count))
    shares = np.exp(logits) / np.exp(logits).sum(axis=0)
    truth = (random.random(count) > shares.cumsum(axis=0)).sum(axis=0)
    return shares, np.minimum(truth, classes - 1).astype(np.int64)


def known(shares: np.ndarray, truth: np.ndarray, units: int = 10) -> Known:
    return Known(shares, truth, np.arange(len(truth), dtype=np.int64) * units // len(truth), LEAST)


def test_a_temperature_of_1_does_not_change_a_bit() -> None:
    shares, _ = voxels(50)
    assert Calibration(1.0, (0.0, 0.0)).of(shares, LEAST) is shares


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize(("temperature", "offset"), [(1.0, 0.0), (2.5, 0.0), (0.5, 0.7)])
def test_what_was_done_to_calibrated_probabilities_is_undone(
    classes: int, temperature: float, offset: float
) -> None:
    shares, truth = voxels(40_000, classes)
    logits = temperature * np.log(shares)
    logits[0] -= temperature * offset
    spoilt = np.exp(logits) / np.exp(logits).sum(axis=0)
    found = fitted(known(spoilt, truth))
    assert found.temperature == pytest.approx(temperature, rel=0.04)
    assert found.offsets[0] == pytest.approx(offset, abs=0.05)
    after = Reliability.of(found.of(spoilt, LEAST), truth)
    assert after.ece < 0.01
    assert after.sce < 0.01
    # The offset makes the mean probability of a class its share: a law of this likelihood.
    mean = found.of(spoilt, LEAST).mean(axis=1)
    assert mean == pytest.approx(np.bincount(truth) / len(truth), abs=1e-3)


def test_errors_of_calibration_are_those_of_the_definition() -> None:
    shares = np.array([[0.9] * 10 + [0.3] * 10, [0.1] * 10 + [0.7] * 10])
    truth = np.array([0] * 8 + [1] * 2 + [1] * 10)
    found = Reliability.of(shares, truth)
    assert found.ece == pytest.approx((0.1 + 0.3) / 2)
    assert found.sce == pytest.approx((0.1 + 0.3) / 2)  # each class errs by as much


def test_without_an_error_the_temperature_has_a_bound() -> None:
    truth = np.array([0, 1] * 500)
    shares = np.stack([1.0 - truth, truth]).astype(np.float64)
    found = fitted(known(shares, truth))
    assert 0.05 <= found.temperature <= 20
    assert found.of(shares, LEAST) == pytest.approx(shares, abs=1e-4)


def test_resamples_vary_as_new_voxels_would() -> None:
    every = [fitted(known(*voxels(2000, seed=seed), units=20)).vector for seed in range(30)]
    one = known(*voxels(2000, seed=99), units=20)
    drawn = resampled(one, fitted(one), weights(20, 400, 1, seed=0))
    spread = np.std([each.vector for each in drawn], axis=0)
    assert spread == pytest.approx(np.std(every, axis=0), rel=0.5)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("repeats", [1, 40])
def test_probabilities_that_say_nothing_stay_as_they_are(classes: int, repeats: int) -> None:
    """Even ones, each as often right as it says: no temperature fits better than another, and it stays 1."""
    truth = np.tile(np.arange(classes), repeats)
    shares = np.full((classes, len(truth)), 1 / classes)
    found = fitted(Known(shares, truth, np.zeros(len(truth), np.int64), LEAST))
    assert found.temperature == pytest.approx(1)
    assert found.offsets == pytest.approx((0,) * classes)
