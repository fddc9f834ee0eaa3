"""Several half sweeps at once, and rows of few codes, give the bits of one voxel after the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.stencils import Volume
from tim3d.kernels.conduction import stencil
from tim3d.kernels.conduction.multigrid import relax
from tim3d.kernels.conduction.thread_pool import Team

shapes = st.tuples(st.integers(1, 14), st.integers(1, 19), st.integers(1, 20))
seeds = st.integers(0, 2**31)


def with_more_codes(volume: Volume) -> np.ndarray:
    """The same conductances in a table with codes that no voxel has, before those of the electrodes."""
    count = volume.pairs.shape[1] - 2
    volume.codes[volume.codes >= count] += 4
    table = np.full((3, count + 6, count + 6), np.nan, np.float32)
    kept = np.r_[:count, count + 4, count + 5]
    table[:, kept[:, None], kept] = volume.pairs
    return table


@pytest.mark.parametrize("name", ["relax_codes", "restrict_codes", "balance"])
@given(shape=shapes, seed=seeds)
def test_codes_that_no_voxel_has_change_no_bit(
    name: str, shape: tuple[int, int, int], seed: int
) -> None:
    few, many = Volume(shape, (1, 1, 1), seed), Volume(shape, (1, 1, 1), seed)
    many.pairs = with_more_codes(many)
    count = few.exact_pairs.shape[1] - 2
    kept = np.r_[:count, count + 4, count + 5]
    wide = np.full((3, count + 6, count + 6), np.nan)
    wide[:, kept[:, None], kept] = few.exact_pairs
    many.exact_pairs = wide
    for volume in (few, many):
        last, arguments = volume.call(name)
        getattr(stencil, name)(1, last + 1, *arguments)
    for changed in ("x", "coarse", "b", "sums"):
        np.testing.assert_array_equal(getattr(few, changed), getattr(many, changed))


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("name", ["relax_codes", "relax_faces"])
@given(shape=shapes, seed=seeds, halves=st.integers(1, 6))
def test_half_sweeps_at_once_are_those_one_after_the_other(
    name: str, threads: int, shape: tuple[int, int, int], seed: int, halves: int
) -> None:
    volume, half = Volume(shape, (1, 1, 1), seed), getattr(stencil, name)
    last, (x, *arguments, colour) = volume.call(name)
    planes, colours = range(1, last + 1), [(colour + n) % 2 for n in range(halves)]
    found, expected = x.copy(), x.copy()
    with Team(threads) as team:
        relax(team, half, planes, 2**30, [found, *arguments], colours, neighbours(found))
    with Team(1) as team:
        given = [expected, *arguments]
        relax(team, half, planes, 0, given, colours, neighbours(expected), apart=True)
    np.testing.assert_array_equal(found, expected)


def neighbours(x: np.ndarray) -> Any:
    """Ghosts at the ends that change with the planes beside them, as those of a neighbour do."""

    def refresh() -> None:
        x[0, 1:-1, 1:-1], x[-1, 1:-1, 1:-1] = x[-2, 1:-1, 1:-1] * 0.5, x[1, 1:-1, 1:-1] * 0.5

    return refresh


def test_ghosts_are_filled_after_every_half_sweep() -> None:
    volume, calls = Volume((5, 6, 7), (1, 1, 1), 0), []
    last, (x, *arguments, colour) = volume.call("relax_codes")
    colours = [colour, 1 - colour, colour]
    for apart in (False, True):
        with Team(2) as team:
            relax(
                team, stencil.relax_codes, range(1, last + 1), 2**30, [x, *arguments], colours,
                lambda: calls.append(1), apart=apart,
            )  # fmt: skip
    assert len(calls) == 6
