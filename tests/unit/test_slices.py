"""Numbers of a slice are those of NumPy; a slice that is missing lies on the line between its neighbours."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tim3d.corrections.base import Stack
from tim3d.corrections.fill import Placed
from tim3d.kernels.image.slice_numbers import rms_difference, slice_numbers


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_a_slice_has_the_numbers_of_numpy(dtype: str) -> None:
    draw = np.random.default_rng(3)
    values = draw.choice(np.array([7, 7, 9, 30, 250, 250, 250]), (40, 50)).astype(dtype)
    values[[5, 17, 18]] = np.array([[9], [7], [250]], dtype)
    found = slice_numbers(values)
    assert (found.mean, found.std) == pytest.approx((values.mean(), values.std()), rel=1e-5)
    assert (found.min, found.max) == (7, 250)
    assert found.share_at_min == pytest.approx((values == 7).mean())
    assert found.share_at_max == pytest.approx((values == 250).mean())
    assert found.share_at_min != found.share_at_max
    assert found.constant_rows == 3 / 40
    other = draw.permutation(values)
    apart = np.sqrt(((values.astype(float) - other) ** 2).mean())
    assert rms_difference(values, other) == pytest.approx(apart, rel=1e-5)


@given(st.integers(3, 9), st.integers(0, 999))
def test_slices_lie_at_whole_places_on_the_lines_between_those_that_are_used(
    count: int, seed: int
) -> None:
    draw = np.random.default_rng(seed)
    places = np.cumsum(draw.choice(np.array([0.5, 1.0, 1.0, 1.25, 3.0]), count))
    good = draw.random(count) < 0.7
    good[draw.choice(count, 2, replace=False)] = True
    grey = draw.random((count, 2, 3)).astype(np.float32)
    stack = Stack(grey.shape, "float32", (1.0, 1.0, 1.0))  # type: ignore[arg-type]
    placed = Placed(tuple(places.tolist()), tuple(good.astype(float).tolist()))
    used = places[good]
    wanted = used[0] + np.arange(int(used[-1] - used[0]) + 1)
    expected = np.array(
        [[np.interp(wanted, used, grey[good, y, x]) for x in range(3)] for y in range(2)]
    )
    expected = np.moveaxis(expected, -1, 0)
    assert placed.made(stack).shape == expected.shape
    assert np.array_equal(placed.between, ~np.isin(wanted, used))
    for start in range(len(wanted)):
        for stop in range(start + 1, len(wanted) + 1):
            given_ = placed.reads(stack, range(start, stop))
            part = grey[given_.start : given_.stop]
            found = placed.region(stack, part, given_, range(start, stop))
            assert found == pytest.approx(expected[start:stop], abs=1e-6)
