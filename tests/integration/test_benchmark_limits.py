"""The benchmark of all verbs beside their limits runs, with a row for each."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import limits


@pytest.mark.long
def test_a_row_for_each_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    limits.main([str(tmp_path / "here"), "--size", "tiny"])
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in capsys.readouterr().out.splitlines()
        if line.startswith("|")
    ][2:]
    assert len(rows) == len(limits.ROWS) + 3
    for name, took, each, *_ in rows:
        assert float(took) > 0, name
        assert float(each) == pytest.approx(1e9 * float(took) / (8 * 32 * 32), rel=0.3)
