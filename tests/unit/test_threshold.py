from __future__ import annotations

import math
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage import filters

from tim3d.errors import ArgumentError, InputError
from tim3d.kernels.image import threshold as th

GREY = np.arange(256)


def normal(mean: float, width: float, count: float) -> np.ndarray:
    return count * np.exp(-(((GREY - mean) / width) ** 2) / 2) / width


def between(n: np.ndarray, grey: np.ndarray, cuts: tuple[int, ...]) -> float:
    """Variance between classes that end at these bins, from its definition."""
    edges = [0, *(c + 1 for c in cuts), len(n)]
    mean = np.average(grey, weights=n)
    parts = [slice(a, b) for a, b in pairwise(edges)]
    return sum(n[p].sum() * (np.average(grey[p], weights=n[p]) - mean) ** 2 for p in parts)


histograms = st.lists(st.integers(0, 50), min_size=6, max_size=12).filter(
    lambda n: np.count_nonzero(n) >= 4
)


@given(histograms, st.integers(2, 4))
def test_multi_otsu_is_the_best_of_all_cuts(counts, classes):
    n, grey = np.array(counts, float), np.arange(len(counts)) * 3.0 + 1
    filled = n > 0
    n, grey = n[filled], grey[filled]
    best = max(between(n, grey, cuts) for cuts in combinations(range(len(n) - 1), classes - 1))
    found = th.multi_otsu(counts, np.arange(len(counts)) * 3.0 + 1, classes)
    cuts = tuple(int(np.flatnonzero(grey == t)[0]) for t in found)
    assert list(cuts) == sorted(set(cuts))
    assert between(n, grey, cuts) == pytest.approx(best)


@given(histograms)
def test_otsu_is_the_best_cut(counts):
    n, grey = np.array(counts, float), np.arange(len(counts), dtype=float)
    limit = th.otsu(n, grey)
    filled = n > 0
    best = max(between(n[filled], grey[filled], (c,)) for c in range(np.count_nonzero(filled) - 1))
    cut = int(np.flatnonzero(grey[filled] == limit)[0])
    assert between(n[filled], grey[filled], (cut,)) == pytest.approx(best)


def test_otsu_and_multi_otsu_agree_with_scikit_image():
    grey = (
        np.random.default_rng(1)
        .normal(loc=[60, 120, 190], scale=15, size=(900, 3))
        .clip(0, 255)
        .astype(np.uint8)
    )
    counts = th.grey_counts(grey)
    assert th.otsu(counts, GREY) == filters.threshold_otsu(grey)
    assert th.multi_otsu(counts, GREY, 3) == filters.threshold_multiotsu(grey, 3).tolist()


def test_otsu_keeps_its_digits_on_very_large_volumes():
    counts = np.array([10**15, 1, 0, 2, 10**15 + 3])
    assert th.otsu(counts, np.arange(5)) == 1.0


def test_thresholds_of_summed_counts_do_not_know_the_blocks():
    grey = np.random.default_rng(2).integers(0, 256, (9, 20, 21), dtype=np.uint8)
    total = sum(th.grey_counts(part) for part in (grey[:3], grey[3:4], grey[4:, :7], grey[4:, 7:]))
    assert np.array_equal(total, th.grey_counts(grey))
    assert total.sum() == grey.size


def test_of_equally_good_thresholds_the_lowest_is_taken():
    for counts in ([1, 1, 1], [2, 0, 2, 0, 2], [5, 1, 5]):
        assert th.otsu(counts, np.arange(len(counts))) == 0
        assert th.multi_otsu(counts, np.arange(len(counts)), 2) == [0]
    assert th.multi_otsu([1, 1, 1, 1, 1], np.arange(5), 4) == [0, 1, 2]


