"""Collective work: several workers run at the same time, each on its own part, exchanging planes.

A pass of independent blocks is `tim3d.engine.passes.run`. Here every worker holds its part in
memory and sends planes to the others directly; dask starts the workers and monitors them.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import cloudpickle
import psutil

from tim3d.engine.clusters.cluster import Cluster, current_cluster
from tim3d.errors import DeviceError, Tim3dError

log = logging.getLogger(__name__)

RETRIES = 2
# Time between two checks that all workers are alive.
WATCH_SECONDS = 2.0
Report = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True)
class Seat:
    """Rank of one process in a collective, and how it reaches the others.

    Attributes
    ----------
    rank, size : int
        Rank of this process, and number of processes.
    meeting : str
        Address at which the ranks find each other, ``tcp://HOST:PORT``.
    threads : int
        Threads of this rank; 0 for as many as there are cores.
    report : callable
        Function that sends a small mapping to the client.
    key : str
        Secret shared by the ranks only.
    """

    rank: int
    size: int
    meeting: str
    threads: int
    report: Report
    key: str = ""


def run_collective(
    work: Callable[[Seat], Any], size: int, listen: Report = lambda news: None
) -> list[Any]:
    """Run `work` on `size` workers of the current cluster at once; return the results by rank.

    `work` must pickle. If a worker is lost, all ranks stop and the work is restarted on the
    remaining workers, up to two times: it should continue from its own checkpoint.

    Raises
    ------
    DeviceError
        If there are too few workers, or workers were lost three times.
    Tim3dError
        Any error of this kind that a rank raised.
    """
    on = current_cluster()
    if on.client is None:
        return [work(Seat(0, 1, "", 0, listen))]
    pickled = cloudpickle.dumps(work)
    attempt = 0
    while True:
        try:
            with _listening(on, listen) as topic:
                return _once(pickled, size, on, topic)
        except Tim3dError:
            raise
        except Exception as error:  # a dead worker, a broken connection
            if attempt == RETRIES:
                raise DeviceError(
                    f"the workers that solve together were lost {RETRIES + 1} times, last by: {error}. "
                    "Fix the cluster and run the same command again: it continues from the last checkpoint"
                ) from error
            log.warning(
                "a worker was lost (%s); the others restart from the last checkpoint", error
            )
            attempt += 1


@contextlib.contextmanager
def _listening(on: Cluster, listen: Report) -> Iterator[str]:
    topic = f"tim3d-{time.time_ns()}"
    on.client.subscribe_topic(topic, lambda event: listen(event[1]))
    try:
        yield topic
    finally:
        on.client.unsubscribe_topic(topic)


def _once(pickled: bytes, size: int, on: Cluster, topic: str) -> list[Any]:
    places = _places(on, size)
    meeting = on.client.submit(
        free_address, _host(places[0]), workers=[places[0]], pure=False
    ).result()
    key = secrets.token_hex()
    futures = [
        on.client.submit(
            _take_seat,
            pickled,
            (rank, size, meeting, on.threads),
            topic,
            key,
            workers=[place],
            allow_other_workers=False,
            pure=False,
            retries=0,
        )
        for rank, place in enumerate(places)
    ]
    try:
        _wait(futures, places, on)
        return [future.result() for future in futures]
    finally:
        on.client.cancel(futures, force=True)


def _places(on: Cluster, size: int) -> list[str]:
    """Addresses of workers, sorted so that workers on one host are neighbours.

    Waits up to 30 s: after a loss a nanny needs a moment to restart its worker.
    """
    deadline = time.monotonic() + 30
    while True:
        places = sorted(on.client.scheduler_info(n_workers=-1)["workers"])
        if len(places) >= size:
            return places[:size]
        if time.monotonic() > deadline:
            raise DeviceError(
                f"{size} workers are needed at the same time, there are {len(places)}. Start more"
            )
        time.sleep(0.2)


def _wait(futures: list[Any], places: list[str], on: Cluster) -> None:
    """Wait for all ranks; raise the error of a failed one, a `Tim3dError` before any other."""
    while left := [future for future in futures if future.status != "finished"]:
        if [future for future in left if future.status != "pending"]:
            _pause(left, "ALL_COMPLETED")  # the other ranks notice the loss
            raise _reason(left)
        if gone := set(places) - set(on.client.scheduler_info(n_workers=-1)["workers"]):
            raise RuntimeError(f"worker {min(gone)} is gone")
        _pause(left, "FIRST_COMPLETED")


def _pause(futures: list[Any], until: str) -> None:
    from distributed import wait

    with contextlib.suppress(TimeoutError):
        wait(futures, timeout=WATCH_SECONDS, return_when=until)


def _reason(futures: list[Any]) -> BaseException:
    errors = [future.exception() for future in futures if future.status == "error"]
    own = [error for error in errors if isinstance(error, Tim3dError)]
    return next(iter([*own, *errors]), RuntimeError("a rank was cancelled"))


def _host(address: str) -> str:
    return urlsplit(address).hostname or "127.0.0.1"


def free_address(host: str) -> str:
    """Free address of this worker at which the others can connect."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return f"tcp://{host}:{probe.getsockname()[1]}"


def interface_of(host: str) -> str | None:
    """Name of the network interface with this address.

    >>> interface_of("203.0.113.1") is None
    True
    """
    names = (
        name
        for name, found in psutil.net_if_addrs().items()
        for one in found
        if one.address == host
    )
    return next(names, None)


def _take_seat(pickled: bytes, seat: tuple[int, int, str, int], topic: str, key: str) -> Any:
    from distributed import get_worker

    worker = get_worker()
    # Ranks connect on the network of their workers: a host's name may resolve to nothing, or to
    # another network.
    if name := interface_of(_host(worker.address)):
        os.environ.setdefault("GLOO_SOCKET_IFNAME", name)
    work = cloudpickle.loads(pickled)
    return work(Seat(*seat, lambda news: worker.log_event(topic, dict(news)), key))
