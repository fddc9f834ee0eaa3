"""Ranks of a solver as threads of one process."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np

from tim3d.engine.collective.launch import free_address
from tim3d.engine.collective.sockets import SocketRing
from tim3d.kernels.conduction.ghost_layers import Ring

T = TypeVar("T")


class ThreadRing:
    """Everybody writes on a board, waits, and reads."""

    def __init__(self, rank: int, board: list[Any], barrier: threading.Barrier) -> None:
        self.rank, self.size = rank, len(board)
        self._board, self._barrier = board, barrier

    def collect(self, value: Any) -> list[Any]:
        self._board[self.rank] = value
        self._barrier.wait(60)
        found = list(self._board)
        self._barrier.wait(60)
        return found

    def swap(self, array: Any, wrap: bool) -> None:
        ends = self.collect((np.array(array[1]), np.array(array[-2])))
        if self.rank > 0 or wrap:
            array[0] = ends[self.rank - 1][1]
        if self.rank < self.size - 1 or wrap:
            array[-1] = ends[(self.rank + 1) % self.size][0]


def on_ranks(size: int, work: Callable[[Ring], T]) -> list[T]:
    """What each rank returns; if one fails, all do."""
    board: list[Any] = [None] * size
    barrier = threading.Barrier(size)

    def run(rank: int) -> T:
        try:
            return work(ThreadRing(rank, board, barrier))
        except BaseException:
            barrier.abort()
            raise

    return in_threads(size, run)


def on_sockets(size: int, work: Callable[[Ring], T]) -> list[T]:
    """The same over connections, as between processes."""
    meeting = free_address("127.0.0.1")

    def run(rank: int) -> T:
        with SocketRing(rank, size, meeting, "key") as ring:
            return work(ring)

    return in_threads(size, run)


def in_threads(size: int, run: Callable[[int], T]) -> list[T]:
    """What each rank returns."""
    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(run, range(size)))


class Counting:
    """A ring that notes what goes through it."""

    def __init__(self, ring: Ring) -> None:
        self.ring, self.rank, self.size = ring, ring.rank, ring.size
        self.swaps: list[int] = []
        self.collected: list[Any] = []

    def collect(self, value: Any) -> list[Any]:
        self.collected.append(value)
        return self.ring.collect(value)

    def swap(self, array: Any, wrap: bool) -> None:
        self.swaps.append(array[0].nbytes)
        self.ring.swap(array, wrap)
