"""Objects by votes are those of the definition, and the same for any blocks; balls are found where they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tim3d
from tests.property.test_distance import QUIET, SHAPES, Spacing
from tests.property.test_watershed import made
from tim3d.errors import ArgumentError, InputError
from tim3d.grid import Box, Grid, Triple
from tim3d.kernels.morphology.offset_votes import (
    FINE,
    PLANES,
    WHOLE,
    Voting,
    centres_in,
    numbered_by_votes,
    objects_by_votes,
    targets,
)
from tim3d.storage import store

SIZES = st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 9))
SPACINGS = st.sampled_from([(1.0, 1.0, 1.0), (20.0, 5.0, 5.0), (4.0, 1.0, 2.0)])
RADII = st.sampled_from([2.0, 7.5, 21.0])
GIVEN = st.sampled_from([PLANES[:3], PLANES[:4], PLANES])
REACH = (1, 3, 4)


def pointing(shape: Triple, seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Offsets at random, some of them beyond the reach, and the voxels of a class."""
    rng = np.random.default_rng(seed)
    planes = (
        rng.uniform(-1.2, 1.2, (count, *shape))
        * np.resize([*REACH, 1, 20], count)[:, None, None, None]
    )
    planes[3:] = np.abs(planes[3:])
    members = rng.random(shape) < 0.8
    planes[:, ~members] = np.nan
    return planes.astype(np.float32), members


