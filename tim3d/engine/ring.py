"""Processes that exchange planes of arrays directly: each is connected to every other by TCP.

torch.distributed does the same and is used between GPUs. Between CPUs its gloo took five times as long for a plane of
256 x 256 float32 and fifty times as long for a few numbers, and every worker had to load torch.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import pickle
import selectors
import socket
import struct
import time
from collections import deque
from collections.abc import Iterable
from hashlib import sha256
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

# A rank that waits longer for another takes it for dead. One that dies closes its connections and is noticed at once.
PATIENCE = 1800.0
# A host that is gone closes nothing: the system asks after 30 s of silence, four times, and then ends the connection.
ALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 4}
# How long somebody who connects may take to say who it is.
HELLO_SECONDS = 10.0
HELLO = struct.Struct("!32sII")  # what proves that it belongs here, its rank, where it listens
LENGTH = struct.Struct("!Q")


class Line:
    """A connection to another rank: what is still to go out on it, and what to come in."""

    def __init__(self, ends: socket.socket) -> None:
        ends.setblocking(False)
        ends.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        ends.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in ALIVE.items():
            if hasattr(socket, name):
                ends.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        self.ends = ends
        self.out: deque[memoryview] = deque()
        self.into: deque[memoryview] = deque()

    def move(self) -> bool:
        """Send and receive as much as goes without waiting; whether anything went."""
        return _advance(self.out, self.ends.send) | _advance(self.into, self._receive)

    def _receive(self, view: memoryview) -> int:
        count = self.ends.recv_into(view)
        if not count:
            raise ConnectionError("another rank closed its connection")
        return count

    @property
    def awaits(self) -> int:
        """For which events of a selector it waits; 0 when it is done."""
        return (selectors.EVENT_WRITE if self.out else 0) | (selectors.EVENT_READ if self.into else 0)


def _advance(queue: deque[memoryview], transfer: Any) -> bool:
    moved = False
    with contextlib.suppress(BlockingIOError):
        while queue:
            count = transfer(queue[0])
            moved = True
            queue[0] = queue[0][count:]
            if not queue[0]:
                queue.popleft()
    return moved


def _settle(lines: Iterable[Line]) -> None:
    """Until nothing is left to go out or to come in."""
    while busy := [line for line in lines if line.awaits]:
        if not sum(line.move() for line in busy):
            _wait(busy)


def _wait(lines: list[Line]) -> None:
    with selectors.DefaultSelector() as selector:
        for line in lines:
            selector.register(line.ends, line.awaits)
        if not selector.select(PATIENCE):
            raise TimeoutError(f"another rank has been silent for {PATIENCE:.0f} s")


class SocketRing:
    """A ring of processes, as `tim3d.kernels.halo.Ring` describes, for arrays in memory; to be used in a ``with``.

    Parameters
    ----------
    rank, size : int
        Who this is, of how many.
    meeting : str
        Where all meet: ``tcp://HOST:PORT``, on the host of rank 0.
    key : str
        What all know and nobody else does: who cannot show it is not listened to.

    Raises
    ------
    ConnectionError
        As soon as another rank is gone.
    TimeoutError
        If another rank is silent for half an hour.
    """

    def __init__(self, rank: int, size: int, meeting: str, key: str) -> None:
        self.rank, self.size = rank, size
        with contextlib.ExitStack() as opened:
            found = _meet(rank, size, meeting, sha256(key.encode()).digest(), opened)
            self._lines = {other: Line(ends) for other, ends in sorted(found.items())}
            self._opened = opened.pop_all()

    def __enter__(self) -> SocketRing:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()

    def collect(self, value: Any) -> list[Any]:
        """Everybody's value, by rank."""
        mine = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
        lengths = self._everybody(LENGTH.pack(len(mine)), dict.fromkeys(self._lines, LENGTH.size))
        parts = self._everybody(mine, {rank: LENGTH.unpack(part)[0] for rank, part in lengths.items()})
        return [value if rank == self.rank else pickle.loads(parts[rank]) for rank in range(self.size)]

    def _everybody(self, mine: bytes, lengths: dict[int, int]) -> dict[int, bytearray]:
        parts = {rank: bytearray(length) for rank, length in lengths.items()}
        for rank, line in self._lines.items():
            line.out.append(memoryview(mine))
            line.into.append(memoryview(parts[rank]))
        _settle(self._lines.values())
        return parts

    def swap(self, array: Any, wrap: bool) -> None:
        """Planes 0 and -1 become the neighbours' planes -2 and 1."""
        if self.size == 1:
            if wrap:
                array[0], array[-1] = array[-2], array[1]
            return
        below, above = self._lines[(self.rank - 1) % self.size], self._lines[(self.rank + 1) % self.size]
        is_first, is_last = self.rank == 0 and not wrap, self.rank == self.size - 1 and not wrap
        # Two ranks that wrap are each other's neighbours on both sides: up goes first everywhere, then down.
        if not is_last:
            above.out.append(memoryview(array[-2]).cast("B"))
        if not is_first:
            below.into.append(memoryview(array[0]).cast("B"))
            below.out.append(memoryview(array[1]).cast("B"))
        if not is_last:
            above.into.append(memoryview(array[-1]).cast("B"))
        _settle({below, above})


