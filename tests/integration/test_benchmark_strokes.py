"""The benchmark of strokes prints its rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import strokes

pytest.importorskip("sklearn", reason="forests are trained by scikit-learn")


@pytest.mark.slow
def test_the_benchmark_prints_its_rows(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--seeds", "1", "--images", "1", "--strokes", "5", "--trees", "10", "--edge", "24"]
    strokes.main([str(data_dir / "nasa-sem"), *asked])
    rows = [line.split("|") for line in capsys.readouterr().out.splitlines()]
    by_name = {row[1].strip(): row for row in rows if len(row) > 2}
    assert float(by_name["Super2"][5]) > 0.5
    assert [float(row[5]) > 0 for row in rows if row[2:3] == [" labels from grey "]] == [True, True]
