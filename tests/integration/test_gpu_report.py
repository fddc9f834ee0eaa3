"""The report of a GPU: rehearsed on a CPU, and no part of it ends another."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "deploy" / "gpu" / "report.py"


@pytest.fixture(scope="module")
def report() -> Any:
    spec = importlib.util.spec_from_file_location("gpu_report", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["gpu_report"] = module
    spec.loader.exec_module(module)
    return module


def written(report: Any, rows: list[tuple[str, str, str]], end: str) -> list[str]:
    """A process that writes rows and then ends in a given way."""
    lines = "; ".join(
        f"print({report.MARK + report.json.dumps(row)!r}, flush=True)" for row in rows
    )
    return [sys.executable, "-c", f"import sys, time; print('noise'); {lines}; {end}"]


@pytest.mark.long
def test_what_a_part_had_measured_is_kept_however_it_ends(report: Any) -> None:
    row = ("a", "1 s", "")
    ends = {
        "pass": ["| a | 1 s |  |"],
        "raise ValueError('no | room')": [
            "| a | 1 s |  |",
            "| it | failed: ValueError: no / room | |",
        ],
        "time.sleep(60)": ["| a | 1 s |  |", "| it | ended after its 2 s | |"],
    }
    for end, expected in ends.items():
        assert list(report.carried_out("it", written(report, [row], end), 2)) == expected


def test_a_part_without_time_is_skipped_by_name_and_the_next_one_is_not(
    report: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "heading", lambda setting: [])
    monkeypatch.setattr(report, "carried_out", lambda name, command, limit: [f"{name} {limit:.0f}"])
    parts = [report.Part("long", 100, None), report.Part("short", 10, None)]
    lines = list(report.reported(report.Setting(True), 40 + report.RESERVE, tuple(parts)))
    assert lines == ["| long | skipped | 40 s were left of its 100 |", "short 10"]


def test_the_parts_fit_into_eight_minutes_or_are_the_last(report: Any) -> None:
    needed = sum(part.seconds for part in report.PARTS[:-2])
    assert needed + report.RESERVE < report.SECONDS < 480


@pytest.mark.slow
def test_a_rehearsal_gives_every_row_of_the_table(report: Any) -> None:
    pytest.importorskip("torch", reason="networks need torch: pip install 'tim3d[seg]'")
    lines = list(report.reported(report.Setting(True), 1e4, rehearsed(report)))
    rows = lines[lines.index("|---|---|---|") + 1 :]
    assert [
        row for row in rows if "failed" in row or "ended after" in row or "skipped |" in row
    ] == []
    for word in (
        "whole slices", "crop", "blend", "segment, (8", "bare network", "U-Net, 2 crops",
        "SliceGAN", "generation, preset", "solve, 32", "of labels differ",
    ):  # fmt: skip
        assert any(word in row for row in rows), word


def rehearsed(report: Any) -> tuple[Any, ...]:
    """All parts but the tests, with time enough for a busy machine."""
    return tuple(
        report.dataclasses.replace(part, seconds=1e3)
        for part in report.PARTS
        if part.name != "tests"
    )
