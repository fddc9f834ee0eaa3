"""The benchmark of morphology runs, small."""

from __future__ import annotations

import pytest

from benchmarks import morphology


@pytest.mark.slow
@pytest.mark.long
def test_it_prints_a_row_for_each_way_that_is_installed(capsys: pytest.CaptureFixture[str]) -> None:
    morphology.main(["--edge", "24", "--runs", "1"])
    out = capsys.readouterr().out
    ways = ("distance, tim3d", "distance, scipy", "thickness, tim3d", "widest paths, tim3d")
    for name in (
        *ways,
        "skeleton, tim3d",
        "skeleton, scikit-image",
        "skeleton and graph, tim3d",
        "particles, tim3d",
    ):
        assert f"| {name}" in out
