"""Coarse levels: the mean of what is there, the same for every aligned cut, and cubes in the end."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tim3d.errors import ArgumentError, InputError
from tim3d.kernels.image.pyramid import (
    level_factors,
    level_shape,
    mean_downsample,
    stride_downsample,
)

shapes = st.tuples(*[st.integers(1, 9)] * 3)
factors = st.tuples(*[st.sampled_from([1, 2, 3, 4])] * 3)
dtypes = st.sampled_from([np.uint8, np.uint16, np.int16, np.float32])


def volume(shape, dtype, seed) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if dtype == np.float32:
        return rng.normal(size=shape).astype(dtype)
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, shape, dtype, endpoint=True)


@given(shapes, factors, dtypes, st.integers(0, 99))
def test_every_voxel_is_the_mean_of_its_cell(shape, cell, dtype, seed):
    fine = volume(shape, dtype, seed)
    coarse = mean_downsample(fine, cell)
    assert coarse.shape == level_shape(shape, cell) == stride_downsample(fine, cell).shape
    assert coarse.dtype == fine.dtype
    for place in np.ndindex(coarse.shape):
        inside = fine[tuple(slice(i * f, i * f + f) for i, f in zip(place, cell, strict=True))]
        if dtype == np.float32:
            assert coarse[place] == pytest.approx(inside.mean(dtype=np.float64), rel=1e-6, abs=1e-7)
        else:
            exact = Fraction(int(inside.sum(dtype=np.int64)), inside.size)
            assert int(coarse[place]) == (exact + Fraction(1, 2)).__floor__()
        assert stride_downsample(fine, cell)[place] == inside.flat[0]


@pytest.mark.long
@given(shapes, factors, dtypes, st.data())
def test_any_aligned_cut_gives_the_same_voxels(shape, cell, dtype, data):
    fine = volume(shape, dtype, 1)
    counts = level_shape(shape, cell)
    low = [data.draw(st.integers(0, n - 1)) for n in counts]
    high = [data.draw(st.integers(a + 1, n)) for a, n in zip(low, counts, strict=True)]
    cut = tuple(slice(a * f, b * f) for a, b, f in zip(low, high, cell, strict=True))
    place = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    assert np.array_equal(mean_downsample(fine[cut], cell), mean_downsample(fine, cell)[place])
    assert np.array_equal(stride_downsample(fine[cut], cell), stride_downsample(fine, cell)[place])


@given(st.integers(0, 255), factors)
def test_a_constant_stays(value, cell):
    assert (mean_downsample(np.full((5, 6, 7), value, np.uint8), cell) == value).all()


def test_large_values_do_not_overflow():
    full = np.full((4, 4, 4), 2**32 - 1, np.uint32)
    assert (mean_downsample(full, (4, 4, 4)) == 2**32 - 1).all()


@given(
    st.tuples(*[st.integers(1, 3000)] * 3),
    st.tuples(*[st.floats(0.5, 50.0)] * 3),
    st.integers(1, 128),
)
def test_levels_halve_towards_cubes_and_end_small(shape, spacing, smallest):
    levels = level_factors(shape, spacing, smallest)
    assert levels[0] == (1, 1, 1)
    assert max(level_shape(shape, levels[-1])) <= smallest
    for fine, coarse in pairwise(levels):
        assert set(np.divide(coarse, fine)) <= {1.0, 2.0}
        assert coarse != fine
        assert max(level_shape(shape, fine)) > smallest
        left = level_shape(shape, fine)
        open_axes = [axis for axis in range(3) if left[axis] > 1]
        sizes = {axis: fine[axis] * spacing[axis] for axis in open_axes}
        assert coarse[min(sizes, key=sizes.get)] == 2 * fine[min(sizes, key=sizes.get)]


@pytest.mark.parametrize(
    ("shape", "spacing", "expected"),
    [
        ((200, 200, 200), (1.0, 1.0, 1.0), [(1, 1, 1), (2, 2, 2), (4, 4, 4)]),
        ((100, 400, 400), (10.0, 5.0, 5.0), [(1, 1, 1), (1, 2, 2), (2, 4, 4), (4, 8, 8)]),
        ((1, 300, 300), (10.0, 5.0, 5.0), [(1, 1, 1), (1, 2, 2), (1, 4, 4), (1, 8, 8)]),
        (
            (3, 1000, 64),
            (0.1, 0.2, 0.3),
            [(1, 1, 1), (2, 1, 1), (4, 2, 2), (4, 4, 4), (4, 8, 8), (4, 16, 16)],
        ),
        ((64, 64, 64), (3.0, 1.0, 1.0), [(1, 1, 1)]),
    ],
)
def test_known_ladders(shape, spacing, expected):
    assert level_factors(shape, spacing) == expected


def test_bad_arguments():
    block = np.zeros((2, 2, 2), np.uint8)
    with pytest.raises(ArgumentError, match="positive"):
        level_factors((0, 4, 4), (1.0, 1.0, 1.0))
    with pytest.raises(ArgumentError, match="positive"):
        level_factors((4, 4, 4), (1.0, 0.0, 1.0))
    for function in (mean_downsample, stride_downsample):
        with pytest.raises(ArgumentError, match="factors"):
            function(block, (0, 1, 1))
        with pytest.raises(ArgumentError, match="block"):
            function(block[0], (1, 1, 1))
        with pytest.raises(ArgumentError, match="block"):
            function(block[:0], (1, 1, 1))
    with pytest.raises(InputError, match="stride"):
        mean_downsample(block.astype(bool), (2, 2, 2))
