"""Labels drawn from probabilities: marginals, variance of the fraction, blocks, and lengths found again."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tim3d.grid import Box
from tim3d.kernels.generation.label_draws import Draws, cumulated
from tim3d.kernels.statistics.label_residuals import Pairs, covariance, fitted_length, series
from tim3d.kernels.statistics.sampling_error import prediction_interval

CUBE = (1.0, 1.0, 1.0)


def drawn(draws: Draws, shares: np.ndarray, number: int, box: Box | None = None) -> np.ndarray:
    box = box or Box.whole(shares.shape[1:])
    part = shares[(slice(None), *box.slices)]
    return draws.labels(box, lambda plane: cumulated(part[:, plane]), number)


@given(st.data())
def test_a_box_has_the_labels_of_the_whole(data: st.DataObject) -> None:
    shape = tuple(data.draw(st.integers(1, 9)) for _ in range(3))
    start = tuple(data.draw(st.integers(0, n - 1)) for n in shape)
    stop = tuple(data.draw(st.integers(a + 1, n)) for a, n in zip(start, shape, strict=True))
    raw = np.random.default_rng(sum(shape)).random((3, *shape))
    shares, box = raw / raw.sum(axis=0), Box(start, stop)
    draws = Draws((3.0, 5.0, 2.0), (2.0, 1.0, 1.0), seed=data.draw(st.integers(0, 2**32 - 1)))
    assert np.array_equal(drawn(draws, shares, 1, box), drawn(draws, shares, 1)[box.slices])


def test_certain_voxels_never_change_and_give_no_width() -> None:
    labels = np.random.default_rng(0).integers(0, 3, (6, 10, 10))
    shares = (np.arange(3)[:, None, None, None] == labels).astype(np.float64)
    draws = Draws((4.0, 4.0, 4.0), CUBE)
    every = [drawn(draws, shares, n) for n in range(5)]
    assert all(np.array_equal(one, labels) for one in every)
    low, high = prediction_interval(np.array([(one == 0).mean() for one in every]), 0.9)
    assert low == high


def test_every_voxel_keeps_its_probability() -> None:
    ramp = np.linspace(0.02, 0.98, 12)
    shares = np.stack([ramp * 0.6, ramp * 0.4, 1 - ramp])[:, None, None, :] * np.ones((3, 1, 4, 12))
    draws = Draws((3.0, 3.0, 3.0), CUBE, seed=4)
    count = 800
    total = np.zeros((3, 1, 4, 12))
    for n in range(count):
        total += np.arange(3)[:, None, None, None] == drawn(draws, shares, n)
    error = (total / count - shares) / np.sqrt(shares * (1 - shares) / count)
    assert np.abs(error).max() < 4.5  # of 144 numbers


@pytest.mark.long
@pytest.mark.parametrize(("p", "length"), [(0.5, 2.0), (0.2, 3.0), (0.5, 0.0)])
def test_the_fraction_varies_as_the_covariances_say(p: float, length: float) -> None:
    """sd of phi, the square root of the mean covariance over all pairs of voxels."""
    shape, count = (5, 9, 8), 250
    shares = np.stack([np.full(shape, p), np.full(shape, 1 - p)])
    draws = Draws((length,) * 3, CUBE, seed=7)
    fractions = [(drawn(draws, shares, n) == 0).mean() for n in range(count)]
    field = draws.field(0)
    lags = [np.arange(-n + 1, n) for n in shape]
    weight = [(n - np.abs(lag)) / n**2 for n, lag in zip(shape, lags, strict=True)]
    along = [
        [field.correlation(tuple(int(v) * (a == b) for b in range(3))) for v in lag]
        for a, lag in enumerate(lags)
    ]  # fmt: skip
    variance = 0.0
    for i, wi in enumerate(weight[0]):
        for j, wj in enumerate(weight[1]):
            for k, wk in enumerate(weight[2]):
                rho = min(along[0][i] * along[1][j] * along[2][k], 1.0)
                if rho > 1e-4:
                    variance += wi * wj * wk * covariance(p, rho)
    assert np.std(fractions) == pytest.approx(math.sqrt(variance), rel=4 / math.sqrt(2 * count))


def test_the_series_of_a_covariance_is_its_integral() -> None:
    for p in (0.5, 0.1, 0.02):
        terms = series(np.array([p]))[:, 0] ** 2
        for rho in (0.1, 0.5, 0.8):
            expected = (terms * rho ** np.arange(1, len(terms) + 1)).sum()
            assert expected == pytest.approx(covariance(p, rho), rel=0.01)


@pytest.mark.parametrize("length", [2.0, 5.0])
def test_the_length_of_drawn_labels_is_found_again(length: float) -> None:
    shape = (24, 40, 40)
    random = np.random.default_rng(1)
    p = 1 / (1 + np.exp(-random.normal(size=shape)))  # no length of its own
    labels = drawn(Draws((length,) * 3, CUBE, seed=2), np.stack([p, 1 - p]), 0)
    y, x = Pairs(16), Pairs(16)
    for truth, share in zip(labels, p, strict=True):
        known, terms = np.ones(share.shape, bool), series(share)
        y.add((truth == 0) - share, terms, known, 0)
        x.add((truth == 0) - share, terms, known, 1)
    assert fitted_length([(y, 1.0), (x, 1.0)]) == pytest.approx(length, rel=0.15)
