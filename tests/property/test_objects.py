"""Objects numbered in windows become one numbering of the volume, which no block and no direction decides."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

import tim3d
from tim3d.grid import Box, Grid, Triple
from tim3d.kernels.morphology.objects import best_pairs, compact, merge_windows
from tim3d.models.segmentation.objects import numbered_region


@dataclass(frozen=True)
class Told(tim3d.Segmenter):
    """Objects are connected and equally bright; their numbers depend on where the window lies."""

    window: Triple = (4, 5, 6)
    halo: Triple = (1, 1, 1)
    overlap: float = 0.5
    levels: int = 3
    kind: ClassVar[str] = "told"
    classes = ("dark", "bright")

    @property
    def maps(self) -> tuple[tim3d.Map, ...]:  # type: ignore[override]
        return (tim3d.Map("o", "number", dtype="uint32", joined="objects", overlap=self.overlap),)

    def open(self) -> Callable[..., Mapping[str, np.ndarray]]:
        return self.look

    def look(self, grey: np.ndarray, place: Box) -> Mapping[str, np.ndarray]:
        numbers = np.zeros(grey.shape, np.uint32)
        step = 7 + sum(place.start) % 5  # gaps, and other numbers in every window
        for level in range(1, self.levels):
            found, _ = ndimage.label(grey == level)
            numbers += ((found + numbers.max()) * step * (found > 0)).astype(np.uint32)
        return {"labels": (grey > 0).astype(np.uint8), "o": numbers}


def in_blocks(seen: Told, volume: np.ndarray, block: Triple) -> np.ndarray:
    """Numbers of the volume, made block by block."""
    shape = volume.shape
    lattice = seen.lattice(shape)  # type: ignore[arg-type]
    assert lattice is not None
    inside, parts = np.zeros(shape, np.uint32), []
    for each in Grid(shape, block):  # type: ignore[arg-type]
        box = seen.read_box(shape, each.core)  # type: ignore[arg-type]
        maps, objects = numbered_region(seen, shape, each.core, volume[box.slices], box)  # type: ignore[arg-type]
        inside[each.core.slices] = maps["o"]
        parts.append(objects["o"])
    numbers = merge_windows(lattice.counts, parts)
    out = np.zeros_like(inside)
    for index in lattice.windows(Box.whole(shape)):  # type: ignore[arg-type]
        kept = lattice.support(index).clip(Box.whole(shape)).slices  # type: ignore[arg-type]
        rows = np.concatenate([[0], numbers.number[numbers.starts[index] :]])
        out[kept] = rows[inside[kept]]
    assert numbers.objects == out.max()
    return out


def by_definition(seen: Told, volume: np.ndarray) -> np.ndarray:
    """The same from the whole volume at once: windows by padding, pairs by sets, numbers by search."""
    wide = [(p, 2 * p + n) for p, n in zip(seen.window, volume.shape, strict=True)]
    padded = np.pad(volume, wide, mode="reflect")
    step = tuple(p - 2 * h for p, h in zip(seen.window, seen.halo, strict=True))
    counts = [-(-n // s) for n, s in zip(volume.shape, step, strict=True)]
    voxels: dict[Any, dict[int, set[Triple]]] = {}
    for index in itertools.product(*map(range, counts)):
        start = tuple(k * s - h for k, s, h in zip(index, step, seen.halo, strict=True))
        cut = tuple(slice(a + p, a + 2 * p) for a, p in zip(start, seen.window, strict=True))
        place = Box(start, tuple(a + p for a, p in zip(start, seen.window, strict=True)))  # type: ignore[arg-type]
        numbers = seen.look(padded[cut], place)["o"]
        voxels[index] = {
            int(n): {tuple(np.add(v, start)) for v in np.argwhere(numbers == n)}
            for n in np.unique(numbers[numbers > 0])
        }
    group = {(i, n): (i, n) for i, some in voxels.items() for n in some}
    for index, axis in itertools.product(voxels, range(3)):
        if index[axis]:
            join(group, voxels, index, axis, seen, step, volume.shape)
    out = np.zeros(volume.shape, np.uint32)
    given: dict[Any, int] = {}
    for voxel in np.ndindex(*volume.shape):
        index = tuple(v // s for v, s in zip(voxel, step, strict=True))
        for n, some in voxels[index].items():
            if voxel in some:
                out[voxel] = given.setdefault(root(group, (index, n)), len(given) + 1)
    return out


def root(group: dict[Any, Any], one: Any) -> Any:
    while group[one] != one:
        one = group[one]
    return one


def join(
    group: dict[Any, Any], voxels: Any, index: Any, axis: int, seen: Told, step: Any, shape: Any
) -> None:
    """Join the objects of a window and of the one before it that are each other's best partners."""
    before = tuple(k - (a == axis) for a, k in enumerate(index))
    border, halo = index[axis] * step[axis], seen.halo[axis]

    def compared(some: set[Triple], upper: bool) -> set[Triple]:
        low, high = (border - halo, border + halo) if halo else (border - 1 + upper, border + upper)
        shift = tuple(upper * (halo == 0) * (a == axis) for a in range(3))
        return {
            tuple(v - s for v, s in zip(voxel, shift, strict=True))  # type: ignore[misc]
            for voxel in some
            if low <= voxel[axis] < high
            and all(0 <= v < n for v, n in zip(voxel, shape, strict=True))
        }

    one = {n: compared(some, False) for n, some in voxels[before].items()}
    two = {n: compared(some, True) for n, some in voxels[index].items()}

    def ratio(a: int, b: int) -> float:
        return len(one[a] & two[b]) / max(1, len(one[a] | two[b]))

    for a, b in itertools.product(one, two):
        mine = min(two, key=lambda n: (-ratio(a, n), n))
        theirs = min(one, key=lambda n: (-ratio(n, b), n))
        if (mine, theirs) == (b, a) and ratio(a, b) >= seen.overlap:
            group[root(group, (index, b))] = root(group, (before, a))


