"""The benchmark of networks on labelled SEM images prints its rows."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="networks need torch: pip install 'tim3d[seg]'")
from benchmarks import nasa_networks


@pytest.mark.slow
def test_the_benchmark_prints_its_rows(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quick = [
        "--sets",
        "Super2",
        "--networks",
        "resnet18",
        "--epochs",
        "1",
        "--steps",
        "1",
        "--crop",
        "64",
    ]
    nasa_networks.main([str(data_dir / "nasa-sem"), *quick])
    rows = [line.split("|") for line in capsys.readouterr().out.splitlines()]
    by_name = {row[2].strip(): row for row in rows if len(row) > 4}
    assert float(by_name["Otsu, dark side"][3]) == pytest.approx(0.7516, abs=5e-5)
    assert 0 <= float(by_name["resnet18, seed 0"][6]) <= 1
