"""Rough surfaces: exact rms height and slopes, the power law of the spectrum, the same bits in any window."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tim3d.errors import ArgumentError
from tim3d.kernels.generation.rough_surface import RoughSurface

SURFACE = RoughSurface(30.0, 0.8, 320.0, 45.0, (10.0, 15.0), (96, 80), seed=5)
WHOLE = SURFACE.heights((0, 0), SURFACE.period)


def spectrum(heights: np.ndarray, spacing: tuple[float, float]) -> tuple[np.ndarray, ...]:
    """Mean power of each wave, and the wave vectors along y and x."""
    power = np.abs(np.fft.fft2(heights) / heights.size) ** 2
    y, x = (2 * np.pi * np.fft.fftfreq(n, d) for n, d in zip(heights.shape, spacing, strict=True))
    return power, y[:, None], x[None]


@given(start=st.tuples(*[st.integers(-150, 150)] * 2), edges=st.tuples(*[st.integers(1, 40)] * 2))
def test_any_window_has_the_bits_of_the_whole_and_the_surface_repeats(
    start: tuple[int, int], edges: tuple[int, int]
) -> None:
    stop = (start[0] + edges[0], start[1] + edges[1])
    rows, columns = (
        np.arange(a, b) % n for a, b, n in zip(start, stop, SURFACE.period, strict=True)
    )
    assert np.array_equal(SURFACE.heights(start, stop), WHOLE[np.ix_(rows, columns)])


def test_the_surface_that_was_drawn_has_the_rms_height_and_the_moments() -> None:
    assert WHOLE.std() == pytest.approx(30.0, rel=1e-12)
    assert WHOLE.mean() == pytest.approx(0, abs=1e-10)
    power, y, x = spectrum(WHOLE, SURFACE.spacing_nm)
    for a, b in ((0, 0), (2, 0), (0, 2), (4, 0), (2, 2)):
        assert SURFACE.moment(a, b) == pytest.approx((power * y**a * x**b).sum(), rel=1e-9)
    slope = np.sqrt((power * (y**2 + x**2)).sum())
    assert SURFACE.rms_slope == pytest.approx(slope, rel=1e-9)


def test_the_mean_slope_is_that_of_profiles() -> None:
    surface = RoughSurface(30.0, 0.8, 60.0, 60.0, (10.0, 10.0), (128, 128), seed=5)
    heights = surface.heights((0, 0), surface.period)
    y = np.fft.fftfreq(128, 10.0)[:, None] * 2j * np.pi
    slope = np.fft.ifft2(y * np.fft.fft2(heights)).real
    assert surface.mean_slope == pytest.approx(np.abs(slope).mean(), rel=0.05)


def test_the_spectrum_is_flat_to_the_roll_off_and_then_a_power_law_to_the_cut_off() -> None:
    made = RoughSurface(10.0, 0.7, 160.0, 20.0, (5.0, 5.0), (256, 256), seed=0)
    total = 0.0
    for seed in range(12):
        surface = replace(made, seed=seed)
        power, y, x = spectrum(surface.heights((0, 0), (256, 256)), (5.0, 5.0))
        total = total + power
    q = np.hypot(y, x)
    bend, end = 2 * np.pi / 160, 2 * np.pi / 20
    assert total[q > end * (1 + 1e-9)].max() < 1e-20
    edges = np.geomspace(bend, end, 9)
    rings = [(q >= a) & (q < b) for a, b in pairwise(edges)]
    means, middles = ([values[ring].mean() for ring in rings] for values in (total, q))
    fall = np.polyfit(np.log(middles), np.log(means), 1)[0]
    assert fall == pytest.approx(-2 * (1 + 0.7), abs=0.15)
    flat = total[(q > 0) & (q < bend)]
    assert flat[q[(q > 0) & (q < bend)] < bend / 2].mean() == pytest.approx(flat.mean(), rel=0.25)


def test_smaller_pixels_show_the_same_surface() -> None:
    fine = replace(SURFACE, spacing_nm=(10 / 3, 5.0), period=(288, 240))
    assert fine.heights((1, 1), (287, 239))[::3, ::3] == pytest.approx(WHOLE, abs=1e-9)
    assert fine.rms_slope == pytest.approx(SURFACE.rms_slope)


def test_seeds_and_streams_are_other_surfaces_and_no_height_is_flat() -> None:
    for other in (replace(SURFACE, seed=6), replace(SURFACE, stream=1)):
        heights = other.heights((0, 0), SURFACE.period)
        assert abs(np.corrcoef(heights.ravel(), WHOLE.ravel())[0, 1]) < 0.3
    flat = replace(SURFACE, rms_nm=0.0)
    assert not flat.heights((0, 0), (9, 9)).any()
    assert flat.rms_slope == 0


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"hurst": 0.0}, "Hurst exponent above 0"),
        ({"rms_nm": -1.0}, "rms height from 0 nm"),
        ({"cut_off_nm": 30.0}, "above two pixels, 30 nm"),
        ({"roll_off_nm": 961.0}, "at most the period, 960 nm"),
        ({"cut_off_nm": 400.0}, "does not fit"),
        ({"period": (0, 5)}, "needs pixels and a period"),
        ({"seed": -1}, "seed -1 is not between 0 and"),
    ],
)
def test_what_cannot_be_a_surface_is_refused(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ArgumentError, match=said):
        replace(SURFACE, **changed)
