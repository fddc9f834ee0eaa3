"""The benchmarks of networks of other dimensions, and of their peers, run, tiny."""

from __future__ import annotations

import importlib.util

import pytest

from benchmarks import peers_inference, shine_through


@pytest.mark.long
def test_the_table_of_shine_through_has_a_row_for_the_annotation(
    capsys: pytest.CaptureFixture[str],
) -> None:
    shape = ["--shape", "8,48,48", "--epochs", "1", "--steps", "1", "--only", "hybrid annotation"]
    shine_through.main(shape)
    (row,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| hybrid")]
    assert 0.8 < float(row.split(" | ")[1]) <= 1


@pytest.mark.slow
def test_the_table_of_peers_has_a_row_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    if importlib.util.find_spec("monai") is None:
        pytest.skip("monai is not installed")
    peers_inference.main(["--shape", "4,64,64", "--window", "32", "--steps", "1", "--repeats", "1"])
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if " | " in line]
    assert [row[0] for row in rows[1:]] == [
        "| plain loop", "| MONAI", "| MONAI, batches of 4", "| tim3d 32", "| tim3d",
    ]  # fmt: skip
    assert float(rows[-1][3].rstrip(" |")) == 0
