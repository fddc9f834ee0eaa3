"""The benchmark runs, tiny, so that it cannot rot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import large_transport, transport
from tests.rings import Counting, on_ranks
from tim3d.kernels.conduction import multigrid
from tim3d.kernels.conduction.conduction import Physics, conduct_slab
from tim3d.kernels.conduction.ghost_layers import Halo, Ring
from tim3d.kernels.conduction.solver import Problem, State
from tim3d.kernels.conduction.thread_pool import Team


def test_it_prints_a_row_for_each_case(capsys: pytest.CaptureFixture[str]) -> None:
    transport.main(["--edges", "20", "--threads", "1", "--tolerance", "1e-2"])
    head, _, *rows = capsys.readouterr().out.splitlines()
    assert len(rows) == len(transport.CASES) + len(transport.SPACINGS) - 1
    assert all(row.count("|") == head.count("|") == 11 and row.startswith("| 20³") for row in rows)


@pytest.mark.slow
def test_large_volumes_are_solved_and_walked_through(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    large_transport.main(
        [str(tmp_path), "--share", "0", "--flux", "32", "--geodesic", "40,24,28", "--memory", "2"]
    )
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("| 32³") for line in lines) == 2
    assert [line.split(",")[1] for line in lines if line.startswith("geodesic")] == [
        " eikonal",
        " graph26",
    ]


@pytest.mark.parametrize(("edge", "ranks"), [(36, 2), (36, 3), (41, 4)])
def test_what_is_exchanged_is_what_the_model_says(
    monkeypatch: pytest.MonkeyPatch, edge: int, ranks: int
) -> None:
    """The second rank's planes and coarse levels, from the second step to the third."""
    monkeypatch.setattr(multigrid, "SHARED", 2000)
    monkeypatch.setattr(multigrid, "UNEVEN", 2000)
    labels = np.random.default_rng(0).integers(0, 2, (edge,) * 3, dtype=np.uint8)
    physics = Physics({0: 1.0, 1: 30.0})
    rings: dict[int, Counting] = {}
    marks: list[tuple[int, int]] = []

    def watch(problem: Problem, state: State) -> None:
        ring = rings[problem.halo.ring.rank]
        ring.collect(0.0)  # the clock, as the verb asks
        if ring.rank == 1:
            marks.append((len(ring.swaps), len(ring.collected)))

    def read(start: int, stop: int, out: np.ndarray) -> None:
        out[...] = labels[start:stop]

    def work(ring: Ring) -> None:
        counting = rings[ring.rank] = Counting(ring)
        with Team(1) as team:
            conduct_slab(
                read, (edge,) * 3, physics.drive(0, (1, 1, 1)), Halo(counting, (False,) * 3), team,
                tolerance=1e-6, watch=watch,
            )  # fmt: skip

    on_ranks(ranks, work)
    (swaps, collects), (swaps_after, collects_after) = marks[1:3]
    ring, expected = rings[1], large_transport.exchanged(edge, ranks)
    assert (swaps_after - swaps, collects_after - collects) == (expected.swaps, expected.collects)
    sides = 2 if ranks > 2 else 1
    assert sum(ring.swaps[swaps:swaps_after]) * 2 * sides == expected.plane_bytes
    levels = [
        part for part in ring.collected[collects:collects_after] if getattr(part, "ndim", 0) == 3
    ]
    cuts = multigrid.slab_cuts((edge,) * 3, (1, 1, 1), ranks)[-1]
    others = (cuts[-1] - (cuts[2] - cuts[1])) * levels[0][0].nbytes
    assert sum(part.nbytes * (ranks - 1) + others for part in levels) == expected.level_bytes
