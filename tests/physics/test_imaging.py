"""The simulated microscope does what its parameters say, slice by slice, and makes thresholds fail where it should."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tim3d.errors import ArgumentError
from tim3d.kernels.generation.plane_wave_field import LevelCut
from tim3d.kernels.image.fibsem_simulation import (
    Microscope,
    SimulatedStack,
    depth_to_solid,
    image,
    shine_through,
    simulate_fibsem,
)

SHAPE = (10, 96, 120)
SPACING = (10.0, 5.0, 5.0)
STRUCTURE = LevelCut(0.62, 60.0, seed=2)
PERFECT = Microscope(shine=0.0, blur_nm=0.0, curtain=0.0, drift=0.0, shot=0.0, read=0.0)


def stack(microscope: Microscope, shape=SHAPE) -> SimulatedStack:
    return SimulatedStack(shape, SPACING, STRUCTURE, microscope)


def test_a_perfect_microscope_shows_the_truth():
    grey, truth = stack(PERFECT).slices(0, 10)
    assert np.array_equal(grey, np.where(truth == 1, 170, 40))


def test_slices_do_not_depend_on_how_many_are_made_at_once():
    whole, truth = stack(Microscope(seed=5)).slices(0, 10)
    part, part_truth = stack(Microscope(seed=5)).slices(4, 7)
    assert np.array_equal(whole[4:7], part)
    assert np.array_equal(truth[4:7], part_truth)


def test_iterating_gives_every_slice_across_its_runs():
    small = stack(Microscope(seed=5), (35, 20, 24))
    alone = list(small)
    grey, truth = small.slices(0, 35)
    assert len(alone) == 35
    assert np.array_equal(np.stack([one for one, _ in alone]), grey)
    assert np.array_equal(np.stack([one for _, one in alone]), truth)


def test_a_longer_stack_begins_with_the_shorter_one():
    short = stack(Microscope(seed=5)).slices(0, 10)[0]
    longer = stack(Microscope(seed=5), (30, 96, 120)).slices(0, 30)[0]
    assert np.array_equal(longer[:10], short)


def test_seeds_fix_and_change_the_stack():
    first, truth = simulate_fibsem(SHAPE, SPACING, 0.62, 60.0, seed=1)
    again, _ = simulate_fibsem(SHAPE, SPACING, 0.62, 60.0, seed=1)
    other, other_truth = simulate_fibsem(SHAPE, SPACING, 0.62, 60.0, seed=2)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert not np.array_equal(truth, other_truth)
    assert first.dtype == truth.dtype == np.uint8
    assert first.shape == truth.shape == SHAPE


def test_depth_is_the_way_to_the_first_solid_behind():
    solid = np.random.default_rng(0).integers(0, 2, (7, 5, 6), dtype=np.uint8)
    depth = depth_to_solid(solid, 4)
    for z, y, x in np.ndindex(4, 5, 6):
        behind = np.flatnonzero(solid[z:, y, x])
        assert depth[z, y, x] == (behind[0] if len(behind) else 7)


def test_shine_decays_with_depth_and_ends_at_the_reach():
    column = np.zeros((9, 1, 1), np.uint8)
    column[6] = 1
    scope = replace(PERFECT, shine=0.8, shine_decay_nm=20.0, shine_reach_nm=40.0)
    grey = shine_through(column, 9, 10.0, scope).ravel()
    step = 130 * 0.8
    expected = [40, 40] + [40 + step * np.exp(-d / 2) for d in (4, 3, 2, 1)] + [170, 40, 40]
    assert grey == pytest.approx(np.array(expected), rel=1e-6)


def test_material_behind_the_last_slice_shines_too():
    scope = replace(PERFECT, shine=0.85)
    last, truth = stack(scope).slices(9, 10)
    assert ((last > 60) & (truth == 0)).any()


def test_noise_has_the_stated_variance():
    flat = np.full((400, 400), 100.0, np.float32)
    noisy = image(flat, 3, SPACING, replace(PERFECT, shot=0.5, read=4.0))
    # Rounding to whole grey values adds 1/12.
    assert noisy.var() == pytest.approx(0.5 * 100 + 16 + 1 / 12, rel=0.02)
    assert noisy.mean() == pytest.approx(100, abs=0.1)


def stripes(z: int, **changes: float) -> np.ndarray:
    flat = np.full((6, 4000), 200.0, np.float32)
    return (
        image(flat, z, SPACING, replace(PERFECT, curtain=0.05, **changes)).astype(float) / 200 - 1
    )


def test_curtains_are_stripes_along_y_with_the_stated_strength():
    one = stripes(0)
    assert (one == one[0]).all()
    assert one[0].std() == pytest.approx(0.05, rel=0.15)


def test_curtains_fade_over_the_stated_depth():
    near = np.corrcoef(stripes(10)[0], stripes(11)[0])[0, 1]
    expected = np.exp(-((10.0 / 25.0) ** 2) / 4)
    assert near == pytest.approx(expected, abs=0.06)
    assert abs(np.corrcoef(stripes(10)[0], stripes(30)[0])[0, 1]) < 0.2


def test_brightness_drifts_over_the_depth():
    flat = np.full((2, 2), 100.0, np.float32)
    scope = replace(PERFECT, drift=0.2)
    means = [image(flat, z, SPACING, scope).mean() for z in range(0, 280, 5)]
    assert 10 < max(means) - min(means) <= 40


def test_blur_keeps_the_mean_and_softens_the_edge():
    edge = np.zeros((20, 60), np.float32)
    edge[:, 30:] = 200
    soft = image(edge, 0, SPACING, replace(PERFECT, blur_nm=10.0))[10].astype(float)
    assert soft.mean() == pytest.approx(100, abs=0.5)
    assert (np.diff(soft) >= 0).all()
    # 84 % of the step one standard deviation (2 pixels) beyond the edge.
    assert np.interp(0.841 * 200, soft, np.arange(60)) == pytest.approx(29.5 + 2, abs=0.2)


def test_pixels_that_are_not_square_are_blurred_alike_in_nm():
    signal = np.zeros((40, 60), np.float32)
    signal[15:20, 25:40] = 200
    scope = replace(PERFECT, blur_nm=10.0)
    upright = image(signal, 0, (10.0, 2.5, 5.0), scope)
    lying = image(np.ascontiguousarray(signal.T), 0, (10.0, 5.0, 2.5), scope)
    assert np.array_equal(upright, lying.T)
    edge = np.repeat([[0.0], [200.0]], 20, axis=0).repeat(5, axis=1).astype(np.float32)
    down = image(edge, 0, (10.0, 2.5, 5.0), scope)[:, 2].astype(float)
    # 84 % of the step one standard deviation, 4 rows, beyond the edge.
    assert np.interp(0.841 * 200, down, np.arange(40)) == pytest.approx(19.5 + 4, abs=0.2)


def test_shine_through_spoils_every_global_threshold():
    grey, truth = simulate_fibsem((12, 160, 160), SPACING, 0.62, 60.0, seed=1)
    clean, _ = simulate_fibsem(
        (12, 160, 160), SPACING, 0.62, 60.0, seed=1, microscope=Microscope(shine=0.0, seed=1)
    )
    assert best_iou(grey, truth) < 0.91
    assert best_iou(clean, truth) > 0.94


def best_iou(grey: np.ndarray, truth: np.ndarray) -> float:
    pore = truth == 0
    dark = [grey <= t for t in range(60, 170, 5)]
    return max((d & pore).sum() / (d | pore).sum() for d in dark)


@pytest.mark.parametrize(
    "build",
    [
        lambda: Microscope(shine=1.2),
        lambda: Microscope(blur_nm=-1.0),
        lambda: Microscope(shine_decay_nm=0.0),
        lambda: Microscope(solid_grey=30.0),
        lambda: Microscope(seed=-1),
        lambda: SimulatedStack((0, 4, 4), SPACING, STRUCTURE),
        lambda: SimulatedStack((4, 4, 4), (1.0, -1.0, 1.0), STRUCTURE),
    ],
)
def test_impossible_microscopes_are_refused(build):
    with pytest.raises(ArgumentError):
        build()
