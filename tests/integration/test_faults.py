"""Faults that are not a plain kill: a hang, a spoilt device, a scheduler that dies, two clients, a read-only disk."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tim3d
from tests.recipes import until
from tests.servers import cluster_when_ready, free_port
from tests.works import NumberWork, number_pass, truth
from tim3d.cli.parsing import accepted, call
from tim3d.engine import Pass, cluster, run
from tim3d.engine.clusters.timeouts import Watch
from tim3d.engine.state.owner import process_start
from tim3d.errors import ArgumentError, DeviceError, FailedBlocksError
from tim3d.grid import Block, Triple
from tim3d.storage import store

pytestmark = pytest.mark.usefixtures("forked_workers")

STUCK: Triple = (1, 1, 0)


@dataclass(frozen=True)
class FaultyWork(NumberWork):
    """`NumberWork` with a fault at the block `STUCK`, `times` times; every attempt leaves a file."""

    kind: str = "hang"
    times: int = 1

    def compute(self, block: Block, inputs: np.ndarray) -> np.ndarray:
        if block.index == STUCK and self._attempt() < self.times:
            if self.kind == "hang":
                time.sleep(600)
            if self.kind == "lock the interpreter":
                ctypes.PyDLL(None).sleep(600)  # a C function that never lets another thread run
            raise RuntimeError("CUDA error: device-side assert triggered")
        return super().compute(block, inputs)

    def _attempt(self) -> int:
        folder = Path(self.sample).parent
        before = len(list(folder.glob("attempt-*")))
        (folder / f"attempt-{time.time_ns()}").touch()
        return before


def faulty(sample: str, limit: float | None = 4.0, **work: Any) -> Pass:
    made = number_pass(sample)
    return replace(made, work=FaultyWork(sample, **work), time_limit=limit)


@pytest.fixture
def sample(tmp_path: Path) -> str:
    return str(tmp_path / "a.zarr")


def attempts(sample: str) -> int:
    return len(list(Path(sample).parent.glob("attempt-*")))


@pytest.mark.long
@pytest.mark.parametrize("kind", ["hang", "lock the interpreter"])
def test_a_block_that_hangs_costs_its_worker_and_is_done_at_the_next_attempt(
    sample: str, kind: str
) -> None:
    with cluster("local", workers=2):
        summary = run(faulty(sample, kind=kind), progress=False)
    assert (summary.computed, summary.failed, attempts(sample)) == (30, 0, 2)
    np.testing.assert_array_equal(store.field_array(sample, "raw")[:], truth())


@pytest.mark.long
def test_a_block_that_always_hangs_is_set_aside_with_the_reason(sample: str) -> None:
    said = r"1 block\(s\) of raw/s0 failed 3 times .* block \(1, 1, 0\) was not done after \d s on tcp://.*limit is 4 s"
    with cluster("local", workers=2), pytest.raises(FailedBlocksError, match=said):
        run(faulty(sample, times=9), progress=False)
    ledger = number_pass(sample).ledger
    assert (len(ledger.done()), list(ledger.failed()), attempts(sample)) == (29, [STUCK], 3)
    assert "time limit" in ledger.failed()[STUCK]
    assert run(number_pass(sample), progress=False).computed == 1
    np.testing.assert_array_equal(store.field_array(sample, "raw")[:], truth())


@pytest.mark.long
def test_an_error_that_spoils_a_device_costs_its_worker(sample: str) -> None:
    with cluster("local", workers=1):
        summary = run(faulty(sample, limit=None, kind="device"), progress=False)
    assert (summary.computed, attempts(sample)) == (30, 2)
    assert len(summary.workers) == 2
    np.testing.assert_array_equal(store.field_array(sample, "raw")[:], truth())


@pytest.mark.long
def test_this_process_can_only_warn(sample: str, caplog: pytest.LogCaptureFixture) -> None:
    work_pass = replace(number_pass(sample, slow=0.1), time_limit=0.02)
    with caplog.at_level(logging.WARNING, "tim3d"):
        assert run(work_pass, progress=False).computed == 30
    assert "block (0, 0, 0) is not done after 0.02 s. This process cannot end it" in caplog.text


def test_a_time_limit_is_a_positive_number() -> None:
    with pytest.raises(ArgumentError, match="positive number of seconds"):
        tim3d.Options(time_limit=0)


@pytest.mark.parametrize(
    ("verb", "option", "asked"),
    [
        ("solve", {"time_limit": 60}, {"conductivity": {"pore": 1.0}}),
        ("solve", {"block": (4, 4, 4)}, {"conductivity": {"pore": 1.0}}),
        ("geodesic", {"time_limit": 60}, {}),
        ("study", {"block": (4, 4, 4)}, {"quantity": "phase_fraction"}),
    ],
)
def test_an_option_that_a_verb_does_not_have_is_refused(
    verb: str, option: dict[str, Any], asked: dict[str, Any]
) -> None:
    """In the shell and in Python, before the sample is looked for; a recipe gives it to the steps that have it."""
    (name,) = option
    with pytest.raises(ArgumentError, match=f"{verb} has no {name}: ") as caught:
        getattr(tim3d, verb)("a.zarr", **asked, options=tim3d.Options(**option))
    assert caught.value.exit_code == 2
    with pytest.raises(ArgumentError, match=f"{verb} has no {name}: "):
        call(verb, {"sample": "a.zarr", **option, **asked})
    assert accepted(verb, {**option, "durable": True}) == {"durable": True}


@contextlib.contextmanager
def dask_process(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A scheduler or a worker, as a process of its own."""
    command = [sys.executable, "-m", "dask", *arguments]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(4)
            except subprocess.TimeoutExpired:  # a block hangs in it
                process.kill()


