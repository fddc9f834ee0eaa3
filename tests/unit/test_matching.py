"""Histograms and spectra of one stack given to another: laws of the kernels."""

import numpy as np
import pytest
from scipy import ndimage

from tim3d.errors import ArgumentError
from tim3d.kernels.image.histogram_matching import HistogramMatch
from tim3d.kernels.image.spectrum_matching import (
    check_window,
    filter_taps,
    filtered,
    power_spectrum,
)

RNG = np.random.default_rng


def test_a_match_gives_the_histogram_of_the_target_gaps_and_all() -> None:
    rng = RNG(0)
    grey = rng.binomial(20, 0.3, 200_000)
    wanted = np.array([0, 5, 0, 1, 0, 0, 4] + [0] * 18)
    match = HistogramMatch(np.bincount(grey, minlength=25), wanted)
    found = match(grey, rng.random(len(grey)))
    shares = np.bincount(found, minlength=25) / len(found)
    assert shares == pytest.approx(wanted / 10, abs=0.004)
    assert (shares[wanted == 0] == 0).all()


def test_a_match_turns_no_order_round_and_leaves_its_own_histogram() -> None:
    rng = RNG(1)
    grey = rng.integers(0, 40, 5000)
    counts = np.bincount(grey, minlength=256)
    match = HistogramMatch(counts, np.roll(counts, 9) + np.roll(counts, 80))
    found = match(grey, rng.random(len(grey)))
    highest = [found[grey == g].max() for g in range(40)]
    lowest = [found[grey == g].min() for g in range(40)]
    assert all(a <= b for a, b in zip(highest, lowest[1:], strict=False))
    same = HistogramMatch(counts, 3 * counts)
    assert np.array_equal(same(grey, rng.random(len(grey))), grey)


def noise(seed: int, deviation: float, shape: tuple[int, int, int] = (6, 160, 160)) -> np.ndarray:
    """White noise, blurred in the slice, around 100."""
    white = RNG(seed).normal(0, 10, shape)
    return np.asarray(100 + ndimage.gaussian_filter(white, (0, deviation, deviation), mode="wrap"))


def test_the_spectrum_of_white_noise_is_its_variance() -> None:
    spectrum = power_spectrum(noise(0, 0), 16)
    assert spectrum[3:, 3:] == pytest.approx(np.full_like(spectrum[3:, 3:], 100), rel=0.12)
    assert not power_spectrum(np.zeros((1, 7, 40)), 8).any()


def test_a_filter_gives_the_spectrum_of_the_target() -> None:
    sharp, soft = noise(1, 0.6), noise(2, 1.0)
    taps = filter_taps(power_spectrum(sharp, 32), power_spectrum(soft, 32), 1.0)
    assert taps.shape == (33, 33)
    assert taps == pytest.approx(taps[::-1, ::-1], abs=1e-7)
    found = filtered(np.pad(sharp - 100, ((0, 0), (16, 16), (16, 16)), mode="edge"), taps)
    assert found.std() == pytest.approx(soft.std(), rel=0.06)
    before = np.abs(np.log(power_spectrum(sharp, 32) / power_spectrum(soft, 32)))[:8, 1:8]
    after = np.abs(np.log(power_spectrum(found, 32) / power_spectrum(soft, 32)))[:8, 1:8]
    assert after.mean() < 0.4 * before.mean()


def test_a_stack_like_the_target_is_left_and_high_frequencies_beyond_the_share_too() -> None:
    spectrum = power_spectrum(noise(3, 0.7), 16)
    taps = filter_taps(spectrum, spectrum, 1.0)
    one = np.zeros_like(taps)
    one[8, 8] = 1
    assert taps == pytest.approx(one, abs=1e-6)
    low = filter_taps(spectrum, 4 * spectrum, 0.25)
    response = np.abs(np.fft.rfft2(low))
    assert response[8, 8] == pytest.approx(1, abs=0.15)  # the highest frequency
    assert filter_taps(spectrum, 9 * spectrum, 1.0)[8, 8] == pytest.approx(3, abs=0.1)


def test_a_filter_is_that_of_scipy() -> None:
    rng = RNG(4)
    taps = rng.random((9, 9)).astype(np.float32)
    grey = rng.random((2, 30, 25)).astype(np.float32)
    wanted = [ndimage.correlate(one, taps, mode="constant")[4:-4, 4:-4] for one in grey]
    assert filtered(grey, taps) == pytest.approx(np.stack(wanted), rel=1e-5)


def test_windows_and_shares_out_of_range_are_refused() -> None:
    for window in (6, 33, 256):
        with pytest.raises(ArgumentError, match="even number from 8 to 128"):
            check_window(window)
    for share in (0.0, 1.5):
        with pytest.raises(ArgumentError, match="above 0, up to 1"):
            filter_taps(np.ones((8, 5)), np.ones((8, 5)), share)
