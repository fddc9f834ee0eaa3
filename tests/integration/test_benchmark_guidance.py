"""The benchmark of guidance runs, small."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="networks need torch: pip install 'tim3d[seg]'")

from benchmarks import guidance
from tests.diffusers import saved


@pytest.mark.long
def test_a_row_for_every_volume(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--fraction", "0.5", "--changes=0.1", "--edge", "16", "--steps", "4"]
    guidance.main([str(tmp_path / "made"), "--weights", str(saved(tmp_path)), *given])
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines()]
    assert [row[0] for row in rows[1:]] == ["| as it comes", "| cut", "| fraction", "| +10 %"]
    assert {len(row) for row in rows} == {8}
    assert rows[2][2] == "0.5000"
