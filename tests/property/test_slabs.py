"""The flux solver shared out in slabs gives the bits of the whole volume, whatever the number of ranks."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rings import on_ranks
from tim3d.grid import triple
from tim3d.kernels.conduction import multigrid
from tim3d.kernels.conduction.conducting_clusters import keep_through
from tim3d.kernels.conduction.conduction import Conduction, Physics, conduct, conduct_slab
from tim3d.kernels.conduction.ghost_layers import Halo, Ring
from tim3d.kernels.conduction.multigrid import most_slabs, slab_cuts
from tim3d.kernels.conduction.thread_pool import Team

BORDERS = [{}, {"electrodes": "centres"}, {"sides": "periodic"}, {"cell": True}]


def in_slabs(
    labels: np.ndarray, physics: Physics, spacing: Any, ranks: int, **more: Any
) -> list[Conduction]:
    """The solution along the first axis, by rank."""
    drive, wrap = physics.drive(0, spacing), physics.wrap(labels.shape)

    def read(start: int, stop: int, out: np.ndarray) -> None:
        out[...] = labels[start:stop]

    def work(ring: Ring) -> Conduction:
        with Team(1) as team:
            return conduct_slab(read, triple(labels.shape), drive, Halo(ring, wrap), team, **more)

    return on_ranks(ranks, work)


@st.composite
def volumes(draw: st.DrawFn) -> tuple[np.ndarray, Any, int]:
    shape = draw(st.tuples(st.integers(6, 41), st.integers(1, 12), st.integers(2, 12)))
    phases = draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    spacing = draw(st.tuples(*[st.sampled_from([0.5, 1.0, 2.0, 5.0])] * 3))
    most = min(8, most_slabs((shape[0] - 2, *shape[1:]), spacing))
    return (
        rng.integers(0, phases, shape, dtype=np.uint8),
        spacing,
        draw(st.integers(1, max(1, most))),
    )


@pytest.mark.long
@given(volumes(), st.sampled_from(BORDERS), st.sampled_from([0.0, 1.0, 40.0]))
def test_slabs_change_no_bit(
    case: tuple[np.ndarray, Any, int], border: dict[str, Any], k: float
) -> None:
    labels, spacing, ranks = case
    physics = Physics({0: 1.0, 1: k, 2: 7.0}, **border)
    keep = {"keep_potential": True, "keep_flux": True, "tolerance": 1e-4}
    whole = conduct(labels, physics.conductivity, spacing=spacing, threads=1, **border, **keep)
    parts = in_slabs(labels, physics, spacing, ranks, **keep)
    for part in parts:
        assert part.conductivity == whole.conductivity
        assert part.row == whole.row
        assert (part.mean_total, part.mean_through) == (whole.mean_total, whole.mean_through)
        np.testing.assert_array_equal(part.flux, whole.flux)
    np.testing.assert_array_equal(
        np.concatenate([part.potential for part in parts]), whole.potential
    )
    if whole.percolates:
        np.testing.assert_array_equal(np.concatenate([part.size for part in parts]), whole.size)
        for name in ("voxels", "total", "squares", "dissipation", "histogram"):
            np.testing.assert_array_equal(
                getattr(parts[-1].local, name), getattr(whole.local, name)
            )


@pytest.mark.parametrize("shape", [(6, 1, 7), (6, 7, 1), (6, 1, 1), (2, 2, 2)])
def test_a_cell_of_thin_sides(shape: tuple[int, int, int]) -> None:
    """A side of one voxel is its own neighbour: the same as a mosaic of it."""
    labels = np.random.default_rng(1).integers(0, 2, shape, dtype=np.uint8)
    thick = np.tile(labels, (1, 2, 2))
    one, four = (
        conduct(v, {0: 1.0, 1: 40.0}, cell=True, tolerance=1e-8, threads=1) for v in (labels, thick)
    )
    assert one.conductivity == pytest.approx(four.conductivity, rel=1e-7)


@pytest.mark.parametrize("ranks", [2, 3, 5])
def test_levels_that_are_shared_out_twice(monkeypatch: pytest.MonkeyPatch, ranks: int) -> None:
    monkeypatch.setattr(multigrid, "SHARED", 100)
    monkeypatch.setattr(multigrid, "UNEVEN", 100)
    labels = np.random.default_rng(0).integers(0, 2, (67, 20, 21), dtype=np.uint8)
    assert len(slab_cuts((67, 20, 21), (1, 1, 1), ranks)) > 3
    for border in BORDERS[::3]:
        whole = conduct(labels, {0: 1.0, 1: 30.0}, threads=1, **border)
        parts = in_slabs(labels, Physics({0: 1.0, 1: 30.0}, **border), (1, 1, 1), ranks)
        assert all(part.conductivity == whole.conductivity for part in parts)
        np.testing.assert_array_equal(parts[0].flux, whole.flux)


def test_a_level_is_shared_out_unless_it_is_small_or_makes_slabs_thicker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def levels(edge: int) -> int:
        return len(slab_cuts((edge,) * 3, (1, 1, 1), 2)) - 1

    assert [levels(edge) for edge in (64, 128, 256, 512)] == [1, 2, 3, 4]
    # 150 planes of pairs are 75 and 75, 75 of fours are 37 and 38, 38 of eights again 19 and 19.
    assert slab_cuts((300,) * 3, (1, 1, 1), 2)[0] == [0, 152, 300]
    monkeypatch.setattr(multigrid, "UNEVEN", 0)
    assert levels(300) == 4
    assert slab_cuts((300,) * 3, (1, 1, 1), 2)[0] == [0, 144, 300]


@given(
    st.tuples(st.integers(2, 300), st.integers(1, 90), st.integers(1, 90)),
    st.tuples(*[st.sampled_from([0.5, 1.0, 2.0, 5.0])] * 3),
    st.integers(1, 8),
)
def test_no_slab_is_empty_and_no_coarse_cell_is_cut(shape: Any, spacing: Any, ranks: int) -> None:
    ranks = min(ranks, most_slabs(shape, spacing))
    steps = multigrid.coarsenings(shape, spacing)
    levels = slab_cuts(shape, spacing, ranks)
    assert levels[0][0] == 0
    assert levels[0][-1] == shape[0]
    for fine, coarse, step in zip(levels, levels[1:], steps, strict=False):
        assert all(a < b for cuts in (fine, coarse) for a, b in pairwise(cuts))
        assert all(f == min(c << step[0], fine[-1]) for f, c in zip(fine, coarse, strict=True))


@given(volumes(), st.booleans())
def test_islands_do_not_depend_on_slabs(case: tuple[np.ndarray, Any, int], wrap: bool) -> None:
    codes, _, ranks = case
    whole, parts = codes.copy(), codes.copy()
    cuts = [len(codes) * n // ranks for n in range(ranks + 1)]
    sides = (wrap, wrap, wrap)

    def work(ring: Ring) -> tuple[bool, bool, bool]:
        return keep_through(parts[cuts[ring.rank] : cuts[ring.rank + 1]], Halo(ring, sides))

    expected = on_ranks(1, lambda ring: keep_through(whole, Halo(ring, sides)))[0]
    assert on_ranks(ranks, work) == [expected] * ranks
    np.testing.assert_array_equal(parts, whole)


@given(st.tuples(*[st.integers(1, 5)] * 3), st.integers(0, 2**32 - 1))
def test_a_component_winds_if_it_reaches_its_copy(shape: tuple[int, int, int], seed: int) -> None:
    """Against a flood fill of a mosaic of many copies."""
    codes = (np.random.default_rng(seed).random(shape) < 0.6).astype(np.uint8)
    kept = codes.copy()
    axes = on_ranks(1, lambda ring: keep_through(kept, Halo(ring, (True, True, True))))[0]
    reached = _winding(codes)
    np.testing.assert_array_equal(kept > 0, reached.any(0))
    assert axes == tuple(reached.any((1, 2, 3)))


def _winding(codes: np.ndarray) -> np.ndarray:
    """Along which axes (first index) the component of each voxel winds, by walking from it through copies."""
    found = np.zeros((3, *codes.shape), bool)
    for start in zip(*np.nonzero(codes), strict=True):
        first = tuple(map(int, start))
        seen, stack = {first: (0, 0, 0)}, [(first, (0, 0, 0))]
        while stack:
            place, copy = stack.pop()
            for axis in range(3):
                for step in (-1, 1):
                    moved = place[axis] + step
                    beside = tuple(
                        moved % codes.shape[a] if a == axis else place[a] for a in range(3)
                    )
                    there = tuple(
                        copy[a] + (moved // codes.shape[a] if a == axis else 0) for a in range(3)
                    )
                    if not codes[beside]:
                        continue
                    if beside not in seen:
                        seen[beside] = there
                        stack.append((beside, there))
                    for a in range(3):
                        found[(a, *first)] |= seen[beside][a] != there[a]
    return found
