"""The engine does every block once, on any cluster, whatever dies."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import dask
import numpy as np
import pytest

from tests.processes import holder_of
from tests.works import SHAPE, number_pass, truth
from tim3d.engine import Cluster, Ledger, cluster, lock_sample, run
from tim3d.engine.state import ledger as ledgers
from tim3d.engine.state.owner import LEASE_SECONDS, process_start
from tim3d.errors import (
    ArgumentError,
    DeviceError,
    FailedBlocksError,
    InputError,
    LockedError,
    MemoryPlanError,
    MixedRunError,
)
from tim3d.storage import store

pytestmark = pytest.mark.usefixtures("forked_workers")


@pytest.fixture
def sample(tmp_path: Path) -> str:
    return str(tmp_path / "a.zarr")


def stored(sample: str) -> np.ndarray:
    return np.asarray(store.field_array(sample, "raw")[:])


def test_a_pass_writes_every_voxel(sample: str) -> None:
    with cluster("serial"):
        summary = run(number_pass(sample), progress=False)
    assert summary.computed == summary.blocks == 5 * 3 * 2
    np.testing.assert_array_equal(stored(sample), truth())


def test_a_second_run_computes_nothing(sample: str) -> None:
    run(number_pass(sample), progress=False)
    again = run(number_pass(sample), progress=False)
    assert (again.computed, again.skipped) == (0, 30)


def test_blocks_larger_than_shards_give_the_same_bytes(sample: str, tmp_path: Path) -> None:
    other = str(tmp_path / "b.zarr")
    run(number_pass(sample), progress=False)
    run(number_pass(other, block=(16, 48, 16)), progress=False)
    np.testing.assert_array_equal(stored(sample), stored(other))


def test_a_poisoned_block_is_set_aside_and_only_it_is_computed_later(sample: str) -> None:
    with pytest.raises(
        FailedBlocksError, match=r"1 block\(s\) .* failed 3 times .*poisoned block"
    ) as caught:
        run(number_pass(sample, poison=((1, 1, 0),)), progress=False)
    assert caught.value.exit_code == 6
    ledger = number_pass(sample).ledger
    assert list(ledger.failed()) == [(1, 1, 0)]
    assert "poisoned block" in ledger.failed()[1, 1, 0]
    assert run(number_pass(sample), progress=False).computed == 1
    assert not ledger.failed()
    np.testing.assert_array_equal(stored(sample), truth())


def test_bad_input_stops_at_once(sample: str) -> None:
    with pytest.raises(InputError, match="a torn slice"):
        run(number_pass(sample, bad_input=((0, 0, 0),)), progress=False)


def test_a_killed_worker_loses_only_its_blocks(sample: str) -> None:
    with cluster("local", workers=2):
        run(number_pass(sample, kill_once=((2, 1, 1), (4, 0, 0))), progress=False)
    np.testing.assert_array_equal(stored(sample), truth())
    assert len(list(Path(sample).parent.glob("*.died-*"))) == 2


def test_a_worker_that_is_slow_to_come_back_is_waited_for(sample: str) -> None:
    """However often workers die, the cluster must not end without any."""
    with (
        dask.config.set(
            {"distributed.deploy.lost-worker-timeout": "0.1s"}
        ),  # so that any start is too slow
        cluster("local", workers=1),
    ):
        summary = run(number_pass(sample, kill_once=((0, 0, 1), (2, 1, 0))), progress=False)
    assert summary.computed == 30
    assert len(summary.workers) > 1


def test_another_cut_of_an_unfinished_pass_is_refused(sample: str) -> None:
    with pytest.raises(FailedBlocksError):
        run(number_pass(sample, poison=((0, 0, 0),)), progress=False)
    with pytest.raises(
        MixedRunError, match=r"begun with block \[8, 16, 16\] \(now \[16, 16, 16\]\).*--overwrite"
    ):
        run(number_pass(sample, block=(16, 16, 16)), progress=False)


def test_a_plan_refuses_what_does_not_fit_before_any_write(sample: str) -> None:
    with (
        cluster("serial", memory_bytes=2**20),
        pytest.raises(
            MemoryPlanError, match=r"raw/s0 needs \d+\.\d+ GiB per worker .* a worker has 1\.0 MiB"
        ),
    ):
        run(number_pass(sample), progress=False)
    assert not number_pass(sample).ledger.done()


def test_the_cure_of_a_refused_plan_is_accepted(sample: str) -> None:
    whole = number_pass(sample, block=(40, 48, 32))
    need = whole.plan().peak_bytes
    small = Cluster("serial", None, 1, 1, need - 40_000)
    cure = whole.plan(small).cure
    block = tuple(map(int, cure.removeprefix("Use --block ").split(",")))
    number_pass(sample, block=block).plan(small).check()  # type: ignore[arg-type]
    with pytest.raises(MemoryPlanError, match=cure):
        whole.plan(small).check()


def test_a_plan_counts_the_halos_that_are_read_and_not_written(sample: str) -> None:
    """Of the blocks that are left: their read boxes, cut at the border of the volume."""
    made = replace(number_pass(sample), read_bytes=2, write_bytes=3)
    first, *left = made.grid
    made.ledger.mark_done(first.index, {})
    plan = made.plan()
    assert plan.read_bytes == 2 * sum(block.read.size for block in left)
    assert plan.write_bytes == 3 * sum(block.core.size for block in left)


def test_measured_peak_of_a_worker_stays_below_the_plan(sample: str) -> None:
    with cluster("local", workers=1):
        summary = run(number_pass(sample), progress=False)
    assert 0 < summary.peak_bytes <= summary.planned_peak_bytes
    assert summary.computed == 30
    np.testing.assert_array_equal(stored(sample), truth())


def test_a_summary_is_kept(sample: str) -> None:
    run(number_pass(sample), progress=False)
    (note,) = Path(number_pass(sample).ledger.folder).glob("summary-*.json")
    assert json.loads(note.read_text())["computed"] == 30


def test_two_runs_on_one_sample_are_refused(sample: str) -> None:
    with holder_of(sample) as other:
        with (
            pytest.raises(LockedError, match=f"process {other.pid} on {socket.gethostname()}"),
            lock_sample(sample),
        ):
            pass
        other.kill()
        other.wait()
        with lock_sample(sample):  # a dead owner's lock is taken over at once
            pass
    assert not (Path(ledgers.runs_folder(sample)) / "lock").exists()


def test_a_lock_of_another_machine_is_taken_over_when_its_lease_ran_out(sample: str) -> None:
    path = Path(ledgers.runs_folder(sample)) / "lock"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"host": "elsewhere", "pid": 1, "token": "t"}))
    with pytest.raises(LockedError, match="process 1 on elsewhere"), lock_sample(sample):
        pass
    past = time.time() - LEASE_SECONDS - 1
    os.utime(path, (past, past))
    with lock_sample(sample):
        assert json.loads(path.read_text())["pid"] == os.getpid()


def test_a_run_that_lost_its_lock_leaves_the_lock_of_the_other(sample: str) -> None:
    """A machine that slept for longer than a lease wakes up beside the run that took over."""
    path = Path(ledgers.runs_folder(sample)) / "lock"
    with lock_sample(sample):
        other = json.loads(path.read_text()) | {"token": "of another"}
        path.write_text(json.dumps(other))
    assert json.loads(path.read_text()) == other


@pytest.mark.parametrize("again", [False, True])
def test_a_process_is_known_by_its_number_and_its_start(sample: str, again: bool) -> None:
    """Numbers are used again: a living process with the number of the owner, and another start, is not the owner."""
    path = Path(ledgers.runs_folder(sample)) / "lock"
    path.parent.mkdir(parents=True)
    start = "long ago" if again else process_start(os.getpid())
    path.write_text(
        json.dumps(
            {"host": socket.gethostname(), "pid": os.getpid(), "started": start, "token": "t"}
        )
    )
    if not again:
        with pytest.raises(LockedError, match=f"process {os.getpid()} on"), lock_sample(sample):
            pass
        return
    with lock_sample(sample):
        assert json.loads(path.read_text())["token"] != "t"


def test_the_clock_of_this_machine_says_nothing_of_a_lease(
    sample: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file server has a clock of its own: a lock that it has just renewed is held, whatever the time is here."""
    path = Path(ledgers.runs_folder(sample)) / "lock"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"host": "elsewhere", "pid": 1, "token": "t"}))
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 10 * LEASE_SECONDS)
    with pytest.raises(LockedError, match="process 1 on elsewhere"), lock_sample(sample):
        pass
    monkeypatch.setattr(time, "time", lambda: now() - 10 * LEASE_SECONDS)
    past = now() - LEASE_SECONDS - 1
    os.utime(path, (past, past))
    with lock_sample(sample):
        assert json.loads(path.read_text())["pid"] == os.getpid()


