"""Figures of a run: sums, shares of the time, states of attempts, and hours of a larger one, by their formulas."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tim3d.engine.passes.cost import costing, current_pilot
from tim3d.engine.passes.plan import size_text
from tim3d.engine.passes.summary import Attempt, Summary, as_record

TIMES = {"read_seconds": 3.0, "wait_seconds": 1.0, "compute_seconds": 12.0, "write_seconds": 4.0}


def record(host: str, peak: int) -> dict[str, object]:
    about = {"voxels": 500, "read_bytes": 70, "write_bytes": 9, "peak_bytes": peak}
    return {**TIMES, **about, "host": host, "pid": 7}


def test_blocks_add_up_and_the_peak_is_the_largest() -> None:
    summary = Summary("a", blocks=4)
    for host, peak in (("one", 5), ("two", 9), ("one", 8)):
        summary.add(record(host, peak))
    assert (summary.computed, summary.peak_bytes) == (3, 9)
    assert summary.workers == {"one:7", "two:7"}
    for name, value in {**TIMES, "voxels": 500, "read_bytes": 70, "write_bytes": 9}.items():
        assert getattr(summary, name) == 3 * value


@pytest.mark.parametrize("processes", [1, 2, 8])
def test_a_share_of_computing_is_of_the_time_of_all_processes(processes: int) -> None:
    summary = Summary(
        "a", 9, computed=6, wall_seconds=10.0, voxels=5000, processes=processes, **TIMES
    )
    rates = summary.rates
    assert rates["computing_share"] == pytest.approx(min(1, 12 / (10 * processes)))
    assert (rates["blocks_per_second"], rates["voxels_per_second"]) == (0.6, 500)
    for name, share in {"read": 0.15, "wait": 0.05, "write": 0.2}.items():
        assert rates[f"{name}_share"] == pytest.approx(share)
    assert summary.as_json() | rates == summary.as_json()
    assert f"computing {min(1, 12 / (10 * processes)):.0%} of the time" in str(summary)


def test_an_attempt_is_done_or_comes_again_or_has_failed_at_last() -> None:
    lost, index = ValueError("first\nlast line"), (1, 2, 3)
    states = [
        Attempt(index, n, o, last).state for n, o, last in ((1, lost, False), (3, lost, True))
    ]
    assert [*states, Attempt(index, 1, {}, True).state] == ["again", "failed", "done"]
    assert as_record(Attempt(index, 2, lost, False)) == {
        "block": index, "state": "again", "attempt": 2, "reason": "last line",
    }  # fmt: skip
    assert as_record(Attempt(index, 1, record("one", 5), True))["worker"] == "one:7"


@pytest.mark.parametrize("price", [None, 0.0, 1.5])
def test_hours_of_a_larger_run_are_those_of_the_pilot_by_its_voxels(
    tmp_path: Path, price: float | None
) -> None:
    lines = [
        {"event": "begin", "pass": "a"},
        {"event": "end", "pass": "a", "wall_seconds": 30.0, "processes": 4, "voxels": 1000},
        {"event": "end", "pass": "a", "wall_seconds": 10.0, "processes": 8, "voxels": 1000},
        {"event": "end", "pass": "resumed", "wall_seconds": 1.0, "processes": 1, "voxels": 0},
    ]
    path = tmp_path / "pilot.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in lines))
    with costing(path, price):
        pilot = current_pilot()
        assert pilot is not None
        cost = pilot.of("a", 3_600_000, workers=10)
        unknown = [pilot.of(name, 10, 1).worker_hours for name in ("b", "resumed")]
    assert current_pilot() is None
    assert unknown == [None, None]
    # 200 worker-seconds for 2000 voxels.
    assert cost.worker_hours == pytest.approx(100)
    assert cost.price == (None if price is None else pytest.approx(100 * price))
    assert "100 worker-hours, 10 h" in str(cost)
    assert ("costs" in str(cost)) is (price is not None)


@pytest.mark.parametrize(
    ("size", "text"),
    [(2**20, "1.0 MiB"), (2**28, "0.25 GiB"), (3 * 2**30, "3.00 GiB"), (0, "0.0 MiB")],
)
def test_a_size_is_in_gibibytes_from_a_tenth_on(size: int, text: str) -> None:
    assert size_text(size) == text