@contextlib.contextmanager
def dask_scheduler() -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Address and process of a scheduler."""
    port = str(free_port())
    where = (
        "scheduler",
        "--host",
        "127.0.0.1",
        "--port",
        port,
        "--dashboard-address",
        "127.0.0.1:0",
    )
    with dask_process(*where) as process:
        yield f"tcp://127.0.0.1:{port}", process


@pytest.mark.long
def test_a_killed_nanny_takes_its_worker_with_it_and_the_others_go_on(sample: str) -> None:
    with dask_scheduler() as (address, _), contextlib.ExitStack() as stack:
        worker = ("worker", address, "--nthreads", "1", "--no-dashboard")
        nannies = [stack.enter_context(dask_process(*worker)) for _ in range(2)]
        with cluster_when_ready(address) as on:
            until(
                lambda: len(on.client.scheduler_info(n_workers=-1)["workers"]) == 2, "two workers"
            )
            workers = list(on.client.run(os.getpid).values())
            work_pass = number_pass(sample, slow=0.1)
            kill_when(lambda: len(work_pass.ledger.done()) >= 2, nannies[0])
            assert run(work_pass, progress=False).computed == 30
            until(
                lambda: sum(process_start(pid) is not None for pid in workers) == 1,
                "the orphan's end",
            )
    np.testing.assert_array_equal(store.field_array(sample, "raw")[:], truth())


@pytest.mark.long
def test_a_block_that_hangs_where_nobody_can_end_it_is_set_aside_at_once(sample: str) -> None:
    with dask_scheduler() as (address, _), contextlib.ExitStack() as stack:
        for _ in range(2):
            worker = ("worker", address, "--nthreads", "1", "--no-dashboard", "--no-nanny")
            stack.enter_context(dask_process(*worker))
        said = "its worker could not be ended: end it by hand, or start workers with a nanny"
        with cluster_when_ready(address) as on:
            until(
                lambda: len(on.client.scheduler_info(n_workers=-1)["workers"]) == 2, "two workers"
            )
            with pytest.raises(FailedBlocksError, match=said):
                run(faulty(sample, limit=4.0), progress=False)
    assert (len(number_pass(sample).ledger.done()), attempts(sample)) == (29, 1)
    assert run(number_pass(sample), progress=False).computed == 1
    np.testing.assert_array_equal(store.field_array(sample, "raw")[:], truth())


@pytest.mark.long
def test_a_killed_scheduler_ends_the_run_and_another_goes_on(sample: str) -> None:
    with (
        dask_scheduler() as (address, scheduler),
        dask_process("worker", address, "--nthreads", "1", "--no-dashboard"),
    ):
        work_pass, on = number_pass(sample, slow=0.2), cluster_when_ready(address)
        kill_when(lambda: len(work_pass.ledger.done()) >= 2, scheduler)
        with (
            on,
            pytest.raises(
                DeviceError, match=f"the scheduler {address} is gone. Finished blocks are kept"
            ),
        ):
            run(work_pass, progress=False)
    done = len(work_pass.ledger.done())
    assert 2 <= done < 30
    assert run(number_pass(sample), progress=False).skipped == done
    np.testing.assert_array_equal(store.field_array(sample, "raw")[:], truth())


@pytest.mark.slow
def test_a_scheduler_that_dies_before_the_first_block_is_said_so_too(sample: str) -> None:
    def lose(address: str, scheduler: subprocess.Popen[bytes]) -> None:
        with cluster_when_ready(address):
            scheduler.kill()
            scheduler.wait()
            run(number_pass(sample), progress=False)

    with (
        dask_scheduler() as (address, scheduler),
        dask_process("worker", address, "--nthreads", "1", "--no-dashboard"),
        pytest.raises(DeviceError, match=f"the scheduler {address} is gone"),
    ):
        lose(address, scheduler)


def test_a_result_that_is_cancelled_with_its_scheduler_is_no_fault_of_the_block() -> None:
    """The scheduler may die between the end of a block and the arrival of its result."""

    class Lost:
        key, status = "a", "finished"

        def result(self) -> None:
            raise CancelledError("a cancelled for reason: scheduler-connection-lost")

    class Dead:
        scheduler = None

        def run_on_scheduler(self, *_: Any) -> None:
            raise OSError("no route")

    with pytest.raises(DeviceError, match=r"is gone\. Finished blocks are kept"):
        Watch(Dead(), None).outcome(STUCK, Lost())


@pytest.mark.long
def test_results_that_are_lost_together_are_asked_for_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, two_workers: str
) -> None:
    for error in (CancelledError, OSError, ValueError):
        sample = str(tmp_path / f"{error.__name__}.zarr")

        async def lost(*_: Any, error: type[BaseException] = error, **__: Any) -> None:
            raise error("lost")

        with cluster(two_workers) as on:
            monkeypatch.setattr(on.client, "gather", lost)
            assert run(number_pass(sample), progress=False).computed == 30, error
        np.testing.assert_array_equal(store.field_array(sample, "raw")[:], truth(), error.__name__)


@pytest.mark.long
def test_nobody_waits_for_a_result_on_a_host_that_is_cut_off(
    sample: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = number_pass(sample).ledger
    late: list[int] = []

    with cluster("local", workers=2) as on:
        gather = on.client.gather

        async def cut_off(futures: list[Any], *, asynchronous: bool) -> Any:
            if not late:
                late.append(len(futures))
                while len(ledger.done()) < 30:  # never, if the others waited for this one
                    await asyncio.sleep(0.05)
            return await gather(futures, asynchronous=asynchronous)

        monkeypatch.setattr(on.client, "gather", cut_off)
        assert run(number_pass(sample), progress=False).computed == 30
    assert len(late) == 1
    np.testing.assert_array_equal(store.field_array(sample, "raw")[:], truth())


def kill_when(ready: Any, process: subprocess.Popen[bytes]) -> None:
    """Kill a process as soon as something holds."""

    def wait() -> None:
        while not ready():
            time.sleep(0.05)
        process.kill()

    threading.Thread(target=wait, daemon=True).start()
