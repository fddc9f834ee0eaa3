"""Looks of crops by closed forms: entropies, distances, correlation, and spectra in cycles per nm."""

from dataclasses import replace

import numpy as np
import pytest

from tim3d.kernels.image.grey_look import (
    Look,
    correlation_distance,
    crop_features,
    entropy,
    entropy_difference,
    feature_names,
    frequencies,
    histogram_distance,
    radial_power,
    spectrum_distance,
    squared_differences,
)

PIXEL = (4.0, 10.0)
LAGS = (1, 2, 4)


def look(crops: np.ndarray) -> Look:
    """Regions of one crop each, without lags along z."""
    counts = np.stack([np.bincount(one.ravel(), minlength=256) for one in crops]).astype(float)
    values = crops.reshape(len(crops), -1).astype(float)
    moments = np.stack([np.full(len(crops), values.shape[1]), values.sum(1), (values**2).sum(1)], 1)
    across = [
        np.stack([squared_differences(one[None], LAGS, axis) for one in crops]) for axis in (1, 2)
    ]
    power = np.stack([radial_power(one, PIXEL) for one in crops])
    none = np.zeros((len(crops), 0))
    return Look(counts, moments, none, *across, power, np.ones(len(crops)))


def noise(seed: int = 0, number: int = 8, edge: int = 32) -> np.ndarray:
    return np.random.default_rng(seed).integers(96, 160, (number, edge, edge)).astype(np.uint8)


def test_entropies_of_known_laws() -> None:
    assert entropy(np.ones(256)) == pytest.approx(8)
    assert entropy(np.array([1.0, 3.0])) == pytest.approx(2 - 0.75 * np.log2(3))
    # 1024 pixels of 64 levels: bias of - 63 / (2 n ln 2) by Miller and Madow.
    assert look(noise()).entropies.mean() == pytest.approx(6 - 63 / (2048 * np.log(2)), abs=0.005)


def test_the_density_of_white_noise_is_its_variance_times_the_area_of_a_pixel() -> None:
    white = np.random.default_rng(1).normal(0, 5, (400, 32, 32))
    mean = np.mean([radial_power(one, PIXEL) for one in white], axis=0)
    # The mean of a crop takes a tenth of the lowest frequency away.
    assert mean[1:] == pytest.approx(np.full(15, 25 * 40.0), rel=0.08)
    assert mean[0] == pytest.approx(910, rel=0.08)


@pytest.mark.parametrize(("axis", "period"), [(0, 8), (1, 8), (1, 4)])
def test_a_wave_is_found_at_its_frequency_in_nm(axis: int, period: int) -> None:
    phase = 2 * np.pi * np.arange(64) / period
    wave = np.cos(phase if axis else phase[:, None]) + np.zeros((64, 64))
    found = frequencies(64, PIXEL)[radial_power(100 + 20 * wave, PIXEL).argmax()]
    # Along y (4 nm) a period of 8 pixels is 32 nm; steps of frequency are 1 / 640 nm.
    assert found == pytest.approx(1 / (period * PIXEL[axis]), abs=1 / 1280)


def test_a_shift_of_grey_values_is_seen_by_the_histogram_alone() -> None:
    crops = noise()
    a, b = look(crops), look(crops + 7)
    assert histogram_distance(a, b, 1) == pytest.approx(7)
    assert entropy_difference(a, b) == pytest.approx(0, abs=1e-12)
    assert spectrum_distance(a, b, PIXEL) == pytest.approx(0, abs=1e-9)
    assert correlation_distance(a, b, 1) == pytest.approx(0, abs=1e-9)


def test_entropy_and_histogram_miss_a_shuffled_stack_and_the_others_see_it() -> None:
    wave = 128 + 50 * np.cos(2 * np.pi * np.arange(32) / 16)
    crops = (wave + np.zeros((8, 32, 32))).round().astype(np.uint8)
    random = np.random.default_rng(0)
    shuffled = np.stack([random.permutation(one.ravel()).reshape(one.shape) for one in crops])
    a, b = look(crops), look(shuffled)
    assert entropy_difference(a, b) == histogram_distance(a, b, 1) == 0
    assert correlation_distance(a, b, 2) > 0.5
    assert spectrum_distance(a, b, PIXEL) > 10


def test_doubled_contrast_is_six_decibels_at_every_frequency() -> None:
    crops = noise().astype(float)
    a = look(noise())
    b = replace(a, power=np.stack([radial_power(2 * one, PIXEL) for one in crops]))
    assert spectrum_distance(b, a, PIXEL) == pytest.approx(20 * np.log10(2), abs=0.01)


def test_independent_pixels_have_no_correlation() -> None:
    found = look(noise(number=64))
    assert found.correlation(1) == pytest.approx(np.zeros(3), abs=0.01)
    assert np.isnan(correlation_distance(found, found, 0))


def test_features_are_of_lengths_in_nm_not_of_pixels() -> None:
    y, x = np.mgrid[:64, :160]
    names = feature_names()
    isotropic = 128 + 60 * np.sin(y * 10 / 60) * np.sin(x * 4 / 60)
    # The same pattern with y and x exchanged, and their pixel sizes too.
    a = dict(zip(names, crop_features(isotropic[:, :64], (10.0, 4.0)), strict=True))
    b = dict(zip(names, crop_features(isotropic[:, :64].T, (4.0, 10.0)), strict=True))
    for name in names:
        other = name.replace("_01_", "_ab_").replace("_10_", "_01_").replace("_ab_", "_10_")
        other = other.replace("_02_", "_cd_").replace("_20_", "_02_").replace("_cd_", "_20_")
        assert a[name] == pytest.approx(b[other], abs=1e-9)
    # A fine scale along x takes more pixels: the first derivatives agree in nm.
    assert a["log_deviation_01_1"] == pytest.approx(a["log_deviation_10_1"], abs=0.3)


def test_regions_without_contrast_have_finite_features() -> None:
    assert np.isfinite(crop_features(np.full((16, 16), 9, np.uint8), PIXEL)).all()
