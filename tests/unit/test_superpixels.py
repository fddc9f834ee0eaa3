from __future__ import annotations

import numpy as np
import pytest
from skimage import segmentation

from tim3d.errors import ArgumentError, InputError
from tim3d.kernels.image.fibsem_simulation import simulate_fibsem
from tim3d.kernels.image.superpixels import (
    PORE,
    SHINE_THROUGH,
    SOLID,
    hybrid_labels,
    superpixel_means,
    superpixels,
)
from tim3d.kernels.image.threshold import grey_counts, otsu, second_derivative_peak
from tim3d.kernels.statistics.metrics import confusion, iou_foreground


@pytest.fixture(scope="module")
def stack() -> tuple[np.ndarray, np.ndarray, float, float]:
    grey, truth = simulate_fibsem((8, 160, 176), (10.0, 5.0, 5.0), 0.62, 60.0, seed=1)
    counts = grey_counts(grey)
    return grey, truth, otsu(counts, np.arange(256)), second_derivative_peak(counts, np.arange(256))


def test_superpixels_find_shine_through_that_otsu_misses(stack):
    grey, truth, split, peak = stack
    labels = np.stack([hybrid_labels(one, split, peak) for one in grey])
    pore = truth == 0
    by_otsu = iou_foreground(confusion(pore, grey <= split, 2))
    hybrid = iou_foreground(confusion(pore, labels > 0, 2))
    best_of_all = max(iou_foreground(confusion(pore, grey <= t, 2)) for t in range(100, 170, 5))
    assert hybrid > by_otsu + 0.04
    assert hybrid > best_of_all
    assert (labels > 0).mean() == pytest.approx(pore.mean(), abs=0.02)
    assert pore[labels == SHINE_THROUGH].mean() > 0.6


def test_labels_are_the_rule_voxel_by_voxel(stack):
    one, split, peak = stack[0][3], stack[2], stack[3]
    labels = hybrid_labels(one, split, peak, size=9.0, compactness=0.3)
    regions = superpixels(one, 9.0, 0.3)
    means = superpixel_means(one, regions)
    expected = np.where(one <= split, PORE, np.where(means[regions] <= peak, SHINE_THROUGH, SOLID))
    assert np.array_equal(labels, expected)
    assert set(np.unique(labels)) == {SOLID, PORE, SHINE_THROUGH}


def test_bright_pores_mirror_dark_pores(stack):
    one, split, peak = stack[0][0], stack[2], stack[3]
    regions_dark = hybrid_labels(one, split, peak)
    regions_bright = hybrid_labels(255 - one, 255 - split, 255 - peak, polarity="bright")
    assert (regions_dark == regions_bright).mean() > 0.99


def test_a_constant_slice_is_all_solid_or_all_pore():
    flat = np.full((20, 20), 90, np.uint8)
    assert (hybrid_labels(flat, 80) == SOLID).all()
    assert (hybrid_labels(flat, 100) == PORE).all()
    assert (hybrid_labels(flat.astype(np.float32), 80.0, 95.0) == SHINE_THROUGH).all()


def test_number_of_superpixels_follows_their_size(stack):
    one = stack[0][0]
    for size in (6, 12):
        assert superpixels(one, size, 0.2).max() + 1 == pytest.approx(one.size / size**2, rel=0.35)


@pytest.mark.parametrize("shape", [(1, 9), (9, 1), (3, 4)])
def test_tiny_slices_get_labels(shape):
    assert hybrid_labels(np.zeros(shape, np.uint8), 10).shape == shape


def test_bad_arguments():
    one = np.zeros((8, 8), np.uint8)
    with pytest.raises(InputError, match="one slice"):
        hybrid_labels(np.zeros((2, 8, 8), np.uint8), 10)
    with pytest.raises(ArgumentError, match="size"):
        hybrid_labels(one, 10, size=0)
    with pytest.raises(ArgumentError, match="compactness"):
        hybrid_labels(one, 10, compactness=0)
    with pytest.raises(ArgumentError, match="polarity"):
        hybrid_labels(one, 10, polarity="grey")
    with pytest.raises(ArgumentError, match="pore side"):
        hybrid_labels(one, 100, 90)
    with pytest.raises(ArgumentError, match="pore side"):
        hybrid_labels(one, 100, 110, polarity="bright")


@pytest.mark.parametrize(("dtype", "white"), [(np.uint8, 255), (np.uint16, 65535)])
def test_superpixels_are_those_of_slic_on_grey_over_white(stack, dtype, white):
    """The white of the type, also in a slice that never comes near it."""
    dark = (stack[0][1][:80, :88] // 3).astype(dtype) * (white // 255)
    assert dark.max() < white / 2
    count = round(dark.size / 8.0**2)
    expected = segmentation.slic(
        dark / white, n_segments=count, compactness=0.1, channel_axis=None, start_label=0
    )
    assert np.array_equal(superpixels(dark, 8.0, 0.1), expected)


def test_compactness_counts_in_the_range_of_greys_of_a_slice(stack):
    """SLIC stretches each slice from its darkest to its brightest pixel: contrast and brightness change nothing."""
    one = stack[0][1][:80, :88] // 3
    found = superpixels(one, 8.0, 0.1)
    assert (superpixels(3 * one + 20, 8.0, 0.1) == found).mean() > 0.999
    assert (superpixels(one.astype(np.float32), 8.0, 0.1) == found).mean() > 0.999
    hot = one.copy()
    hot[40, 40] = 255
    assert not np.array_equal(superpixels(hot, 8.0, 0.1)[:20], found[:20])
