"""The benchmark of uncertainty prints its rows."""

from __future__ import annotations

import pytest

from benchmarks import uncertainty

pytest.importorskip("sklearn", reason="forests are trained by scikit-learn")
pytest.importorskip("torch", reason="model files are written by torch")


@pytest.mark.slow
def test_the_benchmark_prints_its_rows(capsys: pytest.CaptureFixture[str]) -> None:
    uncertainty.main(["--stacks", "1", "--draws", "4"])
    rows = {
        line.split("|")[1].strip() for line in capsys.readouterr().out.splitlines() if "|" in line
    }
    assert {"correlated: intervals that hold the truth", "independent: half width, mean"} <= rows


def test_where_the_truth_is_a_draw_the_rows_are_the_rules(
    capsys: pytest.CaptureFixture[str],
) -> None:
    uncertainty.main(["--ideal", "1", "--draws", "3"])
    lines = [line.split("|") for line in capsys.readouterr().out.splitlines()]
    assert [line[1].strip() for line in lines[2:]][-1] == "none"
    assert all(float(line[3].strip(" %")) > 0 for line in lines[2:])
