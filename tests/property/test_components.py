"""Components of a volume cut into any blocks are those of scipy.ndimage.label, numbers and all."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.ndimage as ndi
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tim3d.errors import ArgumentError
from tim3d.grid import Grid, Triple, triple
from tim3d.kernels.morphology.components import (
    STEPS,
    Components,
    border,
    border_pairs,
    label_block,
    label_volume,
    merge,
    neighbours,
    tabulate,
)

EVERY = pytest.mark.parametrize("connectivity", [6, 18, 26])


def reference(mask: NDArray[np.bool_], connectivity: int) -> NDArray[np.int32]:
    found, _ = ndi.label(mask, ndi.generate_binary_structure(3, STEPS[connectivity]))
    return np.asarray(found, np.int32)


@st.composite
def volumes(draw: st.DrawFn) -> NDArray[np.uint8]:
    shape = draw(st.tuples(*[st.integers(1, 9)] * 3))
    rng, phases = np.random.default_rng(draw(st.integers(0, 10**6))), draw(st.integers(2, 4))
    return np.asarray(rng.integers(0, phases, shape), np.uint8)


blocks = st.tuples(*[st.integers(1, 6)] * 3)


@EVERY
@given(labels=volumes(), block=blocks)
def test_one_phase_is_numbered_as_by_scipy(
    connectivity: int, labels: NDArray[np.uint8], block: Triple
) -> None:
    for code in (0, 1):
        ids, table = label_volume(labels, [code], connectivity, block)
        np.testing.assert_array_equal(ids, reference(labels == code, connectivity))
        assert len(table) == ids.max()


@EVERY
@given(labels=volumes(), block=blocks)
def test_the_table_of_many_phases_says_what_the_volume_shows(
    connectivity: int, labels: NDArray[np.uint8], block: Triple
) -> None:
    ids, table = label_volume(labels, [0, 1, 2, 3], connectivity, block)
    assert ids.min() == 1
    assert np.array_equal(table.first, np.unique(ids, return_index=True)[1])
    assert (np.diff(table.first) > 0).all()
    assert table.voxels.tolist() == np.bincount(ids.ravel())[1:].tolist()
    assert table.code.tolist() == labels.ravel()[table.first].tolist()
    for row, box in enumerate(ndi.find_objects(ids)):
        assert [s.start for s in box] == table.start[row].tolist()
        assert [s.stop for s in box] == table.stop[row].tolist()
    for code in range(4):  # within a phase the order is scipy's
        own = np.where(labels == code, ids, 0)
        numbers = np.unique(own[own > 0])
        np.testing.assert_array_equal(
            np.where(own > 0, np.searchsorted(numbers, own) + 1, 0),
            reference(labels == code, connectivity),
        )


@EVERY
@given(labels=volumes())
def test_a_block_is_numbered_by_first_voxels(connectivity: int, labels: NDArray[np.uint8]) -> None:
    """The field is made by labelling anew: the order must be a property of the voxels, not of the library."""
    ids = label_block(labels, [0, 2, 3], connectivity)
    assert (ids == 0).tolist() == (labels == 1).tolist()
    first = np.unique(ids[ids > 0], return_index=True)
    assert first[0].tolist() == list(range(1, len(first[0]) + 1))
    assert (np.diff(first[1]) > 0).all()


@EVERY
@given(labels=volumes())
def test_contacts_are_what_lies_on_the_outer_planes(
    connectivity: int, labels: NDArray[np.uint8]
) -> None:
    ids, table = label_volume(labels, [0, 1, 2, 3], connectivity, (4, 3, 5))
    touches = table.touches(triple(labels.shape))
    for axis, side in itertools.product(range(3), (0, 1)):
        plane = np.unique(np.take(ids, -side, axis=axis))
        assert (np.flatnonzero(touches[:, axis, side]) + 1).tolist() == plane.tolist()


def spiral(edge: int) -> NDArray[np.uint8]:
    """A path of one voxel that winds inwards on every second slice and climbs at its ends."""
    slice_ = np.zeros((edge, edge), np.uint8)
    y, x, (dy, dx) = 0, 0, (0, 1)
    slice_[0, 0] = 1
    for _ in range(edge * edge):
        ahead = (
            slice_[y + 2 * dy, x + 2 * dx]
            if 0 <= y + 2 * dy < edge and 0 <= x + 2 * dx < edge
            else 0
        )
        if not (0 <= y + dy < edge and 0 <= x + dx < edge) or ahead:
            dy, dx = dx, -dy
            if (
                not (0 <= y + 2 * dy < edge and 0 <= x + 2 * dx < edge)
                or slice_[y + 2 * dy, x + 2 * dx]
            ):
                break
        y, x = y + dy, x + dx
        slice_[y, x] = 1
    volume = np.zeros((edge, edge, edge), np.uint8)
    volume[::2] = slice_
    volume[1::4, y, x] = 1
    volume[3::4, 0, 0] = 1
    return volume


@EVERY
@pytest.mark.parametrize("block", [(5, 5, 5), (1, 21, 21), (21, 2, 3), (4, 7, 21)])
def test_a_spiral_through_all_blocks_is_one(connectivity: int, block: Triple) -> None:
    volume = spiral(21)
    assert reference(volume > 0, 6).max() == 1
    assert 1500 < volume.sum() < 4000
    ids, table = label_volume(volume, [1], connectivity, block)
    assert np.array_equal(ids, volume)
    assert table.voxels.tolist() == [volume.sum()]
    assert table.touches((21, 21, 21)).all()


@pytest.mark.parametrize("step", list(itertools.product((-1, 1), repeat=3)))
@pytest.mark.parametrize(("length", "joined"), [(1, {6, 18, 26}), (2, {18, 26}), (3, {26})])
def test_contact_across_a_block_corner(step: Triple, length: int, joined: set[int]) -> None:
    """Two voxels of 8 blocks of edge 2 that share a face, an edge or only a corner."""
    place = np.array([1 if s > 0 else 2 for s in step])
    for moved in itertools.combinations(range(3), length):
        volume = np.zeros((4, 4, 4), np.uint8)
        volume[tuple(place)] = 1
        volume[tuple(place + [s if axis in moved else 0 for axis, s in enumerate(step)])] = 1
        for connectivity in (6, 18, 26):
            ids, _ = label_volume(volume, [1], connectivity, (2, 2, 2))
            assert ids.max() == (1 if connectivity in joined else 2)


@EVERY
@given(counts=st.tuples(*[st.integers(1, 4)] * 3))
def test_every_pair_of_touching_blocks_occurs_once(connectivity: int, counts: Triple) -> None:
    grid = Grid(counts, (1, 1, 1))
    found = [
        frozenset({i, triple(np.add(i, o))})
        for i in grid.indices()
        for o in neighbours(grid, i, connectivity)
    ]
    near = {
        frozenset({a, b})
        for a, b in itertools.combinations(grid.indices(), 2)
        if max(abs(np.subtract(a, b))) == 1 and abs(np.subtract(a, b)).sum() <= STEPS[connectivity]
    }
    assert len(found) == len(set(found))
    assert set(found) == near


def test_phases_do_not_join_over_a_border() -> None:
    volume = np.array([[[1, 1, 2, 2, 1]]], np.uint8)
    ids, table = label_volume(volume, [1, 2], 26, (1, 1, 2))
    assert ids.tolist() == [[[1, 1, 2, 2, 3]]]
    assert table.code.tolist() == [1, 2, 1]


def test_all_256_codes_may_be_phases() -> None:
    volume = np.arange(256, dtype=np.uint8).reshape(4, 8, 8)
    ids, table = label_volume(volume, range(256), 26, (3, 3, 3))
    assert np.array_equal(ids.ravel(), np.arange(1, 257))
    assert np.array_equal(table.code, np.arange(256))


@EVERY
def test_a_volume_without_the_phase_has_no_components(connectivity: int) -> None:
    ids, table = label_volume(np.zeros((3, 4, 5), np.uint8), [7], connectivity, (2, 2, 2))
    assert not ids.any()
    assert len(table) == 0


def test_sums_and_places_beyond_32_bits_are_exact() -> None:
    """Two neighbours of 2^40 voxels each, and a third one alone: only the tables are needed."""
    big = 2**40
    shape = (2**14, 2**14, 2**14)
    whole = Components(*(np.zeros((0, *rest), np.int64) for rest in ((), (), (), (3,), (3,))))
    tables = [
        Components(
            np.array([1], np.uint8),
            np.array([big + n]),
            np.array([big * (3 - n)]),
            start,
            start + 1,
        )
        for n, start in enumerate(np.array([[[2**13, 0, 0]], [[0, 2**13, 0]], [[0, 0, 2**13]]]))
    ]
    table, rows = merge([whole, *tables], np.array([[0, 1]]))
    assert table.voxels.tolist() == [big + 2, 2 * big + 1]
    assert table.first.tolist() == [big, 2 * big]
    assert rows.tolist() == [1, 1, 0]
    assert table.stop.tolist() == [[1, 1, 2**13 + 1], [2**13 + 1, 2**13 + 1, 1]]
    corner = tabulate(
        np.ones((1, 1, 1), np.uint32), np.ones((1, 1, 1), np.uint8), (2**14 - 1,) * 3, shape
    )
    assert corner.first.tolist() == [2**42 - 1]


def test_a_pair_is_reported_once_however_large_the_contact() -> None:
    labels = np.ones((4, 5, 6), np.uint8)
    own = border(label_block(labels, [1], 26), np.ones(1, np.uint8))
    for offset in ((0, 0, 1), (0, 1, -1), (1, 1, 1)):
        assert border_pairs(own, own, offset, 26).tolist() == [[0, 0]]


@pytest.mark.parametrize("connectivity", [4, 8, 0, 27])
def test_another_connectivity_is_refused(connectivity: int) -> None:
    with pytest.raises(ArgumentError, match=r"use 6 \(faces\), 18 \(and edges\) or 26"):
        label_block(np.zeros((2, 2, 2), np.uint8), [0], connectivity)
