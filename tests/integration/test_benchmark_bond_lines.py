"""Lines through bond lines of packings whose conductivity is known: one here, twenty among the slow tests."""

from __future__ import annotations

import pytest

from benchmarks import bond_lines


@pytest.mark.long
def test_a_row_for_each_packing_and_what_all_say(capsys: pytest.CaptureFixture[str]) -> None:
    bond_lines.main(["--voxels", "4", "--packings", "1"])
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].startswith("4 voxels a radius")
    assert len(shown) == 4
    assert shown[-1].startswith("at vanishing voxel size: k off by at most ")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_every_one_of_twenty_packings_holds_the_truth_in_its_intervals(seed: int) -> None:
    """Conductivity and contact resistance, once the error of the voxels is part of the intervals."""
    solved, limit = bond_lines.packing(8, seed)
    assert limit.held == (True, True)
    assert abs(solved.errors[0]) < 0.01
    assert abs(solved.errors[1]) < 0.005
