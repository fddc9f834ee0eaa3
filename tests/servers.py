"""Servers of this machine that tests speak to: a private S3 endpoint, and ports for others."""

from __future__ import annotations

import http.client
import logging
import os
import random
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
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
    moto = pytest.importorskip(
        "moto.server", reason="the S3 server of the tests is moto: pip install 'moto[server]'"
    )
    logging.getLogger("werkzeug").setLevel("WARNING")  # a line a request, thousands of them
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
        urllib.request.urlopen(
            urllib.request.Request(f"{endpoint}/{path}", method=method), timeout=60
        ).close()
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


@contextmanager
def stumbling(endpoint: str, stumble: Callable[[str, str], str]) -> Iterator[str]:
    """Address of a proxy before a server; `stumble` gets method and path of a request and says what becomes of it.

    ``pass`` hands it on, ``refuse`` answers 503 in the server's place, ``lose`` does both, so that
    the reply is lost.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            fate = stumble(self.command, self.path)
            status, headers, data = (503, [], b"") if fate == "refuse" else self._handed_on(body)
            self.send_response(503 if fate == "lose" else status)
            for name, value in headers if fate == "pass" else []:
                self.send_header(name, value)
            data = data if fate == "pass" else b"<Error><Code>SlowDown</Code></Error>"
            if not (fate == "pass" and self.command == "HEAD"):
                self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = answer  # noqa: N815

        def _handed_on(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
            there = http.client.HTTPConnection(endpoint.removeprefix("http://"), timeout=60)
            there.request(self.command, self.path, body, dict(self.headers))
            reply = there.getresponse()
            data = reply.read()
            there.close()
            left_out = {"connection", "transfer-encoding"} | (
                {"content-length"} if self.command != "HEAD" else set()
            )
            return (
                reply.status,
                [one for one in reply.getheaders() if one[0].lower() not in left_out],
                data,
            )

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
