"""The benchmark of components runs, small."""

from __future__ import annotations

import pytest

from benchmarks import components


@pytest.mark.slow
@pytest.mark.long
def test_it_prints_a_row_for_each_way_and_memory(capsys: pytest.CaptureFixture[str]) -> None:
    components.main(["--edge", "32", "--block", "16", "--runs", "1"])
    out = capsys.readouterr().out
    for name in (
        "scipy.ndimage.label",
        "cc3d alone",
        "tim3d.label, blocks of 16^3, field kept",
        "3 phases drawn",
    ):
        assert f"| {name}" in out
