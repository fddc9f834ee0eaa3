"""Gaussian fields: exact correlation, exact fractions, S2 both ways, and the same bits in any box."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage, stats

from tim3d.errors import ArgumentError
from tim3d.grid import Box
from tim3d.kernels.generation.gaussian_field import GaussianField, LevelCuts, levels
from tim3d.kernels.generation.philox import Noise
from tim3d.kernels.generation.spectral_field import SpectralField, correlation_of, two_point

ROUGH = GaussianField((24.0, 12.0, 9.0), (6.0, 3.0, 2.0), seed=5)
DISTANCES = tuple(np.arange(0.0, 33.0, 1.0))
# Debye's law of random two-phase media, S2 = phi (1 - phi) exp(-r / a) + phi^2, which level cuts
# come near.
DEBYE = tuple(0.3 * 0.7 * np.exp(-np.array(DISTANCES) / 6.0) + 0.09)


def spectral(period: tuple[int, int, int] = (0, 0, 0), seed: int = 2) -> SpectralField:
    rho = correlation_of(np.array(DEBYE), 0.3)
    return SpectralField(DISTANCES, tuple(rho), (2.0, 1.5, 1.0), seed, period)


def test_a_separable_field_is_noise_convolved() -> None:
    box = Box((-3, 4, 5), (4, 9, 26))
    noise = Noise(5).normals(box.grow(ROUGH.reach)).astype(float)
    for axis, taps in enumerate(ROUGH.taps):
        noise = ndimage.correlate1d(noise, taps, axis)
    inner = tuple(slice(r, -r) for r in ROUGH.reach)
    np.testing.assert_allclose(ROUGH.values(box), noise[inner], atol=3e-6)


def test_a_spectral_field_is_noise_convolved() -> None:
    field, box = spectral(), Box((-2, 3, 70), (2, 6, 75))
    noise = Noise(2).normals(box.grow(field.reach)).astype(float)
    kernel = field.kernel()
    np.testing.assert_allclose(kernel, kernel[::-1, ::-1, ::-1], atol=1e-12)
    expected = [
        (
            kernel * noise[tuple(slice(i, i + n) for i, n in zip(place, kernel.shape, strict=True))]
        ).sum()
        for place in np.ndindex(box.shape)
    ]
    np.testing.assert_allclose(field.values(box).ravel(), expected, atol=3e-6)


@given(start=st.tuples(*[st.integers(0, 12)] * 3), edges=st.tuples(*[st.integers(1, 14)] * 3))
def test_any_box_has_the_bits_of_the_whole(
    start: tuple[int, int, int], edges: tuple[int, int, int]
) -> None:
    whole = _whole()
    box = Box(start, tuple(a + n for a, n in zip(start, edges, strict=True)))  # type: ignore[arg-type]
    assert np.array_equal(ROUGH.values(box), whole[box.slices])


_KEPT: list[np.ndarray] = []


def _whole() -> np.ndarray:
    if not _KEPT:
        _KEPT.append(ROUGH.values(Box.whole((26, 26, 26))))
    return _KEPT[0]


@pytest.mark.long
def test_any_box_of_a_spectral_field_has_the_bits_of_the_whole() -> None:
    field, around = spectral(), Box((55, 75, 110), (75, 100, 150))
    assert all(
        a < t < b for a, t, b in zip(around.start, field.tile, around.stop, strict=True)
    )  # tiles meet in it
    whole = field.values(around)
    for box in (
        Box((55, 75, 110), (60, 100, 140)),
        Box((60, 80, 120), (75, 99, 150)),
        Box((64, 88, 128), (65, 89, 129)),
    ):
        assert np.array_equal(field.values(box), whole[box.within(around).slices])


@pytest.mark.parametrize("kind", ["separable", "spectral"])
def test_periodic_volumes_close(kind: str) -> None:
    shape = (12, 15, 20)
    field = (
        GaussianField((9.0,) * 3, (3.0, 2.0, 2.0), 1, shape)
        if kind == "separable"
        else spectral(shape)
    )
    two = field.values(Box((0, 0, 0), (24, 15, 20)))
    same = np.array_equal if kind == "separable" else lambda a, b: np.allclose(a, b, atol=1e-5)
    assert same(two[:12], two[12:])
    across = field.values(Box((0, -15, -20), (12, 15, 20)))
    assert same(across[:, :15, :20], two[:12])
    assert same(across[:, 15:, 20:], two[:12])


def test_variance_and_correlation_are_those_of_the_kernel() -> None:
    assert ROUGH.correlation((0, 0, 0)) == pytest.approx(1.0, abs=1e-12)
    assert ROUGH.correlation((2, 0, 0)) == pytest.approx(np.exp(-((12 / 24) ** 2)), abs=2e-3)
    values = np.concatenate([GaussianField((24.0, 12.0, 9.0), (6.0, 3.0, 2.0), s).values(Box.whole((40, 64, 64)))[None]
                             for s in range(4)])  # fmt: skip
    assert values.var() == pytest.approx(1.0, abs=0.04)
    assert stats.kurtosis(values, axis=None) == pytest.approx(0.0, abs=0.1)
    for lag in ((2, 0, 0), (0, 3, 0), (0, 0, 4)):
        axis = int(np.argmax(lag))
        b = np.roll(values, -max(lag), axis + 1)
        keep = [slice(None)] * 4
        keep[axis + 1] = slice(0, -max(lag))
        assert (values * b)[tuple(keep)].mean() == pytest.approx(ROUGH.correlation(lag), abs=0.03)


def test_two_point_is_the_bivariate_normal_law_and_its_inverse() -> None:
    rho = np.array([-0.9, -0.3, 0.0, 0.2, 0.7, 0.99])
    for fraction in (0.1, 0.5, 0.8):
        u = stats.norm.ppf(fraction)
        expected = [stats.multivariate_normal(cov=[[1, r], [r, 1]]).cdf([u, u]) for r in rho]
        np.testing.assert_allclose(two_point(rho, fraction), expected, atol=2e-5)
        np.testing.assert_allclose(
            correlation_of(two_point(rho, fraction), fraction), rho, atol=2e-3
        )
        assert two_point(1.0, fraction) == pytest.approx(fraction, abs=1e-4)


def test_a_given_s2_comes_out() -> None:
    """Within the kernel's own error, which is small and known, and the noise of six volumes."""
    field = spectral()
    for lag, distance in (((0, 0, 3), 3.0), ((0, 4, 0), 6.0), ((3, 0, 0), 6.0), ((0, 0, 12), 12.0)):
        assert two_point(field.made_correlation(lag), 0.3) == pytest.approx(
            np.interp(distance, DISTANCES, DEBYE), abs=0.012
        )
    assert field.lost < 0.01
    volumes = [
        LevelCuts(spectral(seed=s), (0.3, 0.7)).labels(Box.whole((58, 52, 64))) == 0
        for s in range(6)
    ]
    assert np.mean(volumes) == pytest.approx(0.3, abs=0.012)
    for step in (2, 6, 12):
        found = np.mean([v[..., step:] & v[..., :-step] for v in volumes])
        assert found == pytest.approx(
            two_point(field.made_correlation((0, 0, step)), 0.3), abs=0.01
        )
        assert found == pytest.approx(np.interp(step, DISTANCES, DEBYE), abs=0.018)


