"""Normalisation comes from the slices, and equals that of the voxels themselves."""

from __future__ import annotations

import numpy as np
import pytest

from tim3d.kernels.image.slice_normalisation import SMOOTHING_SLICES, slice_scales, volume_scale


def test_the_scale_of_a_volume_is_that_of_its_voxels() -> None:
    voxels = np.random.default_rng(0).normal(100, 20, (7, 9, 11)) + np.arange(7)[:, None, None]
    mean, std = volume_scale(voxels.mean(axis=(1, 2)), voxels.std(axis=(1, 2)))
    assert mean == pytest.approx(voxels.mean())
    assert std == pytest.approx(voxels.std())


def test_slow_drift_stays_and_one_odd_slice_does_not() -> None:
    z = np.arange(200)
    drift = 120 + 20 * np.sin(2 * np.pi * z / 200)
    spike = np.where(z == 100, 60.0, 0.0)
    means, _ = slice_scales(drift + spike, np.full(200, 10.0))
    assert np.abs(means[20:80] - drift[20:80]).max() < 1
    assert means[100] - drift[100] < 60 / (2 * SMOOTHING_SLICES)


def test_a_step_of_brightness_widens_the_scale_of_the_slices_beside_it() -> None:
    """The scale is that of the smoothed squares: of slices half dark, half bright, half the step."""
    mean = np.where(np.arange(200) < 100, 20.0, 120.0)
    means, std = slice_scales(mean, np.zeros(200))
    share = (means - 20) / 100
    assert std == pytest.approx(100 * np.sqrt(share * (1 - share)), abs=1e-4)
    assert std[99] == pytest.approx(50, abs=1)
