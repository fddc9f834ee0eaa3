"""The benchmark of short commands runs, and lists what is there to wait for."""

from __future__ import annotations

import pytest

from benchmarks import waiting


@pytest.mark.long
def test_a_row_for_each_import_and_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "COMMANDS", ("--help", "measure SAMPLE --plan"))
    waiting.main(["--runs", "1"])
    shown = capsys.readouterr().out.splitlines()[2:]
    assert len(shown) == len(waiting.IMPORTS) + 2
    assert all(float(row.split("|")[2]) >= 0 for row in shown)
