"""Two-sample tests against brute force, and their laws: nothing by chance, all of what is apart, no leak by regions."""

import numpy as np
import pytest

from tim3d.kernels.statistics.two_sample import (
    Crops,
    KernelSums,
    by_chance,
    classifier_auc,
    embedded,
    standardised,
)

pytest.importorskip("sklearn", reason="forests need scikit-learn: pip install 'tim3d[likeness]'")


def drawn(
    seed: int, shift: float = 0.0, regions: int = 8, each: int = 4, alike: float = 0.0
) -> Crops:
    """Crops of two samples of normal features; those of a region share a part of their variance."""
    random = np.random.default_rng(seed)
    region = np.repeat(np.arange(2 * regions), each)
    values = alike * random.normal(size=(2 * regions, 5))[region]
    values += np.sqrt(1 - alike**2) * random.normal(size=(len(region), 5))
    values[region < regions] += shift
    return Crops(values, region, regions)


def test_the_kernel_distance_is_that_of_all_pairs_of_different_regions() -> None:
    crops = drawn(0, regions=3, each=3)
    values, sums = standardised(crops.features), {"aa": [], "bb": [], "ab": []}
    for i, x in enumerate(values):
        for j, y in enumerate(values):
            if crops.region[i] != crops.region[j]:
                name = "".join(sorted("ab"[int(crops.region[k] >= 3)] for k in (i, j)))
                sums[name].append(np.exp(-((x - y) ** 2).sum() / 10))
    plain = np.mean(sums["aa"]) + np.mean(sums["bb"]) - 2 * np.mean(sums["ab"])
    found = KernelSums.of(crops).distance(np.arange(6) < 3)
    assert found == pytest.approx(plain, rel=1e-12)


@pytest.mark.parametrize("alike", [0.0, 0.9])
def test_the_kernel_distance_of_one_law_is_0_in_the_mean(alike: float) -> None:
    own = np.arange(16) < 8
    found = [KernelSums.of(drawn(seed, alike=alike)).distance(own) for seed in range(200)]
    assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(200)


def test_relabelled_regions_reject_one_law_as_often_as_they_say() -> None:
    values = [
        by_chance(KernelSums.of(drawn(seed, alike=0.9)).distance, 8, 8, 39, seed)[1].p_value
        for seed in range(120)
    ]
    assert np.mean(np.array(values) <= 0.1) == pytest.approx(0.1, abs=0.085)
    apart = by_chance(KernelSums.of(drawn(0, shift=1.0)).distance, 8, 8, 199, 0)
    assert apart[1].p_value == 0.005


def test_what_has_no_value_has_no_chance() -> None:
    found, chance = by_chance(lambda own: np.nan, 4, 4, 20, 0)
    assert np.isnan([found, chance.mean, chance.p_value]).all()


@pytest.mark.long
def test_a_classifier_finds_half_of_one_law_within_its_deviation_by_chance() -> None:
    areas = [classifier_auc(drawn(seed, alike=0.95), seed) for seed in range(5)]
    away = np.array([(one.area - 0.5) / one.chance_deviation for one in areas])
    # Crops that share most of their variance leak nothing: whole regions are tested.
    assert abs(away.mean()) < 3 / np.sqrt(5)
    assert away.std() < 1.5


@pytest.mark.long
def test_a_classifier_tells_apart_what_is_apart() -> None:
    found = classifier_auc(drawn(1, shift=20.0), 0)
    assert (found.area, found.error) == (1.0, 0.0)
    # Four folds of two regions of each sample: 5 / 48 each.
    assert found.chance_deviation == pytest.approx(np.sqrt(5 / 48 / 4))


@pytest.mark.long
def test_the_standard_error_is_that_of_regions_not_of_crops() -> None:
    one = drawn(2, shift=0.5, each=1, regions=12)
    many = Crops(np.repeat(one.features, 6, 0), np.repeat(one.region, 6), one.first)
    # Copies within regions add nothing: the error stays that of the regions.
    single, copied = classifier_auc(one, 0), classifier_auc(many, 0)
    assert copied.error > 0.5 * single.error
    assert copied.chance_deviation == pytest.approx(single.chance_deviation)


def test_a_picture_follows_from_its_seed() -> None:
    values = standardised(drawn(3).features)[:24]
    found = embedded(values, 1)
    assert found.shape == (24, 2)
    assert np.array_equal(found, embedded(values, 1))


@pytest.mark.parametrize("regions", [2, 4, 8, 12])
def test_the_deviation_by_chance_is_that_of_mann_and_whitney_over_equal_folds(regions: int) -> None:
    """In each fold as many regions of both samples; the mean of independent folds."""
    found = classifier_auc(drawn(0, regions=regions), 0)
    folds = min(4, regions)
    each = regions // folds
    variance = (2 * each + 1) / (12 * each * each)
    assert found.chance_deviation == pytest.approx(np.sqrt(variance / folds))
