"""Any region and any windows: cells of cut and of whole blocks add up to one count of the box, bit for bit."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.property.test_partials import PARTIALS, fields
from tim3d.descriptors.base import Material, evaluate, largest_halo
from tim3d.descriptors.inputs import Input
from tim3d.errors import ArgumentError
from tim3d.grid import Box, Grid, Triple, triple
from tim3d.phases import Phases
from tim3d.stages.measurement.cell_sums import CellSums
from tim3d.stages.measurement.windows import (
    Cells,
    CutBlocks,
    Lattice,
    block_faces,
    cells_of,
    lattice_of,
    volumes_of,
    whole_blocks,
)
from tim3d.stages.shared.region import Ruler

MATERIAL = Material(Phases(pore=0, solid=1), (3.0, 1.0, 0.5))
edges = st.tuples(*[st.integers(1, 9)] * 3)


@st.composite
def lattices(draw: st.DrawFn, shape: Triple) -> Lattice:
    """Windows of one size along each axis, apart, side by side or overlapping."""
    spans = []
    for n in shape:
        size, step = draw(st.integers(1, n)), draw(st.integers(1, 4))
        first = draw(st.integers(0, n - size))
        many = draw(st.integers(1, 3))
        starts = [first + step * i for i in range(many) if first + step * i + size <= n]
        spans.append(tuple((a, a + size) for a in starts))
    return Lattice((spans[0], spans[1], spans[2]), ("z", "y", "x"))


def counted(box: Box, voxels: dict[Input, np.ndarray], shape: Triple) -> dict[str, np.ndarray]:
    """Partials of a box, from no more than itself and its halo."""
    read = box.grow(largest_halo(PARTIALS)).clip(Box.whole(shape))
    inside = {i: v[read.slices] for i, v in voxels.items()}
    return evaluate(PARTIALS, inside, box.within(read), MATERIAL)


@given(data=st.data(), shape=edges, block=edges, seed=st.integers(0, 99))
def test_cells_of_any_windows_add_up_to_each_window(
    data: st.DataObject, shape: Triple, block: Triple, seed: int
) -> None:
    lattice, voxels = data.draw(lattices(shape)), fields(shape, seed)
    grid = Grid(shape, block, largest_halo(PARTIALS))
    cells = cells_of(lattice, block_faces(lattice.hull, grid) if seed % 2 else ((), (), ()))
    cut = CutBlocks.of(grid, cells)
    sums = CellSums.zeros(PARTIALS, cells, shape, MATERIAL)
    for index in cut.indices():
        for place, box in cut.pieces(index):
            sums.add(place, box, counted(box, voxels, shape))
    for place in map(triple, np.ndindex(cells.counts)):
        for index in np.ndindex(grid.counts):
            core = grid.block_at(triple(index)).core
            if core.clip(cells.box(place)) == core:
                sums.add(place, core, counted(core, voxels, shape))
    for window in lattice.windows:
        expected = evaluate(PARTIALS, voxels, window, MATERIAL)
        for name, total in sums.total(window).items():
            assert np.array_equal(total, expected[name]), name


@given(data=st.data(), shape=edges, block=edges)
def test_a_voxel_of_a_cell_is_in_a_whole_block_or_is_read_once(
    data: st.DataObject, shape: Triple, block: Triple
) -> None:
    lattice, grid = data.draw(lattices(shape)), Grid(shape, block, (1, 0, 2))
    cells = cells_of(lattice)
    cut, seen = CutBlocks.of(grid, cells), np.zeros(shape, int)
    for index in cut.indices():
        for place, box in cut.pieces(index):
            assert box.clip(cells.box(place)) == box
            assert box.clip(cut.block_at(index).core) == box
            seen[box.slices] += 1
    for place in np.ndindex(cells.counts):
        z, y, x = whole_blocks(cells.box(place), grid)
        for index in np.ndindex(len(z), len(y), len(x)):
            whole = triple(r.start + i for r, i in zip((z, y, x), index, strict=True))
            seen[grid.block_at(whole).core.slices] += 1
    wanted = np.zeros(shape, int)
    for window in lattice.windows:
        wanted[window.slices] = 1
    assert np.array_equal(seen, wanted)
    assert sum(volumes_of(cells)) == wanted.sum()
    core, read = cut.voxels(cut.indices())
    assert len(cut) == len(cut.indices())
    assert math.prod(shape) >= core
    assert read >= core
    for index in cut.indices():
        assert all(np.array(cut.block_at(index).core.shape) <= cut.block)


def rulers(*counts: int) -> list[Ruler]:
    return [
        Ruler(axis, n, step) for axis, n, step in zip("zyx", counts, (20.0, 5.0, 5.0), strict=True)
    ]


@given(
    st.integers(0, 9),
    st.integers(1, 20),
    st.integers(1, 9),
    st.integers(1, 7),
    st.sampled_from("zyx"),
)
def test_every_window_that_fits_is_there_and_no_other(
    start: int, length: int, edge: int, step: int, axis: str
) -> None:
    """From the first voxel of the region on, also the one that ends with the region."""
    number, rulers_ = "zyx".index(axis), rulers(40, 40, 40)
    low, high = [3, 3, 3], [8, 8, 8]
    low[number], high[number] = start, start + length
    region, size = Box(triple(low), triple(high)), rulers_[number].step
    fitting = tuple(
        (a, a + edge) for a in range(start, start + length, step) if a + edge <= start + length
    )
    if not fitting:
        with pytest.raises(ArgumentError, match="does not fit into the region"):
            lattice_of(region, rulers_, {axis: edge * size}, {axis: step * size})
        return
    found = lattice_of(region, rulers_, {axis: edge * size}, {axis: step * size})
    assert found.spans[number] == fitting
    assert found.axes == (axis,)
    for other in {0, 1, 2} - {number}:
        assert found.spans[other] == ((3, 8),)
    side_by_side = lattice_of(region, rulers_, {axis: edge * size}, None)
    assert side_by_side == lattice_of(region, rulers_, {axis: edge * size}, {axis: edge * size})


@pytest.mark.parametrize(
    ("window", "step", "left"),
    [
        (4, None, None),
        (12, None, None),
        (5, None, "z 200:240 nm"),
        (5, 2, "z 220:240 nm"),
        (4, 8, None),
        (5, 7, None),
        (5, 1, None),
    ],
)
def test_what_no_window_holds_at_the_end_of_a_region_is_said(
    window: int, step: int | None, left: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    steps = None if step is None else {"z": step * 20.0}
    lattice_of(Box.whole((12, 6, 9)), rulers(12, 6, 9), {"z": window * 20.0}, steps)
    said = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert said == ([] if left is None else [f"left out: {left}, where no window fits"])


def test_windows_fill_a_region_from_its_lowest_faces() -> None:
    region = Box((1, 0, 2), (10, 6, 9))
    found = lattice_of(region, rulers(12, 6, 9), {"z": 80.0, "x": 20.0}, {"x": 10.0})
    assert found.spans == (((1, 5), (5, 9)), ((0, 6),), ((2, 6), (4, 8)))
    assert found.axes == ("z", "x")
    assert found.hull == Box((1, 0, 2), (9, 6, 8))
    assert lattice_of(region, rulers(12, 6, 9), None, None).hull == region


@pytest.mark.parametrize(
    ("windows", "step", "says"),
    [
        ({"z": 90.0}, {}, "a window of 90 nm along z is not a number of whole voxels of 20 nm; the nearest is 80"),
        ({"z": 0.0}, {}, "a window of 0 nm along z"),
        ({"z": float("inf")}, {}, "a window of inf nm"),
        ({"z": 80.0}, {"z": 30.0}, "a step of 30 nm along z"),
        ({"z": 80.0}, {"y": 5.0}, "no axis 'y' here; there are z"),
        ({"a": 80.0}, {}, "no axis 'a' here; there are z, y, x"),
        ({"y": 35.0}, {}, "a window of 35 nm along y does not fit into the region, which has 30 nm there"),
    ],
)  # fmt: skip
def test_windows_that_are_no_whole_voxels_or_do_not_fit_are_refused(
    windows: dict[str, float], step: dict[str, float], says: str
) -> None:
    with pytest.raises(ArgumentError, match=says):
        lattice_of(Box.whole((12, 6, 9)), rulers(12, 6, 9), windows, step)


def test_a_region_of_whole_blocks_cuts_none() -> None:
    grid = Grid((13, 18, 21), (4, 8, 7), (1, 1, 1))
    cells = Cells((((4, 13),), ((0, 8),), ((7, 21),)))
    assert not len(CutBlocks.of(grid, cells))
    cut = CutBlocks.of(grid, Cells((((5, 13),), ((0, 8),), ((7, 21),))))
    assert cut.indices() == [(1, 0, 1), (1, 0, 2)]
    assert cut.block_at((1, 0, 1)).read == Box((4, 0, 6), (9, 9, 15))