@pytest.mark.parametrize("levels", [1025, 3000, 4096])
def test_many_grey_values_are_cut_after_the_last_of_a_group(levels):
    """Groups are of neighbours, equally many in each: what comes up to a threshold is darker, whole groups of it."""
    grey = 7 * np.arange(levels) + 3
    counts = np.random.default_rng(levels).integers(1, 50, levels)
    size = math.ceil(levels / th.MOST_BINS)
    lasts = grey[np.minimum(np.arange(levels) // size * size + size - 1, levels - 1)]
    found = th.multi_otsu(counts, grey, 3)
    assert set(found) <= set(lasts.tolist())
    exact = (
        filters.threshold_multiotsu(hist=(counts.astype(float), grey), classes=3)
        if levels < 1100
        else found
    )
    assert np.abs(np.subtract(found, exact)).max() <= 7 * size


@pytest.mark.parametrize("method", [th.otsu, th.multi_otsu, th.second_derivative_peak])
@pytest.mark.parametrize(
    ("counts", "match"),
    [(np.zeros(256), "empty"), (np.where(GREY == 7, 9, 0), r"grey value\(s\) \(7\)")],
)
def test_nothing_to_split_is_an_input_error(method, counts, match):
    with pytest.raises(InputError, match=match):
        method(counts, GREY)


@pytest.mark.parametrize(
    ("counts", "centres"),
    [
        ([1, 2], [0, 1, 2]),
        ([1, -1], [0, 1]),
        ([1, 2], [1, 0]),
        ([1, np.nan], [0, 1]),
        ([[1, 2]], [[0, 1]]),
    ],
)
def test_what_is_no_histogram_is_refused(counts, centres):
    with pytest.raises(ArgumentError):
        th.otsu(counts, centres)


def test_too_many_classes_or_bins():
    with pytest.raises(InputError, match="3 are needed"):
        th.multi_otsu([1, 0, 1], [0, 1, 2], classes=3)
    with pytest.raises(ArgumentError, match="at least 2"):
        th.multi_otsu([1, 0, 1], [0, 1, 2], classes=1)


@pytest.mark.parametrize(("first", "width"), [(60, 100), (300, 200), (800, 1500), (20000, 30000)])
def test_multi_otsu_parts_what_is_filled_and_not_the_range_of_the_type(first: int, width: int):
    rng = np.random.default_rng(0)
    means = first + width * np.array([0.1, 0.5, 0.9])
    grey = rng.normal(means[rng.integers(0, 3, 30_000)], width / 40).round().astype(np.uint16)
    low, high = th.multi_otsu(th.grey_counts(grey), np.arange(65536), 3)
    shares = np.bincount(np.searchsorted([low, high], grey), minlength=3) / grey.size
    assert np.abs(shares - 1 / 3).max() < 0.01
    assert means[0] < low < means[1] < high < means[2]


def test_many_grey_values_are_grouped_and_a_threshold_is_the_last_of_its_group():
    counts = np.zeros(65536, np.int64)
    counts[10_000:12_500] = counts[30_000:32_500] = counts[50_000:52_500] = 1 + np.arange(2500) % 7
    low, high = th.multi_otsu(counts, np.arange(65536), 3)
    places = np.searchsorted(np.flatnonzero(counts), [low, high])
    assert ((places + 1) % 8 == 0).all()  # 7500 values in 1024 groups: 8 in each
    below = [counts[: int(t) + 1].sum() / counts.sum() for t in (low, high)]
    np.testing.assert_allclose(below, [1 / 3, 2 / 3], atol=0.002)


def test_second_derivative_peak_of_two_clean_modes_is_the_far_foot_of_the_pores():
    """Smoothing adds its variance to the mode's; the inflection's maximum lies sqrt(3) widths from the mode."""
    counts = normal(60, 10, 2e4) + normal(180, 10, 3e4)
    foot = 60 + np.sqrt(3 * (10**2 + 6**2))
    assert th.second_derivative_peak(counts, GREY, smoothing=6.0) == pytest.approx(foot, abs=1)


def test_second_derivative_peak_of_smeared_pores_is_the_near_foot_of_the_solid():
    """A plateau between pore and solid grey, as shine-through leaves it, has no bend before the solid's foot."""
    ramp = 100.0 * ((GREY > 50) & (GREY < 165)) * (165 - GREY) / 115
    counts = ramp + normal(180, 10, 3e4)
    foot = 180 - np.sqrt(3 * (10**2 + 6**2))
    assert th.second_derivative_peak(counts, GREY, smoothing=6.0) == pytest.approx(foot, abs=3)


def test_bright_pores_mirror_dark_pores():
    counts = normal(60, 10, 2e4) + normal(180, 14, 5e4)
    dark = th.second_derivative_peak(counts, GREY)
    assert th.second_derivative_peak(counts[::-1], GREY, polarity="bright") == 255 - dark


def test_pores_saturated_at_black_count_as_a_mode():
    counts = normal(170, 12, 3e4) + np.where(GREY == 0, 5000.0, 0.0)
    assert 0 < th.second_derivative_peak(counts, GREY) < 40


@given(st.floats(1e3, 1e9), st.integers(0, 40))
def test_second_derivative_peak_scales_and_shifts_with_the_histogram(scale, shift):
    counts = normal(50, 9, 1.0) + normal(150, 12, 2.0)
    base = th.second_derivative_peak(counts, GREY)
    assert th.second_derivative_peak(scale * counts, GREY) == base
    assert th.second_derivative_peak(counts, GREY + shift) == base + shift
    assert th.second_derivative_peak(counts, 0.5 * GREY, smoothing=3.0) == 0.5 * base


@pytest.mark.parametrize("polarity", ["dark", "bright"])
def test_one_mode_has_no_threshold(polarity):
    with pytest.raises(InputError, match="one mode only"):
        th.second_derivative_peak(normal(120, 15, 1e5), GREY, polarity=polarity)


def test_second_derivative_peak_refuses_bad_arguments():
    counts = normal(60, 10, 2e4) + normal(180, 10, 3e4)
    with pytest.raises(ArgumentError, match="smoothing"):
        th.second_derivative_peak(counts, GREY, smoothing=0)
    with pytest.raises(ArgumentError, match="equidistant"):
        th.second_derivative_peak(counts, GREY.astype(float) ** 2)
    with pytest.raises(ArgumentError, match="polarity"):
        th.second_derivative_peak(counts, GREY, polarity="black")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@given(st.data())
def test_binomial_blur_is_the_rounded_sum_and_the_same_for_any_cut(dtype, data):
    ny, nx = data.draw(st.integers(5, 14)), data.draw(st.integers(5, 14))
    top = int(np.iinfo(dtype).max)
    grey = np.random.default_rng(data.draw(st.integers(0, 99))).integers(
        0, top, (2, ny, nx), dtype, endpoint=True
    )
    whole = th.binomial_blur(grey)
    padded = np.pad(grey.astype(int), ((0, 0), (2, 2), (2, 2)), mode="reflect")
    kernel = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1])
    z, y, x = (
        data.draw(st.integers(0, 1)),
        data.draw(st.integers(0, ny - 1)),
        data.draw(st.integers(0, nx - 1)),
    )
    assert whole[z, y, x] == ((padded[z, y : y + 5, x : x + 5] * kernel).sum() + 128) // 256
    assert whole.dtype == dtype
    cut = data.draw(st.integers(3, nx - 2))
    left = (
        th.binomial_blur(grey[:, :, : cut + 2])[:, :, :cut] if cut + 2 <= nx else whole[:, :, :cut]
    )
    right = th.binomial_blur(grey[:, :, max(cut - 2, 0) :])[:, :, min(cut, 2) :]
    assert np.array_equal(np.concatenate([left, right], axis=2), whole)


def test_blur_and_counts_refuse_other_types():
    for call in (th.binomial_blur, th.grey_counts):
        with pytest.raises(InputError, match="float32"):
            call(np.zeros((5, 5), np.float32))


def test_binned_counts_add_up_and_refuse_nan():
    values = np.random.default_rng(0).normal(size=(4, 5, 6)).astype(np.float32)
    whole, centres = th.binned_counts(values, -2.0, 2.0, bins=16)
    parts = sum(th.binned_counts(part, -2.0, 2.0, bins=16)[0] for part in (values[:1], values[1:]))
    assert np.array_equal(whole, parts)
    assert whole.sum() == values.size
    assert centres[0] == pytest.approx(-1.875)
    with pytest.raises(InputError, match="1 grey values are NaN"):
        th.binned_counts(np.array([1.0, np.nan]), 0.0, 1.0)
    with pytest.raises(ArgumentError, match="low < high"):
        th.binned_counts(values, 1.0, 1.0)


def test_classes_of_descending_thresholds_are_refused():
    with pytest.raises(ArgumentError, match="ascend"):
        th.classify(GREY, [9.0, 3.0])
