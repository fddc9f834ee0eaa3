"""Processes that exchange planes of arrays directly: each is connected to every other by TCP.

Python's multiprocessing makes the connections: both ends prove that they hold a common key
before anything is unpickled. torch.distributed does the same and is used between GPUs. Between CPUs
its gloo backend takes five times as long for a plane of 256 x 256 float32, many times as long for a
few numbers, and requires every worker to load torch.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Iterator
from multiprocessing import AuthenticationError
from multiprocessing.connection import (
    Client,
    Connection,
    Listener,
    answer_challenge,
    deliver_challenge,
)
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

# A rank counts as dead after this many silent seconds. One that dies closes its connections and is
# noticed at once.
PATIENCE = 1800
# A host that is gone closes nothing: the system probes after 30 s of silence, four times, then ends
# the connection.
ALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 4}
# Seconds in which a connecting process must prove that it belongs to the collective.
HELLO_SECONDS = 10


class Line:
    """A connection to another rank, for values and for planes of arrays."""

    def __init__(self, connection: Connection, patience: int = PATIENCE) -> None:
        self.values = connection
        self.planes = socket.socket(fileno=socket.dup(connection.fileno()))
        self.planes.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.planes.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in ALIVE.items():
            if hasattr(socket, name):
                self.planes.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        self.wait_for(patience)

    def wait_for(self, seconds: int) -> None:
        """Set the time limit for the other side from now on."""
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            self.planes.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", seconds, 0))

    def send(self, plane: Any) -> None:
        """Send a contiguous plane as it lies in memory."""
        self.planes.sendall(memoryview(plane).cast("B"))

    def receive(self, plane: Any) -> None:
        """Receive into a contiguous plane."""
        view = memoryview(plane).cast("B")
        while view:
            count = self.planes.recv_into(view, flags=socket.MSG_WAITALL)
            if not count:
                raise ConnectionError("another rank closed its connection")
            view = view[count:]

    def close(self) -> None:
        """Close both sockets."""
        self.values.close()
        self.planes.close()


class SocketRing:
    """Context of a ring of processes that exchange arrays, as `ghost_layers.Ring` describes.

    Parameters
    ----------
    rank, size : int
        Rank of this process, and number of processes.
    meeting : str
        Address of rank 0, where all ranks connect: ``tcp://HOST:PORT``.
    key : str
        Secret shared by the ranks. It is never sent; a process that cannot prove to hold it is
        ignored.

    Raises
    ------
    ConnectionError
        As soon as a connection to another rank is lost.
    TimeoutError
        If another rank is silent for half an hour.
    """

    def __init__(self, rank: int, size: int, meeting: str, key: str) -> None:
        self.rank, self.size = rank, size
        self._lines: dict[int, Line] = {}
        self._opened = contextlib.ExitStack()
        with self._opened, _patient():
            place = urlsplit(meeting)
            self._meet((str(place.hostname), int(place.port or 0)), key.encode())
            self._opened = self._opened.pop_all()

    def __enter__(self) -> SocketRing:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._opened.close()

    def _meet(self, place: tuple[str, int], key: bytes) -> None:
        """Connect to rank 0, learn the addresses of the others, and connect to the lower ranks."""
        if self.rank == 0:
            with Listener(place, "AF_INET", backlog=self.size) as listener:
                places = self._accept(listener, key)
            for line in self._lines.values():
                line.values.send(places)
            return
        first = self._connect(0, place, key)
        with Listener((first.planes.getsockname()[0], 0), "AF_INET", backlog=self.size) as listener:
            first.values.send((self.rank, listener.address))
            for other, there in first.values.recv().items():
                if other < self.rank:
                    self._connect(other, there, key).values.send((self.rank, None))
            self._accept(listener, key)

    def _connect(self, other: int, place: tuple[str, int], key: bytes) -> Line:
        """Connect to a rank; retry while it is not yet listening."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return self._register(other, Line(Client(place, "AF_INET", authkey=key)))
            except ConnectionRefusedError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def _accept(self, listener: Listener, key: bytes) -> dict[int, Any]:
        """Accept the missing ranks and return their addresses; close other connections."""
        places = {}
        while len(self._lines) < self.size - 1:
            line = Line(listener.accept(), HELLO_SECONDS)
            try:
                deliver_challenge(line.values, key)
                answer_challenge(line.values, key)
            except (AuthenticationError, EOFError, OSError):
                line.close()
                continue
            line.wait_for(PATIENCE)
            rank, places[rank] = line.values.recv()
            self._register(rank, line)
        return places

    def _register(self, other: int, line: Line) -> Line:
        self._opened.callback(line.close)
        self._lines[other] = line
        return line

    def collect(self, value: Any) -> list[Any]:
        """Values of all ranks, by rank."""
        found = [value] * self.size
        with _patient():
            # All use one order of pairs, and the lower rank sends first: no deadlock, however long
            # the values.
            for other in sorted(self._lines):
                line = self._lines[other].values
                if self.rank < other:
                    line.send(value)
                found[other] = line.recv()
                if self.rank > other:
                    line.send(value)
        return found

    def swap(self, array: Any, wrap: bool) -> None:
        """Replace planes 0 and -1 by the neighbours' planes -2 and 1."""
        if self.size == 1:
            if wrap:
                array[0], array[-1] = array[-2], array[1]
            return
        below, above = (self.rank - 1) % self.size, (self.rank + 1) % self.size
        is_first, is_last = self.rank == 0 and not wrap, self.rank == self.size - 1 and not wrap
        with _patient():
            # Two ranks that wrap are neighbours on both sides: all send upwards first, then
            # downwards.
            self._pass_on(
                None if is_last else above, array[-2], None if is_first else below, array[0]
            )
            self._pass_on(
                None if is_first else below, array[1], None if is_last else above, array[-1]
            )

    def _pass_on(self, to: int | None, ours: Any, source: int | None, theirs: Any) -> None:
        """Send one plane and receive another; even ranks send first, which prevents a deadlock."""
        sends_first = self.rank % 2 == 0
        if to is not None and sends_first:
            self._lines[to].send(ours)
        if source is not None:
            self._lines[source].receive(theirs)
        if to is not None and not sends_first:
            self._lines[to].send(ours)


@contextlib.contextmanager
def _patient() -> Iterator[None]:
    """Translate the operating system's errors for a rank that is gone or silent."""
    try:
        yield
    except EOFError as error:
        raise ConnectionError("another rank closed its connection") from error
    except BlockingIOError as error:
        raise TimeoutError(f"another rank has been silent for {PATIENCE} s") from error
