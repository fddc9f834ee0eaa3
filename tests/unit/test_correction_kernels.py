"""Kernels of the corrections against plain computations, libraries and closed forms."""

from __future__ import annotations

from functools import partial
from itertools import product

import numpy as np
import pytest
import pywt
from skimage.restoration import denoise_tv_chambolle

from tim3d.corrections.base import as_type as rounded
from tim3d.errors import ArgumentError
from tim3d.kernels.image.background import background
from tim3d.kernels.image.brightness import gains_and_offsets, slice_levels
from tim3d.kernels.image.curtain import stripes, variational_stripes, wavelet_stripes
from tim3d.kernels.image.denoise import STEPS, median, nonlocal_means, reach
from tim3d.kernels.image.foreshortening import stretch, stretched, stretched_rows
from tim3d.kernels.image.noise_level import noise_level
from tim3d.kernels.image.phase_model import phase_means
from tim3d.kernels.image.total_variation import total_variation

RNG = np.random.default_rng(0)


def plain_means(grey, noise, search, patch, strength) -> np.ndarray:
    """Non-local means as its formula says, voxel by voxel."""
    wide = np.pad(grey, [(s + p,) * 2 for s, p in zip(search, patch, strict=True)], "symmetric")
    steps = np.rint(wide * (STEPS / noise)) / STEPS
    out = np.empty(grey.shape)

    def box(values, centre):
        return values[tuple(slice(c - p, c + p + 1) for c, p in zip(centre, patch, strict=True))]

    for place in np.ndindex(grey.shape):
        here = [i + s + p for i, s, p in zip(place, search, patch, strict=True)]
        total = weights = 0.0
        for offset in product(*[range(-s, s + 1) for s in search]):
            there = [a + o for a, o in zip(here, offset, strict=True)]
            square = ((box(steps, here) - box(steps, there)) ** 2).mean()
            weight = np.exp(-max(square - 2, 0) / strength**2)
            total, weights = total + weight * wide[tuple(there)], weights + weight
        out[place] = total / weights
    return out


@pytest.mark.parametrize(("search", "patch"), [((1, 2, 2), (1, 1, 1)), ((0, 3, 2), (0, 0, 2))])
def test_nonlocal_means_is_its_formula(search, patch):
    grey = RNG.normal(100, 10, (4, 7, 8)) + np.arange(8) * 5
    found = nonlocal_means(grey, 10.0, search, patch)
    assert np.allclose(found, plain_means(grey, 10.0, search, patch, 0.6), atol=0.15)


@pytest.mark.parametrize("shape", [(1, 24, 30), (9, 10, 11)])
def test_total_variation_comes_to_the_minimum_of_scikit_image(shape):
    grey = np.where(np.arange(shape[2]) < 12, 60.0, 140.0) + RNG.normal(0, 10, shape)
    # scikit-image weighs the variation likewise, for images of any dimension.
    wanted = denoise_tv_chambolle(grey.squeeze(), weight=12.0, eps=0, max_num_iter=2000)
    found = total_variation(grey, 12.0, iterations=300)
    assert np.abs(found.squeeze() - wanted).max() < 0.5


def test_total_variation_of_slices_is_that_of_each_slice():
    grey = RNG.normal(100, 10, (3, 8, 9))
    alone = [total_variation(one[None], 10.0, planar=True)[0] for one in grey]
    assert np.array_equal(total_variation(grey, 10.0, planar=True), np.stack(alone))


def test_total_variation_keeps_the_mean_and_lowers_contrast_by_surface_over_volume():
    grey = np.zeros((1, 40, 40), np.float32)
    grey[0, 10:30] = 100
    found = total_variation(grey, 5.0, iterations=200)
    assert found.mean() == pytest.approx(grey.mean(), rel=1e-4)
    # A band 20 high has two edges: 2 * 5 / 20 = 0.5 from the band, as much to what is around it.
    assert found[0, 20, 20] == pytest.approx(99.5, abs=0.05)


def test_coarse_axes_count_less_in_total_variation():
    grey = RNG.normal(100, 10, (12, 12, 12))
    found = total_variation(grey, 8.0, spacing=(100.0, 10.0, 10.0))
    across = np.abs(np.diff(found, axis=0)).mean()
    assert across > 3 * np.abs(np.diff(found, axis=2)).mean()


def test_wavelet_stripes_are_those_of_the_source():
    """Damped bands of PyWavelets' own decomposition, where a Fourier transform sees a periodic slice."""
    grey = RNG.normal(100, 10, (64, 64)).astype(np.float32)
    half = np.concatenate([grey, grey[::-1]])
    approximation, (_, vertical, _) = pywt.wavedec2(half, "haar", "symmetric", 1)
    waves = np.fft.fftfreq(len(vertical)) / 2
    spectrum = np.fft.fft(vertical, axis=0) * np.exp(-((2 * np.pi * 10 * waves) ** 2) / 2)[:, None]
    slow = np.fft.ifft(spectrum, axis=0).real
    wanted = pywt.waverec2([0 * approximation, (None, slow, None)], "haar", "symmetric")[:64]
    found = wavelet_stripes(grey, width=2, length=10, wavelet="haar")
    assert np.allclose(found, wanted, atol=1e-3)


