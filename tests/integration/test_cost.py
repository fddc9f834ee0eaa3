"""The cost of a run before it starts: from what a pilot took, per voxel of each pass."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.works import SHAPE, number_pass
from tim3d.cli.main import main
from tim3d.engine import Cluster, costing, journal, run
from tim3d.errors import ArgumentError, InputError

VOXELS = int(np.prod(SHAPE))


def written(path: Path, *events: object) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in events))
    return path


def test_hours_are_those_of_all_workers_per_voxel(tmp_path: Path) -> None:
    end = {"event": "end", "pass": "raw/s0", "processes": 4}
    begin = {"event": "begin", "pass": "raw/s0"}
    ends = [{**end, "wall_seconds": 9.0, "voxels": 1000}, {**end, "wall_seconds": 9, "voxels": 800}]
    pilot = written(tmp_path / "p.jsonl", begin, *ends)
    on = Cluster("local", None, 2, 1, 2**34)
    with costing(pilot, price=3.0):
        cost = number_pass(str(tmp_path / "a.zarr")).plan(on).cost
    assert cost is not None
    assert cost.worker_hours == pytest.approx(18 * 4 / 1800 * VOXELS / 3600)
    assert cost.price == pytest.approx(3 * cost.worker_hours)
    assert f"{cost.worker_hours / 2:.3g} h, costs {cost.price:.2f}" in str(cost)


def test_what_is_done_costs_nothing_more(tmp_path: Path) -> None:
    with journal(tmp_path / "p.jsonl"):
        summary = run(number_pass(str(tmp_path / "a.zarr")), progress=False)
    with costing(tmp_path / "p.jsonl"):
        done = number_pass(str(tmp_path / "a.zarr")).plan().cost
        same = number_pass(str(tmp_path / "b.zarr")).plan().cost
    assert done is not None
    assert same is not None
    assert (done.worker_hours, done.price) == (0, None)
    assert same.worker_hours == pytest.approx(summary.wall_seconds / 3600)


def test_without_a_pilot_nothing_is_guessed(tmp_path: Path) -> None:
    assert number_pass(str(tmp_path / "a.zarr")).plan().cost is None
    pilot = written(
        tmp_path / "p",
        {"event": "end", "pass": "x", "processes": 1, "wall_seconds": 1, "voxels": 1},
    )
    with costing(pilot, price=1):
        assert "cost unknown" in str(number_pass(str(tmp_path / "a.zarr")).plan())


def test_what_is_no_pilot_is_said(tmp_path: Path) -> None:
    for bad in ("no json", "[]", '{"event": "end"}'):
        (tmp_path / "p").write_text(bad)
        with pytest.raises(InputError, match="is not a run journal"), costing(tmp_path / "p"):
            pass
    with pytest.raises(InputError, match="is not a run journal"), costing(tmp_path / "none"):
        pass
    with (
        pytest.raises(InputError, match="has no pass that ended"),
        costing(written(tmp_path / "p", {"event": "begin"})),
    ):
        pass
    for price, pilot in ((2.0, None), (-1.0, tmp_path / "p"), (float("nan"), tmp_path / "p")):
        with pytest.raises(ArgumentError, match="price"), costing(pilot, price):
            pass


def test_in_the_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, depth in (("small", 8), ("large", 64)):
        np.save(f"{name}.npy", np.zeros((depth, 16, 16), np.uint8))
    Path("r.toml").write_text(
        "sample = 'a.zarr'\n[[step]]\nverb = 'ingest'\nvoxel_size = {z = 1, y = 1, x = 1}\nsource = 'small.npy'"
    )
    assert main(["run", "r.toml", "--log", "p.jsonl", "--quiet"]) == 0
    large = ["--set", "ingest.source=large.npy", "--set", "sample=b.zarr"]
    capsys.readouterr()
    assert main(["run", "r.toml", *large, "--plan", "--pilot", "p.jsonl", "--price", "2"]) == 0
    assert "worker-hours" in capsys.readouterr().out
    line = [
        "ingest",
        "large.npy",
        "b.zarr",
        "--voxel-size",
        "1,1,1",
        "--plan",
        "--pilot",
        "p.jsonl",
    ]
    assert main(line) == 0
    assert "worker-hours" in capsys.readouterr().out
    assert not Path("b.zarr").exists()
