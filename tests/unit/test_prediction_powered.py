"""A fraction from labels and points: unbiased whatever made the labels, and held as often as is said."""

from __future__ import annotations

import numpy as np
import pytest

from tim3d.kernels.statistics.prediction_powered import by_labels_and_points, by_points


@pytest.mark.parametrize(("missed", "added"), [(0.1, 0.0), (0.02, 0.02), (0.0, 0.0), (0.3, 0.3)])
def test_the_interval_holds_the_fraction_as_often_as_is_said(missed: float, added: float) -> None:
    random = np.random.default_rng(0)
    true = random.random(200_000) < 0.35
    labels = np.where(true, random.random(true.size) >= missed, random.random(true.size) < added)
    held, values = [], []
    for _ in range(600):
        points = random.integers(0, true.size, 200)
        one = by_labels_and_points(float(labels.mean()), labels[points], true[points], 0.9)
        held.append(one.low <= true.mean() <= one.high)
        values.append(one.value)
    assert np.mean(held) > 0.87
    assert np.mean(values) == pytest.approx(
        true.mean(), abs=4 * np.std(values) / np.sqrt(600) + 1e-12
    )


def test_good_labels_save_points() -> None:
    random = np.random.default_rng(1)
    true = random.random(300) < 0.4
    labels = true ^ (random.random(300) < 0.03)
    both, alone = by_labels_and_points(0.4, labels, true, 0.95), by_points(true, 0.95)
    assert both.high - both.low < (alone.high - alone.low) / 2