@pytest.mark.parametrize("method", [wavelet_stripes, variational_stripes])
def test_stripes_along_x_are_those_along_y_of_the_turned_slice(method):
    grey = RNG.normal(0, 10, (40, 56)).astype(np.float32)
    turned = method(np.ascontiguousarray(grey.T), 8, 12, along=1)
    assert np.array_equal(turned.T, method(grey, 8, 12))


def test_curtains_of_one_grey_value_go_whole():
    x = np.arange(320)
    curtain = np.tile(20 * np.sin(2 * np.pi * x / 12), (80, 1))
    found = stripes(100 + curtain, partial(wavelet_stripes, width=16, length=20), phases=1)
    assert np.abs(found - curtain)[:, 112:-112].max() < 2


def test_a_background_of_one_phase_is_found_whatever_the_voxels():
    """Scale in pixels along each axis: a slice with pixels twice as high has half the rows."""
    y, x = np.mgrid[:128, :128] / 128
    slope = 30 * np.sin(2 * np.pi * x) + 20 * y
    fine = background(100 + slope, (16.0, 16.0), phases=1)
    coarse = background(100 + slope[::2], (8.0, 16.0), phases=1)
    assert np.abs(fine[::2] - coarse).max() < 1.0


def test_phases_are_cut_by_their_means():
    grey = np.repeat([10.0, 50.0, 200.0], 100).reshape(3, 100).astype(np.float32)
    assert np.array_equal(phase_means(grey, 3), grey)
    assert np.allclose(phase_means(grey, 1), grey.mean())
    assert np.array_equal(phase_means(np.full((3, 4), 7, np.float32), 2), np.full((3, 4), 7))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_noise_is_found_beside_structure(dtype):
    steps = np.where(np.add.outer(np.arange(256), np.arange(256)) // 120 % 2, 150.0, 70.0)
    unit = 200 if dtype == np.uint16 else 1
    grey = rounded((steps + RNG.normal(0, 8, steps.shape)) * unit, dtype)
    assert noise_level(grey) / unit == pytest.approx(8, rel=0.1)


def test_levels_of_integers_move_smoothly():
    values = RNG.normal(100, 20, (64, 64))
    shifts = np.linspace(0, 2, 9)
    low = [slice_levels(rounded(values + s, np.uint8))[0] for s in shifts]
    assert np.allclose(np.diff(low), 0.25, atol=0.15)


def test_a_blank_slice_keeps_its_contrast():
    gain, offset = gains_and_offsets(np.array([[7.0, 7.0]]), np.array([[10.0, 20.0]]))
    assert (gain[0], offset[0]) == (1.0, 8.0)


def test_stretching_keeps_lines_and_heights():
    slope = np.arange(20.0)[:, None] * [1.0, 2.0]
    for way in ("linear", "cubic"):
        found = stretched(slope, 1.25, way)
        place = (np.arange(25) + 0.5) / 1.25 - 0.5
        assert np.allclose(found[3:-3, 0], place[3:-3], atol=1e-5)
        assert len(found) == stretched_rows(20, 1.25) == 25
    assert np.array_equal(stretched(slope, 1.0), slope.astype(np.float32))
    assert stretch(30.0) == pytest.approx(2.0)


def test_the_median_is_numpys_over_the_box():
    grey = RNG.integers(0, 255, (5, 6, 7), np.uint8)
    wide = np.pad(grey, 1, "symmetric")
    boxes = np.lib.stride_tricks.sliding_window_view(wide, (3, 3, 3))
    assert np.array_equal(median(grey, (1, 1, 1)), np.median(boxes, axis=(3, 4, 5)))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda g: background(g, (0.5, 10.0)),
        lambda g: background(g, (10.0, 10.0), phases=0),
        lambda g: background(g, (10.0, 10.0), removal="log"),
        lambda g: background(g, (10.0, 10.0), rounds=0),
        lambda g: wavelet_stripes(g, 0.5, 10),
        lambda g: wavelet_stripes(g, 8, 10, along=2),
        lambda g: wavelet_stripes(g, 8, 10, wavelet="nothing"),
        lambda g: variational_stripes(g, 8, 10, strength=0),
        lambda g: stripes(g, wavelet_stripes, rounds=0),
        lambda g: slice_levels(g, 0.9, 0.1),
        lambda g: nonlocal_means(g[None], 0.0, (0, 1, 1), (0, 1, 1)),
        lambda g: nonlocal_means(g[None], 1.0, (0, 1, 1), (4, 4, 4)),
        lambda g: total_variation(g[None], -1.0),
        lambda g: stretched(g, 0.9),
        lambda g: reach(float("nan"), (1.0, 1.0, 1.0)),
        lambda g: stretch(5.0),
    ],
)
def test_arguments_out_of_range_are_refused(wrong):
    with pytest.raises(ArgumentError):
        wrong(np.ones((16, 16), np.float32))
