"""The engine alone costs the same per block however many there are, and takes as long as the model of a job says."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import job_model, scale
from benchmarks.job_model import Machine, Sweep, Timed, forecast
from tim3d.engine import cluster

MIB = 2**20


@pytest.mark.parametrize(("kind", "few", "most_mib"), [("serial", 250, 16), ("local", 50, 48)])
@pytest.mark.long
def test_neither_time_nor_memory_per_block_grows_with_their_number(
    tmp_path: Path, kind: str, few: int, most_mib: float
) -> None:
    with cluster(kind, workers=1):
        scale.measure(tmp_path / "warm", 20)
        small, large = (scale.measure(tmp_path, blocks) for blocks in (few, 4 * few))
    assert large.cpu_milliseconds < 2 * small.cpu_milliseconds
    assert large.memory_bytes < most_mib * MIB
    assert large.files == 4 * few  # one file a block, and nothing else that grows with them
    assert large.plan_seconds + large.resume_seconds < large.seconds


@pytest.mark.long
def test_the_engine_takes_as_long_as_the_model_says(tmp_path: Path) -> None:
    """Workers overlap their steps; the bound is wide because starting tasks takes its time on a busy machine."""
    sweep, machine = Sweep("s", 16, 0.3, 1.0, 0.3), Machine(2, 3, 0.005)
    said, found = forecast(sweep, machine).seconds, job_model.measured(tmp_path, sweep, machine)
    in_turn = sweep.blocks * sweep.block_seconds / machine.devices
    assert 0.95 * said < found < min(1.5 * said, in_turn)


def test_the_pace_of_a_pilot_is_that_of_its_steps_per_voxel() -> None:
    def ended(blocks: int, voxels: int, wall: float, *steps: float) -> Timed:
        names = ("read_seconds", "compute_seconds", "write_seconds")
        end = {
            "event": "end",
            "pass": "p",
            "computed": blocks,
            "voxels": voxels,
            "wait_seconds": 0.0,
        }
        end |= {"wall_seconds": wall, "processes": 2, **dict(zip(names, steps, strict=True))}
        return Timed(0.0, [end])

    pilots = [ended(4, 1000, 3.75, 1.5, 3.0, 2.0), ended(4, 1000, 3.25, 0.5, 1.0, 4.0)]
    (made,) = job_model.sweeps(pilots, ended(64, 8000, 0.0, 0.0, 0.0, 0.0))
    # 2 workers were there for 14 s and had blocks for 12: 2 s between 8 blocks.
    assert made == Sweep("p", 64, 0.125, 0.25, 0.375, between_seconds=0.25)
    assert forecast(made, Machine(2, 1, 0.0)).seconds == 32.0


@pytest.mark.slow
def test_verbs_are_forecast_and_measured(tmp_path: Path) -> None:
    rows = list(job_model.verb_rows(tmp_path, pilot=16, large=32, block=(8, 16, 16), workers=[1]))
    assert [row.split(" | ")[0] for row in rows] == ["| segment --method otsu", "| measure"]
    assert all("| 16³ → 32³ | 1 |" in row for row in rows)
    assert "| 16 in 1 passes |" in rows[1]


def test_more_devices_never_take_longer_and_never_beat_what_is_shared() -> None:
    for shape in job_model.VOLUMES.values():
        for block in job_model.BLOCKS:
            jobs = [job_model.job(shape, gpus, block) for gpus in (1, 8, 64, 512)]
            times = [job_model.total(one) for one in jobs]
            assert times == sorted(times, reverse=True)
            assert all(one.seconds >= max(one.needs.values()) for job in jobs for one in job)
            last = {one.name: one.bottleneck for one in jobs[-1]}
            assert last["segment"] in ("storage", "scheduler", "too few blocks")


def test_the_tables_have_their_rows(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    job_model.main(["table"])
    assert capsys.readouterr().out.count("\n") == 2 + 3 * 4
    scale.main([str(tmp_path), "--blocks", "20", "--cluster", "serial"])
    header, _, row = capsys.readouterr().out.splitlines()
    assert header.count("|") == row.count("|")
    assert "| 20 | serial |" in row
