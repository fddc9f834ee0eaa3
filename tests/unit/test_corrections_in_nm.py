"""A length in nanometres is counted in the voxels of its own axis: voxels are 2, 3 and 5 nm long."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr

from tim3d.corrections import (
    Background,
    Brightness,
    Crop,
    Curtain,
    Median,
    NonLocal,
    Stack,
    Variation,
)
from tim3d.corrections.chain import Chain
from tim3d.corrections.noise import noise_of
from tim3d.errors import ArgumentError
from tim3d.kernels.image.background import background
from tim3d.kernels.image.brightness import gains_and_offsets, target_levels
from tim3d.kernels.image.denoise import median

SPACING = (2.0, 3.0, 5.0)
SHAPE = (6, 64, 48)
GREY = np.clip(
    np.random.default_rng(0).normal(120, 9, SHAPE) + 40 * np.sin(np.arange(48) / 9), 0, 255
).astype(np.uint8)
STACK = Stack(SHAPE, "uint8", SPACING)
NOISE = xr.Dataset({"noise": ("z", [9.0, 10.0, 10.0, 11.0, 90.0])})


def test_the_noise_of_a_stack_is_not_that_of_its_worst_slice() -> None:
    assert noise_of(NOISE) == 10.0


# Corrections that know no direction, and stripes along y of the one are along x of the other.
TURNED: dict[str, tuple[Any, Any]] = {
    "background": (Background(24.0), Background(24.0)),
    "median": (Median(6.0), Median(6.0)),
    "nonlocal": (NonLocal(search_nm=16.0, patch_nm=5.0).applied(NOISE),) * 2,
    "variation": (Variation(iterations=4).applied(NOISE),) * 2,
    "curtain": (Curtain(30.0, length_nm=45.0), Curtain(30.0, length_nm=45.0, along="x")),
    "variational": (
        Curtain(30.0, length_nm=45.0, method="variational"),
        Curtain(30.0, length_nm=45.0, method="variational", along="x"),
    ),
}


@pytest.mark.parametrize("name", TURNED)
def test_slices_turned_with_their_voxels_are_corrected_alike(name: str) -> None:
    one, other = TURNED[name]
    dz, dy, dx = SPACING
    turned = np.ascontiguousarray(GREY.swapaxes(1, 2))
    found = other.at(turned, (dz, dx, dy)).swapaxes(1, 2).astype(int)
    expected = one.at(GREY, SPACING).astype(int)
    assert np.abs(found - expected).max() <= 1
    assert np.abs(one.at(GREY, (dz, dx, dy)).astype(int) - expected).max() > 1


BEYOND = {
    "the longer edge of a slice, 240 nm": Background(1e9),
    "a slice across the stripes, 240 nm": Curtain(241.0),
    "a slice along the stripes, 192 nm": Curtain(30.0, length_nm=1e300),
    "a slice along the stripes, 240 nm": Curtain(30.0, length_nm=300.0, along="x"),
    "the stack, 12 nm; leave it out": Brightness(slow_nm=1e15),
    "the longest edge of the volume, 240 nm": Median(1e300),
    "search_nm is longer than the longest edge": NonLocal(search_nm=1e9),
    "patch_nm is longer than the longest edge": NonLocal(patch_nm=1e9),
    "slow_nm must be a finite length in nm, 0 or more": Brightness(slow_nm=-1.0),
    "scale_nm must be a finite length in nm, 0 or more": Background(float("inf")),
}


@pytest.mark.parametrize("said", BEYOND)
def test_a_length_beyond_the_volume_is_refused(said: str) -> None:
    with pytest.raises(ArgumentError, match=said):
        BEYOND[said].check(STACK)


def test_a_length_as_long_as_the_volume_fits() -> None:
    for step in (Background(240.0), Curtain(240.0, length_nm=192.0), Brightness(slow_nm=12.0)):
        step.check(STACK)


def test_background_and_median_take_their_length_along_each_axis() -> None:
    expected = [GREY[0] - background(GREY[0], (24 / 3, 24 / 5))]
    found = Background(24.0).at(GREY[:1], SPACING)
    assert np.abs(found - np.array(expected)).max() <= 0.5
    assert np.array_equal(Median(6.0).at(GREY, SPACING), median(GREY, (3, 2, 1)))


def test_slow_changes_of_brightness_are_counted_along_z() -> None:
    levels = np.random.default_rng(1).normal([80, 160], 9, (6, 2))
    rows = xr.Dataset({"low": ("z", levels[:, 0]), "high": ("z", levels[:, 1])})
    table = Brightness(slow_nm=4.0).tabulate(rows, STACK)
    gain, offset = gains_and_offsets(levels, target_levels(levels, 2.0))
    np.testing.assert_allclose(table.gain, gain)
    np.testing.assert_allclose(table.offset, offset)
    plain = Brightness(contrast=False).tabulate(rows, STACK)
    middle = np.median(levels, axis=0).mean()
    np.testing.assert_allclose(plain.gain, 1)
    np.testing.assert_allclose(plain.offset, middle - levels.mean(axis=1))


@pytest.mark.parametrize(
    "step", [Background(150.0), Curtain(100.0), Curtain(30.0, length_nm=100.0)], ids=str
)  # fmt: skip
def test_a_correction_must_fit_what_those_before_it_leave(step: Any) -> None:
    """Of 64 x 48 pixels, 16 x 12 are left."""
    whole = Chain(STACK, ())
    assert whole.then(step).steps == (step,)
    cut = whole.then(Crop(y=slice(0, 16), x=slice(0, 12)))
    assert cut.made.shape == (6, 16, 12)
    with pytest.raises(ArgumentError):
        cut.then(step)
