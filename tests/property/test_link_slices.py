"""Objects of slices become objects of the volume that no block, no direction and no numbering decides."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

import tim3d
from tests.property.test_distance import QUIET
from tim3d.errors import ArgumentError
from tim3d.grid import Box, Grid, Triple
from tim3d.kernels.morphology.slice_links import (
    Slices,
    added,
    by_multicut,
    by_mutual_best,
    links_of,
    objects_of,
    volume_objects,
)
from tim3d.storage import store

SHAPES = st.tuples(st.integers(1, 7), st.integers(1, 9), st.integers(1, 12))
OVERLAPS = st.sampled_from([0.2, 0.5, 0.75])


def sliced(shape: Triple, seed: int, smooth: float = 1.2) -> np.ndarray:
    """Objects of every slice, numbered slice by slice with gaps."""
    draw = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(draw.standard_normal(shape), (0.7, smooth, smooth))
    found = np.zeros(shape, np.uint32)
    for z, plane in enumerate(noise > 0):
        numbers = ndimage.label(plane)[0].astype(np.int64)
        found[z] = draw.permutation(4 * numbers.max() + 1)[numbers] * (numbers > 0) + (numbers > 0)
    return found


def table(volume: np.ndarray, block: Triple) -> Slices:
    """The table of a volume from those of its blocks."""
    shape: Triple = volume.shape  # type: ignore[assignment]
    objects, links = [], []
    for one in Grid(shape, block):
        high = min(one.core.stop[0] + 1, shape[0])
        seen = Box(one.core.start, (high, *one.core.stop[1:]))
        objects.append(objects_of(volume[one.core.slices], one.core, shape))
        links.append(links_of(volume[seen.slices], one.core.start[0]))
    return added(objects[::-1], links)


def painted(volume: np.ndarray, slices: Slices, numbers: np.ndarray) -> np.ndarray:
    out = np.zeros(volume.shape, np.uint32)
    for z, seen, number in zip(slices.z, slices.number, numbers, strict=True):
        out[z][volume[z] == seen] = number
    return out


def by_definition(volume: np.ndarray, overlap: float) -> np.ndarray:
    """Links of best partners from sets of pixels; numbers by a walk through the volume."""
    pixels = {
        (z, n): set(map(tuple, np.argwhere(plane == n).tolist()))
        for z, plane in enumerate(volume)
        for n in np.unique(plane[plane > 0]).tolist()
    }
    group = {one: one for one in pixels}

    def root(one: tuple[int, int]) -> tuple[int, int]:
        return one if group[one] == one else root(group[one])

    def best(one: tuple[int, int], z: int) -> tuple[int, int] | None:
        def share(other: tuple[int, int]) -> float:
            return len(pixels[one] & pixels[other]) / len(pixels[one] | pixels[other])

        others = [other for other in pixels if other[0] == z and share(other) >= overlap]
        return min(others, key=lambda other: (-share(other), min(pixels[other])), default=None)

    for one in pixels:
        other = best(one, one[0] + 1)
        if other and best(other, one[0]) == one:
            group[root(other)] = root(one)
    out = np.zeros(volume.shape, np.uint32)
    given_: dict[tuple[int, int], int] = {}
    for place in np.argwhere(volume).tolist():
        whole = root((place[0], int(volume[tuple(place)])))
        out[tuple(place)] = given_.setdefault(whole, len(given_) + 1)
    return out


@given(SHAPES, st.tuples(*[st.integers(1, 5)] * 3), OVERLAPS, st.integers(0, 99))
def test_linked_objects_are_those_of_the_definition_for_any_blocks(
    shape: Triple, block: Triple, overlap: float, seed: int
) -> None:
    volume = sliced(shape, seed)
    slices = table(volume, block)
    found = painted(volume, slices, volume_objects(slices, "mutual", overlap))
    assert np.array_equal(found, by_definition(volume, overlap))


@pytest.mark.parametrize("rule", ["mutual", "multicut"])
@given(shape=SHAPES, block=st.tuples(*[st.integers(1, 5)] * 3), seed=st.integers(0, 99))
def test_a_reversed_stack_has_the_same_objects(
    rule: str, shape: Triple, block: Triple, seed: int
) -> None:
    if rule == "multicut":
        pytest.importorskip("bioimage_cpp", reason="pip install 'tim3d[multicut]'")
    volume = sliced(shape, seed)
    found = []
    for one in (volume, volume[::-1]):
        slices = table(one, block)
        found.append(painted(one, slices, volume_objects(slices, rule, 0.3)))
    pairs = np.unique(np.stack([found[0].ravel(), found[1][::-1].ravel()]), axis=1)
    assert pairs.shape[1] == len(np.unique(pairs[0])) == len(np.unique(pairs[1]))


def test_a_multicut_lets_an_object_branch_and_mutual_best_does_not() -> None:
    pytest.importorskip("bioimage_cpp", reason="pip install 'tim3d[multicut]'")
    volume = np.zeros((2, 3, 10), np.uint32)
    volume[0, :, 1:9] = 5
    volume[1, :, 1:5], volume[1, :, 5:9] = 2, 3
    slices = table(volume, (2, 3, 10))
    assert slices.overlap.tolist() == [0.5, 0.5]
    assert len(np.unique(by_multicut(slices, 0.3))) == 1
    assert len(np.unique(by_multicut(slices, 0.6))) == 3
    groups = by_mutual_best(slices, 0.3)
    assert groups[0] == groups[1] != groups[2]  # of equally good ones the first


def of_micro_sam(slices: Slices) -> np.ndarray:
    """Groups by the rule of micro-sam: the share of the lower object, attractive from 0.269 on."""
    from tim3d.kernels.morphology.multicut import multicut

    shared = slices.overlap / (1 + slices.overlap)
    shared = shared * (slices.pixels[slices.lower] + slices.pixels[slices.upper])
    share = 0.998 * shared / slices.pixels[slices.lower] + 0.001
    weights = 1 + np.log(share / (1 - share))
    return multicut(len(slices.z), np.column_stack([slices.lower, slices.upper]), weights)


def test_the_rule_of_micro_sam_changes_when_the_stack_is_reversed() -> None:
    pytest.importorskip("bioimage_cpp", reason="pip install 'tim3d[multicut]'")
    volume = np.zeros((2, 5, 12), np.uint32)
    volume[0, 1:4, 1:11] = 1  # a long object below a short one, which lies within it
    volume[1, 1:4, 4:6] = 1
    counts = [
        len(np.unique(of_micro_sam(table(one, (2, 5, 12))))) for one in (volume, volume[::-1])
    ]
    assert counts == [2, 1]
    ours = [
        len(np.unique(by_mutual_best(table(one, (2, 5, 12)), 0.2)))
        for one in (volume, volume[::-1])
    ]
    assert ours == [1, 1]


@pytest.mark.long
def test_stored_blocks_change_nothing_and_the_field_renews_itself(tmp_path: Path) -> None:
    volume = sliced((6, 9, 20), 3)
    expected = by_definition(volume, 0.5)
    np.save(tmp_path / "n.npy", volume.astype(np.uint16))
    for name, shard in (("whole", (6, 9, 20)), ("cut", (2, 4, 7)), ("slices", (1, 9, 20))):
        sample = str(tmp_path / name)
        options = tim3d.Options(progress=False, block=shard)
        tim3d.ingest(
            tmp_path / "n.npy", sample, voxel_size={"z": 20, "y": 5, "x": 5}, field="n", shard=shard, options=QUIET
        )  # fmt: skip
        plan = tim3d.link_slices.plan(sample, "n", options=options)
        assert "in one process" in "\n".join(map(str, plan))
        found = tim3d.link_slices(sample, "n", options=options)
        assert np.array_equal(found.values, expected)
        assert found.attrs["objects"] == expected.max()
        assert not [n for n in store.nodes(sample) if "lookup" in n]
        assert tim3d.link_slices.plan(sample, "n", options=options) == []
    other = tim3d.link_slices(sample, "n", overlap=0.2, options=options)
    assert "n_linked_overlap=0.2" in store.fields(sample)
    assert other.attrs["objects"] < expected.max()
    np.save(tmp_path / "n.npy", volume[::-1].astype(np.uint16))
    again = tim3d.Options(progress=False, overwrite=True)
    tim3d.ingest(
        tmp_path / "n.npy", sample, voxel_size={"z": 20, "y": 5, "x": 5}, field="n", shard=shard, options=again
    )  # fmt: skip
    assert tim3d.link_slices(sample, "n", options=options).attrs["objects"] == expected.max()


def test_what_holds_no_numbers_of_objects_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "n.npy", np.zeros((2, 3, 4), np.uint8))
    np.save(tmp_path / "m.npy", np.zeros((2, 3, 4), np.uint16))
    sample = str(tmp_path / "a")
    for name in ("n", "m"):
        tim3d.ingest(
            tmp_path / f"{name}.npy", sample, voxel_size={"z": 1, "y": 1, "x": 1}, field=name, options=QUIET
        )  # fmt: skip
    with pytest.raises(ArgumentError, match="holds uint8 and not numbers of objects"):
        tim3d.link_slices(sample, "n", options=QUIET)
    with pytest.raises(ArgumentError, match="--overlap"):
        tim3d.link_slices(sample, "m", overlap=1.0, options=QUIET)
    assert not tim3d.link_slices(sample, "m", options=QUIET).values.any()
