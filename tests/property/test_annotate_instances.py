"""Borders of instances are what is near another one, and a watershed finds the instances again."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tim3d
from tests.property.test_distance import QUIET, WHOLE, Spacing
from tests.property.test_particles import numbered
from tim3d.errors import ArgumentError
from tim3d.grid import Grid, Triple
from tim3d.kernels.morphology.instance_borders import classes_of, halo_of, offsets_within


def by_definition(numbers: np.ndarray, width: float, spacing: Spacing) -> np.ndarray:
    out = np.zeros(numbers.shape, np.uint8)
    places = list(np.ndindex(numbers.shape))
    for one in places:
        if not numbers[one]:
            continue
        near = [
            other for other in places
            if numbers[other] != numbers[one]
            and (
                np.abs(np.subtract(one, other)).sum() == 1
                or (np.subtract(one, other) ** 2 * np.square(spacing)).sum() <= width**2
            )
        ]  # fmt: skip
        out[one] = 2 if near else 1
    return out


@given(
    st.tuples(st.integers(1, 4), st.integers(1, 6), st.integers(1, 8)), st.tuples(*[st.integers(1, 5)] * 3),
    WHOLE, st.sampled_from([0.5, 2.0, 3.0]), st.integers(0, 99),
)  # fmt: skip
def test_borders_are_those_of_the_definition_for_any_blocks(
    shape: Triple, block: Triple, spacing: Spacing, width: float, seed: int
) -> None:
    numbers = numbered(shape, seed)
    offsets = offsets_within(width, spacing)
    found = np.zeros(shape, np.uint8)
    for one in Grid(shape, block, halo_of(offsets)):
        found[one.core.slices] = classes_of(
            numbers[one.read.slices], one.core.within(one.read), offsets
        )
    assert np.array_equal(found, by_definition(numbers, width, spacing))


@pytest.mark.long
def test_a_watershed_of_perfect_classes_finds_the_instances(tmp_path: Path) -> None:
    z, y, x = np.indices((14, 20, 40))
    truth = np.zeros(z.shape, np.uint16)
    for number, centre in enumerate(itertools.product((7,), (10,), (8, 20, 32)), 1):
        far = (z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2
        truth[far <= 36] = number
    np.save(tmp_path / "n.npy", truth)
    for name, shard in (("cut", (7, 20, 20)),):
        sample = str(tmp_path / name)
        few = tim3d.Options(progress=False, block=shard)
        tim3d.ingest(
            tmp_path / "n.npy", sample, voxel_size={"z": 5, "y": 5, "x": 5}, field="n", shard=shard, options=QUIET
        )  # fmt: skip
        classes = tim3d.annotate_instances(sample, "n", options=few).values
        assert set(np.unique(classes)) == {0, 1, 2}
        for kind, code in (("middle", 1), ("border", 2)):
            np.save(tmp_path / f"{kind}.npy", np.uint8(255) * (classes == code).astype(np.uint8))
            tim3d.ingest(
                tmp_path / f"{kind}.npy", sample, voxel_size={"z": 5, "y": 5, "x": 5}, field=kind, shard=shard,
                options=QUIET,
            )  # fmt: skip
        np.save(tmp_path / "inside.npy", (classes > 0).astype(np.uint8))
        tim3d.ingest(
            tmp_path / "inside.npy", sample, voxel_size={"z": 5, "y": 5, "x": 5}, field="phase", shard=shard,
            phases=tim3d.Phases(matrix=0, grain=1), options=QUIET,
        )  # fmt: skip
        found = tim3d.watershed(
            sample, "middle", boundary="border", depth=100.0, phase="grain", options=few
        ).values
        assert found.max() == 3
        for number in (1, 2, 3):
            own = truth == number
            best = np.bincount(found[own]).argmax()
            assert (own & (found == best)).sum() / (own | (found == best)).sum() > 0.9
    with pytest.raises(ArgumentError, match="--width"):
        tim3d.annotate_instances(sample, "n", width=-1.0, options=QUIET)
    with pytest.raises(ArgumentError, match="not numbers of instances"):
        tim3d.annotate_instances(sample, "phase", options=QUIET)
