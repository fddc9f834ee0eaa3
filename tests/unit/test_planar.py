"""Descriptors of the plane against closed forms, on square and oblong pixels."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage as ndi

from tim3d.kernels.morphology import planar


def disc(radius: float, pixel: tuple[float, float]) -> np.ndarray:
    """A disc in the middle of an image, by the centres of its pixels."""
    rows, columns = (int(2.6 * radius / step) for step in pixel)
    y = (np.arange(rows) - (rows - 1) / 2)[:, None] * pixel[0]
    x = (np.arange(columns) - (columns - 1) / 2)[None] * pixel[1]
    return y**2 + x**2 < radius**2


@pytest.mark.parametrize("pixel", [(1.0, 1.0), (2.0, 1.0), (0.7, 2.1), (5.0, 5.0)])
def test_the_boundary_of_a_disc(pixel: tuple[float, float]) -> None:
    radius = 60 * max(pixel)
    mask = disc(radius, pixel)
    area = mask.size * pixel[0] * pixel[1]
    found = planar.boundary_per_area(mask, pixel)
    # 4 directions whose weights are shares of the half circle, on oblong pixels less evenly spread.
    assert found * area == pytest.approx(
        2 * np.pi * radius, rel=0.01 if pixel[0] == pixel[1] else 0.03
    )
    chord = planar.mean_chord(float(mask.mean()), found)
    assert chord == pytest.approx(np.pi * radius / 2, rel=0.035)


@pytest.mark.parametrize(("degrees", "error"), [(0, -0.052), (22.5, 0.026), (45, -0.052)])
def test_a_straight_edge_has_the_error_that_is_stated(degrees: float, error: float) -> None:
    y, x = np.mgrid[:600, :600] - 299.5
    angle = np.deg2rad(degrees)
    mask = x * np.sin(angle) + y * np.cos(angle) > 0.3
    length = 600 / np.cos(angle)
    found = planar.boundary_per_area(mask) * mask.size / length
    assert found - 1 == pytest.approx(error, abs=0.004)


def test_a_mask_and_its_complement_share_one_boundary_and_turns_change_nothing() -> None:
    mask = ndi.gaussian_filter(np.random.default_rng(0).standard_normal((80, 90)), 3) > 0
    found = planar.boundary_per_area(mask, (2.0, 1.0))
    assert planar.boundary_per_area(~mask, (2.0, 1.0)) == found
    assert planar.boundary_per_area(mask.T, (1.0, 2.0)) == pytest.approx(found, rel=1e-12)
    assert planar.boundary_per_area(mask, (20.0, 10.0)) == pytest.approx(found / 10, rel=1e-12)
    assert planar.direction_weights((3.0, 1.0)).sum() == pytest.approx(1)


@pytest.mark.parametrize("connectivity", [4, 8])
def test_features_are_those_of_scipy(connectivity: int) -> None:
    mask = np.random.default_rng(1).random((30, 40)) < 0.4
    rank = {4: 1, 8: 2}[connectivity]
    ids, count = ndi.label(mask, ndi.generate_binary_structure(2, rank))
    pixels, cut = planar.features(mask, connectivity)
    assert pixels.tolist() == np.bincount(ids.ravel())[1:].tolist()
    rim = set(np.concatenate([ids[0], ids[-1], ids[:, 0], ids[:, -1]]).tolist()) - {0}
    assert set((np.flatnonzero(cut) + 1).tolist()) == rim
    assert len(pixels) == count


def test_nothing_is_said_of_what_is_not_there() -> None:
    assert np.isnan(planar.boundary_per_area(np.ones((1, 9), bool)))
    assert np.isnan(planar.mean_chord(1.0, planar.boundary_per_area(np.ones((9, 9), bool))))
    assert len(planar.features(np.zeros((4, 4), bool))[0]) == 0
