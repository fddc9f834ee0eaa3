"""Geodesic distance where it is known: free space, slits, edges, a spiral, an obstacle, noise anyone can make."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
import scipy.ndimage as ndi
from numpy.typing import NDArray

from tim3d.kernels.geodesic.geodesic import (
    METRICS,
    UNIT,
    UNREACHED,
    Tortuosity,
    arrive,
    distance,
    plane_sums,
    tortuosity,
)

Labels = NDArray[np.uint8]
metrics = pytest.mark.parametrize("metric", METRICS)


def first_plane(region: Labels, axis: int = 0) -> NDArray[np.bool_]:
    return np.asarray(np.indices(region.shape)[axis] == 0)


@metrics
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize(
    "spacing", [(1, 1, 1), (2, 1, 1), (3, 1, 1), (10, 1, 1), (1, 2, 2), (0.37, 1.3, 0.71)]
)
def test_a_plane_wave_is_exact_on_each_axis(
    metric: str, axis: int, spacing: tuple[float, ...]
) -> None:
    region = np.ones((21, 22, 23), np.uint8)
    found = distance(region, first_plane(region, axis), spacing, metric=metric)
    straight = np.indices(region.shape)[axis] * spacing[axis]
    np.testing.assert_allclose(found, straight, rtol=1e-5)


@pytest.mark.parametrize(
    ("metric", "mean", "most"),
    [("eikonal", 1.014, 1.057), ("graph26", 1.088, 1.128)],
    ids=["eikonal", "graph26"],
)
def test_free_space_around_a_point(metric: str, mean: float, most: float) -> None:
    radius = np.sqrt(((np.indices((81, 81, 81)) - 40) ** 2).sum(0))
    shell = (radius >= 10) & (radius <= 40)
    ratio = distance(np.ones(radius.shape), radius == 0, metric=metric)[shell] / radius[shell]
    assert ratio.mean() == pytest.approx(mean, abs=1e-3)
    assert ratio.max() == pytest.approx(most, abs=1e-3)
    assert ratio.min() >= 1 - 1e-6


def test_free_space_around_a_point_of_oblong_voxels() -> None:
    place = (np.indices((41, 81, 81)) - np.array([20, 40, 40])[:, None, None, None]) * np.array(
        [2, 1, 1]
    )[:, None, None, None]
    radius = np.sqrt((place**2).sum(0))
    shell = (radius >= 10) & (radius <= 40)
    ratio = distance(np.ones(radius.shape), radius == 0, (2, 1, 1))[shell] / radius[shell]
    assert ratio.mean() == pytest.approx(1.02, abs=0.01)
    assert 0.999 < ratio.min() < ratio.max() < 1.12


def test_the_shadow_of_a_knife_edge() -> None:
    region = np.ones((96, 96, 9), np.uint8)
    region[20, :48] = 0
    z, y, _ = np.indices(region.shape)
    shadow = (z > 24) & (y > 4) & (y < 44)
    exact = 20 + np.hypot(48 - y, z - 20)[shadow]
    ratio = distance(region, first_plane(region))[shadow] / exact
    assert ratio.mean() == pytest.approx(1.0023, abs=2e-4)
    assert 1 < ratio.min() < ratio.max() < 1.0125
    graph = distance(region, first_plane(region), metric="graph26")[shadow] / exact
    assert graph.mean() == pytest.approx(1.042, abs=1e-3)


@pytest.mark.parametrize(("slope", "within"), [(0.25, 2e-3), (0.5, 2e-3), (1.0, 6e-3)])
def test_a_slanted_slit(slope: float, within: float) -> None:
    planes, width = 200, 7
    region = np.zeros((planes, int(slope * planes) + width + 4, 7), np.uint8)
    for z in range(planes):
        region[z, round(slope * z) : round(slope * z) + width] = 1
    last = distance(region, first_plane(region))[-1]
    beside = np.maximum(np.arange(region.shape[1]) - (width - 1), 0)[:, None]
    exact = np.where(np.isnan(last), np.nan, np.hypot(planes - 1, beside))
    assert np.nanmean(last) / np.nanmean(exact) == pytest.approx(1, abs=within)


def test_round_a_cylinder() -> None:
    # A plane wave, a tangent, an arc, a tangent.
    radius, centre, behind = 30, 45, 60
    region = np.ones((140, 181, 3), np.uint8)
    z, y, _ = np.indices(region.shape)
    region[np.hypot(z - centre, y - 90) < radius] = 0
    arc = math.pi / 2 - math.acos(radius / behind)
    exact = centre + radius * arc + math.sqrt(behind**2 - radius**2)
    found = distance(region, first_plane(region))
    assert found[centre + behind, 90, 1] == pytest.approx(exact, rel=0.01)
    np.testing.assert_array_equal(found[:, :90], found[:, :90:-1])


def spiral(fine: int) -> float:
    """Distance along an Archimedean channel of two turns, 8 wide, by so many voxels per unit length."""
    y, x = (np.indices((120 * fine + 1,) * 2) - 60 * fine) / fine
    turn, radius = np.arctan2(y, x) % (2 * np.pi) / (2 * np.pi), np.hypot(y, x)
    inner = 14 + 12 * turn
    channel = ((radius >= inner) & (radius < inner + 8)) | (
        (radius >= inner + 12) & (radius < inner + 20)
    )
    region = np.asarray(channel[None], np.uint8)
    seeds = region * ((y == 0) & (x >= 14) & (x < 22))
    return float(np.nanmin(distance(region, seeds, (1 / fine,) * 3)[0, 60 * fine - 1, 98 * fine :]))


def test_along_a_spiral() -> None:
    # The shortest way clings to the inner wall, r = 14 + 12 per turn; its steps cost in proportion
    # to the voxel.
    angle = np.linspace(0, 4 * np.pi, 20001)
    exact = np.mean(np.hypot(14 + 12 * angle / (2 * np.pi), 12 / (2 * np.pi))) * 4 * np.pi
    found = [spiral(fine) for fine in (1, 2, 4)]
    np.testing.assert_allclose(found, exact * np.array([1.059, 1.033, 1.018]), rtol=1e-3)
    assert 2 * found[2] - found[1] == pytest.approx(exact, rel=4e-3)


@cache
def blobs(edge: int = 128, sigma: float = 4.0) -> Labels:
    """Smoothed noise, 42 % pore (1), periodic."""
    white = np.random.default_rng(20240).standard_normal((edge, edge, edge), dtype=np.float32)
    smooth = ndi.gaussian_filter(white, sigma, mode="wrap")
    return np.asarray(smooth < np.quantile(smooth, 0.42), np.uint8)


def along(region: Labels, metric: str) -> Tortuosity:
    """From plane 0, first order for ``arrival``."""
    if metric == "arrival":
        units = np.full(tuple(n + 2 for n in region.shape), UNREACHED, np.uint32)
        units[1][np.pad(region[0], 1) > 0] = 0
        arrive(units, np.pad(region, 1), (1, 1, 1))
        units = units[1:-1, 1:-1, 1:-1]
    else:
        lengths = distance(region, first_plane(region), metric=metric).astype(np.float64)
        units = np.where(np.isnan(lengths), UNREACHED, np.nan_to_num(lengths) * UNIT).astype(
            np.uint32
        )
    return tortuosity(*plane_sums(units, region, 0), (1, 1, 1), 0)


@pytest.mark.parametrize(
    ("metric", "value", "reached"),
    [("eikonal", 1.0670, 0.999616), ("arrival", 1.0842, 0.999616), ("graph26", 1.1134, 0.999616)],
)
def test_smoothed_noise_as_other_codes_have_it(metric: str, value: float, reached: float) -> None:
    found = along(blobs(), metric)
    assert found.last_quarter == pytest.approx(value, abs=1.5e-4)
    assert found.reached == pytest.approx(reached, abs=5e-7)
    if metric == "eikonal":
        assert found.last_plane == pytest.approx(1.0636, abs=1.5e-4)
        assert found.all_planes == pytest.approx(1.0749, abs=2e-4)


def test_oblong_voxels_see_the_same_pores() -> None:
    # Every second plane left out: the tortuosity of the same geometry, known half as well along z.
    full, thinned = blobs()[:, :64, :64], blobs()[::2, :64, :64]
    lengths = distance(thinned, first_plane(thinned), (2, 1, 1))
    mean = np.mean([np.nanmean(lengths[z]) / (2 * z) for z in range(48, 64)])
    assert mean == pytest.approx(along(full, "eikonal").last_quarter, rel=0.01)


@pytest.mark.slow
@pytest.mark.parametrize(("phase", "limit"), [(1, 1.049), (0, 1.0165)])
def test_two_resolutions_tell_the_limit(phase: int, limit: float) -> None:
    fine = np.asarray(blobs(256, 8.0) == phase, np.uint8)
    found = [
        along(np.ascontiguousarray(fine[::n, ::n, ::n]), "eikonal").last_quarter for n in (1, 2, 4)
    ]
    order = math.log2((found[2] - found[1]) / (found[1] - found[0]))
    assert 1.2 < order < 1.6
    assert 2 * found[0] - found[1] == pytest.approx(limit, abs=5e-4)
    assert abs(2 * found[1] - found[2] - limit) < abs(found[0] - limit) < abs(found[1] - limit)


@pytest.mark.slow
def test_smoothed_noise_of_256() -> None:
    assert along(blobs(256), "eikonal").last_quarter == pytest.approx(1.0465, abs=1.5e-4)
    assert along(blobs(256), "graph26").last_quarter == pytest.approx(1.0993, abs=1.5e-4)
