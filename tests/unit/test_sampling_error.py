"""The standard error of one volume is the standard deviation between volumes of the same material."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage as ndi

from tim3d.kernels.statistics.sampling_error import parts_error, slabs_error

EDGE, SIGMA, REALISATIONS = 36, 1.5, 60


@pytest.fixture(scope="module")
def volumes() -> NDArray[np.bool_]:
    """Cut out of larger fields, so that opposite faces know nothing of each other."""
    rng, rim = np.random.default_rng(0), 6
    noise = rng.standard_normal((REALISATIONS, *[EDGE + 2 * rim] * 3), dtype=np.float32)
    inner = (slice(None), *[slice(rim, -rim)] * 3)
    return np.stack([ndi.gaussian_filter(one, SIGMA) for one in noise])[inner] < -0.02


def _slabs(volume: NDArray[np.bool_]) -> float:
    return float(slabs_error([volume.mean(axes) for axes in ((1, 2), (0, 2), (0, 1))]))


def _parts(volume: NDArray[np.bool_]) -> float:
    half = EDGE // 2
    values = volume.reshape(2, half, 2, half, 2, half).mean(axis=(1, 3, 5)).ravel()
    return float(parts_error(values, np.ones(8)))


@pytest.mark.parametrize("estimate", [_slabs, _parts])
def test_the_error_is_what_other_volumes_differ_by(volumes, estimate) -> None:
    between = volumes.mean(axis=(1, 2, 3)).std(ddof=1)
    within = np.sqrt(np.mean([estimate(one) ** 2 for one in volumes]))
    # 60 volumes tell the deviation between them to 9 %; 24 correlation lengths lower it by some %.
    assert within / between == pytest.approx(1, abs=0.25)


def test_two_standard_errors_hold_the_truth_19_times_of_20(volumes: NDArray[np.bool_]) -> None:
    truth = volumes.mean()
    held = [abs(one.mean() - truth) < 2.26 * _slabs(one) for one in volumes]  # t, 9 d.o.f.
    assert np.mean(held) > 0.85


def test_unequal_parts_count_by_their_volume() -> None:
    rng = np.random.default_rng(1)
    sizes = rng.integers(50, 500, (400, 12))
    means = [[rng.normal(0, n**-0.5) for n in row] for row in sizes]
    errors = np.array([parts_error(m, n) for m, n in zip(means, sizes, strict=True)])
    assert np.mean(errors**2 * sizes.sum(axis=1)) == pytest.approx(1, abs=0.1)


def test_too_few_parts_and_planes_say_nothing() -> None:
    assert np.isnan(parts_error([1.0] * 7, [1.0] * 7))
    assert np.isnan(slabs_error([np.arange(17.0), np.ones(3), np.ones(3)]))
    assert np.isfinite(slabs_error([np.arange(18.0), np.ones(3), np.ones(3)]))
    assert slabs_error([np.random.default_rng(0).random((20, 2))] * 3).shape == (2,)
