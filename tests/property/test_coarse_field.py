"""The coarse field is a function of the coordinates with the stated mean, variance and covariance, between 0 and 1."""

from __future__ import annotations

import math
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tim3d.errors import ArgumentError
from tim3d.grid import Box
from tim3d.kernels.generation.coarse_field import CoarseField, CoarseLaw, Parts

VOXEL = (12.0, 10.0, 8.0)
LAW = CoarseLaw(60.0, 0.35, 0.002, 0.006, 150.0, 40.0)
SHAPE = (9, 14, 11)
PERIODS = [(0, 0, 0), SHAPE, (0, 5, 200), (1, 1, 1)]


@given(
    seed=st.integers(0, 2**64 - 1),
    start=st.tuples(*(st.integers(-50, 50),) * 3),
    cuts=st.tuples(*(st.integers(1, n - 1) for n in SHAPE)),
    period=st.sampled_from(PERIODS),
)
def test_any_box_has_the_bits_of_a_larger_one(
    seed: int, start: tuple[int, int, int], cuts: tuple[int, int, int], period: tuple[int, int, int]
) -> None:
    field = CoarseField(LAW, VOXEL, seed, period)
    whole = Box(start, tuple(a + n for a, n in zip(start, SHAPE, strict=True)))  # type: ignore[arg-type]
    values = field.values(whole)
    middle = tuple(a + n for a, n in zip(start, cuts, strict=True))
    for box in (Box(start, middle), Box(middle, whole.stop)):  # type: ignore[arg-type]
        assert np.array_equal(field.values(box), values[box.within(whole).slices])
    assert values.dtype == np.float32
    assert 0 < values.min() <= values.max() < 1


@pytest.mark.parametrize("period", PERIODS[1:])
def test_a_period_is_exact(period: tuple[int, int, int]) -> None:
    field, box = CoarseField(LAW, VOXEL, 3, period), Box((0, 0, 0), SHAPE)
    assert np.array_equal(field.values(box.shift(period)), field.values(box))
    back = (-7 * period[0], 0, 2 * period[2])
    assert np.array_equal(field.values(box.shift(back)), field.values(box))


def test_mean_variance_and_covariance_are_those_of_the_law() -> None:
    """Over 4 million pixels, some 1500 independent ones, within four standard errors."""
    field = CoarseField(LAW, VOXEL, 5)
    values = field.values(Box((0, 0, 0), (1, 2000, 2000)))[0].astype(np.float64)
    off = values - LAW.mean
    area = 4e6 * VOXEL[1] * VOXEL[2]
    windows = area / (math.pi * 150.0**2)
    assert abs(off.mean()) < 4 * math.sqrt(LAW.variance / windows)
    bound = 4 * LAW.variance * math.sqrt(2 / windows)
    for lag in (0, 3, 6, 12, 24, 40):
        for axis, edge in ((0, VOXEL[1]), (1, VOXEL[2])):
            one, other = (np.take(off, range(a, 2000 - lag + a), axis) for a in (0, lag))
            assert abs((one * other).mean() - LAW.covariance(lag * edge)) < bound


def test_a_fraction_near_the_end_stays_between_0_and_1_with_its_moments() -> None:
    """Where a normal number of the same variance would leave 0 to 1 in a sixth of all voxels."""
    law = CoarseLaw(60.0, 0.05, 0.0, 0.0025, 100.0, 40.0)
    values = CoarseField(law, VOXEL, 2).values(Box((0, 0, 0), (1, 2000, 2000)))
    assert 0 <= values.min() <= values.max() < 1
    assert values.mean(dtype=np.float64) == pytest.approx(0.05, abs=0.004)
    assert values.var(dtype=np.float64) == pytest.approx(0.0025, rel=0.2)


def test_amount_parts_seed_and_images() -> None:
    box = Box((0, 0, 0), (1, 300, 300))

    def made(**more: Any) -> np.ndarray:
        return CoarseField(LAW, VOXEL, **{"seed": 1, **more}).values(box).astype(np.float64)

    assert np.ptp(made(amount=0.0)) == 0
    assert made(amount=0.0).mean() == pytest.approx(LAW.mean, abs=1e-7)
    assert made(amount=2.0).var() == pytest.approx(4 * made().var(), rel=0.1)
    assert np.corrcoef(made().ravel(), made(seed=2).ravel())[0, 1] < 0.3
    slow = np.corrcoef(made().ravel(), made(parts="slow").ravel())[0, 1]
    assert slow == pytest.approx(math.sqrt(0.75), abs=0.1)
    field = CoarseField(LAW, VOXEL, 1)
    images = [field.image(n, box).ravel() for n in (0, 1)]
    assert abs(np.corrcoef(images)[0, 1]) < 0.3
    part = Box((0, 20, 30), (1, 50, 60))
    assert np.array_equal(field.image(1, part), images[1].reshape(box.shape)[part.slices])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mean": 1.0}, "a mean between 0 and 1"),
        ({"window_nm": 0.0}, "positive lengths"),
        ({"correlation_nm": math.inf}, "positive lengths"),
        ({"windows": 0.0}, "positive lengths"),
        ({"slow_variance": -0.001}, "a variance between 0 and 0.2275"),
        ({"slow_variance": 0.3}, "and this one would have 0.302"),
        ({"short_variance": 0.0, "slow_variance": 0.0}, "would have 0"),
        ({"short_variance": math.nan}, "would have nan"),
    ],
)
def test_what_is_no_law_of_a_fraction_is_refused(change: dict[str, float], words: str) -> None:
    values = {name: getattr(LAW, name) for name in LAW.__dataclass_fields__}
    with pytest.raises(ArgumentError, match=words):
        CoarseLaw(**{**values, **change})
    for amount in (-0.5, 6.0, math.nan, math.inf):
        with pytest.raises(ArgumentError, match=r"from 0 to below 5\.33"):
            CoarseField(LAW, VOXEL, 1, amount=amount)


@pytest.mark.parametrize("parts", ["all", "slow"])
@pytest.mark.parametrize("period", [(0, 0, 0), (128, 96, 60)])
def test_the_peak_of_memory_is_below_what_a_plan_counts(
    parts: Parts, period: tuple[int, int, int]
) -> None:
    field, shape = CoarseField(LAW, VOXEL, 1, period, parts=parts), (128, 96, 160)
    field.standardised(Box.whole((4, 4, 4)))
    tracemalloc.start()
    field.standardised(Box.whole(shape))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert field.bytes(shape) / 8 < peak < field.bytes(shape)