def by_hand(planes: np.ndarray, members: np.ndarray, how: Voting, spacing: Spacing) -> np.ndarray:
    """The definition, voxel by voxel."""
    shape, nm = members.shape, np.array(spacing)
    aims = {}
    for place in map(tuple, np.argwhere(members)):
        offset = planes[(slice(0, 3), *place)].astype(float)
        aim = np.rint(np.array(place) + offset).astype(int)
        if (abs(offset) <= how.reach).all() and (aim >= 0).all() and (aim < shape).all():
            aims[place] = aim
    every = np.argwhere(np.ones(shape, bool))
    votes, own, margins = np.zeros((3, len(every)), int)
    for place, aim in aims.items():
        weight = WHOLE
        if "weight" in how.planes:
            weight = int(np.rint(min(max(float(planes[(3, *place)]), 0), 1) * WHOLE))
        near = ((((every - aim) * nm) ** 2).sum(1)) <= (how.radius / 2) ** 2
        votes[near] += weight
        own[(every == aim).all(1)] += weight
        if "margin" in how.planes:
            share = min(max(float(planes[(4, *place)]) / how.radius, 0), 1)
            margins[near] += weight * int(np.rint(share * FINE))
    centres = []
    for n, one in enumerate(every):
        near = np.flatnonzero((((every - one) * nm) ** 2).sum(1) <= how.radius**2)
        if votes[n] >= how.least * WHOLE and n == max(near, key=lambda k: (votes[k], own[k], -k)):
            far = (
                min(max(margins[n] // votes[n], FINE // 2), FINE)
                if "margin" in how.planes
                else FINE
            )
            centres.append((one, far * how.radius / FINE))
    found = np.zeros(shape, np.uint32)
    for place, aim in aims.items():
        away = [(((one - aim) * nm) ** 2).sum() for one, _ in centres]
        if away and away[int(np.argmin(away))] <= centres[int(np.argmin(away))][1] ** 2:
            found[place] = 1 + int(np.argmin(away))
    return found


@given(SIZES, SPACINGS, RADII, GIVEN, st.integers(1, 3), st.integers(0, 99))
def test_objects_are_those_of_the_definition(
    shape: Triple, spacing: Spacing, radius: float, given: tuple[str, ...], least: int, seed: int
) -> None:
    planes, members = pointing(shape, seed, len(given))
    how = Voting(radius, REACH, least, given)
    found = objects_by_votes(planes, members, how, spacing)
    assert np.array_equal(found, by_hand(planes, members, how, spacing))
    assert np.array_equal(np.unique(found[found > 0]), np.arange(1, found.max() + 1))  # no gap


@given(SHAPES, SPACINGS, RADII, GIVEN, st.tuples(*[st.integers(1, 9)] * 3), st.integers(0, 99))
def test_no_block_shows(
    shape: Triple, spacing: Spacing, radius: float, given: tuple[str, ...], block: Triple, seed: int
) -> None:
    planes, members = pointing(shape, seed, len(given))
    how = Voting(radius, REACH, 1, given)
    whole = objects_by_votes(planes, members, how, spacing)
    grid, volume = Grid(shape, block), Box.whole(shape)
    parts = []
    for index in grid.indices():
        core = grid.block_at(index).core
        read = core.grow(how.halo(spacing)).clip(volume)
        own = planes[(slice(None), *read.slices)]
        aims = targets(own, members[read.slices], read.start, shape, how.reach)
        parts.append(centres_in(core, aims, own, shape, how, spacing))
    place = np.concatenate([one.place for one in parts])
    margin = np.concatenate([one.margin for one in parts])
    order = np.argsort(place)
    centres = type(parts[0])(place[order], margin[order])
    for index in grid.indices():
        core = grid.block_at(index).core
        own = planes[(slice(None), *core.slices)]
        aims = targets(own, members[core.slices], core.start, shape, how.reach)
        found = numbered_by_votes(aims, centres, 1, shape, how, spacing)
        assert np.array_equal(found, whole[core.slices])


def balls(
    shape: Triple, spacing: Spacing, radius: float, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Balls of a radius in nm that touch and do not overlap, numbered; and the exact offsets to their middles."""
    rng, nm, middles = np.random.default_rng(seed), np.array(spacing), []
    for _ in range(800):
        one = np.array([rng.uniform(0, n) for n in shape]) * nm
        if all(((one - other) ** 2).sum() >= (2 * radius) ** 2 for other in middles):
            middles.append(one)
    grid = (np.indices(shape).T * nm).T
    numbers, offsets = np.zeros(shape, np.uint32), np.zeros((3, *shape), np.float32)
    for number, middle in enumerate(middles, 1):
        inside = ((grid - middle[:, None, None, None]) ** 2).sum(0) <= radius**2
        numbers[inside] = number
        aim = (middle / nm)[:, None, None, None] - np.indices(shape)
        offsets = np.where(inside, aim, offsets).astype(np.float32)
    return numbers, offsets, np.array(middles)


@pytest.mark.parametrize("spacing", [(5.0, 5.0, 5.0), (20.0, 5.0, 5.0), (5.0, 10.0, 4.0)])
@pytest.mark.parametrize("noise", [0.0, 6.0])
def test_balls_that_touch_are_told_apart_with_voxels_of_any_edges(
    spacing: Spacing, noise: float
) -> None:
    shape: Triple = tuple(int(240 / edge) for edge in spacing)  # type: ignore[assignment]
    numbers, offsets, middles = balls(shape, spacing, 25.0, 0)
    rng = np.random.default_rng(1)
    blurred = (
        offsets + rng.normal(0, 1, offsets.shape) * noise / np.array(spacing)[:, None, None, None]
    )
    how = Voting(radius=30.0, reach=tuple(int(50 / e) for e in spacing), least=5)  # type: ignore[arg-type]
    found = objects_by_votes(blurred.astype(np.float32), numbers > 0, how, spacing)
    inside = ((middles > 25) & (middles < 215)).all(axis=1)  # the middles of others may lie outside
    for number in np.flatnonzero(inside) + 1:
        own = found[numbers == number]
        most = np.bincount(own).argmax()
        assert most > 0
        assert (own == most).mean() > (0.999 if noise == 0 else 0.97)
        assert (numbers[found == most] == number).mean() > (0.999 if noise == 0 else 0.97)
    assert inside.sum() >= 5


def test_a_seed_map_silences_what_is_not_sure_and_margins_cut_what_points_far() -> None:
    x = np.arange(12.0)
    planes = np.zeros((5, 1, 1, 12), np.float32)
    planes[2, 0, 0] = np.where(x < 6, 2, 8) - x
    planes[2, 0, 0, 5] = 0.0  # points to itself, three voxels beside the middle of the first
    planes[3] = 1.0
    planes[4] = 4.0
    members = np.ones((1, 1, 12), bool)

    def objects(**how: Any) -> list[int]:
        return objects_by_votes(planes, members, Voting(3.0, (0, 0, 8), **how)).ravel().tolist()  # type: ignore[no-any-return]

    assert objects(planes=PLANES) == [1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2]
    planes[4, 0, 0, :6] = 2.0
    assert objects(planes=PLANES) == [1, 1, 1, 1, 1, 0, 2, 2, 2, 2, 2, 2]
    planes[3, 0, 0, 6:] = 0.0
    assert objects(planes=PLANES[:4]) == [1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0]
    assert objects(least=6) == [0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1]


@dataclass(frozen=True)
class Offsets(tim3d.Segmenter):
    """Grey values as offsets along x, 8 being none; whatever is not black is a grain."""

    radius: float = 12.0
    reach: Triple = (0, 0, 8)
    kind: ClassVar[str] = "offsets"
    classes = ("matrix", "grain")

    @property
    def maps(self) -> tuple[tim3d.Map, ...]:  # type: ignore[override]
        voting = Voting(self.radius, self.reach)
        return (
            tim3d.Map("grains", "number of the grain", joined="votes", of="grain", voting=voting),
        )

    def open(self) -> Callable[..., Mapping[str, np.ndarray]]:
        return self.look

    def look(self, grey: np.ndarray, place: Box) -> Mapping[str, np.ndarray]:
        along = grey.astype(np.float32) - 8
        none = np.zeros_like(along)
        return {"labels": (grey > 0).astype(np.uint8), "grains": np.stack([none, none, along])}


@pytest.mark.long
def test_a_segmenter_may_give_offsets_and_stored_blocks_change_nothing(tmp_path: Path) -> None:
    shape, spacing = (4, 7, 18), (20.0, 5.0, 5.0)
    grey = np.random.default_rng(5).integers(0, 17, shape).astype(np.uint8)
    seen = Offsets()
    planes = seen.look(grey, Box.whole(shape))["grains"]
    expected = objects_by_votes(planes, grey > 0, seen.maps[0].voting, spacing)  # type: ignore[arg-type]
    for name, shard in (("whole", shape), ("cut", (2, 3, 6)), ("slices", (1, 7, 18))):
        sample = made(tmp_path, name, shard, raw=grey)
        few = tim3d.Options(progress=False, block=shard)
        plan = tim3d.segment.plan(sample, segmenter=seen, options=few)
        names = [one.name for one in plan]
        assert names == [
            "phase/s0",
            "phase_grains_centres",
            "phase_grains/centres",
            "phase_grains/s0",
        ]
        tim3d.segment(sample, segmenter=seen, options=few)
        found = tim3d.open_field(sample, "phase_grains")
        assert np.array_equal(found.values, expected)
        assert found.attrs["long_name"] == "number of the grain"
        assert store.node_attributes(sample, "phase_grains")["counts"] == [int(expected.max())]
        kept = tim3d.open_field(sample, "phase_grains_offset_x").values
        assert np.array_equal(kept, planes[2])
        assert tim3d.segment.plan(sample, segmenter=seen, options=few) == []
        assert not [n for n in store.nodes(sample) if "lookup" in n]


@dataclass(frozen=True)
class Lost(Offsets):
    """Offsets that are no numbers."""

    def look(self, grey: np.ndarray, place: Box) -> Mapping[str, np.ndarray]:
        found = dict(super().look(grey, place))
        found["grains"] = found["grains"] * np.float32(np.nan)
        return found


def test_what_cannot_vote_is_refused(tmp_path: Path) -> None:
    grey = np.full((3, 4, 5), 9, np.uint8)
    grey[0] = 1
    sample = made(tmp_path, "a", grey.shape, raw=grey)  # type: ignore[arg-type]
    for wrong, said in (
        (Offsets(radius=0.0), "a length above 0"),
        (Offsets(reach=(0, 0, -1)), "voxels along z, y and x"),
        (changed(of="metal"), "of='CLASS', one of matrix, grain"),
        (changed(dtype="uint8"), "arrays of float32"),
        (changed(joined="voxels"), "joined='votes'"),
        (changed(voting=None), "with voting=Voting"),
        (changed(voting=Voting(5.0, (0, 0, 1), planes=("x", "y", "z"))), "z, y, x, with weight"),
    ):
        with pytest.raises(ArgumentError, match=said):
            tim3d.segment(sample, segmenter=wrong, options=QUIET)
    assert "phase" not in store.nodes(sample)
    with pytest.raises(InputError, match="not finite numbers"):
        tim3d.segment(sample, segmenter=Lost(), options=QUIET)


def changed(**of: Any) -> Offsets:
    """The segmenter with another description of its map."""
    how: dict[str, Any] = {"joined": "votes", "of": "grain", "voting": Voting(5.0, (0, 0, 8)), **of}
    return type("Changed", (Offsets,), {"maps": (tim3d.Map("grains", "number", **how),)})()  # type: ignore[no-any-return]
