"""Deviations, bootstrap, imprint, seams and the interval of one image, each against a truth that is known."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.special import ndtri

from tim3d.errors import ArgumentError, InputError
from tim3d.kernels.geodesic.geodesic import UNIT
from tim3d.kernels.statistics import comparison as law
from tim3d.kernels.statistics.integral_range import integral_range, mean_interval
from tim3d.stages.comparison.slice_tortuosity import Slices, added, tortuosities, ways

SHARE = 0.3


def cut(seed: int, width: float = 5.0, edge: int = 200) -> NDArray[np.bool_]:
    """A Gaussian field cut at the level below which a share of 0.3 is expected; not periodic."""
    noise = np.random.default_rng(seed).standard_normal((edge + 100, edge + 100))
    smooth = gaussian_filter(noise, width, mode="wrap", truncate=6)[:edge, :edge] * (
        2 * math.sqrt(math.pi) * width
    )
    return np.asarray(smooth < ndtri(SHARE))


def test_the_interval_of_one_image_holds_the_truth_as_often_as_it_says() -> None:
    images = [cut(seed) for seed in range(100)]
    held = np.mean([abs(m.mean() - SHARE) < mean_interval(m) for m in images])
    assert 0.88 <= held <= 1.0
    spread = 1.96 * np.std([m.mean() for m in images])
    assert np.mean([mean_interval(m) for m in images]) == pytest.approx(spread, rel=0.25)


def test_the_integral_range_is_an_area() -> None:
    fine = np.random.default_rng(0).random((120, 150)) < SHARE
    coarse = fine.repeat(4, 0).repeat(4, 1)
    assert integral_range(fine) == pytest.approx(1.0, rel=0.1)
    assert integral_range(coarse) == pytest.approx(16.0, rel=0.1)
    for mask in (fine, coarse):
        assert integral_range(mask) == pytest.approx(integral_range(~mask), rel=1e-9)
        assert integral_range(mask) == pytest.approx(
            integral_range(np.ascontiguousarray(mask.T)), rel=1e-9
        )
    with pytest.raises(InputError, match="all pixels are 1"):
        integral_range(np.ones((9, 9), bool))


def test_the_integral_range_of_a_small_image_is_corrected_for_its_own_mean() -> None:
    """Of alternate columns the covariance is positive at lag 0 only: one pixel of n."""
    for rows, columns in ((4, 4), (6, 10)):
        board = np.indices((rows, columns))[1] % 2 == 0
        assert integral_range(board) == pytest.approx(1 / (1 - 1 / (rows * columns)))


def values(rng: np.random.Generator, lead: tuple[int, ...] = ()) -> dict[str, NDArray[np.float64]]:
    shapes = {
        "phase_fraction": (2,),
        "two_point": (3, 2, 4),
        "lineal_path": (3, 2, 4),
        "surface": (3, 2),
    }
    return {
        k: rng.random((*lead, *shape))
        for k, shape in (shapes | {"slice_tortuosity": (3, 2, 2)}).items()
    }


def in_slices(volume: dict[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    """Micrographs that are the slices of a volume."""
    out = {"phase_fraction": np.repeat(volume["phase_fraction"][None], 3, axis=0)}
    out |= {k: law.by_slices(volume[k], 0) for k in ("two_point", "lineal_path", "surface")}
    return out | {"slice_tortuosity": volume["slice_tortuosity"]}


def test_a_volume_does_not_deviate_from_its_own_slices() -> None:
    volume = values(np.random.default_rng(0))
    for deviation in law.deviations(volume, in_slices(volume), isotropic=False).values():
        assert deviation.shape == (3, 2)
        assert np.abs(deviation).max() < 1e-12


def test_deviations_are_what_they_are_called() -> None:
    rng = np.random.default_rng(1)
    volume, other = values(rng), values(rng)
    image = in_slices(other)
    found = law.deviations(volume, image, isotropic=False)
    assert found["phase_fraction"][0] == pytest.approx(
        volume["phase_fraction"] - other["phase_fraction"]
    )
    for slices, (rows, columns) in enumerate(((1, 2), (0, 2), (0, 1))):
        errors = [
            np.abs(volume["two_point"][a] - other["two_point"][a]).mean(axis=-1)
            for a in (rows, columns)
        ]
        assert found["two_point"][slices] == pytest.approx(np.mean(errors, axis=0))
        sums = [v["surface"][rows] + v["surface"][columns] for v in (volume, other)]
        assert found["surface"][slices] == pytest.approx(sums[0] / sums[1] - 1)
    turned = {
        k: v[:, ::-1] if k in ("two_point", "lineal_path", "surface") else v
        for k, v in image.items()
    }
    isotropic = law.deviations(volume, turned, isotropic=True)
    assert isotropic["two_point"] == pytest.approx(
        law.deviations(volume, image, isotropic=True)["two_point"]
    )
    assert (isotropic["two_point"] <= found["two_point"] + 1e-12).all()


def test_many_volumes_are_judged_as_each_of_them() -> None:
    rng = np.random.default_rng(2)
    volumes, image = values(rng, (5,)), in_slices(values(rng))
    together = law.deviations(volumes, image, isotropic=True)
    for number in range(5):
        alone = law.deviations({k: v[number] for k, v in volumes.items()}, image, isotropic=True)
        assert all(np.array_equal(together[k][number], alone[k]) for k in alone)


def test_what_the_image_does_not_have_is_no_success() -> None:
    volume, image = values(np.random.default_rng(3)), in_slices(values(np.random.default_rng(4)))
    image["surface"] = np.zeros_like(image["surface"])
    assert np.isnan(law.deviations(volume, image, isotropic=True)["surface"]).all()


def test_bootstrap_intervals_hold_the_mean_and_are_the_same_for_a_seed() -> None:
    rng = np.random.default_rng(5)
    held = 0
    for _ in range(200):
        low, high = law.interval(law.resampled(rng.normal(1.0, 0.2, (16, 1)), 0, 400), 16)
        held += bool(low[0] <= 1.0 <= high[0])
    assert 170 <= held <= 198
    sample = rng.random((8, 3))
    assert np.array_equal(law.resampled(sample, 3), law.resampled(sample, 3))
    assert not np.array_equal(law.resampled(sample, 3), law.resampled(sample, 4))
    assert all(np.isnan(end).all() for end in law.interval(law.resampled(sample[:1], 0), 1))


def test_an_imprint_is_seen_and_chance_is_not() -> None:
    rng = np.random.default_rng(6)
    wave = 0.02 * np.cos(2 * np.pi * np.arange(130) / 16)
    chance = [0.3 + 0.02 * rng.standard_normal((130, 1)) for _ in range(8)]
    without, with_one = (
        law.imprint(chance, 16),
        law.imprint([p + wave[:, None] for p in chance], 16),
    )
    assert without.ratio[0] < 2
    assert with_one.ratio[0] > 4
    assert with_one.span[0] == pytest.approx(0.04, abs=0.012)
    assert with_one.error[0] == pytest.approx(0.02 / math.sqrt(8 * 130 / 16), rel=0.2)
    assert with_one.profile.shape == (16, 1)
    # Volumes of other fractions are no imprint.
    apart = [p + shift for p, shift in zip(chance, itertools.count(0.0, 0.1))]
    assert law.imprint(apart, 16).ratio[0] == pytest.approx(without.ratio[0], rel=0.2)
    for period in (1, 66):
        with pytest.raises(ArgumentError, match="fit twice into 130 voxels"):
            law.imprint([chance[0]], period)


def test_seams_are_compared_with_planes_of_the_same_residue() -> None:
    place = np.arange(1, 128)
    # Interfaces are denser where the lattice has its nodes, every 8; chunks of 32 begin there too,
    # without a seam.
    lattice = np.where(place % 8 == 0, 0.2, 0.1) + 1e-4 * np.random.default_rng(7).standard_normal(
        127
    )
    assert law.seams([lattice], 32, 8).ratio == pytest.approx(1.0, abs=0.01)
    assert law.seams([lattice], 32, None).ratio > 1.5
    torn = np.where(place % 32 == 0, 0.6, lattice)
    assert law.seams([torn], 32, 8).ratio == pytest.approx(3.0, abs=0.01)
    assert law.seams([torn, torn], 32, 8).faces == 6
    assert math.isnan(law.seams([lattice], 128, None).ratio)
    assert (
        law.seams([torn], 8, 8).faces == 15
    )  # no plane of the same residue is left: all others are taken


def test_ways_in_a_slice_are_straight_where_nothing_is_in_the_way() -> None:
    spacing = (2.0, 3.0, 5.0)
    for axis in range(3):
        shape = [12, 12, 12]
        shape[axis] = 1
        free, reached = tortuosities(
            added([ways(np.zeros(shape, np.uint8), 1, axis, spacing)]), axis, spacing
        )
        assert free == pytest.approx(1.0, abs=2 / UNIT)
        assert reached.min() == 1.0


def test_a_wall_with_a_gap_makes_the_way_longer_and_a_whole_wall_ends_it() -> None:
    slot = np.zeros((1, 24, 24), np.uint8)
    slot[0, 12, 4:] = 1
    found, _ = tortuosities(added([ways(slot, 2, 0, (1, 1, 1))]), 0, (1, 1, 1))
    assert found[0, 0] > 1.15
    assert found[1, 0] < found[0, 0]
    slot[0, 12] = 1
    found, reached = tortuosities(added([ways(slot, 2, 0, (1, 1, 1))]), 0, (1, 1, 1))
    assert math.isnan(found[0, 0])
    assert found[1, 0] == pytest.approx(1.0)
    assert reached[0, 0] == (12 + 11) / (2 * 23)


def test_sums_over_slices_are_weighted_by_their_voxels() -> None:
    slices = [np.zeros((1, 8, 8), np.uint8), np.ones((1, 8, 8), np.uint8)]
    sums = added([ways(s, 2, 0, (1, 1, 1)) for s in slices])
    assert sums["phase"][0].sum() == 2 * 2 * 64
    assert tortuosities(sums, 0, (1, 1, 1))[0] == pytest.approx(1.0)


def test_slices_lie_evenly_in_the_volume() -> None:
    boxes = [Slices((40, 20, 30), 2, 3, (10, 20)).box(n) for n in range(3)]
    assert [b.start for b in boxes] == [(15, 0, 5), (15, 0, 15), (15, 0, 25)]
    assert {b.shape for b in boxes} == {(10, 20, 1)}
