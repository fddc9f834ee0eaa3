"""Laws of the block grid: what it counts, and its order."""

from __future__ import annotations

import itertools
import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tim3d.grid import Box, Grid, morton_key, triple

edges = st.tuples(*[st.integers(1, 40)] * 3)


@given(shape=edges, block=edges, halo=st.tuples(*[st.integers(0, 50)] * 3), data=st.data())
def test_voxels_are_those_of_the_blocks(
    shape: tuple[int, ...], block: tuple[int, ...], halo: tuple[int, ...], data: st.DataObject
) -> None:
    grid = Grid(shape, tuple(max(b, n // 4) for b, n in zip(block, shape, strict=True)), halo)  # type: ignore[arg-type]
    some = data.draw(st.lists(st.sampled_from(grid.indices()), unique=True))
    blocks = [grid.block_at(index) for index in some]
    assert grid.voxels(some) == (sum(b.core.size for b in blocks), sum(b.read.size for b in blocks))
    assert grid.voxels(grid.indices())[0] == math.prod(shape)


@given(st.tuples(*[st.integers(0, 2**20)] * 3))
def test_the_key_interleaves_the_digits_of_the_place(index: tuple[int, int, int]) -> None:
    digits = zip(*(f"{number:021b}" for number in index), strict=True)
    assert morton_key(index) == int("".join("".join(d) for d in digits), 2)


def inside(box: Box) -> set[tuple[int, ...]]:
    return set(itertools.product(*(range(a, b) for a, b in zip(box.start, box.stop, strict=True))))


starts = st.tuples(*[st.integers(-4, 8)] * 3)
lengths = st.tuples(*[st.integers(0, 5)] * 3)


@given(starts, lengths, starts, lengths)
def test_what_is_common_to_two_boxes_is_their_common_voxels(
    first: tuple[int, int, int],
    edges: tuple[int, int, int],
    second: tuple[int, int, int],
    others: tuple[int, int, int],
) -> None:
    """Boxes that do not meet have none: no edge of what is common is negative."""
    one, other = (
        Box(start, triple(np.add(start, shape)))
        for start, shape in ((first, edges), (second, others))
    )
    common = one.clip(other)
    assert inside(common) == inside(one) & inside(other)
    assert min(common.shape) >= 0
    assert common.size == len(inside(common))
