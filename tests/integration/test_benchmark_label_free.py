"""The benchmark of networks without a label runs, tiny, and does nothing twice."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="networks need torch: pip install 'tim3d[seg]'")
from benchmarks import label_free


@pytest.mark.slow
def test_the_table_of_painted_slices_goes_on_where_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quick = ["--seeds", "1", "--steps", "1", "shine", str(tmp_path)]
    quick += ["--shape", "40,48,48", "--epochs", "1"]
    label_free.main(quick)
    first = capsys.readouterr().out
    assert len(first.splitlines()) == 2 + 2 + len(label_free.LADDER) + len(label_free.PAINTED)
    made = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.safetensors")}
    label_free.main(quick)
    assert capsys.readouterr().out == first
    assert {path: path.stat().st_mtime_ns for path in made} == made


@pytest.mark.slow
def test_the_table_of_images_begins_with_the_published_threshold(
    data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quick = ["--seeds", "1", "--steps", "1", "super2", str(data_dir / "nasa-sem"), str(tmp_path)]
    label_free.main([*quick, "--epochs", "1", "--rungs", "imaging model, weights at random"])
    rows = [line.split("|") for line in capsys.readouterr().out.splitlines()]
    assert float(rows[2][3]) == pytest.approx(0.752, abs=5e-4)
    assert 0 <= float(rows[3][3]) <= 1
