"""Two hosts, as network namespaces of this machine joined by a cable, and the cable cut in the middle of a run."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ROOT
from tests.recipes import until
from tests.works import number_pass, truth
from tim3d.storage import store

CUT_SECONDS = 30.0
# A range for tests of networks, which no real host has: RFC 2544.
ADDRESSES = ("198.18.0.1", "198.18.0.2")
CLIENT = """
from tests.servers import cluster_when_ready
from tests.works import number_pass
from tim3d.engine import lock_sample, run

with lock_sample({sample!r}), cluster_when_ready({address!r}) as on:
    on.client.wait_for_workers(2)
    print(run(number_pass({sample!r}, slow=1.0), progress=False))
"""


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


@pytest.fixture
def hosts() -> Iterator[tuple[str, str]]:
    """Names of two hosts that reach each other by one cable and nobody else; each end of it is called ``eth0``."""
    if shutil.which("ip") is None:
        pytest.skip("no program 'ip' here: install iproute2")
    names = (f"tim3d-a{os.getpid()}", f"tim3d-b{os.getpid()}")
    with contextlib.ExitStack() as stack:
        for name in names:
            try:
                ip("netns", "add", name)
            except subprocess.CalledProcessError as error:
                pytest.skip(
                    f"no network namespaces here, they need the rights of root: {error.stderr.strip()}"
                )
            stack.callback(ip, "netns", "delete", name)
        ip(
            "link",
            "add",
            "eth0",
            "netns",
            names[0],
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "netns",
            names[1],
        )
        for name, address in zip(names, ADDRESSES, strict=True):
            ip("-n", name, "address", "add", f"{address}/24", "dev", "eth0")
            for link in ("lo", "eth0"):
                ip("-n", name, "link", "set", link, "up")
        yield names


@contextlib.contextmanager
def on_host(host: str, log: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A Python process there, and all its children, for as long as the ``with`` lasts."""
    command = ["ip", "netns", "exec", host, sys.executable, *arguments]
    with (
        log.open("wb") as out,
        subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=out) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_cable_that_is_cut_for_half_a_minute_costs_time_only(
    hosts: tuple[str, str], tmp_path: Path
) -> None:
    sample, address = str(tmp_path / "a.zarr"), f"tcp://{ADDRESSES[0]}:8786"
    ledger = number_pass(sample).ledger
    with contextlib.ExitStack() as stack:
        begin = [
            hosts[0],
            tmp_path / "scheduler.log",
            "-m",
            "dask",
            "scheduler",
            "--host",
            ADDRESSES[0],
        ]
        stack.enter_context(on_host(*begin, "--no-dashboard"))  # type: ignore[arg-type]
        for host, own in zip(hosts, ADDRESSES, strict=True):
            worker = [
                "-m",
                "dask",
                "worker",
                address,
                "--host",
                own,
                "--nthreads",
                "1",
                "--no-dashboard",
            ]
            stack.enter_context(on_host(host, tmp_path / f"worker-{own}.log", *worker))
        code = CLIENT.format(sample=sample, address=address)
        client = stack.enter_context(on_host(hosts[0], tmp_path / "client.log", "-c", code))
        until(lambda: len(ledger.done()) >= 6, "the sixth block")
        ip("-n", hosts[1], "link", "set", "eth0", "down")
        began, before = time.monotonic(), len(ledger.done())
        time.sleep(CUT_SECONDS)
        alone = len(ledger.done())
        assert before < alone  # the other host went on
        ip("-n", hosts[1], "link", "set", "eth0", "up")
        assert client.wait(timeout=200) == 0, (tmp_path / "client.log").read_text()[-3000:]
        print(
            f"{before} blocks before, {alone} after the cut, all {time.monotonic() - began:.0f} s after its begin"
        )
    np.testing.assert_array_equal(store.field_array(sample, "raw")[:], truth())
    assert len(ledger.done()) == len(number_pass(sample).grid)
    assert not ledger.failed()
