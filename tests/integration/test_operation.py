"""What an operator sees of a run: a journal, rates, counters for Prometheus, a window that follows the workers."""

from __future__ import annotations

import json
import logging
import re
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.recipes import until
from tests.works import SHAPE, number_pass, truth
from tim3d.cli.main import main
from tim3d.engine import cluster, journal, run
from tim3d.engine.clusters.cluster import Cluster, using
from tim3d.engine.passes import backpressure
from tim3d.engine.passes.backpressure import LOOK_SECONDS
from tim3d.errors import ArgumentError, FailedBlocksError
from tim3d.storage import store

pytestmark = pytest.mark.usefixtures("forked_workers")

POISON = (1, 1, 0)


@pytest.fixture
def sample(tmp_path: Path) -> str:
    return str(tmp_path / "a.zarr")


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("kind", ["serial", "two_workers"])
def test_a_journal_has_a_line_for_every_attempt(
    sample: str, tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    path = tmp_path / "run.jsonl"
    with (
        cluster("serial" if kind == "serial" else request.getfixturevalue(kind)),
        journal(path),
        pytest.raises(FailedBlocksError),
    ):
        run(number_pass(sample, poison=(POISON,)), progress=False)
    begin, *blocks, end = lines(path)
    assert (begin["event"], begin["blocks"], begin["left"], end["event"]) == (
        "begin",
        30,
        30,
        "end",
    )
    assert {(one["sample"], one["pass"]) for one in (begin, *blocks, end)} == {(sample, "raw/s0")}
    done = [one for one in blocks if one["state"] == "done"]
    assert len({tuple(one["block"]) for one in done}) == len(done) == 29
    ill = [(one["state"], one["attempt"]) for one in blocks if one["block"] == list(POISON)]
    assert ill == [("again", 1), ("again", 2), ("failed", 3)]
    assert all("poisoned block" in one["reason"] for one in blocks if one["state"] != "done")
    assert sum(one["voxels"] for one in done) == end["voxels"] < np.prod(SHAPE)
    assert all(
        one["read_bytes"] > one["write_bytes"] > 0 and one["peak_bytes"] > 2**20 for one in done
    )
    assert {one["worker"] for one in done} == set(end["workers"])


def test_the_sums_of_a_journal_are_the_summary(sample: str, tmp_path: Path) -> None:
    with journal(tmp_path / "run.jsonl"):
        summary = run(number_pass(sample), progress=False)
    found = lines(tmp_path / "run.jsonl")[1:-1]
    assert summary.voxels == np.prod(SHAPE) == summary.write_bytes
    for name in (
        "read_seconds",
        "wait_seconds",
        "compute_seconds",
        "write_seconds",
        "voxels",
        "read_bytes",
    ):
        assert getattr(summary, name) == pytest.approx(sum(one[name] for one in found))
    rates = summary.rates
    assert rates["blocks_per_second"] == pytest.approx(30 / summary.wall_seconds)
    assert rates["voxels_per_second"] == pytest.approx(np.prod(SHAPE) / summary.wall_seconds)
    assert 0 <= rates["read_share"] + rates["wait_share"] + rates["write_share"] <= 1
    assert "blocks/s" in str(summary)


def test_waiting_for_a_slow_disk_shows(sample: str) -> None:
    summary = run(number_pass(sample, slow=0.02), progress=False)
    assert summary.read_seconds > 30 * 0.02
    # However busy the machine is: who waits for a disk does not compute in that time.
    waiting = summary.read_seconds / (summary.wall_seconds * summary.processes)
    assert waiting < summary.rates["read_share"]
    assert summary.rates["computing_share"] + waiting < 1


def test_a_journal_that_cannot_be_written_stops_before_any_work(tmp_path: Path) -> None:
    with (
        pytest.raises(ArgumentError, match=r"is a folder\. Give the name of a file in it"),
        journal(tmp_path),
    ):
        pass
    with (
        pytest.raises(ArgumentError, match="Make it: mkdir -p"),
        journal(tmp_path / "logs" / "run.jsonl"),
    ):
        pass


@pytest.mark.long
def test_the_shell_writes_a_journal_and_names_the_dashboard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("grey.npy", np.zeros((8, 8, 8), np.uint8))
    Path("r.toml").write_text(
        "sample = 'a.zarr'\n[[step]]\nverb = 'ingest'\nsource = 'grey.npy'\nvoxel_size = {z = 1, y = 1, x = 1}"
    )
    with caplog.at_level(logging.INFO, "tim3d"):
        assert (
            main(["run", "r.toml", "--cluster", "local", "--workers", "1", "--log", "run.jsonl"])
            == 0
        )
    assert re.search(r"dashboard http://127\.0\.0\.1:\d+/status", caplog.text)
    assert "raw/s0: 1 blocks computed" in caplog.text
    assert main(["measure", "a.zarr", "--log", "run.jsonl", "--quiet"]) in (0, 3, 4)
    assert [one["event"] for one in lines(Path("run.jsonl"))][:3] == ["begin", "block", "end"]


def test_prometheus_finds_our_counters_at_the_workers_own_endpoint(sample: str) -> None:
    pytest.importorskip(
        "prometheus_client", reason="counters need prometheus_client: pip install 'tim3d[metrics]'"
    )
    with cluster("local", workers=1) as on:
        with pytest.raises(FailedBlocksError):
            run(number_pass(sample, poison=(POISON,)), progress=False)
        (worker,) = on.client.scheduler_info(n_workers=-1)["workers"].values()
        address = f"http://127.0.0.1:{worker['services']['dashboard']}/metrics"
        text = urllib.request.urlopen(address, timeout=30).read().decode()
    found = {
        name: float(value) for name, value in re.findall(r"^(tim3d_\S+) (\S+)$", text, re.MULTILINE)
    }
    assert found['tim3d_blocks_total{sweep="raw/s0"}'] == 29
    assert found['tim3d_block_failures_total{sweep="raw/s0"}'] == 3
    voxels = found['tim3d_voxels_total{sweep="raw/s0"}']
    assert (
        np.prod(SHAPE) - 8 * 16 * 16
        == voxels
        == found['tim3d_bytes_total{sweep="raw/s0",way="write"}']
    )
    assert found['tim3d_block_seconds_total{step="compute",sweep="raw/s0"}'] >= 0
    assert "dask_worker_tasks" in text


def reports(percent: Any, dask_worker: Any = None) -> None:
    """On a worker: what distributed's own monitor says where there is a GPU and pynvml, as one of its metrics."""
    dask_worker.metrics["gpu_utilization"] = lambda worker: percent


@pytest.mark.long
def test_the_mean_of_what_workers_say_of_their_gpus(sample: str, tmp_path: Path) -> None:
    with cluster("local", workers=3) as on, journal(tmp_path / "run.jsonl"):
        workers = list(on.client.scheduler_info(n_workers=-1)["workers"])
        for worker, percent in zip(workers, (60, 100, "N/A"), strict=True):
            on.client.run(reports, percent, workers=[worker])
        until(
            lambda: all(one in seen(on.client) for one in (60, 100)), "a heartbeat of every worker"
        )
        summary = run(number_pass(sample, slow=0.4), progress=False)
    assert summary.gpu_busy_share == pytest.approx(0.8)
    assert "GPUs busy 80%" in str(summary)
    end = lines(tmp_path / "run.jsonl")[-1]
    assert end["gpu_busy_share"] == pytest.approx(0.8)


def seen(client: Any) -> list[Any]:
    """What the scheduler knows of the workers' GPUs."""
    return client.run_on_scheduler(  # type: ignore[no-any-return]
        lambda dask_scheduler: [
            w.metrics.get("gpu_utilization") for w in dask_scheduler.workers.values()
        ]
    )


@pytest.mark.long
def test_without_a_gpu_nothing_is_said_of_one(
    sample: str, tmp_path: Path, two_workers: str
) -> None:
    with cluster(two_workers) as on, journal(tmp_path / "run.jsonl"):
        if any(isinstance(one, int | float) for one in seen(on.client)):
            pytest.skip("the workers here have a GPU")
        summary = run(number_pass(sample, slow=0.2), progress=False)
    assert summary.wall_seconds > LOOK_SECONDS
    assert summary.gpu_busy_share is None
    assert "gpu_busy_share" not in lines(tmp_path / "run.jsonl")[-1]
    assert "GPU" not in str(summary)


@pytest.mark.long
def test_workers_that_join_later_are_used_fully(sample: str) -> None:
    most = 0
    with cluster("local", workers=1) as on:
        stop = threading.Event()

        def watch() -> None:
            nonlocal most
            while not stop.wait(0.02):
                most = max(
                    most, len([key for key in list(on.client.futures) if key.startswith("raw/s0")])
                )

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            grow = threading.Timer(1.0, lambda: on.client.cluster.scale(3))
            grow.start()
            summary = run(number_pass(sample, slow=0.5), progress=False)
        finally:
            stop.set()
            watcher.join()
    assert most >= 6
    assert len(summary.workers) == 3
    np.testing.assert_array_equal(store.field_array(sample, "raw")[:], truth())


@pytest.mark.long
def test_a_run_without_workers_says_so_once_and_goes_on_when_one_comes(
    sample: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from distributed import Client, LocalCluster

    monkeypatch.setattr(backpressure, "ALONE_SECONDS", 1.0)
    # A worker that is told to leave may come back once more: here there has never been one.
    with (
        LocalCluster(
            n_workers=0,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
        ) as made,
        Client(made) as client,
        using(Cluster("local", client, 1, 1, 2**30)),
    ):

        def grow() -> None:
            try:
                until(lambda: bool(alone(caplog)), "the warning")
                time.sleep(4.0)  # long enough to say it twice
            finally:
                made.scale(1)

        growing = threading.Thread(target=grow)
        growing.start()
        run(number_pass(sample), progress=False)
        growing.join()
        address = made.scheduler_address
    assert len(alone(caplog)) == 1
    assert f"dask worker {address}" in alone(caplog)[0]
    np.testing.assert_array_equal(store.field_array(sample, "raw")[:], truth())


class FakeScheduler:
    """A client whose scheduler has one number of threads after the other."""

    def __init__(self, *threads: int) -> None:
        self.scheduler, self._threads = self, iter(threads)
        self.address = "tcp://10.0.0.1:8786"

    def run_on_scheduler(self, _: object) -> tuple[int, list[float]]:
        return next(self._threads), []


def test_every_loss_of_all_workers_is_reported(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(backpressure, "ALONE_SECONDS", -1.0)
    monkeypatch.setattr(backpressure, "LOOK_SECONDS", -1.0)
    threads = (0, 0, 1, 0, 0)  # lost, found again, lost again
    window = backpressure.Window(FakeScheduler(*threads), 1, backpressure.GpuLoad())
    for _ in threads:
        window.size()
    assert len(alone(caplog)) == 2


def alone(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was said of a run that nobody works for."""
    return [
        one.getMessage()
        for one in caplog.records
        if "no worker has been connected" in one.getMessage()
    ]
