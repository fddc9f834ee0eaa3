"""Instances are classed by the mean uncertainty of all of their voxels, whatever the blocks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tim3d
from tests.property.test_distance import QUIET
from tests.property.test_particles import numbered
from tim3d.errors import ArgumentError, InputError
from tim3d.grid import Triple
from tim3d.kernels.statistics.best_limit import best_limit
from tim3d.storage import store

SHAPE: Triple = (4, 9, 20)
SIZE = {"z": 20, "y": 5, "x": 5}


def sample_of(folder: Path, name: str, shard: Triple, **fields: np.ndarray) -> str:
    sample = str(folder / name)
    for field, values in fields.items():
        np.save(folder / f"{field}.npy", values)
        tim3d.ingest(
            folder / f"{field}.npy", sample, voxel_size=SIZE, field=field, shard=shard, options=QUIET
        )  # fmt: skip
    return sample


def instances(seed: int) -> np.ndarray:
    return (numbered(SHAPE, seed) // 100003 * 7 + numbered(SHAPE, seed + 1) // 100003).astype(
        np.uint16
    )


def by_definition(numbers: np.ndarray, doubt: np.ndarray, limits: list[float]) -> np.ndarray:
    classes = np.zeros(SHAPE, np.uint8)
    for number in np.unique(numbers[numbers > 0]):
        own = numbers == number
        classes[own] = 1 + sum(doubt[own].astype(float).mean() < limit for limit in limits)
    return classes


@pytest.mark.long
@pytest.mark.parametrize("limits", [pytest.param([0.4], marks=pytest.mark.long), [0.3, 0.45, 0.5]])
def test_no_block_shows_in_the_classes(tmp_path: Path, limits: list[float]) -> None:
    numbers = instances(3)
    doubt = np.random.default_rng(0).random(SHAPE).astype(np.float32) ** (1 + numbers % 3)
    expected = by_definition(numbers, doubt, limits)
    assert len(np.unique(expected)) > 2
    for name, shard in (("whole", SHAPE), ("cut", (2, 4, 7)), ("slices", (1, 9, 20))):
        sample = sample_of(tmp_path, name, shard, n=numbers, u=doubt)
        few = tim3d.Options(progress=False, block=shard)
        assert len(tim3d.confidence.plan(sample, "n", "u", limits=limits, options=few)) > 2
        found = tim3d.confidence(sample, "n", "u", limits=limits, options=few, out="c")
        assert np.array_equal(found.values, expected)
        sure = tim3d.open_field(sample, "c_sure").values
        assert np.array_equal(sure, np.where(expected == expected.max(), numbers, 0))
        each = [
            len(np.unique(numbers[(expected == n) & (numbers > 0)])) for n in range(len(limits) + 2)
        ]
        assert found.attrs["instances"] == each
        assert found.attrs["limits"] == limits
        assert tim3d.confidence.plan(sample, "n", "u", limits=limits, options=few, out="c") == []
        assert not [one for one in store.nodes(sample) if "lookup" in one]
    # Counts and sizes with and without those that are not sure, by the verb of particles.
    every = tim3d.particles(sample, instances="c_sure", options=QUIET)
    assert int(every.particle_count) == each[-1]


@given(st.integers(1, 12), st.integers(1, 9), st.integers(0, 99))
def test_the_best_limit_is_the_best_of_all(found: int, true: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    doubt = draw.integers(0, 6, found) / 6
    iou = np.where(np.arange(found) < true, draw.integers(0, 2, found) * draw.uniform(0.5, 1), 0)
    best = best_limit(doubt, iou, true)

    def quality(limit: float) -> float:
        kept = doubt < limit
        return float(2 * iou[kept].sum() / (kept.sum() + true))

    assert best.below == pytest.approx(quality(best.limit))
    assert best.of_all == pytest.approx(quality(2.0))
    assert best.below >= max(quality(limit) for limit in [*doubt, 2.0]) - 1e-12


def test_a_limit_is_found_on_true_instances_and_small_ones_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    truth = np.zeros(SHAPE, np.uint16)
    truth[:, 1:5, 1:7], truth[:, 1:5, 9:15] = 1, 2
    numbers = truth + np.uint16(4) * (truth > 0)
    numbers[:, 6:8, 3:9] = 9  # nothing is there
    numbers[0, 8, 19] = 8  # one voxel
    doubt = np.where(numbers == 9, 0.5, 0.1).astype(np.float32)
    sample = sample_of(tmp_path, "a", SHAPE, n=numbers, u=doubt, t=truth)
    with caplog.at_level("INFO", logger="tim3d"):
        found = tim3d.confidence(sample, "n", "u", truth="t", least_diameter=12.0, options=QUIET)
    assert found.attrs["limits"] == pytest.approx([0.3])
    assert found.attrs["instances"] == [1, 1, 2]
    assert "panoptic quality 0.800 of all, 1.000 below the limit 0.3" in caplog.text
    assert "n_confidence_uncertainty=u,truth=t,least_diameter=12" in store.fields(sample)


@pytest.mark.parametrize("covered", range(1, 9))
def test_only_more_than_half_of_a_true_instance_is_a_match(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, covered: int
) -> None:
    truth, numbers = np.zeros((2, *SHAPE), np.uint16)
    truth[:, 2:6, 1:9], numbers[:, 2:6, 1 : 1 + covered] = 3, 5
    doubt = np.full(SHAPE, 0.25, np.float32)
    sample = sample_of(tmp_path, "a", SHAPE, n=numbers, u=doubt, t=truth)
    with caplog.at_level("INFO", logger="tim3d"):
        tim3d.confidence(sample, "n", "u", truth="t", options=QUIET)
    quality = covered / 8 if covered > 4 else 0
    assert f"panoptic quality {quality:.3f} of all" in caplog.text


def test_what_cannot_be_judged_is_refused(tmp_path: Path) -> None:
    doubt = np.full(SHAPE, 0.1, np.float32)
    sample = sample_of(tmp_path, "a", SHAPE, n=instances(1), u=doubt, t=np.zeros(SHAPE, np.uint16))
    before = store.nodes(sample)
    refused: list[tuple[dict[str, Any], str]] = [
        ({}, "--limits 0.0125, or true instances"),
        ({"limits": [0.1], "truth": "t"}, "not both"),
        ({"limits": [0.2, 0.1]}, "do not rise"),
        ({"limits": [0.1], "instances": "u"}, "not numbers of instances"),
        ({"limits": [0.1], "least_diameter": -1.0}, "is not a length"),
    ]
    for change, message in refused:
        with pytest.raises(ArgumentError, match=message):
            tim3d.confidence(
                sample, **{"instances": "n", "uncertainty": "u", **change}, options=QUIET
            )
    assert store.nodes(sample) == before
    with pytest.raises(InputError, match="has no instance"):
        tim3d.confidence(sample, "n", "u", truth="t", options=QUIET)
