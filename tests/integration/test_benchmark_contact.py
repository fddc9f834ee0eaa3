"""The benchmark of rough contacts runs, and smaller voxels come closer to the flat spots."""

from __future__ import annotations

import pytest

from benchmarks import contact


@pytest.mark.long
def test_conductances_over_the_law(capsys: pytest.CaptureFixture[str]) -> None:
    contact.main(["--edge", "48", "--depth", "12", "--seeds", "1", "--pressures", "0.05", "0.2"])
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].startswith("| P/H | spot radius")
    for row in shown[2:4]:
        coarse, fine, limit, flat = (float(cell.split("±")[0]) for cell in row.split("|")[3:-1])
        assert coarse < fine < limit
        assert limit == pytest.approx(flat, rel=0.06)
    assert "exponent 0.95" in shown[5]
    assert len(shown) == 10
