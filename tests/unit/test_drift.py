"""The drift of a stack: displacements to a fraction of a pixel, outliers, trends, the same bits wherever arrays lie."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from tim3d.kernels.image.drift import displacement, drift_curve, trend
from tim3d.kernels.image.slice_faults import FAULTS, faults
from tim3d.kernels.image.translation import moved, weights_of

IMAGE = ndimage.gaussian_filter(np.random.default_rng(2).standard_normal((96, 112)), 3, mode="wrap")
IMAGE = 100 + 40 * IMAGE / IMAGE.std()


def displaced(y: float, x: float, seed: int, noise: float = 4.0) -> np.ndarray:
    fy, fx = np.fft.fftfreq(96)[:, None], np.fft.rfftfreq(112)[None]
    clean = np.fft.irfft2(
        np.fft.rfft2(IMAGE) * np.exp(-2j * np.pi * (fy * y + fx * x)), s=IMAGE.shape
    )
    return clean + noise * np.random.default_rng(seed).standard_normal(IMAGE.shape)


@pytest.mark.parametrize(
    ("y", "x"), [(0.0, 0.0), (0.3, -0.4), (0.5, 0.5), (-7.2, 3.6), (12.0, -15.5)]
)
def test_a_displacement_is_found_to_a_few_hundredths_of_a_pixel(y: float, x: float) -> None:
    found = displacement(displaced(0, 0, 1), displaced(y, x, 2))
    assert (found.y, found.x) == pytest.approx((y, x), abs=0.04)
    assert found.correlation > 0.95


def test_the_bits_do_not_depend_on_where_an_image_lies_in_memory() -> None:
    first, second = (displaced(0, s, s + 1).astype(np.float32) for s in (0, 1))
    found = set()
    for offset in range(1, 64, 7):
        room = np.empty(second.nbytes + 64, np.uint8)
        other = room[offset : offset + second.nbytes].view(np.float32).reshape(second.shape)
        other[:] = second
        found.add(displacement(first, other))
    assert len(found) == 1


def test_nothing_is_found_between_images_without_contrast() -> None:
    assert displacement(np.full((64, 64), 7), displaced(0, 0, 1)[:64, :64]).correlation == 0
    assert displacement(np.full((64, 64), 7), np.full((64, 64), 7)) == (0, 0, 0)


def test_a_slice_that_contradicts_the_others_is_placed_by_them() -> None:
    rng = np.random.default_rng(4)
    places = np.cumsum(rng.normal(0, 0.4, 60))
    near = np.diff(places, prepend=0) + rng.normal(0, 0.02, 60)
    far = places - np.concatenate([[0, 0], places[:-2]]) + rng.normal(0, 0.02, 60)
    near[[20, 21]] += (31.0, -17.0)
    far[[20, 22]] += (8.0, 40.0)
    near[40] = far[40] = near[41] = far[42] = np.nan
    curve = drift_curve(near, far)
    rest = curve.place - (places - places[0])
    good = np.setdiff1d(np.arange(60), [20, 40])
    assert np.abs(rest[good] - rest[good].mean()).max() < 0.2
    assert set(np.flatnonzero(curve.weight < 0.01)) == {20, 40}
    for z in (20, 40):
        assert curve.place[z] == pytest.approx(curve.place[[z - 1, z + 1]].mean(), abs=0.3)


def test_a_trend_keeps_straight_lines_up_to_both_ends() -> None:
    z = np.arange(50)
    assert np.allclose(trend(0.7 * z - 3, 20), 0.7 * z - 3)
    assert np.abs(trend(np.where(z % 2, 1.0, -1.0), 20)[5:-5]).max() < 0.05


def test_a_stack_of_few_slices_has_a_drift() -> None:
    for n in (1, 2, 3):
        steps = np.full(n, 0.5)
        assert np.allclose(drift_curve(steps, 2 * steps).place, 0.5 * np.arange(n), atol=1e-3)


def test_weights_add_up_and_cubic_ones_keep_parabolas() -> None:
    for share in (0.0, 0.2, 0.5, 0.9):
        for how in ("whole", "linear", "cubic"):
            assert sum(weights_of(share, how)) == pytest.approx(1)  # type: ignore[arg-type]
    x = np.arange(12.0)
    found = moved((x**2)[None], 0.0, 0.3, range(1), range(3, 9))
    assert np.allclose(found, (x[3:9] + 0.3) ** 2, rtol=1e-6)


def test_slices_at_both_ends_are_found_unlike() -> None:
    one = np.full(20, 30.0)
    near, far = np.full(20, 0.95), np.full(20, 0.9)
    near[[1, 19]] = 0.1
    found = faults(one, 0 * one, near, far, 0 * one)
    assert np.flatnonzero(found).tolist() == [0, 19]


def test_each_fault_is_found_in_its_own_slice_and_in_no_other() -> None:
    contrast, saturated, copies = np.full(20, 30.0), np.full(20, 0.1), np.zeros(20)
    near, far = np.full(20, 0.95), np.full(20, 0.9)
    # Slice 9 is unlike both neighbours, which are alike: 10 resembles 8, two before.
    near[[9, 10]], far[[9, 11]] = 0.1, 0.1
    contrast[2], saturated[6], copies[4] = 0.0, 0.4, 1.0
    found = faults(contrast, saturated, near, far, copies)
    seen = {int(z): FAULTS[found[z]] for z in np.flatnonzero(found)}
    assert seen == {2: "blank", 4: "copy", 6: "saturated", 9: "unlike"}
    far[10] = 0.1  # 10 and 8 differ as well: the structure changes there, and 9 is no fault
    assert 9 not in np.flatnonzero(faults(contrast, saturated, near, far, copies))


@pytest.mark.parametrize(("drop", "is_unlike"), [(0.04, False), (0.06, True)])
def test_a_small_drop_of_the_correlation_is_no_fault_however_even_the_others(
    drop: float, is_unlike: bool
) -> None:
    one = np.full(20, 30.0)
    near, far = np.full(20, 0.95), np.full(20, 0.9)
    near[[9, 10]] -= drop
    assert bool(faults(one, 0 * one, near, far, 0 * one).any()) == is_unlike


@pytest.mark.parametrize(("share", "is_saturated"), [(0.34, False), (0.36, True)])
def test_a_slice_is_saturated_by_what_it_has_more_than_the_others(
    share: float, is_saturated: bool
) -> None:
    one = np.full(20, 30.0)
    saturated = np.full(20, 0.1)
    saturated[7] = share
    found = faults(one, saturated, np.full(20, 0.95), np.full(20, 0.9), 0 * one)
    assert bool(found[7]) == is_saturated


def test_phases_that_agree_by_chance_do_not_place_a_slice_far_away() -> None:
    # A few large pores and noise: the phases alone place the second slice 37 pixels off.
    rng = np.random.default_rng(2)
    field = ndimage.gaussian_filter(
        rng.standard_normal((40, 120, 120)).astype(np.float32), (6, 8, 8)
    )
    grey = np.where(field > -0.7 * field.std(), 160, 70) + rng.normal(0, 14, field.shape)
    steps = rng.integers(-3, 4, (40, 2))
    first, second = (
        np.roll(grey[z], tuple(steps[z]), (0, 1))[12:108, 12:108].clip(0, 255).astype(np.uint8)
        for z in (9, 10)
    )
    found = displacement(first, second)
    assert np.hypot(*(np.array([found.y, found.x]) - (steps[10] - steps[9]))) < 4
    assert found.correlation > 0.8