def test_fractions_of_three_phases() -> None:
    cuts = [LevelCuts(GaussianField((6.0,) * 3, (2.0,) * 3, s), (0.2, 0.5, 0.3)) for s in range(4)]
    labels = np.stack([c.labels(Box.whole((64, 64, 64))) for c in cuts])
    shares = np.bincount(labels.ravel(), minlength=3) / labels.size
    np.testing.assert_allclose(shares, (0.2, 0.5, 0.3), atol=0.01)


@pytest.mark.parametrize("wrong", [(1.0,), (0.5, 0.6), (0.0, 1.0), (-0.2, 1.2)])
def test_wrong_fractions(wrong: tuple[float, ...]) -> None:
    with pytest.raises(ArgumentError, match="add up to"):
        levels(wrong)


def test_wrong_lengths_and_tables() -> None:
    with pytest.raises(ArgumentError, match="positive lengths"):
        GaussianField((0.0, 1.0, 1.0), (1.0, 1.0, 1.0), 0)
    with pytest.raises(ArgumentError, match="begin at 0 and rise"):
        SpectralField((1.0, 2.0), (1.0, 0.0), (1.0, 1.0, 1.0), 0)
    with pytest.raises(ArgumentError, match=r"reaches 80 nm, 80 voxels.*larger voxels"):
        SpectralField((0.0, 80.0), (1.0, 0.5), (1.0, 1.0, 1.0), 0)
    with pytest.raises(ArgumentError, match="S2 runs from"):
        correlation_of(np.array([0.5, 0.2]), 0.3)


def test_a_correlation_ends_by_a_squared_cosine_over_the_last_quarter() -> None:
    """Up to what no field can have: the part of the spectrum that would be negative."""
    distances = np.arange(0.0, 33.0)
    field = SpectralField(tuple(distances), tuple(np.exp(-distances / 16)), (1.0, 1.0, 1.0), seed=1)
    assert field.range_nm == 32
    wanted = np.exp(-29 / 16) * np.cos(np.pi / 2 * (29 / 32 - 0.75) / 0.25) ** 2
    for lag in ((29, 0, 0), (0, 29, 0), (0, 0, 29)):
        assert field.made_correlation(lag) == pytest.approx(wanted, abs=0.01)
