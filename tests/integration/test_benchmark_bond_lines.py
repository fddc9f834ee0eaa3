"""Lines through bond lines of packings whose conductivity is known: one here, twenty among the slow tests."""

from __future__ import annotations

import pytest

from benchmarks import bond_lines


def test_a_row_for_each_packing_and_what_all_say(capsys: pytest.CaptureFixture[str]) -> None:
    bond_lines.main(["--voxels", "4", "--packings", "1"])
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].startswith("4 voxels a radius")
    assert len(shown) == 4
    assert shown[-1].startswith("at vanishing voxel size: k off by at most ")


@pytest.mark.slow
def test_twenty_of_twenty_packings_hold_the_truth_in_their_intervals() -> None:
    """Conductivity and contact resistance, once the error of the voxels is part of the intervals."""
    for seed in range(20):
        solved, limit = bond_lines.packing(8, seed)
        assert limit.held == (True, True), seed
        assert abs(solved.errors[0]) < 0.01
        assert abs(solved.errors[1]) < 0.005
