"""Particles are those of a flood of the whole array, and every number is the same for any blocks."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

import tim3d
from tests.examples import costly
from tests.property.test_distance import (
    QUIET,
    SHAPES,
    THREE,
    WHOLE,
    Spacing,
    by_scipy,
    ingested,
    volume,
)
from tim3d.errors import ArgumentError, InputError, MissingFieldError
from tim3d.grid import Box, Grid, Triple
from tim3d.kernels.morphology.instances import PAIRS, RADIUS, START, STOP, UNIT, added, tally
from tim3d.kernels.morphology.joined_basins import basins_of_volume
from tim3d.kernels.morphology.surface import pair_weights
from tim3d.kernels.morphology.voxel_configurations import octant_histogram
from tim3d.storage import store

NECKS = st.sampled_from([0.0, 0.5, 0.75, 0.9, 1.0])
AROUND = [o for o in itertools.product((-1, 0, 1), repeat=3) if any(o)]


def beside(place: Triple, shape: Triple) -> list[Triple]:
    """Neighbours of a voxel that share a face, an edge or a corner."""
    found = [tuple(p + s for p, s in zip(place, step, strict=True)) for step in AROUND]
    return [f for f in found if all(0 <= p < n for p, n in zip(f, shape, strict=True))]  # type: ignore[misc]


def climbs(radii: np.ndarray, spacing: Spacing, place: Triple) -> Triple:
    """Where a voxel climbs: the steepest way up, the first of several, or along a plateau to its first voxel."""
    around = beside(place, radii.shape)  # type: ignore[arg-type]
    inverse = [
        np.float32(1 / np.linalg.norm((np.array(w) - place) * np.array(spacing))) for w in around
    ]
    rises = [(radii[w] - radii[place]) * one for w, one in zip(around, inverse, strict=True)]
    if max(rises, default=0) > 0:
        return around[int(np.argmax(rises))]
    return next((w for w in around if w < place and radii[w] == radii[place]), place)


def by_hand(radii: np.ndarray, neck: float, spacing: Spacing, depth: float = 0.0) -> np.ndarray:
    """Particles, voxel by voxel as docs/particles.md says it."""
    shape = radii.shape
    voxels = [place for place in np.ndindex(shape) if radii[place] > 0]
    best = {v: climbs(radii, spacing, v) for v in voxels}  # type: ignore[arg-type]

    def peak(place: Triple) -> Triple:
        return place if best[place] == place else peak(best[place])

    peaks = {v: peak(v) for v in voxels}
    saddles: dict[tuple[Triple, Triple], float] = {}
    for v, w in [(a, b) for a in voxels for b in beside(a, shape) if radii[b] > 0]:  # type: ignore[arg-type]
        if peaks[v] < peaks[w]:
            pair = (peaks[v], peaks[w])
            saddles[pair] = max(saddles.get(pair, 0.0), float(min(radii[v], radii[w])))
    groups = {p: {p} for p in peaks.values()}
    for (a, b), radius in sorted(saddles.items(), key=lambda one: (-one[1], one[0])):
        if groups[a] is not groups[b]:
            smaller = min(max(float(radii[p]) for p in groups[end]) for end in (a, b))
            if radius > neck * smaller - depth:
                groups[a] |= groups[b]
                for member in groups[b]:
                    groups[member] = groups[a]
    chief = {p: min(group, key=lambda q: (-radii[q], q)) for p, group in groups.items()}
    order = sorted(set(chief.values()))
    found = np.zeros(shape, np.uint32)
    for v in voxels:
        found[v] = order.index(chief[peaks[v]]) + 1
    return found


@costly
@given(SHAPES, WHOLE, NECKS, st.integers(0, 99))
def test_particles_are_those_of_the_definition(
    shape: Triple, spacing: Spacing, neck: float, seed: int
) -> None:
    labels = volume(shape, seed)
    radii = by_scipy(labels, spacing, [0])
    if (labels != 0).any():
        assert np.array_equal(basins_of_volume(radii, neck, spacing), by_hand(radii, neck, spacing))


@pytest.mark.parametrize(
    ("radii", "neck", "expected"),
    [
        # The neck is as wide as the share of the smaller ball, and a little wider than a share.
        ([4, 2, 4], 0.5, [1, 1, 2]), ([4, 2, 4], 0.49, [1, 1, 1]), ([4, 2, 3], 0.75, [1, 1, 2]),
        ([4, 3, 4], 0.75, [1, 1, 2]), ([4, 3, 4], 0.7, [1, 1, 1]), ([4, 2, 3], 0.6, [1, 1, 1]),
        # A plateau that begins before the way up leads on is a peak of its own.
        ([2, 2, 3], 1.0, [1, 2, 2]), ([2, 2, 3], 0.99, [1, 1, 1]), ([3, 2, 2], 1.0, [1, 1, 1]),
    ],
)  # fmt: skip
def test_a_neck_joins_if_it_is_wider_than_the_share_of_the_smaller_ball(
    radii: list[float], neck: float, expected: list[int]
) -> None:
    for axis in range(3):
        line = np.array(radii, np.float32).reshape([3 if a == axis else 1 for a in range(3)])
        found = basins_of_volume(line, neck)
        assert found.ravel().tolist() == by_hand(line, neck, (1, 1, 1)).ravel().tolist() == expected


@given(SHAPES, WHOLE, st.integers(0, 99))
def test_without_a_least_neck_particles_are_components(
    shape: Triple, spacing: Spacing, seed: int
) -> None:
    labels = volume(shape, seed)
    if (labels != 0).any():
        found = basins_of_volume(by_scipy(labels, spacing, [0]), 0.0, spacing)
        numbers, count = ndimage.label(labels == 0, np.ones((3, 3, 3)))
        assert len(np.unique(found * (count + 1) + numbers)) == count + (labels != 0).any()
        assert found.max() == count


def numbered(shape: Triple, seed: int) -> np.ndarray:
    """Random objects with gaps between some of them."""
    draw = np.random.default_rng(seed)
    blocks = draw.integers(0, 5, [-(-n // 3) for n in shape])
    whole = blocks.repeat(3, 0).repeat(3, 1).repeat(3, 2)
    return np.asarray(whole[tuple(map(slice, shape))] * 100003, np.uint32)


@given(SHAPES, st.tuples(*[st.integers(1, 9)] * 3), st.integers(0, 99))
def test_blocks_change_no_row(shape: Triple, block: Triple, seed: int) -> None:
    ids = numbered(shape, seed)
    radii = np.random.default_rng(seed).random(shape).astype(np.float32) + 1
    box = Box.whole(shape)
    whole = added([tally(ids, radii, box, box)])
    grid = Grid(shape, block, (1, 1, 1))
    parts = added(
        [
            tally(ids[one.read.slices].copy(), radii[one.read.slices].copy(), one.read, one.core)
            for one in grid
        ]
    )
    for name in ("ids", "rows", "pairs", "contacts"):
        assert np.array_equal(getattr(whole, name), getattr(parts, name))


@given(SHAPES, st.integers(0, 99))
def test_a_row_is_what_the_whole_array_says(shape: Triple, seed: int) -> None:
    ids = numbered(shape, seed)
    radii = np.random.default_rng(seed).random(shape).astype(np.float32) + 1
    box = Box.whole(shape)
    found = added([tally(ids, radii, box, box)])
    assert found.ids.tolist() == [n for n in np.unique(ids) if n]
    for number, row in zip(found.ids, found.rows, strict=True):
        own = ids == number
        places = np.stack(np.nonzero(own), axis=1)
        squares = places.T @ places
        assert row[0] == own.sum()
        assert row[1:4].tolist() == places.sum(axis=0).tolist()
        assert row[4:10].tolist() == [
            squares[a] for a in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))
        ]
        assert row[START:STOP].tolist() == places.min(axis=0).tolist()
        assert row[STOP:RADIUS].tolist() == (places.max(axis=0) + 1).tolist()
        assert row[RADIUS] == radii[own].max().view(np.int32)
        # The surface is that of the descriptors, in a volume that is mirrored at its border.
        octants = octant_histogram(own.astype(np.uint8), [1])
        assert np.array_equal(row[PAIRS:] / UNIT, pair_weights() @ octants / 8)


@given(SHAPES, st.integers(0, 99))
def test_contacts_are_parts_of_both_surfaces(shape: Triple, seed: int) -> None:
    ids = numbered(shape, seed)
    box = Box.whole(shape)
    found = added([tally(ids, None, box, box)])
    for number, row in zip(found.ids, found.rows, strict=True):
        shared = found.contacts[(found.first == number) | (found.second == number), :13].sum(axis=0)
        solid = octant_histogram((ids > 0).astype(np.uint8), [1])
        assert (shared <= row[PAIRS:]).all()
    free = found.rows[:, PAIRS:].sum(axis=0) - 2 * found.contacts[:, :13].sum(axis=0)
    if len(found.ids):
        assert np.array_equal(free / UNIT, pair_weights() @ solid / 8)
    for axis in range(3):
        low, high = (
            np.moveaxis(ids, axis, 0)[part].astype(np.int64) for part in (slice(-1), slice(1, None))
        )
        for a, b, row in zip(found.first, found.second, found.contacts, strict=True):
            ways = [np.sum((low == p) & (high == q)) for p, q in ((a, b), (b, a))]
            assert row[axis] == UNIT * sum(ways)
            assert row[13 + axis] == UNIT * (ways[0] - ways[1])


@pytest.mark.long
@pytest.mark.parametrize(
    ("shape", "shard", "spacing", "neck"),
    [
        ((5, 7, 20), (2, 3, 10), (20.0, 5.0, 5.0), 0.75),
        ((4, 9, 9), (4, 2, 9), (10.0, 5.2, 5.2), 0.9),
        ((3, 4, 5), (1, 2, 5), (1.0, 1.0, 1.0), 0.5),
    ],
)
def test_stored_blocks_change_nothing(
    tmp_path: Path, shape: Triple, shard: Triple, spacing: Spacing, neck: float
) -> None:
    labels = volume(shape, 4)
    found = []
    for name, edges in (("cut", shard), ("whole", shape)):
        (tmp_path / name).mkdir()
        sample = ingested(tmp_path / name, labels, spacing, shard)
        block = tuple(-(-n // s) * s for n, s in zip(edges, shard, strict=True))
        few = tim3d.Options(progress=False, block=block)  # type: ignore[arg-type]
        radii = tim3d.distance(sample, options=QUIET).values * (labels == 0)
        table = tim3d.particles(sample, phase="pore", neck=neck, substrate="x-high", options=few)
        other = "" if neck == 0.75 else f",neck={neck}"
        numbers = f"phase_instances_phase=pore{other}"
        kept = tim3d.open_field(sample, numbers).values
        assert np.array_equal(kept, by_hand(radii, neck, spacing))
        again = tim3d.particles(sample, instances=numbers, options=few)
        assert np.array_equal(again.particle_surface, table.particle_surface)
        assert not [n for n in store.nodes(sample) if "lookup" in n]
        found.append(table.drop_attrs())
    assert found[0].identical(found[1])


def test_what_holds_no_particles_is_refused_before_anything_is_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    labels = volume((4, 6, 7), 2)
    sample = ingested(tmp_path, labels, (11.0, 1.0, 1.0), (4, 6, 7))
    with pytest.raises(MissingFieldError, match="tim3d distance"):
        tim3d.particles(sample, phase="pore", options=QUIET)
    tim3d.distance(sample, options=QUIET)
    tim3d.distance(sample, phases=["solid"], out="far", options=QUIET)
    tim3d.ingest(
        tmp_path / "labels.npy", sample, voxel_size={"z": 2, "y": 1, "x": 1}, field="coarse", phases=THREE,
        other_grid=True, options=QUIET,
    )  # fmt: skip
    tim3d.label(sample, field="coarse", keep=True, component="other", options=QUIET)
    before = store.nodes(sample)
    refused: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({}, ArgumentError, "Give --phase, one of pore, solid, dirt"),
        ({"phase": "metal"}, ArgumentError, "has no phase metal"),
        ({"phase": "dirt"}, InputError, "no voxel"),
        ({"phase": "pore", "neck": 1.5}, ArgumentError, "from 0 to 1"),
        ({"phase": "pore", "distance": "far"}, ArgumentError, "no distances of 'phase' in pore"),
        ({"instances": "phase"}, ArgumentError, "does not hold numbered objects"),
        ({"instances": "other", "neck": 0.5}, ArgumentError, "--neck is for particles of a phase"),
        ({"instances": "other", "distance": "phase_distance"}, ArgumentError, "on the same grid"),
    ]
    for given_, error, message in refused:
        with pytest.raises(error, match=message):
            tim3d.particles(sample, **given_, options=QUIET)
    assert store.nodes(sample) == before
    assert "11 times as long along z" in caplog.text


def test_a_plane_has_no_border_across_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    labels = np.full((1, 9, 9), 3, np.uint8)
    labels[0, 2:5, 3:6] = 0
    sample = ingested(tmp_path, labels, (1.0, 1.0, 1.0), (1, 9, 9))
    tim3d.distance(sample, options=QUIET)
    found = tim3d.particles(sample, phase="pore", options=QUIET)
    assert found.particle_count_inside == 1
    # Three voxels find 9 - 1 - 3 places along each axis.
    assert found.particle_weight.values == pytest.approx([(9 / 5) ** 2])
    assert "is a plane (1 x 9 x 9 voxels): its particles are sections" in caplog.text
    full = tim3d.particles(sample, phase="solid", options=QUIET)
    assert full.particle_count_inside == 0
    assert np.isnan(full.particle_diameter_mean)
