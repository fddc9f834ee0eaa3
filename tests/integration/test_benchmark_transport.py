"""The benchmark runs, tiny, so that it cannot rot."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import large_transport, transport


def test_it_prints_a_row_for_each_case(capsys: pytest.CaptureFixture[str]) -> None:
    transport.main(["--edges", "20", "--threads", "1", "--tolerance", "1e-2"])
    head, _, *rows = capsys.readouterr().out.splitlines()
    assert len(rows) == len(transport.CASES) + len(transport.SPACINGS) - 1
    assert all(row.count("|") == head.count("|") == 11 and row.startswith("| 20³") for row in rows)


def test_large_volumes_are_solved_and_walked_through(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    large_transport.main([str(tmp_path), "--share", "0", "--flux", "32", "--geodesic", "40,24,28", "--memory", "2"])
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("| 32³") for line in lines) == 2
    assert [line.split(",")[1] for line in lines if line.startswith("geodesic")] == [" eikonal", " graph26"]
    assert large_transport.exchanged(2000, 8)[1] > large_transport.exchanged(256, 2)[1]
