"""A block is corrected to the same bits as the whole volume, whatever its shape and wherever it lies."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tim3d.kernels.image.denoise import median, nonlocal_halo, nonlocal_means
from tim3d.kernels.image.total_variation import total_variation, variation_halo

SPACING = (20.0, 10.0, 5.0)
# Correction and its halo.
LOCAL = {
    "median": (lambda g: median(g, (1, 2, 1)), (1, 2, 1)),
    "nonlocal": (
        lambda g: nonlocal_means(g, 20.0, (1, 2, 3), (1, 1, 2)),
        nonlocal_halo((1, 2, 3), (1, 1, 2)),
    ),
    "nonlocal, slices": (
        lambda g: nonlocal_means(g, 20.0, (0, 2, 2), (0, 1, 1)),
        nonlocal_halo((0, 2, 2), (0, 1, 1)),
    ),
    "variation": (
        lambda g: total_variation(g, 15.0, 4, SPACING),
        variation_halo(4, planar=False),
    ),
    "variation, slices": (
        lambda g: total_variation(g, 15.0, 4, SPACING, planar=True),
        variation_halo(4, planar=True),
    ),
}


def volume(shape, dtype, seed=0) -> np.ndarray:
    values = np.random.default_rng(seed).normal(120, 40, shape)
    if dtype == np.float32:
        return values.astype(dtype)
    return (values * (200 if dtype == np.uint16 else 1)).clip(0, np.iinfo(dtype).max).astype(dtype)


@pytest.mark.parametrize("name", LOCAL)
@given(
    shape=st.tuples(*[st.integers(1, 23)] * 3),
    dtype=st.sampled_from([np.uint8, np.uint16, np.float32]),
    data=st.data(),
)
def test_a_block_with_its_halo_is_the_block_of_the_whole(name, shape, dtype, data):
    correct, halo = LOCAL[name]
    whole = volume(shape, dtype)
    low = [data.draw(st.integers(0, n - 1)) for n in shape]
    high = [data.draw(st.integers(a + 1, n)) for a, n in zip(low, shape, strict=True)]
    first = [max(0, a - h) for a, h in zip(low, halo, strict=True)]
    last = [min(n, b + h) for b, h, n in zip(high, halo, shape, strict=True)]
    read = whole[tuple(map(slice, first, last))]
    inside = tuple(slice(a - f, b - f) for a, b, f in zip(low, high, first, strict=True))
    assert np.array_equal(correct(read)[inside], correct(whole)[tuple(map(slice, low, high))])


@pytest.mark.long
@pytest.mark.parametrize("name", LOCAL)
def test_memory_layout_does_not_matter(name):
    correct, _ = LOCAL[name]
    whole = volume((5, 9, 11), np.uint8)
    wide = volume((8, 20, 40), np.uint8)
    wide[2:7, 3:12, 7:18] = whole
    assert np.array_equal(correct(wide[2:7, 3:12, 7:18]), correct(whole))
    assert np.array_equal(correct(np.asfortranarray(whole)), correct(whole))
