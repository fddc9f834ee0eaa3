"""A correction takes its defect away, at any severity, and leaves a stack without the defect as it is."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from tests.defects import DEFECTS, NOISE, SEVERITIES, clean, errors, residual, signal, stack, truth
from tim3d.corrections.base import as_type as rounded
from tim3d.kernels.image.background import background, without
from tim3d.kernels.image.brightness import adjusted, gains_and_offsets, slice_levels, target_levels
from tim3d.kernels.image.curtain import stripes, variational_stripes, wavelet_stripes
from tim3d.kernels.image.denoise import median, nonlocal_means
from tim3d.kernels.image.noise_level import noise_level
from tim3d.kernels.image.total_variation import total_variation

SCALE = (24.0, 24.0)


def by_slice(correct, grey: np.ndarray) -> np.ndarray:
    return np.stack([rounded(correct(one), grey.dtype) for one in grey])


def match_brightness(grey: np.ndarray) -> np.ndarray:
    levels = np.array([slice_levels(one) for one in grey])
    gains, offsets = gains_and_offsets(levels, target_levels(levels))
    changes = zip(grey, gains, offsets, strict=True)
    return np.stack([rounded(adjusted(*change), grey.dtype) for change in changes])


def flatten(grey: np.ndarray, removal: str = "subtract") -> np.ndarray:
    return by_slice(lambda one: without(one, background(one, SCALE, 2, removal), removal), grey)


def destripe(grey: np.ndarray, method=wavelet_stripes) -> np.ndarray:
    estimate = partial(method, width=32, length=20)
    return by_slice(lambda one: one - stripes(one, estimate), grey)


def sigma(grey: np.ndarray) -> float:
    return float(np.median([noise_level(one) for one in grey]))


def calm(grey: np.ndarray) -> np.ndarray:
    found = nonlocal_means(grey, sigma(grey), search=(1, 5, 5), patch=(1, 1, 1))
    return rounded(found, grey.dtype)


def flat(grey: np.ndarray) -> np.ndarray:
    found = total_variation(grey, 0.8 * sigma(grey), spacing=(20.0, 10.0, 10.0))
    return rounded(found, grey.dtype)


# Correction, and the share of the residual that it may leave at the three severities.
CASES = {
    "brightness": (match_brightness, (0.2, 0.1, 0.1)),
    "background": (flatten, (0.3, 0.3, 0.3)),
    "shading": (partial(flatten, removal="divide"), (0.3, 0.3, 0.3)),
    "curtains": (destripe, (0.8, 0.7, 0.7)),
    "noise": (calm, (0.5, 0.4, 0.4)),
}


@pytest.mark.parametrize("defect", CASES)
@pytest.mark.parametrize("severity", [0, 1, 2])
def test_the_defect_goes_and_so_does_its_error(defect, severity):
    correct, shares = CASES[defect]
    wanted = stack(signal() if defect == "noise" else clean())
    base = signal() if defect == "noise" else clean()
    bad = stack(DEFECTS[defect](base, SEVERITIES[defect][severity]))
    good = correct(bad)
    assert good.dtype == bad.dtype
    assert residual(good, wanted) < shares[severity] * residual(bad, wanted)
    before, after, least = (errors(grey, truth()) for grey in (bad, good, wanted))
    assert after["wrong"] < before["wrong"]
    # An error about that of the clean stack is not the defect's; denoising rounds corners off.
    for name, more in (("fraction", 0.005), ("surface", 0.025)):
        assert after[name] < max(before[name], least[name] + more)


@pytest.mark.parametrize(
    ("correct", "most"),
    [
        (match_brightness, 1.2),
        (flatten, 1.5),
        (partial(flatten, removal="divide"), 1.5),
        (destripe, 3.5),
        (partial(destripe, method=variational_stripes), 3.0),
    ],
)
def test_a_stack_without_the_defect_stays(correct, most):
    """`most` is the root mean square change in grey levels, beside noise of 10."""
    grey = stack(clean())
    assert residual(correct(grey), grey) < most < NOISE


@pytest.mark.parametrize("correct", [calm, flat])
def test_denoising_leaves_what_has_no_noise(correct):
    grey = stack(signal())
    assert residual(correct(grey), grey) < 0.5


@pytest.mark.parametrize("correct", [calm, flat, partial(median, radius=(0, 1, 1))])
@pytest.mark.parametrize("severity", SEVERITIES["noise"])
def test_each_way_of_denoising_takes_noise_away(correct, severity):
    bad = stack(DEFECTS["noise"](signal(), severity))
    assert residual(correct(bad), stack(signal())) < 0.65 * residual(bad, stack(signal()))


@pytest.mark.parametrize("severity", SEVERITIES["curtains"])
def test_stationary_noise_removal_takes_curtains_away(severity):
    wanted = stack(clean())
    bad = stack(DEFECTS["curtains"](clean(), severity))
    good = destripe(bad, variational_stripes)
    assert residual(good, wanted) < residual(bad, wanted)


def test_layers_along_the_stripes_stay_where_a_threshold_separates_them():
    """The warning of the docs: without the phases, layers along the stripes are taken for stripes."""
    x = np.arange(128)
    layers = np.where(x // 10 % 2, 150.0, 70.0)
    grey = stack(layers + NOISE * np.random.default_rng(1).standard_normal((1, 96, 128)))
    estimate = partial(wavelet_stripes, width=32, length=20)
    contrast = [
        by_slice(lambda one, p=phases: one - stripes(one, estimate, p), grey) for phases in (2, 1)
    ]
    left = [float(np.polyfit(layers, kept[0].mean(axis=0), 1)[0]) for kept in contrast]
    assert left[0] > 0.97
    assert left[1] < 0.3


def test_brightness_does_not_follow_the_phase_fraction():
    """Slices of 40 and 60 % of the bright phase and of one brightness stay as they are, to 2 levels."""
    rng = np.random.default_rng(3)
    slices = [
        np.where(rng.random((96, 96)) < share, 150, 70) + 10 * rng.standard_normal((96, 96))
        for share in (0.4, 0.6)
    ]
    grey = stack(np.stack(slices))
    change = match_brightness(grey).astype(int) - grey
    assert np.abs(change).max() <= 2
    assert abs(grey[0].mean() - grey[1].mean()) > 12


def test_slow_changes_of_brightness_stay_if_asked():
    z = np.arange(60)
    slow, jump = 10 * np.sin(2 * np.pi * z / 60), np.where(z == 30, 15.0, 0.0)
    levels = (100 + slow + jump)[:, None] + [0.0, 50.0]
    _, offsets = gains_and_offsets(levels, target_levels(levels, slow=5.0))
    assert offsets[30] == pytest.approx(-15, abs=2)
    assert np.abs(np.delete(offsets, range(25, 36))).max() < 2.5
