"""One client writes to a sample behind a URL: the second is refused, a dead one's lock is taken over."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem

import tim3d
from tests.processes import holder_of
from tests.recipes import until
from tim3d.cli.main import main
from tim3d.engine import lock_sample
from tim3d.engine.state import lease, ledger
from tim3d.engine.state.owner import process_start
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
        with (
            pytest.raises(LockedError, match=f"process {os.getpid()} on {socket.gethostname()}"),
            lock_sample(sample),
        ):
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


@pytest.mark.long
def test_a_dead_process_of_this_machine_holds_nothing(bucket: str) -> None:
    sample = f"{bucket}/a.zarr"
    with holder_of(sample) as other:
        with pytest.raises(LockedError, match=f"process {other.pid} on"), lock_sample(sample):
            pass
        other.kill()
    with lock_sample(sample):
        assert (ledger.read(lock_of(sample)) or {})["pid"] == os.getpid()


class Watched(MemoryFileSystem):
    """A store in which something can happen between two requests of a client."""

    protocol = "watched"
    before_removal = after_put = staticmethod(lambda: None)

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(MemoryFileSystem._strip_protocol(str(path).replace("watched://", "memory://")))

    def rm_file(self, path: str) -> None:
        self.before_removal()
        super().rm_file(path)

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **more: Any) -> None:
        super().pipe_file(path, value, mode=mode, **more)
        if mode == "create":
            self.after_put()


@pytest.fixture
def abandoned(monkeypatch: pytest.MonkeyPatch) -> str:
    """A sample in such a store, locked by a process of this machine that is dead."""
    fsspec.register_implementation("watched", Watched, clobber=True)
    monkeypatch.setattr(lease, "SETTLING_SECONDS", 0.5)
    sample = "watched://lease/b.zarr"
    ledger.write(
        lock_of(sample), {"host": socket.gethostname(), "pid": os.getpid(), "started": "long ago"}
    )
    return sample


def test_a_client_that_has_taken_over_and_finds_another_token_is_refused(
    abandoned: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = {"host": "elsewhere", "pid": 1, "token": "theirs"}
    rival = staticmethod(lambda: ledger.write(lock_of(abandoned), theirs))
    monkeypatch.setattr(Watched, "after_put", rival)
    with pytest.raises(LockedError, match="locked by another run just now"), lock_sample(abandoned):
        pass
    assert ledger.read(lock_of(abandoned)) == theirs
    remove_file(lock_of(abandoned))


@pytest.mark.long
def test_of_two_that_take_over_one_lock_one_holds_it(
    abandoned: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have seen the dead owner: the later one removes what the earlier one has just put in its place."""
    seen, put, held, refused = threading.Barrier(2), threading.Event(), [], []
    turns = iter((False, True))
    # Longer than the later one takes to remove a lock and to put its own, also on a busy machine.
    monkeypatch.setattr(lease, "SETTLING_SECONDS", 2.0)

    def one_after_the_other() -> None:
        if (later := next(turns, None)) is not None:
            seen.wait()
            if later:
                put.wait()

    def run() -> None:
        try:
            with lock_sample(abandoned):
                held.append(1)
                until(lambda: refused, "the refusal of the other")
        except LockedError:
            refused.append(1)

    monkeypatch.setattr(Watched, "before_removal", staticmethod(one_after_the_other))
    monkeypatch.setattr(Watched, "after_put", staticmethod(put.set))
    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(held), len(refused)) == (1, 1)


@pytest.mark.long
@pytest.mark.parametrize("again", [False, True])
def test_a_process_is_known_by_its_number_and_its_start(sample: str, again: bool) -> None:
    """Numbers are used again: a living process with the number of the owner, and another start, is not the owner."""
    start = "long ago" if again else process_start(os.getpid())
    ledger.write(
        lock_of(sample),
        {"host": socket.gethostname(), "pid": os.getpid(), "started": start, "token": "t"},
    )
    try:
        with lock_sample(sample):
            taken = (ledger.read(lock_of(sample)) or {})["token"] != "t"
    except LockedError:
        taken = False
    assert taken == again
    remove_file(lock_of(sample))


@pytest.mark.long
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


@pytest.mark.parametrize("fast", [3600.0, -3600.0])
def test_only_the_clock_of_the_store_counts(fast: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store an hour ahead of this machine, or behind: a lease lasts as long as anywhere."""
    sample, written_at = "memory://lease/clock.zarr", lease.written_at
    monkeypatch.setattr(lease, "written_at", lambda url: written_at(url) + fast)
    ledger.write(lock_of(sample), {"host": "elsewhere", "pid": 1, "token": "t"})
    with pytest.raises(LockedError, match="process 1 on elsewhere"):
        lease.take_over(lock_of(sample), sample)
    monkeypatch.setattr(lease, "LEASE_SECONDS", 0.2)
    time.sleep(0.5)
    assert lease.take_over(lock_of(sample), sample)


def test_a_lease_is_renewed(sample: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "HEARTBEAT_SECONDS", 0.2)
    with lock_sample(sample):
        first = lease.written_at(lock_of(sample))
        until(lambda: lease.written_at(lock_of(sample)) > first, "the next beat")


def test_who_was_silent_for_too_long_leaves_the_new_owners_lock(
    sample: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(lease, "HEARTBEAT_SECONDS", 0.1)
    with lock_sample(sample):
        ledger.write(lock_of(sample), {"host": "elsewhere", "pid": 1, "token": "theirs"})
        until(lambda: "was taken over by another run" in caplog.text, "the warning")
    assert (ledger.read(lock_of(sample)) or {})["token"] == "theirs"


@pytest.mark.long
def test_two_commands_on_one_bucket(
    bucket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "grey.npy", np.zeros((8, 8, 8), np.uint8))
    line = [
        "ingest",
        str(tmp_path / "grey.npy"),
        f"{bucket}/a.zarr",
        "--voxel-size",
        "1,1,1",
        "--quiet",
    ]
    with lock_sample(f"{bucket}/a.zarr"):
        assert main(line) == 4
    assert "is being written by process" in capsys.readouterr().err
    assert main(line) == 0
    assert tim3d.validate(f"{bucket}/a.zarr", deep=True) == []
    assert not status(f"{bucket}/a.zarr").holders
