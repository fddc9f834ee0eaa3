"""Grey values: distribution, correlation and sharpness are what plain formulas say, and blocks add up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from scipy.stats import wasserstein_distance

from tests.micrographs import blobs, shades
from tim3d.errors import ArgumentError
from tim3d.grid import Grid
from tim3d.kernels.statistics.correlation import line_counts
from tim3d.kernels.statistics.generator_score import target_of
from tim3d.kernels.statistics.grey_statistics import (
    correlation,
    differences,
    distance,
    grey_target,
    histogram,
    variance,
)

LAGS = (1, 2, 5, 30)


def noise(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_sums_of_differences_are_those_of_numpy(axis):
    grey = noise((9, 12, 7))
    found = differences(grey, LAGS, axis)
    line = np.moveaxis(grey, axis, 0).astype(int)
    assert found.squares.tolist() == [
        int(((line[lag:] - line[:-lag]) ** 2).sum()) if lag < len(line) else 0 for lag in LAGS
    ]
    assert found.values.tolist() == line.sum(axis=(1, 2)).tolist()
    assert found.steps.tolist() == [*np.abs(np.diff(line, axis=0)).sum(axis=(1, 2)).tolist(), 0]


@given(st.integers(0, 99), st.tuples(*[st.integers(1, 9)] * 3), st.integers(0, 2))
def test_blocks_add_up_to_the_whole_bit_for_bit(seed, block, axis):
    grey, lags = noise((8, 9, 7), seed), (1, 3, 4)
    whole = differences(grey, lags, axis)
    squares, values, steps = (
        np.zeros_like(one) for one in (whole.squares, whole.values, whole.steps)
    )
    for part in Grid(grey.shape, block, (4, 4, 4)):
        found = differences(grey[part.read.slices], lags, axis, part.core.within(part.read))
        squares += found.squares
        values[part.core.slices[axis]] += found.values
        steps[part.core.slices[axis]] += found.steps
    assert squares.tolist() == whole.squares.tolist()
    assert values.tolist() == whole.values.tolist()
    assert steps.tolist() == whole.steps.tolist()


def test_lags_must_rise_from_one():
    with pytest.raises(ArgumentError, match="lags"):
        differences(noise((4, 4, 4)), (0, 1), 0)


@given(st.integers(0, 99), st.integers(1, 200))
def test_the_distance_of_distributions_is_that_of_scipy(seed, size):
    a, b = noise((1, 1, size), seed), noise((1, 7, 3), seed + 1)
    shares = [histogram(one) / one.size for one in (a, b)]
    assert float(distance(*shares)) == pytest.approx(
        wasserstein_distance(a.ravel(), b.ravel()), abs=1e-9
    )
    assert float(variance(histogram(a))) == pytest.approx(a.astype(float).var(), abs=1e-9)


def test_the_correlation_is_that_of_a_smoothed_field():
    """Noise smoothed by a Gaussian of width w is correlated as exp(-r² / (4 w²))."""
    width, lags = 2.0, (1, 2, 3, 4, 6)
    field = gaussian_filter(
        np.random.default_rng(1).standard_normal((100, 100, 100)), width, mode="wrap"
    )
    grey = np.clip(np.rint(128 + 30 * field / field.std()), 0, 255).astype(np.uint8)
    for axis in range(3):
        squares = differences(grey, lags, axis).squares / np.array(
            [100**2 * (100 - lag) for lag in lags]
        )
        found = correlation(squares, variance(histogram(grey)))
        np.testing.assert_allclose(
            found, np.exp(-(np.array(lags) ** 2) / (4 * width**2)), atol=0.03
        )


def test_of_two_phases_the_measures_are_those_of_labels():
    """Of 0 and 1 the step is P_L, and rho is (S2 - phi²) / (phi (1 - phi)) but for the ends of the lines."""
    labels = blobs(128, 2.0)
    (row_target,) = [target_of([labels], 2, 128)]
    grey = grey_target([labels[None]], 128)
    share = float(labels.mean())
    np.testing.assert_allclose(grey.steps[0, 0], row_target.lines.crossings[0, 1], rtol=1e-12)
    expected = (row_target.lines.s2[0, 1, 1:] - share**2) / (share * (1 - share))
    np.testing.assert_allclose(grey.correlation[0, 0], expected, atol=0.03)
    assert (
        line_counts(labels[None], 2, [1], 1).changes[:, 1].sum()
        == differences(labels[None], [1], 1).steps.sum()
    )


def like(volume):
    """Target whose images are the slices of a volume through its first voxel."""
    return grey_target([volume[None, 0], volume[None, :, 0], volume[None, :, :, 0]], len(volume))


@pytest.fixture(scope="module")
def diagonal():
    """Waves on the diagonals of a cube: alike along z, y and x and on every slice."""
    z, y, x = np.indices((48, 48, 48))
    return np.rint(128 + 80 * np.sin((z + y + x) * (2 * np.pi / 12))).astype(np.uint8)


def test_a_volume_like_its_images_has_no_error(diagonal):
    errors = like(diagonal).errors([diagonal, diagonal])
    assert errors["score"] < 0.002


def test_each_error_tells_of_its_own_fault(diagonal):
    target = like(diagonal)
    brighter = target.errors([diagonal + np.uint8(40)])
    assert brighter["histogram_error"] == pytest.approx(40 / 255, abs=0.001)
    assert brighter["correlation_error"] < 0.01
    assert brighter["step_error"] < 0.01
    flatter = target.errors([(64 + diagonal // 2).astype(np.uint8)])
    assert flatter["step_error"] == pytest.approx(0.5, abs=0.02)
    assert flatter["correlation_error"] < 0.01
    gentle, gentler = (np.rint(128 + (diagonal - 128.0) / n).astype(np.uint8) for n in (10, 20))
    assert like(gentle).errors([gentler])["step_error"] == pytest.approx(0.5, abs=0.05)
    shuffled = np.random.default_rng(0).permutation(diagonal.ravel()).reshape(diagonal.shape)
    mixed = target.errors([shuffled])
    assert mixed["histogram_error"] < 0.002
    assert mixed["correlation_error"] > 0.3
    for found in (brighter, flatter, mixed):
        parts = found["histogram_error"] + found["correlation_error"] / 4 + found["step_error"] / 10
        assert found["score"] == pytest.approx(parts)


def test_directions_of_three_images_are_kept():
    """Layers across z: bright and dark along z, one grey along y and x."""
    side = np.repeat(np.array([40, 200] * 12, np.uint8)[:, None], 24, axis=1)
    target = grey_target([shades(24)[None], side[None], side[None]], 48)
    assert target.steps[0, 0] == 160
    flat = shades(24).astype(int)
    assert target.steps[1:, 0].tolist() == pytest.approx(
        [np.abs(np.diff(flat, axis=a)).mean() / 2 for a in (0, 1)]
    )
    assert target.correlation[0, 0, 0] == pytest.approx(-1)


def test_colours_are_judged_one_by_one():
    image = np.stack([shades(48, 1.5, seed) for seed in range(3)])
    volume = np.stack([np.broadcast_to(one, (48, 48, 48)) for one in image])
    swapped = image[[0, 2, 1]]
    assert grey_target([image], 48).errors([volume])["histogram_error"] == 0
    assert (
        grey_target([swapped], 48).shares[1].tolist() == grey_target([image], 48).shares[2].tolist()
    )


def test_a_constant_volume_has_an_error_that_is_a_number():
    errors = grey_target([shades(48)[None]], 48).errors([np.full((48, 48, 48), 128, np.uint8)])
    assert errors["step_error"] == 1
    assert all(np.isfinite(list(errors.values())))
