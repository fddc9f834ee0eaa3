"""What `validate --repair`, `status` and `doctor` say in the shell, and on another machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import tim3d
from tests.works import number_pass
from tim3d.cli.main import main
from tim3d.engine import lock_sample, run
from tim3d.engine.state.ledger import runs_folder
from tim3d.engine.state.status import status
from tim3d.errors import FailedBlocksError
from tim3d.maintenance import doctor, storage_check

POISON = (1, 1, 0)


@pytest.fixture
def sample(tmp_path: Path) -> str:
    """A pass with one block that was set aside."""
    url = str(tmp_path / "a.zarr")
    with pytest.raises(FailedBlocksError):
        run(number_pass(url, poison=(POISON,)), progress=False)
    return url


def test_status_counts_what_is_done_and_gives_reasons(sample: str) -> None:
    (one,) = status(sample).passes
    assert (one.name, one.blocks, one.done, one.failed, one.left) == ("raw/s0", 30, 29, 1, 0)
    assert one.reasons == {"1,1,0": "ValueError: poisoned block (1, 1, 0)"}
    assert one.seconds_left is None
    assert "29 of 30 blocks done, 0 left, 1 failed" in str(one)
    assert not status(sample).holders


def test_the_rate_is_that_of_the_last_minute_and_says_when_it_ends(sample: str) -> None:
    ledger = number_pass(sample).ledger
    markers = sorted(Path(ledger.folder).glob("done/*/*/*.json"))
    for marker in markers[21:]:
        marker.unlink()
    hour_ahead = time.time() + 3600  # the clock of the store need not be ours
    for number, marker in enumerate(markers[:21]):
        os.utime(marker, times=(hour_ahead, hour_ahead + 2 * number - (600 if number < 10 else 0)))
    (one,) = status(sample).passes
    assert one.rate == pytest.approx(0.5)
    assert (one.left, one.seconds_left) == (8, pytest.approx(16))
    assert "0.5 blocks/s; about 16 s left; last block 0 s ago" in str(one)


def test_status_says_who_writes(sample: str) -> None:
    with lock_sample(sample):
        (holder,) = status(sample).holders
    assert (holder.pid, holder.alive) == (os.getpid(), True)
    lock = Path(runs_folder(sample)) / "lock"
    lock.write_text(json.dumps({"host": "elsewhere", "pid": 7, "token": "t"}))
    os.utime(lock, (time.time() - 90, time.time() - 90))
    assert "process 7 on elsewhere, renewed 1 min 30 s ago; it is gone" in str(status(sample))


def test_status_of_a_sample_behind_a_url() -> None:
    url = "memory://status/a.zarr"
    ledger = number_pass.__globals__["Ledger"](url, "raw/s0", "f" * 64)
    ledger.claim_layout({"shape": (4, 4, 4), "block": (2, 4, 4), "shard": (2, 4, 4)})
    ledger.mark_done((0, 0, 0), {})
    (one,) = status(url).passes
    assert (one.name, one.blocks, one.done, one.left) == ("raw/s0", 2, 1, 1)
    assert one.last_age is not None
    assert one.last_age < 60


def test_status_for_machines(sample: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", sample, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["passes"][0]["reasons"] == {"1,1,0": "ValueError: poisoned block (1, 1, 0)"}


def test_repair_in_the_shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "in.npy", np.arange(16 * 16 * 16, dtype=np.uint16).reshape(16, 16, 16))
    sample = str(tmp_path / "a.zarr")
    ingest = [
        "ingest",
        str(tmp_path / "in.npy"),
        sample,
        "--voxel-size",
        "1,1,1",
        "--shard",
        "8,16,16",
        "--quiet",
    ]
    assert main(ingest) == 0
    shard = tmp_path / "a.zarr/raw/s0/raw/c/1/0/0"
    before = shard.read_bytes()
    shard.write_bytes(before[:99])
    capsys.readouterr()
    assert main(["validate", sample, "--deep"]) == 4
    assert "Type: tim3d validate SAMPLE --deep --repair" in capsys.readouterr().out
    assert main(["validate", sample, "--deep", "--repair"]) == 0
    assert "will be computed again. Run the recipe again, or type" in capsys.readouterr().out
    assert main(ingest) == 0
    assert shard.read_bytes() == before
    assert main(["validate", sample, "--deep"]) == 0


def test_two_clients_on_one_sample(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "in.npy", np.zeros((8, 8, 8), np.uint8))
    sample = str(tmp_path / "a.zarr")
    holder = f"from tim3d.engine import lock_sample\nwith lock_sample({sample!r}):\n print(1, flush=True)\n input()"
    with subprocess.Popen([sys.executable, "-c", holder], stdin=-1, stdout=-1, text=True) as other:
        assert other.stdout is not None
        other.stdout.readline()
        assert (
            main(["ingest", str(tmp_path / "in.npy"), sample, "--voxel-size", "1,1,1", "--quiet"])
            == 4
        )
        assert f"is being written by process {other.pid} on" in capsys.readouterr().err
        other.kill()
    assert (
        main(["ingest", str(tmp_path / "in.npy"), sample, "--voxel-size", "1,1,1", "--quiet"]) == 0
    )
    assert tim3d.validate(sample, deep=True) == []


@pytest.mark.long
def test_the_doctor_looks_at_disk_and_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage_check, "PROBE_MIB", 4)
    monkeypatch.setattr("tim3d.engine.clusters.cluster.ANSWER_SECONDS", 1.0)
    found = {f.what: f for f in doctor.doctor(str(tmp_path), "tcp://127.0.0.1:1")}
    assert {
        "python",
        "zarr",
        "CPU",
        "memory",
        "numba",
        "GPU",
        "torch",
        "space",
        "disk",
        "cluster",
    } <= set(found)
    assert found["numba"].state == "ok"
    assert "4 MiB written and flushed at" in found["disk"].seen
    assert found["cluster"].state == "fail"
    assert "no dask scheduler answers" in found["cluster"].seen
    assert not list(tmp_path.iterdir())


@pytest.mark.long
def test_what_is_broken_is_exit_code_7(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", str(tmp_path / "none")]) == 7
    out, err = capsys.readouterr()
    assert "fail  disk:" in out
    assert err.startswith("tim3d: not fit: disk. ")


def test_an_old_or_missing_package_fails() -> None:
    assert doctor.package_finding("numpy>=99").cure == "Type: pip install 'numpy>=99'"
    assert doctor.package_finding("no-such-package>=1").state == "fail"
    assert doctor.package_finding("numpy>=2.0").state == "ok"
    assert doctor.package_finding("numpy>=10.0").state == "fail"  # 10 is more than 2, as a number


PAIR = doctor.TESTED_PAIR


def test_the_doctor_advises_the_pair_that_was_tested_or_nothing() -> None:
    lines = Path(__file__).parents[2].joinpath("constraints-cpu.txt").read_text().splitlines()
    pinned = [line for line in lines if "==" in line]
    assert pinned == [f"{name}=={version}" for name, version in PAIR.items()]
    none = {"why": "", "broken": "", "blind": False}
    other = {**PAIR, "torchvision": "0.27.1"}
    on_cpu = {**PAIR, "torch": PAIR["torch"] + "+cpu"}
    tested = doctor.pair_finding(on_cpu, **{**none, "why": "no operator nms"})
    assert (tested.state, tested.cure) == ("ok", "")
    mixed = doctor.pair_finding(other, **{**none, "why": "no operator nms"})
    assert (mixed.state, mixed.cure.endswith("pip install " + " ".join(pinned))) == ("warn", True)
    assert doctor.pair_finding(other, **none).state == "ok"
    broken = doctor.pair_finding(PAIR, why="no", broken="no", blind=False)
    assert (broken.state, "pip install torch==" in broken.cure) == ("fail", True)
    assert "tim3d[gpu]" in doctor.pair_finding(PAIR, **{**none, "blind": True}).cure


def test_a_pass_that_was_begun_anew_is_one_line_unless_something_is_left(tmp_path: Path) -> None:
    url = str(tmp_path / "a.zarr")
    run(number_pass(url), progress=False)
    run(number_pass(url, fingerprint="e" * 64), progress=False)
    found = status(url)
    assert len(found.passes) == 2
    assert str(found).count("raw/s0: 30 of 30 blocks done") == 1
    next(Path(number_pass(url).ledger.folder).glob("done/*/*/*.json")).unlink()
    first, second = [line for line in str(status(url)).splitlines() if "raw/s0" in line]
    assert first.endswith("begun again since, from other inputs or with other arguments")
    assert "30 of 30" in second


@pytest.mark.parametrize("write", [1.0, 900.0])
@pytest.mark.parametrize("read", [1.0, 900.0])
@pytest.mark.parametrize("place", ["", "memory://bucket/samples"])
def test_a_place_that_is_slow_in_one_way_is_slow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, write: float, read: float
) -> None:
    """By a clock that goes as long as writing and reading at these speeds would take."""
    monkeypatch.setattr(storage_check, "PROBE_MIB", 1)
    monkeypatch.setattr(storage_check, "OBJECT_MIB", 1)
    spans = [1 / write, 1 / read, *[1e-3] * storage_check.SMALL_READS]
    ticks = (now for span in spans for now in (0.0, span))
    monkeypatch.setattr(storage_check, "time", SimpleNamespace(perf_counter=lambda: next(ticks)))
    found = {one.what: one for one in storage_check.place(place or str(tmp_path))}
    speed = found["store" if place else "disk"]
    assert speed.state == ("ok" if min(write, read) > 50 else "warn")
    assert bool(speed.cure) == (speed.state == "warn")
    assert f"at {write:.0f} MiB/s, read at {read:.0f} MiB/s" in speed.seen
