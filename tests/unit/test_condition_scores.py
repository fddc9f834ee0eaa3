"""Scores over conditions against closed forms, scipy, and what happens when samples of one law are dealt out."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage as ndi
from scipy import stats

from tim3d.kernels.morphology.planar import (
    DIRECTIONS,
    direction_weights,
    feature_shape_index,
)
from tim3d.kernels.statistics.condition_scores import (
    ceiling,
    correlation_squared,
    deviation,
    principal,
    r_squared,
    wasserstein,
)


def test_an_offset_lowers_r_squared_and_not_the_squared_correlation() -> None:
    real = np.array([1.0, 2.0, 4.0])
    for offset, factor in ((0, 1), (0.5, 1), (0, 1.5), (-1, 0.8)):
        generated = factor * real + offset
        expected = 1 - ((generated - real) ** 2).sum() / ((real - real.mean()) ** 2).sum()
        assert r_squared(real, generated) == pytest.approx(expected)
        assert correlation_squared(real, generated) == pytest.approx(1)
    wrong = np.array([2.0, 1.0, 3.0])
    assert correlation_squared(real, wrong) == pytest.approx(stats.pearsonr(real, wrong)[0] ** 2)


@pytest.mark.parametrize("score", [r_squared, correlation_squared])
def test_one_condition_or_one_value_has_no_r_squared(score) -> None:  # type: ignore[no-untyped-def]
    assert np.isnan(score(np.ones(1), np.ones(1)))
    assert np.isnan(score(np.ones(3), np.arange(3.0)))


def test_the_ceiling_is_that_of_sampling() -> None:
    """Means of n and m samples of variance s^2 differ by s^2 (1/n + 1/m) on average: the closed form of R^2."""
    random = np.random.default_rng(0)
    centres, spread, count = np.array([0.0, 1.0, 2.0, 3.0]), 1.5, 400
    real = [random.normal(centre, spread, count) for centre in centres]
    best = ceiling(real, [40] * 4, 400, np.random.default_rng(1))
    lost = 4 * spread**2 * (1 / 40 + 1 / 360)
    scatter = ((centres - centres.mean()) ** 2).sum()
    assert best.mean() == pytest.approx(1 - lost / scatter, abs=0.01)
    flat = ceiling([one - one.mean() for one in real], [40] * 4, 100, np.random.default_rng(1))
    assert np.median(flat) < 0


def test_no_more_than_half_of_the_real_samples_stand_for_generated_ones() -> None:
    real = [np.array([0.0, 0.0, 0.0, 4.0]), np.array([10.0, 10.0, 10.0, 14.0])]
    found = ceiling(real, [100, 100], 50, np.random.default_rng(0))
    assert set(np.round(found, 6)) <= {
        round(r_squared(np.array([a, b]), np.array([2 - a, 22 - b])), 6)
        for a in (0.0, 2.0)
        for b in (10.0, 12.0)
    }


def test_a_deviation_and_its_interval_are_those_of_the_means() -> None:
    random = np.random.default_rng(0)
    real, generated = random.normal(0, 2, 300), random.normal(1, 2, 200)
    value, draws = deviation(real, generated, 2000, 0)
    assert value == pytest.approx((generated.mean() - real.mean()) / real.std(ddof=1))
    error = np.sqrt(real.var() / 300 + generated.var() / 200) / real.std(ddof=1)
    assert draws.std() == pytest.approx(error, rel=0.06)
    assert draws.mean() == pytest.approx(value, abs=0.01)
    assert np.isnan(deviation(np.ones(3), generated, 20, 0)[0])


def test_the_distance_of_distributions_is_that_of_scipy() -> None:
    random = np.random.default_rng(0)
    for sizes in ((1, 1), (5, 9), (40, 17)):
        one, other = (np.round(random.normal(n, 1, size), 1) for n, size in enumerate(sizes))
        assert wasserstein(one, other) == pytest.approx(stats.wasserstein_distance(one, other))


def test_axes_are_those_of_the_reference_and_unknown_descriptors_are_left_out() -> None:
    random = np.random.default_rng(0)
    reference = random.normal(size=(50, 5)) * [1, 100, 1e-3, 1, 0]
    reference[:, 3] = 2 * reference[:, 0]
    other = reference[:7].copy()
    other[0, 2] = np.nan
    projected, itself = principal([other, reference], reference, 8)
    assert projected.shape == (7, 3)
    assert np.allclose(itself.mean(axis=0), 0)
    kept = reference[:, [0, 1, 3]]
    scaled = (kept - kept.mean(axis=0)) / kept.std(axis=0)
    distances = [np.linalg.norm(one[:7, None] - one[None, :7], axis=-1) for one in (itself, scaled)]
    assert np.allclose(*distances)


@pytest.mark.parametrize("pixel", [(1.0, 1.0), (2.0, 1.0)])
def test_the_shape_index_of_features_is_that_of_each_alone(pixel: tuple[float, float]) -> None:
    mask = ndi.gaussian_filter(np.random.default_rng(2).standard_normal((40, 50)), 1.5) > 0.3
    ids, count = ndi.label(mask, np.ones((3, 3)))
    inner = [n for n in range(1, count + 1) if not _touches(ids == n)]
    area = pixel[0] * pixel[1]
    sizes = [(ids == n).sum() * area for n in inner]
    index = [
        _perimeter(ids == n, pixel) / (2 * np.sqrt(np.pi * size))
        for n, size in zip(inner, sizes, strict=True)
    ]
    found = feature_shape_index(np.isin(ids, inner), pixel)
    assert len(inner) > 5
    assert found == pytest.approx(np.average(index, weights=sizes), rel=1e-12)


def _touches(mask: np.ndarray) -> bool:
    return bool(mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any())


def _perimeter(mask: np.ndarray, pixel: tuple[float, float]) -> float:
    """By the formula of Crofton, pixel by pixel: lines in a direction lie area / step apart."""
    area, total = pixel[0] * pixel[1], 0.0
    for (down, right), weight in zip(DIRECTIONS, direction_weights(pixel), strict=True):
        step = np.hypot(down * pixel[0], right * pixel[1])
        changes = sum(
            mask[y, x] != mask[y + down, x + right]
            for y in range(mask.shape[0] - down)
            for x in range(max(0, -right), mask.shape[1] - max(0, right))
        )
        total += np.pi / 2 * weight * changes * area / step
    return total


def test_a_disc_is_one_and_a_pixel_is_what_is_stated() -> None:
    one = np.zeros((5, 5), bool)
    one[2, 2] = True
    assert feature_shape_index(one) == pytest.approx(0.756, abs=1e-3)
    assert np.isnan(feature_shape_index(np.zeros((5, 5), bool)))
