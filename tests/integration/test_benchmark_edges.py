"""Crevices cost the integral of M an amount per length that no resolution takes away; the tables are made."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks import edges


def mean(of: str, angle: float, n: int, seeds: int = 6) -> float:
    """Mean error over places and directions."""
    return float(
        np.mean([getattr(edges, of)(math.radians(angle), n, seed) for seed in range(seeds)])
    )


def test_a_blunt_crevice_is_counted_right_and_a_sharp_one_too_often_at_any_resolution() -> None:
    assert abs(mean("crevice", 150, 12)) < 0.02
    coarse, fine = mean("crevice", 45, 8), mean("crevice", 45, 16)
    assert coarse < fine < -0.3
    assert fine == pytest.approx(coarse, rel=0.35)


def test_a_torus_along_an_axis_errs_and_a_turned_one_does_not() -> None:
    along, turned = (np.mean([edges.torus(t, 6, seed) for seed in range(6)]) for t in (False, True))
    assert along < -1
    assert abs(turned) < 1


def test_the_tables_are_made(capsys: pytest.CaptureFixture[str]) -> None:
    edges.main(["--voxels", "4,6", "--seeds", "2", "--angles", "120,60"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| crevice | n = 4 | n = 6 | ± |"
    assert sum(line.startswith("| 120°") for line in lines) == 2
    assert lines[-1].startswith("Boolean model by this law: -")
