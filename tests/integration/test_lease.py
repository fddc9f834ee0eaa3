"""One client writes to a sample behind a URL: the second is refused, a dead one's lock is taken over."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import tim3d
from tests.processes import holder_of
from tim3d.cli.main import main
from tim3d.engine import lock_sample
from tim3d.engine.state import lease, ledger
from tim3d.engine.state.status import status
from tim3d.errors import LockedError
from tim3d.storage import files
from tim3d.storage.removal import remove_file


@pytest.fixture(params=["s3", "memory"])
def sample(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "s3":
        yield f"{request.getfixturevalue('bucket')}/a.zarr"
    else:
        yield "memory://lease/a.zarr"
        remove_file("memory://lease/a.zarr.runs/lock")


def lock_of(sample: str) -> str:
    return f"{sample}.runs/lock"


def test_the_second_client_is_refused_and_the_lock_goes(sample: str) -> None:
    with lock_sample(sample):
        (holder,) = status(sample).holders
        assert (holder.pid, holder.alive) == (os.getpid(), True)
        with pytest.raises(LockedError, match=f"process {os.getpid()} on {socket.gethostname()}"), lock_sample(sample):
            pass
    assert ledger.read(lock_of(sample)) is None
    with lock_sample(sample):
        pass


def test_one_of_many_gets_the_lock(sample: str) -> None:
    """At the same moment; the others are told."""
    start, held = threading.Barrier(8), []

    def run() -> None:
        start.wait()
        try:
            with lock_sample(sample):
                held.append("in")
                time.sleep(0.5)
                held.append("out")
        except LockedError:
            held.append("refused")

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    order = [one for one in held if one != "refused"]
    assert order == ["in", "out"] * (len(order) // 2)
    assert len(order) + held.count("refused") == 8 + len(order) // 2
    assert order


def test_a_dead_process_of_this_machine_holds_nothing(bucket: str) -> None:
    sample = f"{bucket}/a.zarr"
    with holder_of(sample) as other:
        with pytest.raises(LockedError, match=f"process {other.pid} on"), lock_sample(sample):
            pass
        other.kill()
    with lock_sample(sample):
        assert (ledger.read(lock_of(sample)) or {})["pid"] == os.getpid()


def test_a_lease_of_another_machine_runs_out(sample: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "SETTLING_SECONDS", 0.1)
    ledger.write(lock_of(sample), {"host": "elsewhere", "pid": 1, "token": "t"})
    with pytest.raises(LockedError, match="process 1 on elsewhere"), lock_sample(sample):
        pass
    monkeypatch.setattr(lease, "LEASE_SECONDS", 1.0)
    time.sleep(2.2)  # stores count whole seconds
    with lock_sample(sample):
        assert (ledger.read(lock_of(sample)) or {})["pid"] == os.getpid()
    fs, path = files.file_system(f"{sample}.runs")
    assert not fs.find(path)


def test_a_lease_is_renewed(sample: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "HEARTBEAT_SECONDS", 0.2)
    with lock_sample(sample):
        first = lease._written_at(lock_of(sample))
        time.sleep(2.2)
        assert lease._written_at(lock_of(sample)) > first


def test_who_was_silent_for_too_long_leaves_the_new_owners_lock(
    sample: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(lease, "HEARTBEAT_SECONDS", 0.1)
    with lock_sample(sample):
        ledger.write(lock_of(sample), {"host": "elsewhere", "pid": 1, "token": "theirs"})
        time.sleep(0.5)
    assert "was taken over by another run" in caplog.text
    assert (ledger.read(lock_of(sample)) or {})["token"] == "theirs"


def test_two_commands_on_one_bucket(bucket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "grey.npy", np.zeros((8, 8, 8), np.uint8))
    line = ["ingest", str(tmp_path / "grey.npy"), f"{bucket}/a.zarr", "--voxel-size", "1,1,1", "--quiet"]
    with lock_sample(f"{bucket}/a.zarr"):
        assert main(line) == 4
    assert "is being written by process" in capsys.readouterr().err
    assert main(line) == 0
    assert tim3d.validate(f"{bucket}/a.zarr", deep=True) == []
    assert not status(f"{bucket}/a.zarr").holders