def test_a_plan_holds_the_buffers_of_every_thread(sample: str) -> None:
    """One block of each thread is in memory at once; the rest of a process is there once."""
    a_pass = replace(
        number_pass(sample), base_bytes=2**40
    )  # above what the interpreter takes, which is measured
    peaks = [
        a_pass.plan(Cluster("serial", None, 1, threads, 2**41)).peak_bytes for threads in (1, 2, 5)
    ]
    block = a_pass.work.block_bytes((8, 16, 16), (10, 20, 16))
    assert peaks == [2**40 + threads * block for threads in (1, 2, 5)]


def test_clusters_that_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tim3d.engine.clusters.cluster.ANSWER_SECONDS", 1.0)
    with (
        pytest.raises(DeviceError, match="no dask scheduler answers"),
        cluster("tcp://127.0.0.1:1"),
    ):
        pass
    with pytest.raises(ArgumentError, match="no cluster 'slurmy'"), cluster("slurmy"):
        pass
    with pytest.raises(ArgumentError, match="positive"), cluster("local", workers=-1):
        pass


def test_a_scheduler_address_is_a_cluster(sample: str, two_workers: str) -> None:
    with cluster(two_workers) as remote:
        assert remote.workers == 2
        assert run(number_pass(sample), progress=False).computed == 30
    np.testing.assert_array_equal(stored(sample), truth())


