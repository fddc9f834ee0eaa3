"""Two rough bodies pressed together: as many columns touch as the pressure says, in any block with the same bits."""

from __future__ import annotations

import functools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tim3d.errors import ArgumentError
from tim3d.grid import Box
from tim3d.kernels.generation.rough_contact import RoughContact
from tim3d.kernels.generation.rough_surface import RoughSurface

LOWER = RoughSurface(24.0, 0.7, 320.0, 90.0, (10.0, 15.0), (48, 40), seed=3)
PRESSED = RoughContact(LOWER, replace(LOWER, stream=1), 0.06, 350.0, (5.0, 10.0, 15.0))
SHAPE = (70, 48, 40)


@functools.cache
def whole() -> np.ndarray:
    """Labels of the whole volume."""
    return PRESSED.labels(Box.whole(SHAPE))


def in_contact(labels: np.ndarray) -> np.ndarray:
    return ((labels[:-1] == 0) & (labels[1:] == 2)).any(axis=0)


@given(
    start=st.tuples(*[st.integers(0, n - 1) for n in SHAPE]),
    edges=st.tuples(*[st.integers(1, 50)] * 3),
)
def test_any_block_has_the_bits_of_the_whole(
    start: tuple[int, int, int], edges: tuple[int, int, int]
) -> None:
    stop = tuple(min(a + n, m) for a, n, m in zip(start, edges, SHAPE, strict=True))
    box = Box(start, stop)  # type: ignore[arg-type]
    assert np.array_equal(PRESSED.labels(box), whole()[box.slices])


@pytest.mark.parametrize("pressure", [0.001, 0.02, 0.3, 1.0])
def test_the_share_in_contact_is_the_pressure_over_the_hardness(pressure: float) -> None:
    pressed = replace(PRESSED, pressure=pressure)
    touching = in_contact(pressed.labels(Box.whole(SHAPE)))
    assert touching.mean() == pressed.contact_fraction
    assert pressed.contact_fraction == pytest.approx(pressure, abs=0.5 / (48 * 40))


def test_columns_touch_where_the_heights_overlap_and_a_gap_has_a_voxel() -> None:
    overlap = LOWER.heights((0, 0), (48, 40)) + PRESSED.upper.heights((0, 0), (48, 40))
    overlap -= PRESSED.separation_nm
    touching = in_contact(whole())
    assert np.array_equal(touching, overlap > 0)
    assert ((whole() == 1).any(axis=0) == ~touching).all()
    assert (np.diff(whole().astype(int), axis=0) >= 0).all()


def test_the_separation_is_that_of_gaussian_heights() -> None:
    """A_c/A = erfc(Y / sqrt(2) sigma) / 2."""
    made = RoughSurface(24.0, 0.8, 120.0, 60.0, (10.0, 10.0), (256, 256), seed=1)
    pressed = RoughContact(made, replace(made, stream=1), 0.05, 800.0, (10.0, 10.0, 10.0))
    assert pressed.rms_nm == pytest.approx(24 * math.sqrt(2))
    assert pressed.separation_nm == pytest.approx(1.645 * pressed.rms_nm, rel=0.05)


def test_a_flat_upper_body_and_smaller_voxels_show_the_same_contact() -> None:
    upper = replace(LOWER, rms_nm=0.0)
    coarse = replace(PRESSED, upper=upper)
    low = replace(LOWER, spacing_nm=(10 / 3, 5.0), period=(144, 120))
    fine = RoughContact(low, replace(low, rms_nm=0.0), 0.06, 350.0, (5.0, 10 / 3, 5.0))
    assert fine.separation_nm == pytest.approx(coarse.separation_nm, abs=2.0)
    one = in_contact(coarse.labels(Box.whole(SHAPE)))
    other = in_contact(fine.labels(Box.whole((70, 144, 120))))[1::3, 1::3]
    assert (one == other).mean() > 0.99


def test_a_volume_that_the_roughness_leaves_is_refused() -> None:
    PRESSED.check()
    with pytest.raises(ArgumentError, match=r"beyond the volume of 100 nm: use \d+ voxels"):
        replace(PRESSED, thickness_nm=100.0).check()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"pressure": 0.0}, "over the hardness, above 0"),
        ({"pressure": 1.5}, "up to 1, not 1.5"),
        ({"pressure": 1e-6}, "less than one of 1920 columns"),
        ({"upper": replace(LOWER, period=(40, 48))}, "one period"),
        ({"spacing_nm": (5.0, 5.0, 5.0)}, "need its voxels"),
    ],
)
def test_what_cannot_be_a_contact_is_refused(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ArgumentError, match=said):
        replace(PRESSED, **changed)


def test_the_description_has_both_surfaces_and_the_pressure() -> None:
    found = PRESSED.description()
    assert (found["kind"], found["pressure"]) == ("contact", 0.06)
    assert (found["lower"]["kind"], found["upper"]["stream"]) == ("self-affine", 1)
