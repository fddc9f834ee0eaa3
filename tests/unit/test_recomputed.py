"""Numbers recomputed from their definitions, pair by pair and without the tricks of the package."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import xarray as xr
from scipy.special import ndtri

from tim3d.descriptors.struts import TAKEN
from tim3d.errors import InputError
from tim3d.grid import Box
from tim3d.kernels.image.slice_numbers import equal_rows
from tim3d.kernels.masks.textures import silhouette
from tim3d.kernels.morphology.planar import boundary_per_area
from tim3d.kernels.statistics.best_limit import best_limit
from tim3d.kernels.statistics.calibration import Reliability
from tim3d.kernels.statistics.importance import condition_number
from tim3d.kernels.statistics.integral_range import integral_range
from tim3d.kernels.statistics.label_residuals import Pairs, fitted_length
from tim3d.kernels.statistics.log_normal import LogNormal
from tim3d.kernels.statistics.object_agreement import Overlaps, adapted_rand_error
from tim3d.models.promptable.kept import require_same
from tim3d.models.promptable.prompting.objects import FoundObjects, Objects
from tim3d.plotting.struts import strut_figure

RANDOM = np.random.default_rng(8)


def test_errors_of_calibration_are_those_of_their_bins() -> None:
    shares = RANDOM.dirichlet((1, 1, 1), 300).T
    truth = RANDOM.integers(0, 3, 300)
    found = Reliability.of(shares, truth, bins=5)

    def error(values: np.ndarray, right: np.ndarray) -> float:
        places = [(values >= n / 5) & (values < (n + 1) / 5) for n in range(5)]
        return sum(abs(values[one].sum() - right[one].sum()) for one in places) / len(values)

    each = [error(shares[k], truth == k) for k in range(3)]
    assert found.sce == pytest.approx(sum(each) / 3)
    assert found.ece == pytest.approx(error(shares.max(axis=0), shares.argmax(axis=0) == truth))


def test_an_integral_range_is_the_sum_of_the_covariance_of_all_pairs() -> None:
    image = RANDOM.random((9, 7)) < 0.4
    centred = image - image.mean()
    sums: dict[int, float] = {}
    numbers: dict[int, int] = {}
    for v, u in itertools.product(range(-8, 9), range(-6, 7)):
        one = centred[max(v, 0) : 9 + min(v, 0), max(u, 0) : 7 + min(u, 0)]
        other = centred[max(-v, 0) : 9 + min(-v, 0), max(-u, 0) : 7 + min(-u, 0)]
        ring = round(math.hypot(v, u))
        sums[ring] = sums.get(ring, 0.0) + float((one * other).mean())
        numbers[ring] = numbers.get(ring, 0) + 1
    stop = next((n for n in range(3) if sums[n] <= 0), 3)
    within = sum(sums[n] for n in range(stop)) / image.var()
    known = 1 - sum(numbers[n] for n in range(stop)) / image.size  # the mean is that of the image
    assert integral_range(image) == pytest.approx(within / known)


def test_a_length_is_that_of_most_pairs() -> None:
    def pairs(length: float, count: int) -> Pairs:
        one = Pairs(8)
        lags = np.arange(1.0, 9.0)
        one.count[:], one.products[:] = count, count * np.exp(-((lags / length) ** 2))
        one.terms[:, 0] = count
        return one

    assert fitted_length([(pairs(3.0, 10**6), 1.0), (pairs(6.0, 10), 1.0)]) == pytest.approx(
        3, rel=1e-3
    )
    assert fitted_length([(pairs(3.0, 10), 1.0), (pairs(6.0, 10**6), 1.0)]) == pytest.approx(
        6, rel=1e-3
    )


def test_a_silhouette_leaves_out_the_point_itself() -> None:
    points, cluster = RANDOM.normal(size=(12, 3)), np.repeat([0, 1, 2], 4)
    each = []
    for n, k in enumerate(cluster):
        apart = np.linalg.norm(points - points[n], axis=1)
        own = np.flatnonzero((cluster == k) & (np.arange(12) != n))
        a, b = apart[own].mean(), min(apart[cluster == other].mean() for other in {0, 1, 2} - {k})
        each.append((b - a) / max(a, b))
    assert silhouette(points, cluster) == pytest.approx(np.mean(each))


def test_an_interval_of_a_mean_is_that_of_cox() -> None:
    """exp(m + s2/2 +- z sqrt(s2/n + s2^2 / (2 (n - 1)))), Zhou and Gao 1997, here with five values."""
    logs = np.array([0.1, 0.5, 0.2, 0.9, 0.4])
    low, high = LogNormal.of(np.exp(logs)).mean_interval(5)
    square = logs.var(ddof=1)
    wide = ndtri(0.975) * math.sqrt(square / 5 + square**2 / 8)
    middle = logs.mean() + square / 2
    assert (math.log(low), math.log(high)) == pytest.approx((middle - wide, middle + wide))


def test_rand_numbers_are_shares_of_pairs_of_voxels() -> None:
    true, found = RANDOM.integers(1, 4, 40), RANDOM.integers(0, 5, 40)
    table = np.array([(t, f, n) for (t, f), n in zip(*_counted(true, found), strict=True)])
    pairs = list(itertools.product(range(40), repeat=2))
    together = sum(true[i] == true[j] and found[i] == found[j] for i, j in pairs)
    numbers = adapted_rand_error(Overlaps.of(table))
    assert numbers["rand_precision"] == together / sum(found[i] == found[j] for i, j in pairs)
    assert numbers["rand_recall"] == together / sum(true[i] == true[j] for i, j in pairs)


def _counted(true: np.ndarray, found: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    both, counts = np.unique(np.stack([true, found], axis=1), axis=0, return_counts=True)
    return both, counts


def test_of_equally_good_limits_the_one_that_keeps_most_is_best() -> None:
    """Two objects, of which the second neither helps nor harms: 2 * 0.5 / (1 + 1) = 2 * 0.75 / (2 + 1)."""
    found = best_limit(np.array([0.1, 0.3]), np.array([0.5, 0.25]), 1)
    assert (found.below, found.of_all) == (0.5, 0.5)
    assert found.limit > 0.3


def test_a_condition_number_is_blind_to_what_is_added_to_a_column() -> None:
    x = RANDOM.normal(size=(30, 3))
    moved = x + [1000.0, -3.0, 0.0]
    standard = (x - x.mean(axis=0)) / x.std(axis=0)
    assert condition_number(moved) == pytest.approx(np.linalg.cond(standard), rel=1e-6)


def test_one_slice_that_differs_does_not_show_in_rows_that_are_equal() -> None:
    """The median of the pairs, of which two are spoilt by a slice between four that are alike."""
    same = np.arange(12).reshape(3, 4)
    other = np.where(np.arange(4) > 0, same + 1, same)
    found = equal_rows([same, same, other, same, same, same])
    assert found.tolist() == [1.0, 1.0, 1.0]
    assert equal_rows([same, other]).tolist() == [0.25, 0.25, 0.25]


@pytest.mark.parametrize("key", ["network", "image", "grey", "window", "border", "crops"])
def test_embeddings_of_another_question_are_refused(key: str) -> None:
    wanted = dict.fromkeys(("network", "image", "grey", "window", "border", "crops"), "one")
    require_same(dict(wanted), wanted, "node", "a.zarr")
    with pytest.raises(InputError, match="other"):
        require_same({**wanted, key: "two"}, wanted, "node", "a.zarr")


class Shown(FoundObjects):
    """Objects of an array."""

    def plane(self, place: Box) -> np.ndarray:
        image = np.zeros((7, 9), np.uint32)
        image[0:5, 0:7] = 3  # at the border, beyond which there is nothing of it
        return image


def test_the_point_of_an_object_is_its_middle_where_it_touches_the_border() -> None:
    shown = Shown(Objects("field", give="point"), "", "", is_numbered=True)
    (one,) = shown.marks(np.zeros((7, 9), np.uint8), Box((0, 0, 0), (1, 7, 9)))
    assert one.points.tolist()[0][1] == 2
    assert 2 <= one.points[0, 0] <= 4


@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_the_fit_of_struts_is_drawn_over_the_diameters_in_any_unit(scale: float) -> None:
    """nm, and µm for long ones: the density is 1 in all, and its mean the dashed line."""
    middle = scale * np.exp(3.0 + 0.2 * ndtri((np.arange(64) + 0.5) / 64))
    fits = {
        f"{name}_fit_{key}": ("phase", [value])
        for name in TAKEN.values()
        for key, value in {"mu": math.log(scale) + 3.0, "sigma": 0.2, "high": 30 * scale}.items()
    }
    found = xr.Dataset(
        {
            "branch_phase": ("branch", np.zeros(64, int)),
            "branch_middle": ("branch", middle),
            "branch_from": ("branch", np.full(64, -1)),
            "point_branch": ("point", np.arange(64)),
            "point_diameter": ("point", middle),
            "strut_node_share": (("phase", "meeting"), np.full((1, 13), 1 / 13)),
            **fits,
        },
        {"phase": np.array(["solid"], object), "meeting": np.arange(13)},
        {"spacing_nm": [scale, scale, scale]},
    )
    nm = 1000 if scale > 1 else 1
    for ax in strut_figure(found).axes[:2]:
        curve, mean = (line.get_xydata().T for line in ax.lines[:2])
        x, density = curve
        assert np.trapezoid(density, x) == pytest.approx(1, abs=0.02)
        expected = scale * math.exp(3.0 + 0.2**2 / 2) / nm
        assert np.trapezoid(x * density, x) == pytest.approx(expected, rel=0.02)
        assert mean[0] == pytest.approx(expected)
        bars = sum(
            patch.get_width() * patch.get_height()
            for patch in ax.patches
            if patch.get_height() != 1
        )
        assert bars == pytest.approx(1, rel=1e-6)


@pytest.mark.parametrize("pixel", [(1.0, 1.0), (2.0, 1.0), (1.0, 3.0)])
def test_the_boundary_of_a_disc_is_its_circumference_in_pixels_of_any_edges(
    pixel: tuple[float, float],
) -> None:
    dy, dx = pixel
    y, x = np.mgrid[: int(400 / dy), : int(400 / dx)]
    disc = (y * dy - 199) ** 2 + (x * dx - 199) ** 2 < 150**2
    length = boundary_per_area(disc, pixel) * disc.size * dy * dx
    assert length == pytest.approx(2 * math.pi * 150, rel=0.02)