def test_markers_work_behind_a_url() -> None:
    ledger = Ledger("memory://ledger/a.zarr", "raw/s0", "0" * 64)
    ledger.forget()
    ledger.claim_layout({"block": (1, 2, 3)})
    ledger.mark_failed((0, 1, 2), "because")
    ledger.mark_done((3, 1, 2), {"sum": 7})
    assert ledger.done() == {(3, 1, 2)}
    assert ledger.failed() == {(0, 1, 2): "because"}
    assert ledger.record((3, 1, 2)) == {"sum": 7}
    ledger.mark_done((0, 1, 2), {})
    assert not ledger.failed()
    with pytest.raises(MixedRunError):
        ledger.claim_layout({"block": (2, 2, 3)})


def test_the_shape_is_no_multiple_of_anything() -> None:
    assert all(n % s for n, s in zip(SHAPE[1:], (16, 16), strict=True))


def test_workers_of_gpus_start_under_the_settings_of_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def start(**_: object) -> None:
        nanny = "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_"
        seen = [dask.config.get(key) for key in ("distributed.scheduler.allowed-failures", nanny)]
        raise RuntimeError(seen)

    package = SimpleNamespace(LocalCUDACluster=start)
    monkeypatch.setitem(sys.modules, "dask_cuda", package)
    with pytest.raises(DeviceError, match=rf"\[10, {64 * 2**20}\]"), cluster("cuda"):
        pass


def test_cuda_without_a_gpu_says_what_to_do() -> None:
    if Path("/proc/driver/nvidia").exists():
        pytest.skip("there is a GPU; tests/gpu covers it")
    with (
        pytest.raises(DeviceError, match=r"Use --cluster local|use --cluster local") as caught,
        cluster("cuda"),
    ):
        pass
    assert caught.value.exit_code == 7