shapes = st.tuples(st.integers(2, 9), st.integers(2, 11), st.integers(2, 11))


@pytest.mark.long
@given(data=st.data(), shape=shapes)
def test_numbers_are_those_of_the_whole_volume_for_any_blocks(
    data: st.DataObject, shape: Triple
) -> None:
    halo = tuple(data.draw(st.integers(0, 2), label="halo") for _ in range(3))
    window = tuple(2 * h + data.draw(st.integers(1, 4), label="kept") for h in halo)
    overlap = data.draw(st.sampled_from([0.2, 0.5, 0.75]), label="overlap")
    seen = Told(window=window, halo=halo, overlap=overlap)  # type: ignore[arg-type]
    rng = np.random.default_rng(data.draw(st.integers(0, 99), label="seed"))
    coarse = rng.integers(0, 3, tuple(-(-n // 2) for n in shape))
    volume = np.kron(coarse, np.ones((2, 2, 2), int))[tuple(map(slice, shape))].astype(np.uint8)
    expected = by_definition(seen, volume)
    for _ in range(3):
        block = tuple(data.draw(st.integers(1, n), label="block") for n in shape)
        np.testing.assert_array_equal(in_blocks(seen, volume, block), expected)  # type: ignore[arg-type]


def test_with_a_halo_wide_enough_they_are_the_connected_components() -> None:
    rng = np.random.default_rng(3)
    volume = (ndimage.gaussian_filter(rng.normal(size=(20, 30, 30)), 1.5) > 0.12).astype(np.uint8)
    volume[:, 14] = 0
    seen = Told(window=(12, 12, 12), halo=(3, 3, 3), overlap=0.01, levels=2)
    found, expected = in_blocks(seen, volume, (7, 30, 11)), ndimage.label(volume)[0]
    assert expected.max() > 5
    split = [len(np.unique(found[expected == n])) for n in range(1, expected.max() + 1)]
    assert np.mean([n == 1 for n in split]) > 0.9  # a window cuts what winds in and out of it


def test_slices_linked_upwards_or_downwards_are_the_same_partition() -> None:
    rng = np.random.default_rng(0)
    volume = (ndimage.gaussian_filter(rng.normal(size=(12, 24, 24)), (2, 2, 2)) > 0.05).astype(
        np.uint8
    )
    seen = Told(window=(1, 24, 24), halo=(0, 0, 0), levels=2)
    up = in_blocks(seen, volume, (5, 24, 24))
    down = in_blocks(seen, volume[::-1].copy(), (12, 7, 24))[::-1]
    pairs = np.unique(np.stack([up.ravel(), down.ravel()]), axis=1)
    assert len(pairs.T) == len(np.unique(up)) == len(np.unique(down)) > 3


def test_equal_partners_are_chosen_by_the_lower_number() -> None:
    one = np.array([[[1, 1, 2, 2]]], np.uint32)
    two = np.array([[[3, 3, 3, 3]]], np.uint32)
    assert best_pairs(one, two, 0.5).tolist() == [[0, 2]]
    assert best_pairs(two, one, 0.5).tolist() == [[2, 0]]
    assert best_pairs(one, two, 0.51).tolist() == []


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=20))
def test_numbers_without_gaps_keep_their_order(values: list[int]) -> None:
    numbers = np.array([[values]], np.uint32)
    ids, count = compact(numbers)
    assert set(np.unique(ids[ids > 0])) == set(range(1, count + 1))
    assert (
        np.argsort(ids, axis=None, kind="stable") == np.argsort(numbers, axis=None, kind="stable")
    ).all()
    assert ((ids == 0) == (numbers == 0)).all()
