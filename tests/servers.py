"""Servers of this machine that tests speak to: a private S3 endpoint, and ports for others."""

from __future__ import annotations

import os
import random
import socket
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tim3d.engine import cluster
from tim3d.errors import DeviceError

SETTINGS = {
    "AWS_ALLOW_HTTP": "true",
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_REGION": "us-east-1",
    "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "false",
}


def free_port() -> int:
    """A port that nobody listens at, below those that the kernel hands to clients in between."""
    while True:
        port = random.Random(os.urandom(8)).randrange(15000, 32000)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port


@contextmanager
def s3_server() -> Iterator[str]:
    """Endpoint of a private S3 server; it picks its port itself."""
    pytest.importorskip("obstore", reason="object stores need obstore: pip install 'tim3d[s3]'")
    moto = pytest.importorskip("moto.server", reason="the S3 server of the tests is moto: pip install 'moto[server]'")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def empty_bucket(endpoint: str) -> str:
    """Forget all that the server holds; the URL of a new bucket."""
    for method, path in (("POST", "moto-api/reset"), ("PUT", "bucket")):
        urllib.request.urlopen(urllib.request.Request(f"{endpoint}/{path}", method=method), timeout=60).close()
    return "s3://bucket"


def speak_to(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the variables by which clients in this process, and in those it starts, find the endpoint."""
    for name, value in {**SETTINGS, "AWS_ENDPOINT_URL": endpoint}.items():
        monkeypatch.setenv(name, value)


def cluster_when_ready(address: str, seconds: float = 60.0) -> Any:
    """The cluster at the address of a scheduler, as soon as it has a worker; `DeviceError` if it gets none in time."""
    limit = time.monotonic() + seconds
    while True:
        try:
            with cluster(address):
                return cluster(address)
        except DeviceError:
            if time.monotonic() > limit:
                raise
        time.sleep(0.5)
