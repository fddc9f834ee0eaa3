"""The benchmark of generated volumes runs, tiny."""

from __future__ import annotations

import pytest

from benchmarks import generate
from tests.generators import TINY


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generate, "preset", TINY.__getitem__)


def test_the_table_has_a_row_for_every_preset(capsys: pytest.CaptureFixture[str]) -> None:
    generate.main(
        ["--presets", "two phases,resize", "--edge", "32", "--tile", "16", "--repeats", "1"]
    )
    rows = [
        line.split(" | ") for line in capsys.readouterr().out.splitlines() if line.endswith("% |")
    ]
    assert [row[0] for row in rows] == ["| tiny, tile 16", "| resize, tile 16"]
    assert all(float(value) > 0 for row in rows for value in row[1:4])


def test_a_volume_says_what_it_took(capsys: pytest.CaptureFixture[str]) -> None:
    generate.main(["--presets", "two phases", "--volume", "64", "--tile", "32"])
    said = capsys.readouterr().out
    assert said.startswith("tiny: 64^3 on 0 worker(s) in ")
    assert "phase/s0" in said
