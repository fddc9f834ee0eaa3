"""The benchmark runs, tiny, so that it cannot rot."""

from __future__ import annotations

import pytest

from benchmarks import transport


def test_it_prints_a_row_for_each_case(capsys: pytest.CaptureFixture[str]) -> None:
    transport.main(["--edges", "20", "--threads", "1", "--tolerance", "1e-2"])
    head, _, *rows = capsys.readouterr().out.splitlines()
    assert len(rows) == len(transport.CASES) + len(transport.SPACINGS) - 1
    assert all(row.count("|") == head.count("|") == 11 and row.startswith("| 20³") for row in rows)