def _meet(rank: int, size: int, meeting: str, proof: bytes, opened: contextlib.ExitStack) -> dict[int, socket.socket]:
    """A connection to every other rank: all go to rank 0, learn there where the others listen, go to those below."""
    place = urlsplit(meeting)
    host, port = str(place.hostname), int(place.port or 0)
    if rank == 0:
        listener = opened.enter_context(socket.create_server((host, port), backlog=size))
        found = _accept(listener, range(1, size), proof, opened)
        table = json.dumps([(host, port), *(found[other][1] for other in range(1, size))]).encode()
        for ends, _ in found.values():
            ends.sendall(table + b"\n")
        return {other: ends for other, (ends, _) in found.items()}
    first = _connect(host, port, opened=opened)
    listener = opened.enter_context(socket.create_server((first.getsockname()[0], 0), backlog=size))
    hello = HELLO.pack(proof, rank, listener.getsockname()[1])
    first.sendall(hello)
    places = json.loads(_line(first))
    lower = {other: _connect(*places[other], opened=opened) for other in range(1, rank)}
    for ends in lower.values():
        ends.sendall(hello)
    higher = _accept(listener, range(rank + 1, size), proof, opened)
    return {0: first, **lower, **{other: ends for other, (ends, _) in higher.items()}}


def _connect(host: str, port: int, *, opened: contextlib.ExitStack) -> socket.socket:
    """The one who listens there may come later."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            ends = opened.enter_context(socket.create_connection((host, port), timeout=PATIENCE))
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return ends


def _accept(
    listener: socket.socket, ranks: range, proof: bytes, opened: contextlib.ExitStack
) -> dict[int, tuple[socket.socket, tuple[str, int]]]:
    """Connections from these ranks, and where they listen; whoever else comes is sent away."""
    found: dict[int, tuple[socket.socket, tuple[str, int]]] = {}
    listener.settimeout(PATIENCE)
    while len(found) < len(ranks):
        ends, address = listener.accept()
        ends.settimeout(HELLO_SECONDS)
        try:
            shown, rank, port = HELLO.unpack(_exactly(ends, HELLO.size))
            known = hmac.compare_digest(shown, proof) and rank in ranks
        except OSError:
            known = False
        if known:
            found[rank] = opened.enter_context(ends), (address[0], port)
        else:
            ends.close()
    return found


def _exactly(ends: socket.socket, count: int) -> bytes:
    parts = b""
    while len(parts) < count:
        part = ends.recv(count - len(parts))
        if not part:
            raise ConnectionError("another rank closed its connection")
        parts += part
    return parts


def _line(ends: socket.socket) -> bytes:
    """Up to the end of a line, and not a byte more."""
    parts = b""
    while not parts.endswith(b"\n"):
        parts += _exactly(ends, 1)
    return parts
