"""Objects that a map separates are those of its definition, and the same for any blocks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from skimage.morphology import local_maxima, reconstruction

import tim3d
from tests.examples import costly
from tests.property.test_distance import QUIET, SHAPES, WHOLE, Spacing
from tests.property.test_particles import by_hand
from tim3d.errors import ArgumentError, InputError
from tim3d.grid import Box, Triple
from tim3d.kernels.morphology.basins import positive
from tim3d.kernels.morphology.joined_basins import basins_of_volume
from tim3d.storage import store

TWO = tim3d.Phases(matrix=0, grain=1)
DEPTHS = st.sampled_from([1, 2, 5])


def heights(shape: Triple, seed: int, most: int = 12) -> np.ndarray:
    """Small whole numbers: many plateaus, and many equally high tops."""
    return np.random.default_rng(seed).integers(0, most, shape).astype(np.uint8)


@costly
@given(SHAPES, WHOLE, DEPTHS, st.integers(0, 99))
def test_objects_are_those_of_the_definition(
    shape: Triple, spacing: Spacing, depth: int, seed: int
) -> None:
    radii = positive(heights(shape, seed)) * (heights(shape, seed + 100) > 4)
    found = basins_of_volume(radii, 1.0, spacing, depth)
    assert np.array_equal(found, by_hand(radii, 1.0, spacing, depth))


@given(SHAPES, DEPTHS, st.integers(0, 99))
def test_there_are_as_many_objects_as_maxima_of_that_height(
    shape: Triple, depth: int, seed: int
) -> None:
    values = heights(shape, seed)
    # A lower voxel around: else the only maximum of a flat map is not one.
    framed = np.pad(values.astype(np.int16) + depth, 1)
    cube = np.ones((3, 3, 3))
    # Whole numbers: tops that are at least as high as the depth are higher than one less.
    shaved = reconstruction(np.maximum(framed - (depth - 1), 0), framed, footprint=cube)
    _, count = ndimage.label(local_maxima(shaved, connectivity=3), cube)
    found = basins_of_volume(positive(values), 1.0, (1, 1, 1), depth)
    assert found.max() == count


def made(folder: Path, name: str, shard: Triple, **fields: np.ndarray) -> str:
    """A sample with the given fields; uint8 ones that are called phase are labels."""
    sample = str(folder / name)
    for field, values in fields.items():
        np.save(folder / f"{field}.npy", values)
        phases = TWO if field == "phase" else None
        tim3d.ingest(
            folder / f"{field}.npy", sample, voxel_size={"z": 20, "y": 5, "x": 5}, field=field, phases=phases,
            shard=shard, options=QUIET,
        )  # fmt: skip
    return sample


@pytest.mark.long
@pytest.mark.parametrize(
    ("boundary", "depth"),
    [pytest.param(False, 3.0, marks=pytest.mark.long), (True, 2.0)],
    ids=["heights", "less a boundary"],
)
def test_stored_blocks_change_nothing(tmp_path: Path, boundary: bool, depth: float) -> None:
    shape = (5, 8, 21)
    values, labels = heights(shape, 1), (heights(shape, 2) > 3).astype(np.uint8)
    between = heights(shape, 3, 6)
    radii = positive(values, between if boundary else None) * (labels == 1)
    expected = by_hand(radii, 1.0, (20.0, 5.0, 5.0), depth)
    how: dict[str, Any] = {"boundary": "edge"} if boundary else {}
    for name, shard in (("whole", shape), ("cut", (2, 3, 10)), ("slices", (1, 8, 21))):
        sample = made(tmp_path, name, shard, phase=labels, middle=values, edge=between)
        few = tim3d.Options(progress=False, block=shard)
        found = tim3d.watershed(sample, "middle", depth=depth, phase="grain", options=few, **how)
        assert np.array_equal(found.values, expected)
        rest = "edge" if boundary else ""
        wanted = f"middle_watershed_depth={depth:g},phase=grain" + (
            f",boundary={rest}" if rest else ""
        )
        assert wanted in store.fields(sample)
        assert not [n for n in store.nodes(sample) if "lookup" in n]


def test_a_wrong_map_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    shape = (3, 4, 5)
    labels, values = np.ones(shape, np.uint8), np.ones(shape, np.float32)
    sample = made(tmp_path, "a", shape, phase=labels, middle=values, edge=labels * 3)
    before = store.nodes(sample)
    ask: dict[str, Any] = {"phase": "grain", "depth": 1.0}
    refused: list[tuple[dict[str, Any], str]] = [
        ({"depth": None}, "for example --depth 20"),
        ({"depth": 0.0}, "depth is 0.0"),
        ({"phase": ""}, "Give --phase, one of matrix, grain"),
        ({"phase": "metal"}, "has no phase metal"),
        ({"heights": "phase"}, "holds labels"),
        ({"boundary": "edge"}, "--boundary needs both of the same type"),
        ({"boundary": "middle"}, "a map of uint8, uint16 is needed"),
    ]
    for change, message in refused:
        with pytest.raises(ArgumentError, match=message):
            tim3d.watershed(sample, **{"heights": "middle", **ask, **change}, options=QUIET)
    assert store.nodes(sample) == before
    torn = values.copy()
    torn[1, 2, 3] = np.nan
    store.write_block(sample, "middle", Box.whole(shape), torn)
    with pytest.raises(InputError, match="not finite"):
        tim3d.watershed(sample, "middle", **ask, options=QUIET)


@dataclass(frozen=True)
class Heights(tim3d.Segmenter):
    """Grey values as heights; whatever is not black is a grain."""

    depth: float = 3.0
    kind: ClassVar[str] = "heights"
    classes = ("matrix", "grain")
    halo: Triple = (0, 0, 0)

    @property
    def maps(self) -> tuple[tim3d.Map, ...]:  # type: ignore[override]
        return (
            tim3d.Map(
                "grains", "number of the grain", dtype="uint8", joined="basins", of="grain", depth=self.depth
            ),
        )  # fmt: skip

    def open(self) -> Callable[..., Mapping[str, np.ndarray]]:
        return self.look

    def look(self, grey: np.ndarray, place: Box) -> Mapping[str, np.ndarray]:
        return {"labels": (grey > 0).astype(np.uint8), "grains": grey}


@pytest.mark.long
def test_a_segmenter_may_give_heights_of_which_objects_are_the_basins(tmp_path: Path) -> None:
    shape = (4, 7, 18)
    grey = heights(shape, 5)
    expected = by_hand(positive(grey) * (grey > 0), 1.0, (20.0, 5.0, 5.0), 3)
    for name, shard in (("whole", shape), ("cut", (2, 3, 6))):
        sample = made(tmp_path, name, shard, raw=grey)
        few = tim3d.Options(progress=False, block=shard)
        plan = tim3d.segment.plan(sample, segmenter=Heights(), options=few)
        assert "phase_grains/s0" in [one.name for one in plan]
        tim3d.segment(sample, segmenter=Heights(), options=few)
        assert np.array_equal(tim3d.open_field(sample, "phase_grains").values, expected)
        assert np.array_equal(tim3d.open_field(sample, "phase_grains_heights").values, grey)
        assert tim3d.open_field(sample, "phase_grains").attrs["long_name"] == "number of the grain"
        assert tim3d.segment.plan(sample, segmenter=Heights(), options=few) == []
    with pytest.raises(ArgumentError, match="above 0, and finite"):
        tim3d.segment(sample, segmenter=Heights(depth=0.0), out="b", options=QUIET)
