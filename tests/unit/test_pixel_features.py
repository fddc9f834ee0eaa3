"""Features of voxels: from their definitions, and the same bits wherever a block begins."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from tests.examples import costly
from tim3d.kernels.image.feature_lines import eigenvalues
from tim3d.kernels.image.pixel_features import (
    FeatureSet,
    features_of,
    features_of_band,
    gaussians,
)

SPACINGS = [(1.0, 1.0, 1.0), (3.0, 1.0, 1.5)]
SETS = [FeatureSet((1.0, 2.0), one, planar) for one in SPACINGS for planar in (True, False)]


def every(shape):
    return np.argwhere(np.ones(shape, bool))


def by_name(features, rows):
    return dict(zip(features.names, rows.T, strict=True))


@pytest.mark.parametrize("features", SETS)
@costly
@given(
    st.tuples(st.integers(1, 9), st.integers(1, 30), st.integers(1, 30)),
    st.integers(0, 2**32 - 1),
    st.data(),
)
def test_no_block_shows_in_a_bit(features, shape, seed, data):
    grey = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    whole = features_of(grey, gaussians(grey, features), every(shape), features)
    whole = whole.reshape(*shape, -1)
    start = [data.draw(st.integers(0, n - 1)) for n in shape]
    stop = [data.draw(st.integers(a + 1, n)) for a, n in zip(start, shape, strict=True)]
    low = [max(0, a - r) for a, r in zip(start, features.reach, strict=True)]
    box = tuple(slice(a, b + r) for a, b, r in zip(low, stop, features.reach, strict=True))
    part = np.ascontiguousarray(grey[box])
    core = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
    points = np.argwhere(np.ones([b - a for a, b in zip(start, stop, strict=True)], bool))
    found = features_of(part, gaussians(part, features), points + np.subtract(start, low), features)
    expected = whole[core].reshape(len(points), -1)
    assert np.array_equal(found.view(np.uint32), np.ascontiguousarray(expected).view(np.uint32))


@pytest.mark.parametrize("features", SETS)
def test_gaussians_are_those_of_scipy(features):
    grey = np.random.default_rng(0).normal(size=(12, 30, 25)).astype(np.float32)
    found = gaussians(grey, features)
    for smooth, scale in zip(found, features.scales, strict=True):
        sigma = [
            0 if features.planar and a == 0 else scale / e for a, e in enumerate(features.spacing)
        ]
        radius = [int(np.ceil(3 * s)) if s else 0 for s in sigma]
        radius = [max(1, r) if s else 0 for r, s in zip(radius, sigma, strict=True)]
        expected = ndimage.gaussian_filter(grey.astype(float), sigma, mode="mirror", radius=radius)
        np.testing.assert_allclose(smooth, expected, atol=2e-6)


@pytest.mark.parametrize("planar", [True, False])
def test_a_quadratic_has_its_own_derivatives(planar):
    """Of g = a y^2 + b yx + c x^2 + d z^2 the Hessian is the same everywhere; lengths are in nm."""
    spacing = (20.0, 5.0, 10.0)
    z, y, x = (np.arange(n) * s for n, s in zip((15, 41, 31), spacing, strict=True))
    z, y, x = z[:, None, None] - z[7], y[:, None] - y[20], x - x[15]
    a, b, c, d = 2e-4, 1e-4, -3e-4, 5e-5
    grey = (a * y * y + b * y * x + c * x * x + d * z * z).astype(np.float32)
    features = FeatureSet((20.0,), spacing, planar)
    smooth = gaussians(grey, features)
    found = by_name(features, features_of(grey, smooth, np.array([[7, 20, 15]]), features))
    matrix = np.array([[2 * a, b], [b, 2 * c]])
    if not planar:
        matrix = np.block([[np.array([[2 * d]]), np.zeros((1, 2))], [np.zeros((2, 1)), matrix]])
    expected = np.sort(np.linalg.eigvalsh(matrix))[::-1] * 20.0**2
    hessian = [found[f"hessian_{n}_20"][0] for n in range(len(expected))]
    np.testing.assert_allclose(hessian, expected, rtol=2e-3, atol=2e-4)
    assert abs(found["gradient_20"][0]) < 1e-4


def test_a_ramp_has_its_slope_and_one_direction():
    """Gradient times scale; of a structure tensor of one direction the spread is sqrt(2/3) of 3 means."""
    ramp = np.tile(np.arange(40, dtype=np.float32) * 0.5, (9, 40, 1))
    for planar in (True, False):
        features = FeatureSet((2.0,), (1.0, 1.0, 1.0), planar)
        found = by_name(
            features,
            features_of(ramp, gaussians(ramp, features), np.array([[4, 20, 20]]), features),
        )
        assert found["gradient_2"][0] == pytest.approx(1.0, abs=1e-5)
        whole = 1.0
        mean = whole / 2 if planar else whole / 3
        assert found["structure_mean_2"][0] == pytest.approx(mean, abs=1e-5)
        spread = whole / 2 if planar else whole * np.sqrt(2 / 3)
        assert found["structure_spread_2"][0] == pytest.approx(spread, abs=1e-5)


def test_eigenvalues_of_any_matrix_are_those_of_numpy():
    """Also of matrices with two equal eigenvalues, and three."""
    random = np.random.default_rng(0)
    m = random.normal(size=(400, 3, 3)) * 10.0 ** random.integers(-6, 3, size=(400, 1, 1))
    turned = np.linalg.qr(random.normal(size=(50, 3, 3)))[0]
    alike = turned @ np.diag([2.0, 2.0, -1.0]) @ turned.swapaxes(1, 2)
    m = np.concatenate([m + m.swapaxes(1, 2), alike, -alike]).astype(np.float32)
    m = (m + m.swapaxes(1, 2)) / 2
    expected = np.linalg.eigvalsh(m.astype(float))[:, ::-1]
    largest = abs(m).max(axis=(1, 2), keepdims=True)[:, 0]
    np.testing.assert_allclose(eigenvalues(m) / largest, expected / largest, atol=1e-6)
    assert eigenvalues(2 * np.eye(3)[None]).tolist() == [[2.0, 2.0, 2.0]]
    assert eigenvalues(np.zeros((1, 3, 3))).tolist() == [[0.0, 0.0, 0.0]]


@pytest.mark.parametrize("features", SETS)
@pytest.mark.parametrize("shape", [(2, 19, 21), (1, 8, 530), (3, 3, 5)])
def test_features_of_a_band_are_those_of_its_voxels(features, shape):
    """In tiles of 8 x 8; beyond the width and the last line they are 0."""
    grey = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    smooth = gaussians(grey, features)
    z, y, x = shape[0] - 1, 8 * (shape[1] // 16), 2
    width = shape[2] - x
    found = features_of_band(grey, smooth, (z, y, x), width, features)
    lines = min(8, shape[1] - y)
    points = np.argwhere(np.ones((1, lines, width), bool)) + (z, y, x)
    expected = features_of(grey, smooth, points, features).reshape(lines, width, -1)
    whole = np.zeros((8, -(-width // 8) * 8, len(features.names)), np.float32)
    whole[:lines, :width] = expected
    tiles = whole.reshape(8, -1, 8, len(features.names)).transpose(1, 3, 0, 2)
    assert np.array_equal(found, tiles.reshape(found.shape))
