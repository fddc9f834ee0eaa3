"""The benchmark of the geodesic distance runs, small."""

from __future__ import annotations

import pytest

from benchmarks import geodesic


@pytest.mark.long
def test_it_prints_a_row_for_each_step(capsys: pytest.CaptureFixture[str]) -> None:
    geodesic.main(["--edge", "24", "--runs", "1"])
    out = capsys.readouterr().out
    for name in (
        "arrive, eikonal",
        "arrive again, nothing changed, graph26",
        "refine",
        "distance, graph26",
    ):
        assert f"| {name} |" in out
